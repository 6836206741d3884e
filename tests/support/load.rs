//! Requests that go on while something happens, each of which must be answered as it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::Client;
use crate::client::{Kept, NoAnswer};

/// A few visitors that ask for a site's page again and again.
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    visitors: JoinSet<Vec<String>>,
}

impl Load {
    /// Starts it: for each host one visitor that keeps its connection and one that opens a new one
    /// for every request.
    pub fn start(client: Client, hosts: &[&str], path: &str) -> Self {
        let mut load = Self {
            over: Arc::default(),
            answered: Arc::default(),
            visitors: JoinSet::new(),
        };
        for host in hosts {
            for keeps in [true, false] {
                load.visitor(client, host, path, keeps);
            }
        }
        load
    }

    /// How many requests were answered as they should so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it; every request must have been answered by its site. Returns how many.
    pub async fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        let failures = self.visitors.join_all().await.concat();
        let answered = self.answered.load(Ordering::Relaxed);
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

    fn visitor(&mut self, client: Client, host: &str, path: &str, keeps: bool) {
        let (host, path) = (host.to_owned(), path.to_owned());
        let (over, answered) = (Arc::clone(&self.over), Arc::clone(&self.answered));
        self.visitors.spawn(async move {
            let mut failures = Vec::new();
            let mut kept = None;
            while !over.load(Ordering::Relaxed) {
                match visit(client, &mut kept, &host, &path).await {
                    Ok(()) => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(failure) => failures.push(failure),
                }
                if !keeps {
                    kept = None;
                }
                // A light load: other tests run beside this one.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            failures
        });
    }
}

async fn visit(
    client: Client,
    kept: &mut Option<Kept>,
    host: &str,
    path: &str,
) -> Result<(), String> {
    let told = |failure: NoAnswer| format!("{host}{path}: {failure:?}");
    let mut connection = match kept.take() {
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
