//! Purging the caches that stand in front of the fastrouter.
//!
//! An [`Order`] names pages of a site; a [`Target`] is a cache that may hold them. Each target has a
//! task of its own ([`Delivery`]) with a queue of its own, so that one which is slow or away delays
//! nobody. Orders of one site are carried out one after the other; what fails is tried again with growing pauses, and
//! what is refused, or fails for too long, becomes a dead letter that says why.
//!
//! | module | what it is | I/O |
//! |---|---|---|
//! | `order` | what is to be purged | none |
//! | `target` | what a target is, checked when it is made | none |
//! | `plan` | an order → what to ask of a target | none |
//! | `queue` | what is next, what is done, when to try again | none; `now` is an argument |
//! | `varnish` | bans, and Varnish's command-line protocol | `client` alone |
//! | `http`, `directory` | requests, folders | yes |
//! | `delivery`, `failure` | the task; why an attempt failed | yes; none |
//!
//! What it must not know: the database, where orders come from, which hosts a site has. Whoever sends
//! orders keeps them until [`Report::Done`] says that they are carried out; so none is lost, whatever
//! crashes, and some are carried out twice, which is no harm.

mod delivery;
mod directory;
mod failure;
mod http;
mod order;
mod plan;
mod queue;
mod target;
mod varnish;

pub use delivery::{Batch, Delivery, Report, Standing};
pub use order::{Order, What};
pub use queue::Limits;
pub use target::{
    Address, HttpTarget, Kind, NginxTarget, Request, Secret, Target, TargetError, VarnishTarget,
};
