//! Purges: what caches have to drop, from the table `emperor.purges` to whoever drops it.
//!
//! A purge is a row, so it takes effect at its commit and outlives everybody. What is new since a
//! reader's last reading is told by PostgreSQL's own snapshots: what was not visible then and is now.
//! So commits that overtake each other are no matter, and nothing is read twice or never.
//!
//! [`PurgeFeed`] follows the table with one session of its own, since a purge must not wait until a
//! thousand rows are read. A notification wakes it; without one it looks every
//! [`look_interval`](PurgeOptions::look_interval), which also shows in time that the link is dead: while
//! it is, whatever caches has to ask its origin, and the feed says so ([`News::Lost`]).
//!
//! Knows rows, cursors and acknowledgements. What a cache or a target does with a purge, it doesn't.

mod catch_up;
mod event;
mod feed;
mod following;
mod news;
mod post;
mod reading;
mod task;
mod watches;

pub use event::{DeadLetter, EventId, Mark, Purge, PurgeEvent};
pub use feed::{PurgeFeed, PurgeHandle};
pub use news::{Batch, FeedState, LONGEST_LOOK, News, PurgeOptions, Reader};
pub use watches::{Explained, Watch, explain, watches};
