//! The subscription: a server-sent event at every change of what `/v1/status` tells.
//!
//! An event carries no meaning; the status does. So events that nobody has read yet fall together into
//! one, and a client that was slow misses nothing by asking once.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::time::sleep;

use super::api::Api;
use super::daemon::Daemon;

/// Between two events of one subscription. The first change after a quiet time is told at once.
const PACE: Duration = Duration::from_millis(250);

/// An event now and at every change of the status
///
/// Server-sent events named `changed`, the first at once, then at most four a second; what is new is in
/// `/v1/status`. Requests, memory and other figures are no change. Ends with the daemon.
#[utoipa::path(
    get,
    path = "/v1/changes",
    responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub(super) async fn changes<D: Daemon>(
    State(api): State<Api<D>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let shutdown = api.shutdown.clone();
    let told = paced(api.daemon.changes()).take_until(shutdown.cancelled_owned());
    Sse::new(told.map(|()| Ok(Event::default().event("changed").data("status"))))
}

/// Once now, then at changes, no two within [`PACE`].
fn paced(changes: BoxStream<'static, ()>) -> impl Stream<Item = ()> {
    stream::unfold((changes, true), async |(mut changes, is_first)| {
        if !is_first {
            sleep(PACE).await;
            changes.next().await?;
        }
        // Those that came together are one.
        while let Some(Some(())) = changes.next().now_or_never() {}
        Some(((), (changes, false)))
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_that_come_together_are_told_once_and_the_last_is_never_lost() {
        let (change, changed) = tokio::sync::watch::channel(0);
        let level = stream::unfold(changed, async |mut changed| {
            changed.changed().await.ok()?;
            Some(((), changed))
        });
        let mut told = std::pin::pin!(paced(level.boxed()));
        let began = Instant::now();
        told.next().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(told.next().now_or_never(), None);
        let writer = async {
            for number in 1..=1000 {
                change.send_replace(number);
                sleep(Duration::from_millis(1)).await;
            }
        };
        let mut events = 0;
        let reader = async {
            while *change.borrow() < 1000 {
                told.next().await.unwrap();
                events += 1;
            }
        };
        tokio::join!(writer, reader);
        assert!((4..=5).contains(&events), "{events} events in a second");
    }
}
