//! The smallest worker: one thread, one socket, one page of JSON that says whose it is.
//!
//! It is started by the hundreds, so it has no runtime and keeps no connection. The page tells
//! when the process began to run, by which `bench-spawn` measures.

mod inherited;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

/// More than any request head that a test sends.
const MAX_HEAD_BYTES: usize = 16 * 1024;

fn main() -> io::Result<()> {
    let page = page();
    let listener = inherited::listener()?;
    loop {
        let (client, _) = listener.accept()?;
        // A client that went away is its own concern.
        let _gone = answer(client, &page);
    }
}

fn page() -> String {
    let began = SystemTime::now().duration_since(UNIX_EPOCH);
    let variable = |name: &str| {
        let value = std::env::var(name).unwrap_or_default();
        serde_json::Value::from(value)
    };
    serde_json::json!({
        "site_id": variable("SITE_ID"),
        "slug": variable("SITE_SLUG"),
        "domain": variable("SITE_DOMAIN"),
        "marker": variable("MARKER"),
        "pid": std::process::id(),
        "began_ns": began.map(|since| u64::try_from(since.as_nanos()).ok()).ok(),
    })
    .to_string()
}

fn answer(mut client: UnixStream, page: &str) -> io::Result<()> {
    if !head_arrives(&mut client)? {
        return Ok(());
    }
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    )
}

/// False where the client closed before (a probe that only connects).
fn head_arrives(client: &mut UnixStream) -> io::Result<bool> {
    let mut head = Vec::new();
    let mut part = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = client.read(&mut part)?;
        if count == 0 || head.len() > MAX_HEAD_BYTES {
            return Ok(false);
        }
        head.extend_from_slice(&part[..count]);
    }
    Ok(true)
}
