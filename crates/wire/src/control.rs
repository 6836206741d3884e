//! Documents of the control API, HTTP + JSON on `<runtime_dir>/control.sock`.
//!
//! The OpenAPI document that the daemon serves is derived from these types.

mod cache;
mod status;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use cache::{
    CacheStatus, CachedDocument, PageDocument, PurgeDocument, PurgeTargetStatus, PurgedDocument,
    PurgesStatus, ReasonDocument, SiteCacheDocument,
};
pub use status::{
    DatabaseStatus, EmperorStatus, EventDocument, ExitDocument, FailedStepDocument,
    InstanceDocument, PoolDocument, PoolSiteDocument, RolloutStatus, RouterStatus, SiteDocument,
    StartDocument, StartsStatus, StatusDocument, StepDocument,
};

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
    /// The pool it shares a vassal with; empty: none.
    #[serde(default)]
    pub pool: String,
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
    /// The pool it shares a vassal with; empty: none.
    pub pool: Option<String>,
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
    /// The site's id; `null`: this is a pool.
    pub id: Option<i64>,
    /// Its slug, or `pool.NAME`.
    pub slug: String,
    /// The pool that it shares this with, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolPlaceDocument>,
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

/// A site as a pool's worker knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolPlaceDocument {
    /// The pool's name.
    pub name: String,
    /// What its worker is told of this site, with each request.
    pub request: Vec<VariableDocument>,
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
