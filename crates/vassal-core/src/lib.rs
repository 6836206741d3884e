//! What is to run, and the life of what runs.
//!
//! Two pure halves that share the types of [`spec`]:
//!
//! - rows, templates and overlays become a [`VassalSpec`], or a rejection that shows the line;
//! - `plan` compares what is wanted with what is there, and one `Lifecycle` per vassal decides,
//!   event by event, what is to be done.
//!
//! No clock, no I/O, no task: `now` is an argument, effects are values.

pub mod backoff;
pub mod diagnostic;
mod exit;
mod health;
mod launch;
pub mod lifecycle;
pub mod overlay;
mod plan;
pub mod resolve;
mod scaling;
pub mod settings;
pub mod spec;
pub mod template;
pub mod units;
mod want;

pub use diagnostic::{Diagnostic, Diagnostics, Source};
pub use exit::ExitReason;
pub use lifecycle::{Lifecycle, Resting, StatusTold};
pub use overlay::Policy;
pub use plan::{Action, Plan, plan};
pub use resolve::{Catalog, CatalogInput, PoolReloads, Pooling, Resolution};
pub use settings::Settings;
pub use spec::{
    Asked, InstanceContext, Launch, ListenMode, NamesTold, Reach, RenderedFile, SiteHosts,
    VassalSpec,
};
pub use template::TemplateSource;
pub use want::{Address, Membership, Rejection, Want};
