//! Plays the emperor for a fastrouter: serves its link with a table of one site.
//!
//! The messages are those of `wire::route`, written as JSON here, so that this package needs
//! nothing of Emperor's to be built; a test reads them back with the real types.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::request::HOST;

/// How long a fastrouter may take to connect and to have the table in force.
const PATIENCE: Duration = Duration::from_secs(10);

const GENERATION: u64 = 1;

/// What the fastrouter keeps of the site's pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    mode: &'static str,
    memory_bytes: u64,
    /// Whether the site answers for whatever host is named.
    any_host: bool,
}

impl Kept {
    /// In this mode, for the one host.
    pub(super) fn of_the_host(mode: &'static str) -> Self {
        Self {
            any_host: false,
            ..Self::of_any_host(mode)
        }
    }

    /// In this mode, for requests that name any host.
    pub(super) fn of_any_host(mode: &'static str) -> Self {
        Self {
            mode,
            memory_bytes: 2 << 30,
            any_host: true,
        }
    }
}

/// Has pages of the site forgotten, and returns how long the fastrouter took.
pub(super) fn purge(link: &mut UnixStream, sequence: u64, what: &Value) -> io::Result<Duration> {
    let sites = json!([{"site_id": 1, "purges": [what]}]);
    let purge = json!({"type": "purge", "sequence": sequence, "sites": sites});
    let began = Instant::now();
    link.write_all(&frame(&purge)?)?;
    loop {
        let message = receive(link)?;
        if message["type"] == "purged" && message["sequence"] == sequence {
            return Ok(began.elapsed());
        }
    }
}

/// Waits for a fastrouter, tells it everything, and waits until all of its threads have it.
///
/// The link is to be kept open as long as the fastrouter is measured.
pub(super) fn serve(
    listener: &UnixListener,
    backend: &Path,
    kept: Option<Kept>,
) -> io::Result<UnixStream> {
    wait_for(listener)?;
    let (mut link, _) = listener.accept()?;
    link.set_read_timeout(Some(PATIENCE))?;
    for message in messages(backend, kept) {
        link.write_all(&frame(&message)?)?;
    }
    while !acknowledges(&receive(&mut link)?) {}
    if kept.is_some() {
        let resume = frame(&json!({"type": "resume-cache"}))?;
        link.write_all(&resume)?;
        renew(link.try_clone()?, resume);
        // The answer comes from after it.
        link.write_all(&frame(&json!({"type": "ask-stats", "token": 1}))?)?;
        while receive(&mut link)?["type"] != "stats" {}
    }
    Ok(link)
}

/// Extends the lease of the cache until the fastrouter is gone.
#[expect(
    clippy::disallowed_methods,
    reason = "a lease is renewed by the clock: there is no event to wait for"
)]
fn renew(mut link: UnixStream, resume: Vec<u8>) {
    const PAUSE: Duration = Duration::from_secs(2);
    // A frame as short as this one and those of purges is written whole, so they never mix.
    thread::spawn(move || {
        while link.write_all(&resume).is_ok() {
            thread::sleep(PAUSE);
        }
    });
}

fn wait_for(listener: &UnixListener) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    if poll(&mut fds, Some(&patience))? == 0 {
        let text = "it doesn't connect to its link";
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    Ok(())
}

fn acknowledges(message: &Value) -> bool {
    message["type"] == "acknowledged" && message["generation"] == GENERATION
}

fn messages(backend: &Path, kept: Option<Kept>) -> [Value; 4] {
    let site = if kept.is_some_and(|kept| kept.any_host) {
        "bench"
    } else {
        ""
    };
    let settings = json!({
        "type": "settings",
        "default_site": site,
        "trusted_proxies": [],
        "max_head_bytes": 32 * 1024,
        "max_target_bytes": 8 * 1024,
        "max_body_bytes": 0,
        "head_timeout_ms": 10_000,
        "keep_alive_timeout_ms": 60_000,
        "response_timeout_ms": 60_000,
        "connect_timeout_ms": 5_000,
        "max_connections": 10_000,
        "drain_timeout_ms": 30_000,
        "access_log": null,
        "cache_memory_bytes": kept.map_or(0, |kept| kept.memory_bytes),
        "purge_allow": ["127.0.0.0/8"],
    });
    let route = json!({
        "id": 1,
        "slug": "bench",
        "canonical": HOST,
        "serve": [HOST],
        "service": {"ready": [
            {"number": 1, "incarnation": 1, "socket": backend, "protocol": "http"},
        ]},
        "queue_depth": 100,
        "queue_timeout_ms": 30_000,
        "cache": kept.map(|kept| json!({"mode": kept.mode, "max_page_bytes": 8 << 20})),
    });
    [
        settings,
        json!({"type": "table-begin", "generation": GENERATION}),
        json!({"type": "table-part", "routes": [route]}),
        json!({"type": "table-end"}),
    ]
}

/// A big-endian length, then that many bytes.
fn frame(message: &Value) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(json);
    Ok(frame)
}

fn receive(link: &mut UnixStream) -> io::Result<Value> {
    let mut length = [0; 4];
    link.read_exact(&mut length)?;
    let mut json = Vec::new();
    let length = u64::from(u32::from_be_bytes(length));
    link.take(length).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use wire::cache::CacheModeFrame;
    use wire::route::{ToRouter, parse_change};

    use super::*;

    #[test]
    fn a_fastrouter_understands_every_message() {
        let mut sent = BytesMut::new();
        let kept = Some(Kept::of_any_host("until-purged"));
        for message in messages(Path::new("/run/backend.sock"), kept) {
            sent.extend_from_slice(&frame(&message).unwrap());
        }
        let mut next = || wire::frame::decode(&mut sent).unwrap().unwrap();
        assert!(matches!(next(), ToRouter::Settings(_)));
        assert!(matches!(next(), ToRouter::TableBegin { generation: 1 }));
        let ToRouter::TablePart { routes } = next() else {
            panic!("the third message is no part of a table");
        };
        let cache = routes[0].cache.as_ref().unwrap();
        assert_eq!(cache.mode, CacheModeFrame::UntilPurged);
        let change = parse_change(1, routes, &[]).unwrap();
        assert_eq!(change.upserts[0].canonical.as_str(), HOST);
        assert!(matches!(next(), ToRouter::TableEnd));
    }

    #[test]
    fn an_acknowledgement_is_waited_for() {
        let (mut link, mut router) = UnixStream::pair().unwrap();
        for message in [
            json!({"type": "hello"}),
            json!({"type": "acknowledged", "generation": 1}),
        ] {
            router.write_all(&frame(&message).unwrap()).unwrap();
        }
        assert!(!acknowledges(&receive(&mut link).unwrap()));
        assert!(acknowledges(&receive(&mut link).unwrap()));
    }
}
