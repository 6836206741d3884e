//! A worker as good ones are: it keeps its connections, answers each on a thread of its own, and
//! takes as long over a request as its query says (`?hold=20`, milliseconds). With a path as its
//! argument it serves on a socket of its own there, and with a second one nobody while that file is there.
//!
//! Its page repeats what it was asked, so that an answer that belongs to another request, or to
//! another site, can't be taken for the right one.

mod inherited;

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use serde_json::{Value, json};

/// Far more than what is sent to it.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Open to everybody until somebody hangs in it.
static GATE: RwLock<()> = RwLock::new(());

/// While it is there, nobody is served.
static CLOSED: OnceLock<PathBuf> = OnceLock::new();

/// What was asked.
struct Asked {
    method: String,
    target: String,
    body: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let listener = match arguments.next() {
        Some(path) => narrow_listener(&path)?,
        None => inherited::listener()?,
    };
    if let Some(closed) = arguments.next() {
        CLOSED.get_or_init(|| closed.into());
    }
    loop {
        let (client, _) = listener.accept()?;
        wait_while_closed();
        // A client that goes away, or says what is no request, ends its own connection alone.
        thread::spawn(|| serve(client));
    }
}

/// A socket of its own at this path, whose backlog is full with two connections.
fn narrow_listener(path: &OsStr) -> io::Result<UnixListener> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 1)?;
    Ok(UnixListener::from(socket))
}

fn serve(mut client: UnixStream) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(asked) = read(&mut reader)? {
        wait_while_closed();
        pass_the_gate(&asked.target);
        hold(&asked.target);
        let page = page(&asked).to_string();
        let length = page.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{page}"
        );
        client.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The next request; `None` where the client has closed.
fn read(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next(), words.next());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; MAX_BODY_BYTES.min(length)];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked {
        method: method.unwrap_or_default(),
        target: target.unwrap_or_default(),
        body,
    }))
}

fn page(asked: &Asked) -> Value {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    json!({
        "site_id": variable("SITE_ID"),
        "slug": variable("SITE_SLUG"),
        "marker": variable("MARKER"),
        "pid": std::process::id(),
        "method": asked.method,
        "target": asked.target,
        "body": String::from_utf8_lossy(&asked.body),
    })
}

/// One request that never ends, and every later one ends up behind it: a lock that is never given back.
fn pass_the_gate(target: &str) {
    if target.ends_with("?hang") {
        let _kept = GATE.write().unwrap_or_else(PoisonError::into_inner);
        loop {
            thread::park();
        }
    }
    drop(GATE.read().unwrap_or_else(PoisonError::into_inner));
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file tells nobody that it is gone"
)]
fn wait_while_closed() {
    while CLOSED.get().is_some_and(|closed| closed.exists()) {
        thread::sleep(Duration::from_millis(5));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "taking its time is what a request asks of this worker"
)]
fn hold(target: &str) {
    let held = target.split_once("?hold=").map(|(_, text)| text.parse());
    if let Some(Ok(milliseconds)) = held {
        thread::sleep(Duration::from_millis(milliseconds));
    }
}
