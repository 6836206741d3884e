//! The fastrouter as the emperor sees it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`listeners`] | the sockets clients connect to |
//! | `passed` | those that systemd passes, and keeps over a restart |
//! | [`keeper`] | the process |
//! | [`settings`] | what the configuration says to it |
//! | [`board`], `news` | what it is to know: the route table as a level, and what is told of it |
//! | `posted`, `lost_hosts` | a route as it stands there, and what it led by before |
//! | [`roster`], `questions` | which routers there are, and what they are asked |
//! | [`caches`] | what its cache has to forget, and whether it may be used |
//! | [`demand`] | what it tells of requests: load, and sites to wake |
//! | [`link`], [`socket`] | how it is told, and over which socket |

pub(crate) mod board;
pub(in crate::daemon) mod caches;
pub(crate) mod demand;
pub(crate) mod keeper;
pub(crate) mod link;
pub(crate) mod listeners;
pub(in crate::daemon) mod lost_hosts;
pub(in crate::daemon) mod news;
mod passed;
pub(in crate::daemon) mod posted;
mod questions;
pub(crate) mod roster;
pub(crate) mod settings;
pub(crate) mod socket;
