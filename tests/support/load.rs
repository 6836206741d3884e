//! Requests that go on while something happens, each of which must be answered as it should.
//!
//! The visitors have a thread and a runtime of their own, so that a test may block without keeping
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::Client;
use crate::client::{Kept, NoAnswer};

/// A few visitors that ask for a site's page again and again.
#[derive(Debug)]
pub struct Load {
    notes: Ending,
    visitors: JoinHandle<Vec<String>>,
}

/// Sends the visitors away when a test fails before it stops them.
#[derive(Debug)]
struct Ending(Arc<Notes>);

/// What the visitors and the test tell each other.
#[derive(Debug, Default)]
struct Notes {
    over: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    /// Starts it: for each host one visitor that keeps its connection and one that opens a new one
    /// for every request.
    pub fn start(client: Client, hosts: &[&str], path: &str) -> Self {
        let notes = Arc::<Notes>::default();
        let shared = Arc::clone(&notes);
        let targets: Vec<_> = hosts
            .iter()
            .map(|host| ((*host).to_owned(), path.to_owned()))
            .collect();
        let visitors = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(come(client, targets, shared))
        });
        Self {
            notes: Ending(notes),
            visitors,
        }
    }

    /// How many requests were answered as they should so far.
    pub fn answered(&self) -> usize {
        self.notes.0.answered.load(Ordering::Relaxed)
    }

    /// Ends it; every request must have been answered by its site. Returns how many.
    pub async fn stop(self) -> usize {
        self.notes.0.over.store(true, Ordering::Relaxed);
        let visitors = self.visitors;
        let ended = tokio::task::spawn_blocking(|| visitors.join().unwrap());
        let failures = ended.await.unwrap();
        let answered = self.notes.0.answered.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {} requests failed, first: {:?}",
            failures.len(),
            answered + failures.len(),
            &failures[..failures.len().min(5)]
        );
        assert!(answered > 0, "no request was sent");
        answered
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Returns what failed.
async fn come(client: Client, targets: Vec<(String, String)>, notes: Arc<Notes>) -> Vec<String> {
    let mut visitors = JoinSet::new();
    for (host, path) in targets {
        for keeps in [true, false] {
            let (host, path, notes) = (host.clone(), path.clone(), Arc::clone(&notes));
            visitors.spawn(async move { come_again(client, &host, &path, keeps, &notes).await });
        }
    }
    visitors.join_all().await.concat()
}

async fn come_again(
    client: Client,
    host: &str,
    path: &str,
    keeps: bool,
    notes: &Notes,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut kept = None;
    loop {
        match visit(client, &mut kept, host, path).await {
            Ok(()) => {
                notes.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => failures.push(failure),
        }
        if notes.over.load(Ordering::Relaxed) {
            return failures;
        }
        if !keeps {
            kept = None;
        }
        // A light load: other tests run beside this one.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn visit(
    client: Client,
    kept: &mut Option<Kept>,
    host: &str,
    path: &str,
) -> Result<(), String> {
    let told = |failure: NoAnswer| format!("{host}{path}: {failure:?}");
    // Whoever was kept from running by a busy machine has news to read before it writes: what is idle may
    // have been closed meanwhile, and no request was lost by that.
    tokio::task::yield_now().await;
    let open = kept.take().filter(|connection| !connection.is_closed());
    let mut connection = match open {
        Some(connection) => connection,
        None => client.connect().await.map_err(told)?,
    };
    let answer = connection.get(host, path).await.map_err(told)?;
    if answer.header("connection") != "close" {
        *kept = Some(connection);
    }
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    Err(format!("{host}{path}: {} {}", answer.status, answer.text()))
}
