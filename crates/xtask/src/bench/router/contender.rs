//! The contenders: how each is configured to do the same work, and started.
//!
//! The same work is: one thread; take a request for one host, refuse other hosts; hand it to the
//! backend over a kept-alive unix connection, with `X-Forwarded-For`, `-Proto`, `-Host` and
//! `X-Request-Id`; hand back the answer with the `X-Request-Id`; keep the client's connection; write
//! no log. All inherit their listening socket as descriptor 3, so the first request can wait in it
//! for the program to come up.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::backend::{BODY_BYTE, BODY_BYTES};
use super::emperor::{self, Kept};
use super::error::{RouterBenchError, file};
use super::process::{Process, pinned, pinned_with_socket};
use super::request::{ANONYMOUS, HEADERS, HOST, TARGET};
use super::stage::Stage;

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
    /// nginx that keeps pages (`proxy_cache`).
    NginxCache,
    Varnish,
    /// A fastrouter that keeps pages.
    FastrouterCache(PathBuf),
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
    headers: &'static [&'static str],
    link: Option<UnixStream>,
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
            Plan::NginxCache => nginx_cache(stage, socket)?,
            Plan::Varnish => varnish(stage, socket)?,
            Plan::Fastrouter { program, .. } | Plan::FastrouterCache(program) => {
                fastrouter(stage, socket, program, &link_path)
            }
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
            Plan::Nginx(_) | Plan::HaProxy(_) | Plan::NginxCache => {
                (Process::start(&mut command)?, None)
            }
            Plan::Varnish => (started_varnish(&mut command).map_err(bad)?, None),
            Plan::Fastrouter { .. } | Plan::FastrouterCache(_) => {
                let listener = UnixListener::bind(&link_path).map_err(file(&link_path))?;
                let process = Process::start(&mut command)?;
                let link = emperor::serve(&listener, &stage.backend(), plan.kept()).map_err(bad)?;
                (process, Some(link))
            }
        };
        // Its copy of the listening socket is the last: if the program is gone, this fails at once.
        drop(command);
        first_answer(address, plan).map_err(bad)?;
        Ok(Self {
            role: plan.role(),
            name,
            process,
            address,
            headers: plan.asked(),
            link,
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

    /// What it is asked with.
    pub(super) fn headers(&self) -> &'static [&'static str] {
        self.headers
    }

    /// The emperor's end of its link.
    pub(super) fn link(&mut self) -> Option<&mut UnixStream> {
        self.link.as_mut()
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
            Self::Fastrouter { label: None, .. } | Self::FastrouterCache(_) => {
                "fastrouter".to_owned()
            }
            Self::Fastrouter {
                label: Some(label), ..
            } => format!("fastrouter ({label})"),
            Self::NginxCache => "nginx proxy_cache".to_owned(),
            Self::Varnish => "Varnish".to_owned(),
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Nginx(Headers::Forwarding)
            | Self::HaProxy(Headers::Forwarding)
            | Self::NginxCache
            | Self::Varnish => Role::Reference,
            Self::Nginx(Headers::Bare)
            | Self::HaProxy(Headers::Bare)
            | Self::Fastrouter { .. }
            | Self::FastrouterCache(_) => Role::Measured,
        }
    }

    fn headers(&self) -> Headers {
        match self {
            Self::Nginx(headers) | Self::HaProxy(headers) => *headers,
            Self::Fastrouter { .. }
            | Self::NginxCache
            | Self::Varnish
            | Self::FastrouterCache(_) => Headers::Forwarding,
        }
    }

    /// What it keeps, where it is a fastrouter.
    fn kept(&self) -> Option<Kept> {
        match self {
            Self::FastrouterCache(_) => Some(Kept::of_the_host("http")),
            Self::Nginx(_)
            | Self::HaProxy(_)
            | Self::Fastrouter { .. }
            | Self::NginxCache
            | Self::Varnish => None,
        }
    }

    /// The headers of requests.
    fn asked(&self) -> &'static [&'static str] {
        match self {
            Self::Nginx(_) | Self::HaProxy(_) | Self::Fastrouter { .. } => &HEADERS,
            Self::NginxCache | Self::Varnish | Self::FastrouterCache(_) => &ANONYMOUS,
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

fn nginx_cache(stage: &Stage, socket: TcpListener) -> Result<Command, RouterBenchError> {
    let address = socket.local_addr().map_err(file(Path::new("127.0.0.1")))?;
    let config = include_str!("nginx-cache.conf").replace("@ADDRESS@", &address.to_string());
    let config = filled(&config, stage, Headers::Forwarding);
    let config = stage.write("nginx-cache.conf", &config)?;
    let mut command = pinned_with_socket(stage.proxy_core, socket, "/usr/sbin/nginx");
    command.args(["-e", "stderr", "-c"]).arg(config);
    command.env("NGINX", "3;");
    Ok(command)
}

/// It takes no socket over, and binds the address itself.
fn varnish(stage: &Stage, socket: TcpListener) -> Result<Command, RouterBenchError> {
    let address = socket.local_addr().map_err(file(Path::new("127.0.0.1")))?;
    drop(socket);
    let vcl = filled(include_str!("varnish.vcl"), stage, Headers::Forwarding);
    let vcl = stage.write("bench.vcl", &vcl)?;
    let mut command = pinned(stage.proxy_core, "/usr/sbin/varnishd");
    command.args(["-F", "-s", "malloc,256m", "-a", &address.to_string()]);
    command.arg("-f").arg(vcl);
    command.arg("-n").arg(stage.folder().join("varnish"));
    Ok(command)
}

/// It compiles its configuration first, and says when its worker is there.
fn started_varnish(command: &mut Command) -> io::Result<Process> {
    command.stderr(Stdio::piped());
    let mut process = Process::start(command).map_err(io::Error::other)?;
    let said = process.child().stderr.take();
    let said = said.ok_or_else(|| io::Error::other("its words are not heard"))?;
    let mut lines = BufReader::new(said).lines();
    lines
        .find(|line| !matches!(line, Ok(line) if !line.contains("launched OK")))
        .ok_or_else(|| io::Error::other("it ended before it answered"))??;
    // A pipe that nobody reads would end it.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(process)
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

/// Varnish listens a moment after it has said that it is there.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::yield_now();
            }
            connected => return connected,
        }
    }
}

/// Asks once as the load will ask, and looks at everything that the answer must have.
fn first_answer(address: SocketAddr, plan: &Plan) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = plan.asked().join("\r\n");
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
    check(&answer, plan.headers()).map_err(io::Error::other)
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
