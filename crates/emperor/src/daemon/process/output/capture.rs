//! The task that empties one process's pipes and its notification socket.
//!
//! It does nothing that could wait for anything but them, so a worker is never held up: lines go
//! into a buffer that has room or drops.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;

use site_model::Incarnation;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::super::child::Child;
use super::super::folder::PIPE_BYTES;
use super::super::notify::NotifySocket;
use super::framer::Framer;
use super::logbook::{Origin, SiteLog, Stream};
use super::relay;
use super::tail::Tail;

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// The most that is still taken from a pipe after the end: what the kernel keeps in one, and as much
/// again. Without a bound, a process that escaped its group could write for ever.
const LEFT_BYTES: usize = 2 * PIPE_BYTES;

/// Where a process's lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Into the log of a site.
    Site(SiteLog, Origin),
    /// Into the emperor's own log, under this name.
    Emperor(&'static str),
    /// Into the emperor's own log, as what a preloader says.
    Preloader(Incarnation),
}

/// What is read.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) out: Receiver,
    pub(crate) err: Receiver,
    pub(crate) notify: Option<NotifySocket>,
    pub(crate) sink: Sink,
}

/// The running task. Dropped, it ends, and what is in the pipes is lost.
#[derive(Debug)]
pub(crate) struct Captured {
    tail: Arc<Tail>,
    drained: watch::Receiver<bool>,
    task: AbortOnDropHandle<()>,
}

struct Pipe {
    stream: Stream,
    receiver: Receiver,
    framer: Framer,
}

impl Capture {
    /// Begins to read, and goes on until the process has ended: nothing else tells that no more
    /// will come, since the pipes have a writer for as long as their reader lives.
    pub(crate) fn start(self, process: Arc<Child>) -> Captured {
        let tail = Arc::new(Tail::default());
        let (done, drained) = watch::channel(false);
        let task = tokio::spawn(self.run(process, Arc::clone(&tail), done));
        Captured {
            tail,
            drained,
            task: AbortOnDropHandle::new(task),
        }
    }

    async fn run(self, process: Arc<Child>, tail: Arc<Tail>, done: watch::Sender<bool>) {
        let Self {
            out,
            err,
            mut notify,
            sink,
        } = self;
        let mut out = Pipe::new(Stream::Out, out);
        let mut err = Pipe::new(Stream::Err, err);
        let line = |stream, text: &str| sink.take(&tail, stream, text);
        let mut exit = pin!(process.exited());
        loop {
            let going_on = tokio::select! {
                going_on = out.read(&line) => going_on,
                going_on = err.read(&line) => going_on,
                () = NotifySocket::listen(notify.as_mut()) => true,
                _ = &mut exit => false,
            };
            if !going_on {
                break;
            }
        }
        out.drain(&line);
        err.drain(&line);
        done.send_replace(true);
        sink.settled().await;
    }
}

impl Captured {
    /// The last lines of standard error.
    pub(crate) fn last_stderr(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// Resolves once everything the ended process wrote was read.
    pub(crate) fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut drained = self.drained.clone();
        async move {
            // Where the task is gone, nothing more is read either.
            let _ = drained.wait_for(|&drained| drained).await;
        }
    }

    /// Waits until everything the ended process wrote is in the log.
    pub(crate) async fn settled(self) {
        if let Err(error) = self.task.await {
            error!(%error, "the task that read a process's output broke off");
        }
    }
}

impl Pipe {
    fn new(stream: Stream, receiver: Receiver) -> Self {
        Self {
            stream,
            receiver,
            framer: Framer::default(),
        }
    }

    /// Takes what is there once something is. False: the pipe can't be read any more.
    ///
    /// Cancel safe: nothing is taken before it is also passed on.
    async fn read(&mut self, line: &impl Fn(Stream, &str)) -> bool {
        if self.receiver.readable().await.is_err() {
            return false;
        }
        match self.take(line) {
            Ok(length) => length > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn drain(&mut self, line: &impl Fn(Stream, &str)) {
        let mut left = LEFT_BYTES;
        while let Ok(length @ 1..) = self.take(line) {
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
        let stream = self.stream;
        self.framer.finish(|text| line(stream, text));
    }

    /// Takes what is there. It is read into no buffer of its own: of thousands of processes hardly one
    /// says something at a time.
    fn take(&mut self, line: &impl Fn(Stream, &str)) -> io::Result<usize> {
        let mut part = [0; READ_BYTES];
        let length = self.receiver.try_read(&mut part)?;
        let stream = self.stream;
        self.framer.push(&part[..length], |text| line(stream, text));
        Ok(length)
    }
}

impl Sink {
    fn take(&self, tail: &Tail, stream: Stream, text: &str) {
        if stream == Stream::Err {
            tail.push(text);
        }
        match self {
            Self::Site(log, origin) => log.append(*origin, stream, text),
            Self::Emperor(program) => relay::tell(program, stream, text),
            Self::Preloader(incarnation) => {
                // A field, so that it can't look like a line of the emperor's.
                info!(target: "preloader", %incarnation, stream = stream.as_str(), said = text);
            }
        }
    }

    async fn settled(&self) {
        match self {
            Self::Site(log, _) => log.settled().await,
            Self::Emperor(_) | Self::Preloader(_) => {}
        }
    }
}
