//! The worker behind every contender: it reads a request head and writes one fixed answer.
//!
//! It does as little as a worker can, since it shares its core with the load generator. One thread,
//! one `epoll`; it listens on its standard input, so that connections can wait for it before it
//! runs. It is a process of its own (`cargo xtask bench backend`, not for people).

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use clap::Args;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::error::RouterBenchError;

/// How long the body of the answer is.
pub(super) const BODY_BYTES: usize = 1024;
/// What the body consists of.
pub(super) const BODY_BYTE: u8 = b'e';

/// A tag of what is to be kept.
pub(super) const TAG: &str = "everything";

/// Stands for the listening socket among the connections' places.
const LISTENER: u64 = u64::MAX;
/// How many events one call takes; more than the load has connections, and a call more costs little.
const EVENTS: usize = 64;
/// More than any head that a contender makes of the load's.
const READ_BYTES: usize = 8 * 1024;

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Answer so that caches keep it
    #[arg(long)]
    kept: bool,
}

/// Answers for ever.
pub(crate) fn serve(arguments: &Arguments) -> Result<(), RouterBenchError> {
    let serve = || {
        let inherited = io::stdin().as_fd().try_clone_to_owned()?;
        Backend::new(UnixListener::from(inherited), arguments.kept)?.run()
    };
    serve().map_err(RouterBenchError::Backend)
}

struct Backend {
    epoll: OwnedFd,
    listener: UnixListener,
    connections: Vec<Option<Connection>>,
    answer: Vec<u8>,
}

struct Connection {
    stream: UnixStream,
    /// The part of a head that came so far.
    head: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Stay,
    Close,
}

impl Backend {
    fn new(listener: UnixListener, kept: bool) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            answer: answer(kept),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => {}
                result => drop(result?),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    place => self.serve(place, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let (stream, _) = match self.listener.accept() {
            // Who connected has gone again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        let free = self.connections.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let data = EventData::new_u64(place as u64);
        epoll::add(&self.epoll, &stream, data, EventFlags::IN)?;
        self.connections[place] = Some(Connection {
            stream,
            head: Vec::new(),
        });
        Ok(())
    }

    fn serve(&mut self, place: u64, buffer: &mut [u8]) {
        let place = usize::try_from(place).expect("places are indexes of a Vec");
        let Some(connection) = &mut self.connections[place] else {
            return;
        };
        // A proxy that resets a connection is no fault of the backend.
        if !matches!(connection.serve(&self.answer, buffer), Ok(Next::Stay)) {
            // Closing the only descriptor takes it out of the epoll too.
            self.connections[place] = None;
        }
    }
}

impl Connection {
    /// Reads once, as `epoll` said there is something; answers when the head is whole. No request
    /// of the load has a body, and no proxy sends the next one before the answer.
    fn serve(&mut self, answer: &[u8], buffer: &mut [u8]) -> io::Result<Next> {
        let count = self.stream.read(buffer)?;
        if count == 0 {
            return Ok(Next::Close);
        }
        self.head.extend_from_slice(&buffer[..count]);
        if self.head.ends_with(b"\r\n\r\n") {
            self.head.clear();
            self.stream.write_all(answer)?;
        }
        Ok(Next::Stay)
    }
}

/// A head such as a web framework sends, and the body.
fn answer(kept: bool) -> Vec<u8> {
    let mut answer = String::from("HTTP/1.1 200 OK\r\n");
    let headers = [
        ("Server", "backend"),
        ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("Content-Type", "text/html; charset=utf-8"),
        (
            "Cache-Control",
            if kept {
                "max-age=86400"
            } else {
                "private, max-age=0"
            },
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Length", &BODY_BYTES.to_string()),
    ];
    let tag = kept.then_some(("Surrogate-Key", TAG));
    // What is kept must not be old already.
    let headers = headers
        .into_iter()
        .filter(|(name, _)| !(kept && *name == "Date"));
    for (name, value) in headers.chain(tag) {
        write!(answer, "{name}: {value}\r\n").expect("a String takes everything");
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.resize(answer.len() + BODY_BYTES, BODY_BYTE);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_two_parts_gets_one_answer() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut connection = Connection {
            stream: server,
            head: Vec::new(),
        };
        let mut buffer = [0; 64];
        let mut step = |sent: &[u8]| {
            client.write_all(sent).unwrap();
            let next = connection.serve(&answer(false), &mut buffer).unwrap();
            assert_eq!(next, Next::Stay);
        };
        step(b"GET / HTTP/1.1\r\nHost: a\r\n");
        step(b"\r\n");
        drop(connection);
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, answer(false));
    }

    #[test]
    fn the_end_of_a_connection_is_noticed() {
        let (client, server) = UnixStream::pair().unwrap();
        drop(client);
        let mut connection = Connection {
            stream: server,
            head: Vec::new(),
        };
        let next = connection.serve(&answer(false), &mut [0; 64]).unwrap();
        assert_eq!(next, Next::Close);
    }
}
