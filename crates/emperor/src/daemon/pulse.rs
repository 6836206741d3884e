//! The pulse of a loop: proof that it still comes round.
//!
//! A loop that works counts its turns by itself; one that waits is woken for a turn when somebody
//! asks. So a turn is never a timer's doing, and costs nothing while nobody asks.
//!
//! Knows nothing of what the loop does, nor of who wants to know.

use tokio::sync::watch;

/// The loop's end.
#[derive(Debug)]
pub(super) struct Pulse {
    asked: watch::Receiver<()>,
    turns: watch::Sender<u64>,
}

/// The end of whoever wants to know.
#[derive(Debug)]
pub(super) struct PulseMonitor {
    ask: watch::Sender<()>,
    turns: watch::Receiver<u64>,
}

/// Nobody will ask any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unasked;

/// Both ends.
pub(super) fn pulse() -> (Pulse, PulseMonitor) {
    let (ask, asked) = watch::channel(());
    let (turns, counted) = watch::channel(0);
    let monitor = PulseMonitor {
        ask,
        turns: counted,
    };
    (Pulse { asked, turns }, monitor)
}

impl Pulse {
    /// The loop begins a turn.
    pub(super) fn turn(&self) {
        self.turns.send_modify(|turns| *turns += 1);
    }

    /// Resolves when somebody wants to see a turn: a branch of the loop's `select!`, with nothing to
    /// do. Cancel safe.
    pub(super) async fn asked(&mut self) -> Result<(), Unasked> {
        self.asked.changed().await.map_err(|_| Unasked)
    }
}

impl PulseMonitor {
    /// Waits for a turn that begins after this call; for ever, where the loop has ended. Cancel safe.
    pub(super) async fn next_turn(&mut self) {
        self.turns.borrow_and_update();
        self.ask.send_replace(());
        if self.turns.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_waiting_loop_is_woken_for_a_turn_and_a_stuck_one_shows_none() {
        let (mut pulse, mut monitor) = pulse();
        pulse.turn();
        assert_eq!(monitor.next_turn().now_or_never(), None, "an old turn");
        assert_eq!(pulse.asked().now_or_never(), Some(Ok(())));
        assert_eq!(pulse.asked().now_or_never(), None, "asked once");
        let waiting = tokio::spawn(async move { monitor.next_turn().await });
        assert_eq!(pulse.asked().await, Ok(()));
        pulse.turn();
        waiting.await.unwrap();
        assert_eq!(pulse.asked().await, Err(Unasked));
    }

    #[tokio::test]
    async fn a_loop_that_works_shows_turns_without_being_woken() {
        let (pulse, mut monitor) = pulse();
        let mut next = std::pin::pin!(monitor.next_turn());
        assert_eq!(next.as_mut().now_or_never(), None);
        pulse.turn();
        next.await;
    }

    #[tokio::test]
    async fn a_loop_that_has_ended_comes_round_no_more() {
        let (pulse, mut monitor) = pulse();
        drop(pulse);
        assert_eq!(monitor.next_turn().now_or_never(), None);
    }
}
