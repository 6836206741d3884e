//! The access log, and in [`own`] the router's own: lines are gathered per thread and written by a thread of their own.
//!
//! A request appends to a buffer in memory and goes on. Full buffers, and those that have waited
//! long enough, go to the writer through a bounded channel; where the disk is slower than the
//! requests, lines are dropped and counted, and no request waits for a disk.

mod format;
pub(crate) mod own;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::warn;
use wire::route::AccessLogFormat;

pub(crate) use self::format::Entry;

/// A buffer of this size is handed to the writer.
const BUFFER_BYTES: usize = 32 * 1024;
/// How long a line may wait for its buffer to fill.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// How many buffers may wait for the writer: together a few megabytes, and a second of disk trouble
/// at a hundred thousand lines per second.
const WAITING_BUFFERS: usize = 64;

/// The lines of one thread.
#[derive(Debug)]
pub(crate) struct Lines {
    writer: Option<SyncSender<Vec<u8>>>,
    buffer: RefCell<Vec<u8>>,
    begun: Notify,
    buffered: Cell<u64>,
    dropped: Cell<u64>,
}

/// Writes what all threads hand over, until the last of them is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the writer.
    pub(crate) fn start(file: File) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_BUFFERS);
        let builder = std::thread::Builder::new().name("access-log".to_owned());
        let thread = builder.spawn(move || write_all(file, &receiver))?;
        Ok(Self { sender, thread })
    }

    /// A buffer for one more thread.
    pub(crate) fn lines(&self) -> Lines {
        Lines::new(Some(self.sender.clone()))
    }

    /// Waits until everything that was handed over is written.
    pub(crate) fn finish(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            warn!("the access log's writer broke");
        }
    }
}

fn write_all(mut file: File, receiver: &Receiver<Vec<u8>>) {
    let mut failing = false;
    for buffer in receiver {
        match file.write_all(&buffer) {
            Ok(()) => failing = false,
            Err(error) => {
                // Once, not for every buffer while a disk is full.
                if !failing {
                    warn!(%error, "could not write the access log; lines are lost");
                }
                failing = true;
            }
        }
    }
}

impl Lines {
    fn new(writer: Option<SyncSender<Vec<u8>>>) -> Self {
        Self {
            writer,
            buffer: RefCell::default(),
            begun: Notify::new(),
            buffered: Cell::new(0),
            dropped: Cell::new(0),
        }
    }

    /// Where no access log was passed.
    pub(crate) fn nowhere() -> Self {
        Self::new(None)
    }

    /// Appends a line.
    pub(crate) fn write(&self, format: AccessLogFormat, entry: &Entry<'_>) {
        if self.writer.is_none() {
            return;
        }
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            self.begun.notify_one();
        }
        match format {
            AccessLogFormat::Json => entry.json(&mut buffer),
            AccessLogFormat::Combined => entry.combined(&mut buffer),
        }
        self.buffered.set(self.buffered.get() + 1);
        let full = buffer.len() >= BUFFER_BYTES;
        drop(buffer);
        if full {
            self.flush();
        }
    }

    /// Hands over what has waited long enough, for as long as it is polled.
    pub(crate) async fn flush_in_time(&self) {
        loop {
            self.begun.notified().await;
            sleep(FLUSH_AFTER).await;
            self.flush();
        }
    }

    /// Hands over what there is.
    pub(crate) fn flush(&self) {
        let buffer = self.buffer.take();
        let lines = self.buffered.replace(0);
        let Some(writer) = self.writer.as_ref().filter(|_| lines > 0) else {
            return;
        };
        match writer.try_send(buffer) {
            Ok(()) => self.tell_dropped(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.set(self.dropped.get() + lines);
            }
        }
    }

    fn tell_dropped(&self) {
        let dropped = self.dropped.replace(0);
        if dropped > 0 {
            warn!(
                dropped,
                "the access log can't be written as fast as requests come; lines are left out"
            );
        }
    }
}
