//! The fastrouter as a whole: the real program, with its listening socket passed to it, an emperor
//! at the other end of its link and workers behind unix sockets, both played by the tests.
#![expect(
    clippy::unwrap_used,
    reason = "every function here serves a test alone"
)]

mod client;
mod house;
mod place;
mod worker;

mod answers;
mod at_once;
mod bodies;
mod cache;
mod concurrency;
mod drain;
mod fills;
mod forwarding;
mod framing;
mod isolation;
mod link;
mod load;
mod log;
mod patience;
mod pools;
mod queue;
mod retry;
mod sleep;
mod upgrade;

use std::time::Duration;

/// Nothing that is awaited here takes longer, unless something is broken: also on a machine that does ten
/// other things.
const PATIENCE: Duration = Duration::from_mins(1);
