//! What notifications said, until somebody reads those rows.
//!
//! A set instead of a queue: a site named a thousand times is read once, and beyond a bound the
//! answer is to read everything. So it never fills, and the session that listens never waits.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::payload::Payload;

/// Beyond so many rows a full reading is cheaper than one by id.
const MAX_IDS: usize = 5_000;

/// Which rows are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stale {
    /// Those with these ids.
    Ids(BTreeSet<i64>),
    /// All.
    Everything,
}

/// Shared by the session that listens and the task that reads.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    stale: Option<Stale>,
    probe: Option<u64>,
    purges: bool,
}

impl Inbox {
    /// Notes what a notification said.
    pub(crate) fn note(&self, payload: Payload) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match payload {
            Payload::Probe(nonce) => state.probe = Some(nonce),
            Payload::Purges => state.purges = true,
            Payload::Everything => state.stale = Some(Stale::Everything),
            Payload::Ids(ids) => {
                state.stale = Some(match state.stale.take() {
                    Some(Stale::Everything) => Stale::Everything,
                    Some(Stale::Ids(mut known)) => {
                        known.extend(ids);
                        bounded(known)
                    }
                    None => bounded(ids.into_iter().collect()),
                });
            }
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits for rows to read, and takes them. Cancel safe: they stay until they are taken.
    pub(crate) async fn stale(&self) -> Stale {
        self.wait_for(|state| state.stale.take()).await
    }

    /// Waits until there are purges to read. Cancel safe.
    pub(crate) async fn purges(&self) {
        self.wait_for(|state| std::mem::take(&mut state.purges).then_some(()))
            .await;
    }

    /// Waits for a probe that the emperor sent to itself. Cancel safe.
    pub(crate) async fn probe(&self, nonce: u64) {
        self.wait_for(|state| (state.probe == Some(nonce)).then_some(()))
            .await;
    }

    async fn wait_for<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let found = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                take(&mut state)
            };
            if let Some(found) = found {
                return found;
            }
            self.arrived.notified().await;
        }
    }
}

fn bounded(ids: BTreeSet<i64>) -> Stale {
    if ids.len() > MAX_IDS {
        Stale::Everything
    } else {
        Stale::Ids(ids)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn check(payloads: Vec<Payload>, expected: Option<&Stale>) {
        let inbox = Inbox::default();
        for payload in payloads {
            inbox.note(payload);
        }
        assert_eq!(inbox.stale().now_or_never().as_ref(), expected);
        assert_eq!(inbox.stale().now_or_never(), None);
    }

    #[test]
    fn rows_named_twice_are_read_once() {
        check(
            vec![Payload::Ids(vec![1, 2]), Payload::Ids(vec![2, 3])],
            Some(&Stale::Ids([1, 2, 3].into())),
        );
    }

    #[test]
    fn beyond_the_bound_everything_is_read() {
        let many = (0..=i64::try_from(MAX_IDS).unwrap()).collect();
        check(vec![Payload::Ids(many)], Some(&Stale::Everything));
        check(
            vec![Payload::Everything, Payload::Ids(vec![1])],
            Some(&Stale::Everything),
        );
    }

    #[test]
    fn a_probe_is_told_from_another_emperors() {
        let inbox = Inbox::default();
        inbox.note(Payload::Probe(1));
        assert_eq!(inbox.probe(2).now_or_never(), None);
        inbox.note(Payload::Probe(2));
        assert_eq!(inbox.probe(2).now_or_never(), Some(()));
        assert_eq!(inbox.stale().now_or_never(), None);
    }
}
