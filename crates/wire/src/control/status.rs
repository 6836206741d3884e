//! What is told of the daemon, the router and the sites: answer of `GET /v1/status`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cache::{CacheStatus, PurgesStatus, SiteCacheDocument};

/// Answer of `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusDocument {
    /// The daemon.
    pub emperor: EmperorStatus,
    /// The fastrouter.
    pub router: RouterStatus,
    /// Every site, by id; one alone where one was asked for.
    pub sites: Vec<SiteDocument>,
    /// Every pool, by name; one alone where one was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolDocument>,
}

/// The daemon about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EmperorStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// `[node]`: this machine's name.
    pub node: String,
    /// When it started (RFC 3339).
    pub started_at: String,
    /// The link to PostgreSQL.
    pub database: DatabaseStatus,
    /// Sites that a reading no longer had and that are kept until `emperor confirm-removals`.
    pub removals_held: Vec<i64>,
    /// Starts that wait for their turn though nobody waits for them; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<StartsStatus>,
    /// How far the replacements of the whole house are; absent where there are none.
    pub rollout: Option<RolloutStatus>,
    /// How purges are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purges: Option<PurgesStatus>,
}

/// Starts that wait for their turn though nobody waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartsStatus {
    /// Instances that wait.
    pub waiting: usize,
    /// How many starts failed since the last that got ready.
    pub failures: u32,
    /// Milliseconds between two starts, where so many failed that they are held back; absent where they
    /// aren't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
}

/// How far the replacements of the whole house are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutStatus {
    /// Sites that serve.
    pub sites: usize,
    /// How many of them serve with the revision that is wanted.
    pub as_wanted: usize,
    /// Instances that are there beside those they replace.
    pub replacing: usize,
    /// How many may be: `rollout.max_replacing`.
    pub max_replacing: usize,
    /// Instances that wait for their turn to replace others.
    pub waiting: usize,
    /// Why none begins although fewer are there than may be; empty where it is just not their turn.
    pub detail: String,
}

/// The link to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseStatus {
    /// `connected`, `connecting` or `lost`.
    pub state: String,
    /// Where, without user and password.
    pub target: String,
    /// Why it is not connected, or what to look at although it is.
    pub detail: String,
    /// How full the server's notification queue is, 0 to 1.
    pub notification_queue_usage: f64,
    /// Where the rows in force are from: `database`, `snapshot`, or `nothing` as long as none are
    /// known.
    pub rows: String,
    /// When PostgreSQL held these rows, all of them (RFC 3339).
    pub last_read_at: Option<String>,
}

/// The fastrouter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterStatus {
    /// `running`, `starting` or `failed`.
    pub state: String,
    /// Why it doesn't run.
    pub detail: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Where it listens.
    pub listen: Vec<String>,
    /// The generation every one of its threads has in force.
    pub generation: u64,
    /// Client connections open now.
    pub connections: u64,
    /// Requests answered since it started.
    pub requests: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Its page cache; absent where it didn't tell in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheStatus>,
}

/// One site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SiteDocument {
    /// Its id, the worker's `SITE_ID`.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// Its state.
    pub state: String,
    /// Why it is in that state.
    pub detail: String,
    /// The pool that answers for it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The hosts it answers to, the canonical one first.
    pub hosts: Vec<String>,
    /// The revision that serves.
    pub revision: Option<String>,
    /// How often an instance ended without having been told to, since the emperor started.
    pub restarts: u64,
    /// Its instances, by number.
    pub instances: Vec<InstanceDocument>,
    /// What the page cache counted of it; absent where that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<SiteCacheDocument>,
    /// When it is started again after a failure (RFC 3339); `null`: no pause runs. This and what
    /// follows stands in the status of one site alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<String>,
    /// How the last of its processes to end did so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitDocument>,
    /// The last start of one of its instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_start: Option<StartDocument>,
    /// What happened to it, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventDocument>,
}

/// One pool: sites that share a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolDocument {
    /// Its name.
    pub name: String,
    /// Its state, one of those of sites.
    pub state: String,
    /// Why it is in that state.
    pub detail: String,
    /// The revision that serves.
    pub revision: Option<String>,
    /// How often an instance ended without having been told to, since the emperor started.
    pub restarts: u64,
    /// Its instances, by number.
    pub instances: Vec<InstanceDocument>,
    /// How many sites are in it, or on their way in or out.
    pub site_count: usize,
    /// Those sites, by id. This and what follows stands in the status of one pool alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<PoolSiteDocument>,
    /// When it is started again after a failure (RFC 3339); `null`: no pause runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<String>,
    /// How the last of its processes to end did so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitDocument>,
    /// The last start of one of its instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_start: Option<StartDocument>,
    /// What happened to it, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventDocument>,
}

/// A site of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolSiteDocument {
    /// Its id.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// Its state.
    pub state: String,
    /// `inside`, `coming` or `leaving`.
    pub place: String,
}

/// A site came into a state, or has another cause to be in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDocument {
    /// When (RFC 3339).
    pub at: String,
    /// The state before; `null`: it is the first that is known.
    pub from: Option<String>,
    /// Which state.
    pub to: String,
    /// What led to it, by a name that stays.
    pub reason: String,
    /// The instance this is about, if it is about one.
    pub incarnation: Option<u64>,
    /// Why, in words.
    pub detail: String,
}

/// The main process of an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitDocument {
    /// When that was noticed (RFC 3339).
    pub at: String,
    /// Which spawn it was.
    pub incarnation: u64,
    /// The status it exited with; `null`: it did not exit by itself, or nobody knows.
    pub code: Option<i32>,
    /// The signal that ended it; `null`: none did, or nobody knows.
    pub signal: Option<i32>,
    /// The same in words.
    pub reason: String,
    /// Whether it had been told to end.
    pub asked: bool,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
}

/// A start of an instance, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartDocument {
    /// Which spawn it is.
    pub incarnation: u64,
    /// When it began to wait for its turn (RFC 3339).
    pub began_at: String,
    /// `going`, `done`, `failed` or `broken-off`.
    pub outcome: String,
    /// How long all its steps took, in milliseconds.
    pub ms: u64,
    /// Its steps, in their order.
    pub steps: Vec<StepDocument>,
    /// The step that failed, or at which it was broken off.
    pub failed: Option<FailedStepDocument>,
}

/// A step of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepDocument {
    /// Its name.
    pub step: String,
    /// How long it took, or has taken, in milliseconds.
    pub ms: u64,
    /// As of the start.
    pub outcome: String,
}

/// Where a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedStepDocument {
    /// The step.
    pub step: String,
    /// Why, in words.
    pub reason: String,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceDocument {
    /// Its place among the site's instances.
    pub number: u32,
    /// Its process.
    pub pid: Option<u32>,
    /// Which spawn it is.
    pub incarnation: u64,
    /// Its revision.
    pub revision: String,
    /// Its state.
    pub state: String,
    /// Where it listens.
    #[schema(value_type = String)]
    pub socket: PathBuf,
    /// When its process began (RFC 3339).
    pub started_at: Option<String>,
    /// Resident memory of its process group, in bytes.
    pub rss_bytes: u64,
    /// Requests it was given.
    pub requests: u64,
    /// Requests it has now.
    pub in_flight: u64,
}
