//! The contenders: how each is configured to do the same work, and started.
//!
//! The same work is: one thread; take a request for one host, refuse other hosts; hand it to the
//! backend over a kept-alive unix connection, with `X-Forwarded-For`, `-Proto`, `-Host` and
//! `X-Request-Id`; hand back the answer with the `X-Request-Id`; keep the client's connection; write
//! no log. All inherit their listening socket as descriptor 3, so the first request can wait in it
//! for the program to come up.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::RouterBenchError;
use super::backend::{BODY_BYTE, BODY_BYTES};
use super::emperor;
use super::load::{HEADERS, HOST, TARGET};
use super::process::{Process, pinned_with_socket};
use super::stage::{Stage, file};

/// How long a first answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be started.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    Nginx(Headers),
    HaProxy(Headers),
    Fastrouter {
        program: PathBuf,
        /// Tells it from other builds.
        label: Option<String>,
    },
}

/// How much of the same work is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    /// All of it.
    Forwarding,
    /// No header is added: less than the fastrouter ever does, and what many compare with.
    Bare,
}

/// What a contender's figures are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The others are compared with the best of these.
    Reference,
    Measured,
}

/// A running proxy.
#[derive(Debug)]
pub(super) struct Contender {
    name: String,
    role: Role,
    process: Process,
    address: SocketAddr,
    _link: Option<UnixStream>,
}

impl Contender {
    /// Starts a proxy and lets it answer once.
    pub(super) fn start(plan: &Plan, stage: &Stage) -> Result<Self, RouterBenchError> {
        let socket = listening_socket()?;
        let address = socket.local_addr().map_err(file(Path::new("127.0.0.1")))?;
        let name = plan.name();
        let link_path = stage.folder().join(format!("link-{}.sock", address.port()));
        let mut command = match plan {
            Plan::Nginx(headers) => nginx(stage, socket, *headers)?,
            Plan::HaProxy(headers) => haproxy(stage, socket, *headers)?,
            Plan::Fastrouter { program, .. } => fastrouter(stage, socket, program, &link_path),
        };
        let log = stage.folder().join(format!("said-{}", address.port()));
        let written = File::create(&log).map_err(file(&log))?;
        command.stderr(written.try_clone().map_err(file(&log))?);
        command.stdout(written);
        let bad = |error: io::Error| RouterBenchError::NoGoodAnswer {
            contender: name.clone(),
            detail: error.to_string(),
            said: std::fs::read_to_string(&log).unwrap_or_default(),
        };
        let (process, link) = match plan {
            Plan::Nginx(_) | Plan::HaProxy(_) => (Process::start(&mut command)?, None),
            Plan::Fastrouter { .. } => {
                let listener = UnixListener::bind(&link_path).map_err(file(&link_path))?;
                let process = Process::start(&mut command)?;
                let link = emperor::serve(&listener, &stage.backend(), None).map_err(bad)?;
                (process, Some(link))
            }
        };
        // Its copy of the listening socket is the last: if the program is gone, this fails at once.
        drop(command);
        first_answer(address, plan.headers()).map_err(bad)?;
        Ok(Self {
            role: plan.role(),
            name,
            process,
            address,
            _link: link,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process from which all of its processes descend.
    pub(super) fn processes(&self) -> u32 {
        self.process.id()
    }
}

impl Plan {
    fn name(&self) -> String {
        match self {
            Self::Nginx(headers) => format!("nginx{}", headers.suffix()),
            Self::HaProxy(headers) => format!("HAProxy{}", headers.suffix()),
            Self::Fastrouter { label: None, .. } => "fastrouter".to_owned(),
            Self::Fastrouter {
                label: Some(label), ..
            } => format!("fastrouter ({label})"),
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Nginx(Headers::Forwarding) | Self::HaProxy(Headers::Forwarding) => {
                Role::Reference
            }
            Self::Nginx(Headers::Bare) | Self::HaProxy(Headers::Bare) | Self::Fastrouter { .. } => {
                Role::Measured
            }
        }
    }

    fn headers(&self) -> Headers {
        match self {
            Self::Nginx(headers) | Self::HaProxy(headers) => *headers,
            Self::Fastrouter { .. } => Headers::Forwarding,
        }
    }
}

impl Headers {
    fn suffix(self) -> &'static str {
        match self {
            Self::Forwarding => "",
            Self::Bare => ", bare",
        }
    }
}

pub(super) fn listening_socket() -> Result<TcpListener, RouterBenchError> {
    let bind = || {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bind().map_err(file(Path::new("127.0.0.1")))
}

fn nginx(
    stage: &Stage,
    socket: TcpListener,
    headers: Headers,
) -> Result<Command, RouterBenchError> {
    let address = socket.local_addr().map_err(file(Path::new("127.0.0.1")))?;
    let config = include_str!("nginx.conf").replace("@ADDRESS@", &address.to_string());
    let name = format!("nginx-{}.conf", address.port());
    let config = stage.write(&name, &filled(&config, stage, headers))?;
    let mut command = pinned_with_socket(stage.proxy_core, socket, "/usr/sbin/nginx");
    command.args(["-e", "stderr", "-c"]).arg(config);
    // It takes the descriptors named here for the listening sockets of a predecessor.
    command.env("NGINX", "3;");
    Ok(command)
}

fn haproxy(
    stage: &Stage,
    socket: TcpListener,
    headers: Headers,
) -> Result<Command, RouterBenchError> {
    let address = socket.local_addr().map_err(file(Path::new("127.0.0.1")))?;
    let config = filled(include_str!("haproxy.cfg"), stage, headers);
    let config = stage.write(&format!("haproxy-{}.cfg", address.port()), &config)?;
    let mut command = pinned_with_socket(stage.proxy_core, socket, "/usr/sbin/haproxy");
    command.args(["-db", "-f"]).arg(config);
    Ok(command)
}

fn filled(config: &str, stage: &Stage, headers: Headers) -> String {
    let lines = config.lines().filter(|line| match headers {
        Headers::Forwarding => true,
        Headers::Bare => !line.ends_with("# headers"),
    });
    let config: String = lines.flat_map(|line| [line, "\n"]).collect();
    config
        .replace("@FOLDER@", &stage.folder().display().to_string())
        .replace("@BACKEND@", &stage.backend().display().to_string())
        .replace("@HOST@", HOST)
}

fn fastrouter(stage: &Stage, socket: TcpListener, program: &Path, link: &Path) -> Command {
    let mut command = pinned_with_socket(stage.proxy_core, socket, program);
    command.arg("--link").arg(link).args(["--threads", "1"]);
    command
}

/// Asks once as the load will ask, and looks at everything that the answer must have.
fn first_answer(address: SocketAddr, headers: Headers) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = HEADERS.join("\r\n");
    write!(stream, "GET {TARGET} HTTP/1.1\r\n{head}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&answer) {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    check(&answer, headers).map_err(io::Error::other)
}

fn is_whole(answer: &[u8]) -> bool {
    split(answer).is_some_and(|(_, body)| body.len() >= BODY_BYTES)
}

fn check(answer: &[u8], headers: Headers) -> Result<(), String> {
    let (head, body) = split(answer).ok_or("it hung up")?;
    let head = String::from_utf8_lossy(head).to_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(format!("its answer begins {head:?}"));
    }
    if headers == Headers::Forwarding && !head.contains("\r\nx-request-id: ") {
        return Err(format!("its answer has no X-Request-Id: {head:?}"));
    }
    if head.contains("\r\nconnection: close") {
        return Err("it doesn't keep the connection".to_owned());
    }
    if body != [BODY_BYTE; BODY_BYTES] {
        return Err(format!("it gives another body: {} bytes", body.len()));
    }
    Ok(())
}

fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((&answer[..end], &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_lacks_something_is_no_good() {
        let check = |head: &str, bytes: usize, good: bool| {
            let mut answer = head.as_bytes().to_vec();
            answer.resize(answer.len() + bytes, BODY_BYTE);
            let good_answer = check(&answer, Headers::Forwarding).is_ok();
            assert_eq!(good_answer, good, "{head:?}, {bytes} bytes");
        };
        let head = "HTTP/1.1 200 OK\r\nX-Request-Id: 7\r\n\r\n";
        check(head, BODY_BYTES, true);
        check(head, BODY_BYTES + 1, false);
        check("HTTP/1.1 200 OK\r\n\r\n", BODY_BYTES, false);
        check(&head.replace("200", "503"), BODY_BYTES, false);
        let closing = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        check(&closing, BODY_BYTES, false);
        check("", 0, false);
    }
}
