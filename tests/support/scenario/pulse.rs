//! Whether the emperor's loop still turns: a question on its control socket again and again, at a
//! fixed rate.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::Emperor;

const PAUSE: Duration = Duration::from_millis(20);

/// Questions that go on until they are stopped.
#[derive(Debug)]
pub struct Pulse {
    over: oneshot::Sender<()>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Pulse {
    /// Begins to ask for a template, which costs the same however many sites there are.
    pub fn feel(emperor: &Emperor) -> Self {
        let socket = emperor.runtime_dir().join("control.sock");
        let question =
            "GET /v1/templates/demo HTTP/1.1\r\nHost: emperor\r\nConnection: close\r\n\r\n";
        let (over, ended) = oneshot::channel();
        let asking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(ask(socket, question, ended))
        });
        Self { over, asking }
    }

    /// How long each answer took, from when its question was due.
    pub fn stop(self) -> Vec<Duration> {
        self.over.send(()).unwrap();
        self.asking.join().unwrap()
    }
}

async fn ask(
    socket: PathBuf,
    question: &'static str,
    mut over: oneshot::Receiver<()>,
) -> Vec<Duration> {
    let mut due = Instant::now();
    // Each on its own: one that waits must not keep the next from being asked.
    let mut questions = JoinSet::new();
    loop {
        tokio::select! {
            () = sleep_until(due.into()) => {}
            _stopped = &mut over => return questions.join_all().await,
        }
        questions.spawn(ask_once(socket.clone(), question, due));
        due += PAUSE;
    }
}

async fn ask_once(socket: PathBuf, question: &'static str, due: Instant) -> Duration {
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(question.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    due.elapsed()
}
