//! A connection that left HTTP: bytes both ways, as they come.

use std::io;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;
use tracing::debug;

use crate::client::Socket;
use crate::request::Record;
use crate::worker::Lease;

/// A worker's end of a tunnel, and what ends with it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    worker: UnixStream,
    /// What the worker said behind its answer.
    early: Vec<u8>,
    record: Record,
    /// The instance has this request until the tunnel ends.
    _lease: Lease,
}

impl Tunnel {
    pub(crate) fn new(worker: UnixStream, early: Vec<u8>, record: Record, lease: Lease) -> Self {
        Self {
            worker,
            early,
            record,
            _lease: lease.into_tunnel(),
        }
    }

    /// Copies until both sides have closed, or one is gone. Each side reads only as fast as the
    /// other takes it.
    pub(crate) async fn run(mut self, mut client: Socket, early: &[u8]) {
        match self.copy(&mut client, early).await {
            Ok(to_client) => self.record.sent(to_client),
            Err(error) => debug!(%error, "a tunnel broke"),
        }
    }

    async fn copy(&mut self, client: &mut Socket, early: &[u8]) -> io::Result<u64> {
        // A WebSocket may be silent for long: whether the client is still there is for the kernel
        // to find out.
        client.keep_alive()?;
        client.write_all(&self.early).await?;
        self.worker.write_all(early).await?;
        let (_, to_client) = copy_bidirectional(client, &mut self.worker).await?;
        Ok(to_client + self.early.len() as u64)
    }
}
