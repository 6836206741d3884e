//! Processes: how a specification becomes a running process group, and what can be known of it and
//! done to it.
//!
//! This layer performs and reports; it decides nothing. When to start, how often to try again and
//! what an exit means is for the vassal's actor and its `Lifecycle`; who is told of a socket is for
//! the publisher. It knows nothing of rows, of the database or of the route table.
//!
//! | module | what it is |
//! |---|---|
//! | `launcher`, `tools` | what the daemon asks: prepare, take over, spawn; and what it takes |
//! | `layout`, `folder`, `listen` | where things lie, who owns them, which sockets are bound there |
//! | `identity` | who runs what; uids of the range are assigned for good |
//! | `incarnations`, `pools`, `record`, `memory`, `moment` | what survives the daemon's death |
//! | `durable`, `notebook`, `stretch` | how it gets to the disk, or doesn't |
//! | `environment`, `limits`, `order` | what a worker is given |
//! | `room` | for how many instances there are descriptors |
//! | `cgroup`, `walls` | what bounds an instance as a whole, and what it is kept from |
//! | `spawning`, `helper`, `programs` | from all this to `vassal-exec` and its plan; where our programs are |
//! | `preloading` | processes that workers are forked from |
//! | `start`, `priority` | one start, step by step, and how it waits for what serves |
//! | `failure` | why there is no process, for an operator |
//! | `pidfd`, `child`, `session`, `running` | exits, signals, groups, what is left over |
//! | `halts` | processes that are stopped, or go on |
//! | `output` | standard output and error, to one log per site |
//! | `notify`, `credentials`, `probe`, `worker_socket` | readiness, and the way to the worker |
//! | `left`, `reclaim` | what an emperor that was killed left: taken over, or ended |

mod cgroup;
mod child;
mod credentials;
mod durable;
mod environment;
mod failure;
mod folder;
mod halts;
mod helper;
mod identity;
mod incarnations;
mod launcher;
mod layout;
mod left;
mod limits;
mod listen;
mod memory;
mod moment;
mod notebook;
mod notify;
mod order;
mod output;
mod pidfd;
mod pools;
mod preloading;
mod priority;
mod probe;
mod programs;
mod reclaim;
mod record;
mod room;
mod running;
mod session;
mod spawning;
mod start;
mod stretch;
#[cfg(test)]
mod tests;
mod tools;
mod walls;
mod worker_socket;

pub(in crate::daemon) use durable::replace as replace_file;
pub(crate) use failure::{PrepareError, SpawnFailure};
pub(crate) use identity::MEETING_PLACE;
pub(crate) use launcher::{Launcher, LauncherOptions};
pub(crate) use left::{Left, LeftFastrouter, LeftInstance, TakenOver};
pub(crate) use memory::SiteMemory;
pub(crate) use probe::ProbeFailure;
#[cfg(test)]
pub(crate) use probe::ProbeMiss;
pub(crate) use programs::{MissingProgram, OwnPrograms};
pub(crate) use record::FastrouterRecord;
pub(in crate::daemon) use record::boot_id;
pub(crate) use running::{RunningInstance, RunningProcess};
pub(crate) use session::pss_bytes;
pub(crate) use session::resident_bytes;
pub(crate) use spawning::FastrouterOrder;
pub(crate) use start::{Outcome, Start, StartTold, Step, StepTaken};
