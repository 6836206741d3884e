//! Where threads meet: atomics, locks and notes of the standard library and the runtime, or those of
//! the model checker.

#[cfg(not(all(test, feature = "model")))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, feature = "model"))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, feature = "model")))]
pub(crate) use tokio::sync::Notify;

#[cfg(all(test, feature = "model"))]
pub(crate) use self::note::Notify;

/// The runtime's own can't be looked into by the model checker: what is relied on of it is written
/// down here.
#[cfg(all(test, feature = "model"))]
mod note {
    use std::future::poll_fn;
    use std::task::{Poll, Waker};

    use super::Mutex;

    /// One note for one who waits; it is kept where nobody does yet.
    #[derive(Debug, Default)]
    pub(crate) struct Notify(Mutex<Note>);

    #[derive(Debug, Default)]
    struct Note {
        is_there: bool,
        waiting: Option<Waker>,
    }

    impl Notify {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notify_one(&self) {
            let mut note = self.0.lock().expect("nobody panics while it is held");
            note.is_there = true;
            let waiting = note.waiting.take();
            drop(note);
            if let Some(waiting) = waiting {
                waiting.wake();
            }
        }

        pub(crate) async fn notified(&self) {
            let take = poll_fn(|cx| {
                let mut note = self.0.lock().expect("nobody panics while it is held");
                if std::mem::take(&mut note.is_there) {
                    return Poll::Ready(());
                }
                note.waiting = Some(cx.waker().clone());
                Poll::Pending
            });
            take.await;
        }
    }
}
