//! The layer as a whole, over real processes. As root they run as real other users; otherwise as
//! the user that runs the tests, and what only root can show is left out.

mod forks;
mod identity;
mod lifetime;
mod limits;
mod output;
mod priority;
mod readiness;
mod reclaim;
mod signs;
mod start;
mod support;
