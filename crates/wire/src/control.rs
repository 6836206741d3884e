//! Documents of the control API, HTTP + JSON on `<runtime_dir>/control.sock`.
//!
//! The OpenAPI document that the daemon serves is derived from these types.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Answer of `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusDocument {
    /// The daemon.
    pub emperor: EmperorStatus,
    /// The fastrouter.
    pub router: RouterStatus,
    /// Every site, by id; one alone where one was asked for.
    pub sites: Vec<SiteDocument>,
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
    /// The hosts it answers to, the canonical one first.
    pub hosts: Vec<String>,
    /// The revision that serves.
    pub revision: Option<String>,
    /// How often an instance ended without having been told to, since the emperor started.
    pub restarts: u64,
    /// Its instances, by number.
    pub instances: Vec<InstanceDocument>,
    /// What happened to it, the latest last; in the status of one site alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventDocument>,
}

/// A site came into a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDocument {
    /// When.
    pub at: String,
    /// Which state.
    pub state: String,
    /// Why, in words.
    pub detail: String,
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

/// A row as it stands in the database: answer of `GET /v1/sites/{site}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowDocument {
    /// Its id.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// Its domain; `""`: made from the slug.
    pub domain: String,
    /// Its further hosts.
    pub aliases: Vec<AliasDocument>,
    /// Whether it is to run.
    pub enabled: bool,
    /// Its template; `""`: the one of `[vassal]`.
    pub template: String,
    /// Its overlay, in TOML.
    pub extra_config: String,
    /// The user it runs as; `""`: the default.
    pub run_as: String,
    /// The pool it shares a vassal with.
    pub pool: Option<String>,
    /// Why the row can't be run; of such a row only id and slug are known.
    pub rejected: Option<String>,
}

/// A further host of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasDocument {
    /// The host; may begin with `*.`.
    pub host: String,
    /// What a request for it gets.
    pub kind: AliasKindDocument,
}

/// What a request for a further host gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AliasKindDocument {
    /// The site.
    Alias,
    /// 301 to the canonical host.
    Redirect,
}

/// A row to insert: body of `POST /v1/sites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRowDocument {
    /// Its slug.
    pub slug: String,
    /// Its id; left out: the next that is free.
    #[serde(default)]
    pub id: Option<i64>,
    /// Its domain.
    #[serde(default)]
    pub domain: String,
    /// Its further hosts.
    #[serde(default)]
    pub aliases: Vec<AliasDocument>,
    /// Whether it is to run.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Its template.
    #[serde(default)]
    pub template: String,
    /// Its overlay, in TOML.
    #[serde(default)]
    pub extra_config: String,
    /// The user it runs as.
    #[serde(default)]
    pub run_as: String,
}

const fn yes() -> bool {
    true
}

/// What is to change in a row: body of `PATCH /v1/sites/{site}`. What is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RowChangeDocument {
    /// Its slug.
    pub slug: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
    /// Whether it is to run.
    pub enabled: Option<bool>,
    /// Its template.
    pub template: Option<String>,
    /// Its overlay, in TOML.
    pub extra_config: Option<String>,
    /// The user it runs as.
    pub run_as: Option<String>,
    /// Further hosts to add, or to give another kind.
    pub add_aliases: Vec<AliasDocument>,
    /// Further hosts to take away.
    pub remove_aliases: Vec<String>,
}

/// Which sites an order concerned: answer of `POST /v1/reload` and `POST /v1/removals/confirm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SitesDocument {
    /// Their ids.
    pub sites: Vec<i64>,
}

/// Which sites are to be reloaded: body of `POST /v1/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadDocument {
    /// Every one.
    All,
    /// These, by slug or id.
    Sites(Vec<String>),
}

/// Everything was read again: answer of `POST /v1/reread`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RereadDocument {
    /// Keys of the configuration that were changed and take effect at the next start only.
    pub needs_restart: Vec<String>,
}

/// A template, in the answer of `GET /v1/templates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateDocument {
    /// Its name.
    pub name: String,
    /// What it says about itself.
    pub description: String,
    /// Its file, or `built-in`.
    pub origin: String,
    /// Its text.
    pub text: String,
    /// Why it can't be used; empty where it can.
    pub problem: String,
}

/// What would run for a site: answer of `GET /v1/sites/{site}/render`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RenderDocument {
    /// The site's id.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// Its template.
    pub template: String,
    /// The revision this is.
    pub revision: String,
    /// The user it would run as.
    pub run_as: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it would run; `null`: its private folder.
    pub working_dir: Option<String>,
    /// Its environment, but for what each instance has of its own: `PATH`, `HOME`, `USER`, `LANG`,
    /// `TZ`, `NOTIFY_SOCKET` and `LISTEN_*`.
    pub env: Vec<VariableDocument>,
    /// Files that would be written to its private folder.
    pub files: Vec<FileDocument>,
    /// The paths of its sandbox.
    pub reach: ReachDocument,
    /// Every setting, with where it is from.
    pub settings: Vec<SettingDocument>,
}

/// The paths of `[sandbox]`, rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReachDocument {
    /// The only ones it may write to, besides its own; empty: as file modes say.
    pub writable: Vec<String>,
    /// The only ones it may read, besides its own and the system's; empty: as file modes say.
    pub readable: Vec<String>,
    /// Those that are closed to it.
    pub inaccessible: Vec<String>,
}

/// A variable of a worker's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VariableDocument {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDocument {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A resolved setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingDocument {
    /// Its key: `ready.timeout`.
    pub key: String,
    /// Its value, as TOML.
    pub value: String,
    /// The layer that set it.
    pub origin: String,
}

/// Body of every answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDocument {
    /// What kind of refusal it is, for a program.
    pub code: ErrorCode,
    /// What happened and what to do next, for a person.
    pub error: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// There is no such site (404).
    NoSuchSite,
    /// There is no such template (404).
    NoSuchTemplate,
    /// There is no such resource (404) or it has no such method (405).
    NoSuchResource,
    /// The request can't be understood (400).
    BadRequest,
    /// Its body is too large (413).
    TooLarge,
    /// Another row stands in the way (409).
    Conflict,
    /// The values can't be (422).
    Refused,
    /// PostgreSQL or the daemon can't do it now (503).
    Unavailable,
    /// A defect of the daemon (500).
    Internal,
    /// One that this version doesn't know.
    #[serde(other)]
    Unknown,
}
