//! A task that the house owns.

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

/// A task, and how it is told to end.
pub(super) struct Part {
    pub(super) stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Part {
    /// Starts a task. It is given what tells it to end.
    pub(super) fn start<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(run(stop.clone())));
        Self { stop, task }
    }

    /// Resolves when the task has ended, every time it is asked. Cancel safe.
    pub(super) async fn ended(&mut self) {
        if self.task.is_finished() {
            return;
        }
        if let Err(error) = (&mut self.task).await {
            error!(%error, "a part of the daemon failed");
        }
    }

    /// Ends it, and waits until it has ended.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        self.ended().await;
    }
}

/// Resolves when a part has ended; never, where there is none. Cancel safe.
pub(super) async fn ended(part: Option<&mut Part>) {
    match part {
        Some(part) => part.ended().await,
        None => std::future::pending().await,
    }
}
