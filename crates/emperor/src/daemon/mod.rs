//! The daemon: what `emperor run` does until it is told to end.
//!
//! | module | what it is |
//! |---|---|
//! | `run` | the life of the daemon: begin, follow signals, end |
//! | `foundation`, `lock` | lock, folders, sockets: what may be refused before anything starts |
//! | `house` | every task, and how they are connected |
//! | `supervisor` | from desired state to what vassals are told |
//! | `vassal` | one task per vassal: lifecycle and processes |
//! | [`process`] | from a specification to a process group |
//! | [`router`] | the fastrouter: its process, its sockets, its route table |
//! | `purging` | from committed purges to the routers' caches and the targets in front |
//! | `routes` | which host leads to which site just now |
//! | `statuses` | the latest status of every site |
//! | `service_manager`, `pulse` | what systemd is told, and the proof behind its watchdog's pings |
//! | `handle` | what the control API may ask |
//! | `command` | what it may tell the daemon to do |
//! | `turns` | whose turn it is to start an instance |
//! | `catalog`, `shipped` | templates and overlays |

mod catalog;
mod command;
mod foundation;
mod handle;
mod house;
mod lock;
pub(crate) mod process;
mod pulse;
mod purging;
pub(crate) mod router;
mod routes;
mod run;
mod service_manager;
mod shipped;
mod statuses;
mod supervisor;
mod turns;
mod vassal;

pub(crate) use catalog::{AssemblyError, assemble, domains, shipped};
pub(crate) use command::{Reread, RereadError, Selection, Stopping};
pub(crate) use foundation::FoundationError;
pub(crate) use handle::{Handle, Overview, PoolEntry, PurgeError, RouterOverview, SiteEntry};
pub(crate) use purging::{FrontView, Purges};
pub(crate) use run::{ClusterFailure, RunError, run};
pub(crate) use statuses::{Exit, Happened, Stay};
pub(crate) use turns::{LaneStatus, RolloutQueue};
