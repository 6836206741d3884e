//! Visitors that come at a fixed rate, whether or not those before them were served.
//!
//! [`Load`](crate::Load) asks again once it was answered: a standstill of a second costs it one slow
//! request, and hides the hundreds that would have come meanwhile. Here every request has a moment
//! at which it is due, and its latency counts from that moment: who stands still makes all wait that
//! were due.
//!
//! The visitors have a thread and a runtime of their own, so that a test may block without keeping
//! them.

mod ledger;
mod visit;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use ledger::{Kind, Ledger, Record, Verdict};
pub use visit::LONGEST_HOLD;
use visit::{Hall, visit};

/// Who comes, and how often.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// The router's port on 127.0.0.1.
    pub port: u16,
    /// The sites that are asked in turn, each at `SLUG.example`.
    pub slugs: Vec<String>,
    /// Requests per second, over all sites.
    pub per_second: u32,
    /// When a visitor gives up, counted from when the request was due. With the rate it bounds how
    /// many are under way.
    pub patience: Duration,
}

/// Requests that go on until they are stopped.
#[derive(Debug)]
pub struct OpenLoop {
    over: oneshot::Sender<()>,
    visitors: JoinHandle<Ledger>,
}

impl OpenLoop {
    /// Starts it.
    pub fn start(traffic: Traffic) -> Self {
        let (over, ended) = oneshot::channel();
        let visitors = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(arrive(traffic, ended))
        });
        Self { over, visitors }
    }

    /// Lets nobody come any more, waits for those who are there, and tells what each met.
    pub async fn stop(self) -> Ledger {
        self.over.send(()).unwrap();
        let ended = tokio::task::spawn_blocking(|| self.visitors.join().unwrap());
        ended.await.unwrap()
    }
}

async fn arrive(traffic: Traffic, mut over: oneshot::Receiver<()>) -> Ledger {
    let pause = Duration::from_secs(1) / traffic.per_second;
    let hall = Arc::new(Hall::of(traffic));
    let began = Instant::now();
    let mut visits = JoinSet::new();
    let mut ledger = Ledger::new(began);
    for number in 0.. {
        let due = began + pause * number;
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            _stopped = &mut over => break,
        }
        visits.spawn(visit(Arc::clone(&hall), number, due));
        while let Some(record) = visits.try_join_next() {
            ledger.enter(record.unwrap());
        }
    }
    for record in visits.join_all().await {
        ledger.enter(record);
    }
    ledger
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn visitors_come_although_those_before_them_still_wait() {
        const WAITING: usize = 20;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let load = OpenLoop::start(Traffic {
            port: listener.local_addr().unwrap().port(),
            slugs: vec!["one".to_owned()],
            per_second: 500,
            patience: Duration::from_mins(1),
        });
        let mut waiting = Vec::new();
        while waiting.len() < WAITING {
            waiting.push(listener.accept().await.unwrap().0);
        }
        let ended = tokio::spawn(load.stop());
        let answer = async |stream: &mut tokio::net::TcpStream| {
            let mut request = [0; 1024];
            let _asked = stream.read(&mut request).await.unwrap();
            let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        };
        for stream in &mut waiting {
            answer(stream).await;
        }
        let late = tokio::spawn(async move {
            // Those who came between the last of the above and the end.
            while let Ok((mut stream, _)) = listener.accept().await {
                answer(&mut stream).await;
            }
        });
        let ledger = ended.await.unwrap();
        late.abort();
        assert!(ledger.records.len() >= WAITING);
        let busy = ledger.verdicts()[&Verdict::Status(503)];
        assert_eq!(busy, ledger.records.len());
    }
}
