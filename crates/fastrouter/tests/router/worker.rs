//! Workers behind unix sockets, as good or as bad as a test needs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::PATIENCE;

/// A worker that answers until it is dropped.
pub(crate) struct Worker {
    pub(crate) socket: PathBuf,
    _task: AbortOnDropHandle<()>,
}

impl Worker {
    /// Answers each connection with this.
    pub(crate) fn new<F>(
        socket: PathBuf,
        serve: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = Arc::new(serve);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (serve, connection) = (Arc::clone(&serve), Connection::new(stream));
                connections.spawn(async move { serve(connection).await });
            }
        });
        Self {
            socket,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Answers every request on a kept-alive connection with this text.
    pub(crate) fn saying(socket: PathBuf, text: &'static str) -> Self {
        Self::new(socket, move |mut connection| async move {
            while connection.head().await.is_some() {
                connection.answer(text).await;
            }
        })
    }

    /// Answers every request with its own head.
    pub(crate) fn echo(socket: PathBuf) -> Self {
        Self::new(socket, |mut connection| async move {
            while let Some(head) = connection.head().await {
                connection.answer(&head).await;
            }
        })
    }

    /// One that hands each connection to the test.
    pub(crate) fn by_hand(socket: PathBuf) -> (Self, mpsc::Receiver<Connection>) {
        let (sender, receiver) = mpsc::channel(64);
        let worker = Self::new(socket, move |connection| {
            let sender = sender.clone();
            async move { drop(sender.send(connection).await) }
        });
        (worker, receiver)
    }
}

/// The next connection that comes.
pub(crate) async fn next(connections: &mut mpsc::Receiver<Connection>) -> Connection {
    let next = timeout(PATIENCE, connections.recv()).await;
    next.expect("no connection comes").unwrap()
}

/// One connection from the router.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    received: BytesMut,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    /// Reads the head of a request, up to and with its empty line; `None` at the end.
    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            let end = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.received.split_to(end + 4);
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> BytesMut {
        while self.received.len() < count {
            assert!(self.read().await > 0, "the router closed early");
        }
        self.received.split_to(count)
    }

    /// Reads until this stands at the end of what was read, and returns all.
    pub(crate) async fn until(&mut self, end: &[u8]) -> BytesMut {
        while !self.received.ends_with(end) {
            assert!(self.read().await > 0, "the router closed early");
        }
        self.received.split()
    }

    /// Whether the router closes without another byte.
    pub(crate) async fn is_ended(&mut self) -> bool {
        self.received.is_empty() && self.read().await == 0
    }

    async fn read(&mut self) -> usize {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
        read.expect("the router says nothing").unwrap_or(0)
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // A router that went away is what some tests are about.
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// 200 with a length.
    pub(crate) async fn answer(&mut self, text: &str) {
        let length = text.len();
        self.say(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
        ))
        .await;
    }
}

/// A socket that refuses: bound, and nobody listens. Nobody ever did: a router that another test is about to
/// start has for a moment whatever is open here.
pub(crate) fn dead_socket(socket: &Path) {
    UnixSocket::new_stream().unwrap().bind(socket).unwrap();
}
