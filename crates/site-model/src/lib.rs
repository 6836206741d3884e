//! The value types every part of Emperor speaks in.
//!
//! Whatever holds one of these types holds something valid: strings from outside are parsed into
//! them once, at the rim, and never checked again. Nothing here reads a clock, a file or a socket,
//! and nothing here knows how a value travels: encodings live in the `wire` crate, SQL in
//! `site-registry`.

mod cache;
mod counters;
mod host_map;
mod hostname;
mod packing;
mod revision;
mod route;
mod site;
mod slug;
mod status;

pub use cache::{CacheMode, CacheSettings};
pub use counters::{Generation, Incarnation, InstanceNumber, NotPositive, SiteId};
pub use hostname::{HostPattern, Hostname, HostnameError};
pub use packing::every_second_first;
pub use revision::{Revision, RevisionError};
pub use route::{
    Backend, HostConflict, HostRole, Match, Protocol, QueueBounds, RouteChange, RouteSettings,
    RouteTable, Service, SiteRoute, Unavailable,
};
pub use site::{
    Alias, AliasKind, BlankName, RejectedSite, RejectionReason, RunAs, Site, TemplateName,
    template_hint,
};
pub use slug::{Slug, SlugError};
pub use status::{InstanceState, InstanceStatus, SiteState, SiteStatus, UnknownState};
