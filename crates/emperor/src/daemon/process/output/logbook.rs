//! The logs of all sites: a bounded buffer per site, and one thread that brings them to disk.
//!
//! One thread, because a disk is one thing: while it is slow nobody's log gets on, and more writers
//! would not change that. A thread and not a task, because file I/O blocks.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use jiff::Timestamp;
use site_model::{Incarnation, InstanceNumber, SiteId};
use tokio::sync::watch;
use tracing::warn;

use super::super::stretch::Stretch;
use super::file::{LogFile, LogLimits};

/// How much of one site's output waits for the disk. A burst of that size is kept whole; a site that
/// writes faster than the disk for longer loses lines, and only its own.
const BUFFER_BYTES: usize = 256 * 1024;

/// Which instance wrote a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) number: InstanceNumber,
    pub(crate) incarnation: Incarnation,
}

/// Where it wrote it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// All logs of the daemon. Dropped, its thread writes what waits, and ends.
#[derive(Debug)]
pub(crate) struct Logbook {
    shared: Arc<Shared>,
    folder: PathBuf,
    limits: LogLimits,
    logs: Mutex<HashMap<SiteId, Weak<Log>>>,
}

/// The log of one site, shared by its instances.
#[derive(Debug, Clone)]
pub(crate) struct SiteLog {
    log: Arc<Log>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Logs with something to write. Each is in it at most once, so there are never more than sites.
    queue: Mutex<Queue>,
    filled: Condvar,
    failures: Stretch,
}

#[derive(Debug, Default)]
struct Queue {
    logs: VecDeque<Arc<Log>>,
    closed: bool,
}

#[derive(Debug)]
struct Log {
    buffer: Mutex<Buffer>,
    file: Mutex<LogFile>,
    /// How many of the lines seen are on disk or given up.
    settled: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Buffer {
    text: String,
    lines: u64,
    /// How many lines ever came.
    seen: u64,
    /// Lines that found no room or that the disk refused, and of which the log does not tell yet.
    dropped: u64,
    queued: bool,
}

impl Logbook {
    /// Starts the thread. Each site's log is `SITE.log` in this folder.
    pub(crate) fn start(folder: PathBuf, limits: LogLimits) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("site-logs".to_owned())
            .spawn(move || writer.write_until_closed())?;
        Ok(Self {
            shared,
            folder,
            limits,
            logs: Mutex::default(),
        })
    }

    /// The log of a site. Two calls for one site give one log while either is held.
    pub(crate) fn of(&self, site: SiteId) -> SiteLog {
        let mut logs = lock(&self.logs);
        let known = logs.get(&site).and_then(Weak::upgrade);
        let log = known.unwrap_or_else(|| {
            logs.retain(|_, log| log.strong_count() > 0);
            let path = self.folder.join(format!("{site}.log"));
            let log = Arc::new(Log::new(LogFile::new(path, self.limits)));
            logs.insert(site, Arc::downgrade(&log));
            log
        });
        SiteLog {
            log,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Logbook {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.filled.notify_all();
    }
}

impl SiteLog {
    /// Adds a line, or counts it if there is no room. Never waits for the disk.
    pub(crate) fn append(&self, origin: Origin, stream: Stream, text: &str) {
        let mut buffer = lock(&self.log.buffer);
        buffer.add(Timestamp::now(), origin, stream, text);
        if !buffer.queued {
            buffer.queued = true;
            drop(buffer);
            lock(&self.shared.queue)
                .logs
                .push_back(Arc::clone(&self.log));
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything appended so far is on disk or given up.
    ///
    /// Cancel safe.
    pub(crate) async fn settled(&self) {
        let seen = lock(&self.log.buffer).seen;
        let mut settled = self.log.settled.subscribe();
        // The sender is in the log that `self` holds.
        let _ = settled.wait_for(|&settled| settled >= seen).await;
    }
}

impl Shared {
    fn write_until_closed(&self) {
        while let Some(log) = self.next() {
            log.write(&self.failures);
        }
    }

    fn next(&self) -> Option<Arc<Log>> {
        let queue = lock(&self.queue);
        let mut queue = self
            .filled
            .wait_while(queue, |queue| queue.logs.is_empty() && !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        queue.logs.pop_front()
    }
}

impl Log {
    fn new(file: LogFile) -> Self {
        Self {
            buffer: Mutex::default(),
            file: Mutex::new(file),
            settled: watch::Sender::new(0),
        }
    }

    /// Brings what waits to disk, with the count of what was lost before it.
    fn write(&self, failures: &Stretch) {
        let mut batch = lock(&self.buffer).take();
        let mut file = lock(&self.file);
        match file.append(&batch.text_with_losses()) {
            Ok(()) => failures.went_well(),
            Err(error) => {
                // Told once per failing stretch; the log itself tells the rest when it can.
                if batch.dropped == 0 && failures.failed() {
                    let path = file.path().display();
                    warn!(log = %path, %error, "a site's log can't be written; its lines are counted and dropped");
                }
                lock(&self.buffer).dropped += batch.dropped + batch.lines;
            }
        }
        self.settled.send_replace(batch.seen);
    }
}

impl Buffer {
    fn add(&mut self, now: Timestamp, origin: Origin, stream: Stream, text: &str) {
        self.seen += 1;
        if self.text.len() + text.len() > BUFFER_BYTES {
            self.dropped += 1;
            return;
        }
        self.lines += 1;
        let Origin {
            number,
            incarnation,
        } = origin;
        let stream = stream.as_str();
        writeln!(self.text, "{now:.3} {number}.{incarnation} {stream} {text}")
            .expect("a String takes any text");
    }

    fn take(&mut self) -> Self {
        let seen = self.seen;
        let mut taken = std::mem::take(self);
        self.seen = seen;
        taken.queued = false;
        taken
    }

    /// The batch as it goes into the file. What was lost came before the lines kept when the disk
    /// refused them, and between them when the buffer was full; the count stands before them all.
    fn text_with_losses(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        if self.dropped == 0 {
            return text;
        }
        let now = Timestamp::now();
        let lost = self.dropped;
        format!("{now:.3} - log {lost} lines were lost: the disk was full or too slow\n{text}")
    }
}

impl Stream {
    /// The word in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before the lock goes, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const LIMITS: LogLimits = LogLimits {
        max_bytes: 0,
        keep: 1,
    };
    const ORIGIN: Origin = Origin {
        number: InstanceNumber::new(1),
        incarnation: Incarnation::new(42),
    };

    fn site(id: i64) -> SiteId {
        SiteId::new(id).unwrap()
    }

    fn texts(path: &Path) -> Vec<String> {
        let log = fs::read_to_string(path).unwrap();
        log.lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    #[tokio::test]
    async fn each_line_has_its_time_instance_and_stream() {
        let folder = tempfile::tempdir().unwrap();
        let book = Logbook::start(folder.path().to_path_buf(), LIMITS).unwrap();
        let log = book.of(site(7));
        log.append(ORIGIN, Stream::Out, "hello");
        book.of(site(7)).append(ORIGIN, Stream::Err, "oh");
        log.settled().await;
        let path = folder.path().join("7.log");
        assert_eq!(texts(&path), ["1.42 out hello", "1.42 err oh"]);
        let text = fs::read_to_string(&path).unwrap();
        let time = text.split(' ').next().unwrap();
        assert!(
            time.ends_with('Z') && time.parse::<Timestamp>().is_ok(),
            "{time}"
        );
    }

    #[tokio::test]
    async fn a_log_that_can_t_be_written_loses_lines_and_says_so_later() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let book = Logbook::start(logs.clone(), LIMITS).unwrap();
        let log = book.of(site(7));
        for _ in 0..3 {
            log.append(ORIGIN, Stream::Out, "lost");
            log.settled().await;
        }
        fs::create_dir(&logs).unwrap();
        log.append(ORIGIN, Stream::Out, "kept");
        log.settled().await;
        assert_eq!(
            texts(&logs.join("7.log")),
            [
                "- log 3 lines were lost: the disk was full or too slow",
                "1.42 out kept"
            ]
        );
    }

    #[test]
    fn a_full_buffer_counts_what_it_drops() {
        let mut buffer = Buffer::default();
        let line = "x".repeat(BUFFER_BYTES / 4);
        for _ in 0..6 {
            buffer.add(Timestamp::UNIX_EPOCH, ORIGIN, Stream::Out, &line);
        }
        assert_eq!((buffer.lines, buffer.dropped, buffer.seen), (3, 3, 6));
        let mut taken = buffer.take();
        assert!(taken.text_with_losses().contains("3 lines were lost"));
        assert_eq!((buffer.lines, buffer.dropped, buffer.seen), (0, 0, 6));
    }

    #[tokio::test]
    async fn one_site_that_floods_does_not_take_anothers_room() {
        let folder = tempfile::tempdir().unwrap();
        let book = Logbook::start(folder.path().to_path_buf(), LIMITS).unwrap();
        let (loud, quiet) = (book.of(site(1)), book.of(site(2)));
        let line = "x".repeat(16 * 1024);
        for _ in 0..100 {
            loud.append(ORIGIN, Stream::Out, &line);
        }
        quiet.append(ORIGIN, Stream::Out, "heard");
        quiet.settled().await;
        assert_eq!(texts(&folder.path().join("2.log")), ["1.42 out heard"]);
        loud.settled().await;
    }
}
