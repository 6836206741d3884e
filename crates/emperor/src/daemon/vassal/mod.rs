//! The actor of one vassal: one task that owns one `Lifecycle`, one timer, and the processes of
//! its site. It performs effects and turns what happens into events; it decides nothing.
//!
//! Its wishes come as a level ([`Order`]), so whoever gives them never waits for it. What it waits
//! for are futures that it owns itself: they end with it.
//!
//! | module | what it is |
//! |---|---|
//! | `order` | what it is told |
//! | `worker` | what it needs of the process layer, as traits |
//! | `children` | its processes and start permits |
//! | `estate` | what an earlier emperor left of it |
//! | `actor`, `clock` | the task; what time it is for it |
//! | `witness` | what is told of it: status, history, log |
//! | `rest` | doing without one |

mod actor;
mod children;
mod clock;
mod estate;
mod order;
mod rest;
#[cfg(test)]
pub(super) mod stage;
#[cfg(test)]
mod tests;
mod witness;
mod worker;

use std::sync::Arc;

pub(super) use actor::{Beginning, End, run, run_left};
pub(super) use clock::now;
pub(super) use estate::{Estate, Heir, Unfit};
pub(super) use order::{Order, Wish};
pub(super) use rest::{keep_rest, rest};
pub(super) use worker::Spawner;

use super::routes::Routes;
use super::statuses::StatusBoard;
use super::turns::Turns;

/// What all vassals of a house share.
#[derive(Debug)]
pub(super) struct House<S> {
    /// Starts processes.
    pub(super) spawner: Arc<S>,
    /// Who may start an instance.
    pub(super) turns: Arc<Turns>,
    /// Where routes go.
    pub(super) routes: Arc<Routes>,
    /// Where statuses go.
    pub(super) statuses: Arc<StatusBoard>,
}
