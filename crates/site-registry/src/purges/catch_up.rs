//! The beginning of a link: telling what was committed while there was none.

use tokio_postgres::Client;

use super::event::Position;
use super::following::{CaughtUp, End, Following};
use super::news::{FeedState, Reader};
use super::reading;
use super::task::FeedTask;
use crate::link::LinkError;

/// Whether purges since then are forgotten that the reader was to hear of.
async fn has_missed(client: &Client, past: &Position, reader: &Reader) -> Result<bool, LinkError> {
    let missed = reading::missed(client, past).await?;
    if missed {
        let reader = reader.text();
        tracing::warn!(reader, "purges may have been missed: everything is purged");
    }
    Ok(missed)
}

impl FeedTask {
    /// Tells what was committed while there was no link. The subscription came first, so nothing falls
    /// in between.
    pub(super) async fn catch_up(&mut self, link: &mut Following) -> Result<(), End> {
        reading::check_subscription(&link.session.client).await?;
        match self.told.clone() {
            Some(told) => {
                let caught_up = self.read_since(link, &told.position).await?;
                self.tell(link, None, caught_up).await?;
            }
            None => {
                if let Err(end) = self.begin(link).await {
                    // Perhaps not every reader was told: the next link begins anew.
                    self.told = None;
                    return Err(end);
                }
            }
        }
        self.lost = false;
        self.tell_current(link).await?;
        self.channels.state.send_replace(FeedState::Following);
        tracing::debug!("purges are followed");
        Ok(())
    }

    /// The first link of this process: each reader goes on where it was.
    async fn begin(&mut self, link: &mut Following) -> Result<(), End> {
        // The readers' first batches lead to one and the same place.
        self.readings += 1;
        let client = &link.session.client;
        let node = self.options.node.clone();
        let cache = reading::remembered(client, &node, &Reader::Cache).await?;
        let caught_up = if let Some(position) = cache {
            self.read_since(link, &position).await?
        } else {
            // Nobody knows what the caches hold.
            CaughtUp {
                position: reading::present(client).await?,
                missed: true,
                events: vec![],
            }
        };
        let present = caught_up.position.clone();
        if self.options.start_over {
            reading::start_over(&link.session.client, &node).await?;
        }
        self.tell(link, Some(Reader::Cache), caught_up).await?;
        for name in self.options.targets.clone() {
            let target = Reader::Target(name);
            let client = &link.session.client;
            // A new target begins with the present: nothing was promised for what it holds.
            let past = reading::remembered(client, &node, &target).await?;
            let past = past.unwrap_or_else(|| present.clone());
            let up_to = Some(present.snapshot.as_str());
            let (_, events) = reading::new_events(client, &link.new, &past.snapshot, up_to).await?;
            let missed = has_missed(client, &past, &target).await?;
            reading::advance(client, &node, [(&target, &past)].into_iter()).await?;
            let caught_up = CaughtUp {
                position: present.clone(),
                events: if missed { vec![] } else { events },
                missed,
            };
            self.tell(link, Some(target), caught_up).await?;
        }
        Ok(())
    }

    pub(super) async fn read_since(
        &self,
        link: &Following,
        past: &Position,
    ) -> Result<CaughtUp, LinkError> {
        let client = &link.session.client;
        // Read before it is asked whether something is gone: what goes in between was read.
        let (snapshot, events) =
            reading::new_events(client, &link.new, &past.snapshot, None).await?;
        let missed = has_missed(client, past, &Reader::Cache).await?;
        Ok(CaughtUp {
            position: Position {
                snapshot,
                server: link.server.clone(),
            },
            events: if missed { vec![] } else { events },
            missed,
        })
    }
}
