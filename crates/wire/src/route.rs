//! The link between emperor and fastrouter.
//!
//! The emperor listens on a unix socket; the fastrouter connects, and connects again for as long
//! as it lives. On a connection the emperor sends [`Settings`] and the whole table
//! ([`ToRouter::TableBegin`], parts, [`ToRouter::TableEnd`]), afterwards changes, each with its
//! generation. A router that meets a gap asks for the table again. Both directions carry frames of
//! the [`frame`](crate::frame) module. How a router is to end is told by signals alone: they reach
//! it without a link too.
//!
//! Emperor and router may be of different versions, since each outlives the other. So nothing here
//! refuses a field that it doesn't know, and a field that is added has a default for peers that don't
//! send it. What can't be said so raises [`PROTOCOL_VERSION`]; a new kind of message alone doesn't, where a
//! field of the hello tells whether the peer knows it.

mod load;
mod settings;
mod stats;
mod table;

use serde::{Deserialize, Serialize};

pub use self::load::{InstanceLoad, SiteLoad};
pub use self::settings::{AccessLog, AccessLogFormat, Settings};
pub use self::stats::{InstanceStats, QueueStats, RouterStats};
pub use self::table::{
    BackendFrame, BadRoute, ProtocolFrame, RouteFrame, ServiceFrame, parse_change,
};
use crate::cache::{PageFrame, SitePurge};

/// Version of this protocol. It is raised when a peer of the version before would misunderstand; a
/// field that such a peer can ignore is no reason.
pub const PROTOCOL_VERSION: u32 = 1;

/// How many routes go into one [`ToRouter::TablePart`], so that a frame stays far below its bound.
pub const ROUTES_PER_PART: usize = 500;

/// How many sites go into one [`FromRouter::Load`], so that a frame stays far below its bound.
pub const SITES_PER_LOAD: usize = 500;

/// What the emperor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToRouter {
    /// How to behave; sent first, and again when the configuration changed.
    Settings(Settings),
    /// A whole table begins; the one in use stays until the end arrives.
    TableBegin {
        /// The generation the table has.
        generation: u64,
    },
    /// Some of its routes.
    TablePart {
        /// At most [`ROUTES_PER_PART`].
        routes: Vec<RouteFrame>,
    },
    /// It is complete, and in force.
    TableEnd,
    /// One step further.
    Change {
        /// The generation afterwards.
        generation: u64,
        /// Routes that are new or differ.
        upserts: Vec<RouteFrame>,
        /// Sites that are gone.
        removals: Vec<i64>,
    },
    /// Asks for a [`FromRouter::Idle`] once no request is in flight at this instance and the table
    /// in force doesn't lead to it. Asked again on each connection; an instance the router doesn't
    /// know is idle.
    AwaitIdle {
        /// The instance's site.
        site_id: i64,
        /// The instance.
        incarnation: u64,
    },
    /// Asks for one [`FromRouter::Stats`].
    AskStats {
        /// Comes back with the answer.
        token: u64,
    },
    /// Forget these pages. [`FromRouter::Purged`] follows once none of them is served any more.
    Purge {
        /// The number of this purge: higher than those before.
        sequence: u64,
        /// What to forget.
        sites: Vec<SitePurge>,
    },
    /// Forget all pages of all sites; answered as [`Self::Purge`] is.
    PurgeAll {
        /// As of [`Self::Purge`].
        sequence: u64,
    },
    /// Purges can't be heard for now: nothing is served from the cache and nothing kept. So it is on
    /// each new connection, until the next one.
    SuspendCache,
    /// Purges are heard, and all that may have been missed was said before this. Holds for
    /// [`CACHE_LEASE`](crate::cache::CACHE_LEASE), and is said again well before that is over; a router of
    /// an earlier version takes it to hold until the next [`Self::SuspendCache`].
    ResumeCache,
    /// Asks for one [`FromRouter::CachePages`].
    AskCache {
        /// Comes back with the answer.
        token: u64,
        /// The site whose pages are shown.
        site_id: i64,
        /// Only those of this path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
}

/// What the fastrouter says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromRouter {
    /// Who connected; sent first.
    Hello {
        /// [`PROTOCOL_VERSION`] of the router.
        protocol: u32,
        /// The router's process.
        pid: u32,
        /// Its version, to tell people.
        version: String,
        /// The number of the last purge that it carried out, 0 before any. A router of an earlier version
        /// has no cache and doesn't tell: nothing is said to it of caches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purged: Option<u64>,
        /// It knows what a pool is. One of an earlier version doesn't tell, and is told of none.
        #[serde(default)]
        knows_pools: bool,
    },
    /// Every thread has this generation in force: no request that begins from now on uses an
    /// older one.
    Acknowledged {
        /// The generation.
        generation: u64,
    },
    /// A change was missing, or made no sense: send the whole table.
    ResendTable,
    /// Answer to [`ToRouter::AwaitIdle`].
    Idle {
        /// The instance's site.
        site_id: i64,
        /// The instance.
        incarnation: u64,
    },
    /// Answer to [`ToRouter::AskStats`].
    Stats {
        /// The question's token.
        token: u64,
        /// The figures.
        stats: RouterStats,
    },
    /// None of the pages that this purge names is served any more.
    Purged {
        /// The purge's number.
        sequence: u64,
    },
    /// Answer to [`ToRouter::AskCache`].
    CachePages {
        /// The question's token.
        token: u64,
        /// At most [`PAGES_PER_ANSWER`](crate::cache::PAGES_PER_ANSWER).
        pages: Vec<PageFrame>,
    },
    /// A request came for a site that sleeps, and waits. Said once per route that says so, and again
    /// on a new connection as long as one waits.
    Wake {
        /// The site.
        site_id: i64,
    },
    /// What became of the requests of some sites. Said by itself, at most twice a second, of those
    /// sites alone whose figures aren't what was said last: a house without requests says nothing.
    /// On a new connection every site that isn't without requests is said.
    Load {
        /// At most [`SITES_PER_LOAD`]; the rest follows in another one.
        sites: Vec<SiteLoad>,
    },
}

#[cfg(test)]
mod tests {
    use super::table::fixture::route;
    use super::*;
    use crate::cache::PurgeFrame;

    /// The same from a later version, which has something more to say in every place.
    fn of_a_later_version(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(of_a_later_version);
                // An enum by its one key can't have another; its fields lie one deeper.
                if !fields.contains_key("ready") {
                    fields.insert("said_later".into(), [1, 2].as_slice().into());
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(of_a_later_version),
            _ => {}
        }
    }

    #[track_caller]
    fn is_understood_of_a_later_version<T>(message: &T)
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let mut value = serde_json::to_value(message).unwrap();
        of_a_later_version(&mut value);
        assert!(value.to_string().contains("said_later"));
        let understood: T = serde_json::from_value(value).unwrap();
        assert_eq!(&understood, message);
    }

    #[test]
    fn a_field_that_only_a_later_emperor_knows_is_ignored() {
        let routes = vec![RouteFrame::from(&route())];
        let access_log = AccessLog {
            path: "/var/log/access.log".into(),
            format: AccessLogFormat::Json,
        };
        for message in [
            ToRouter::Settings(Settings {
                default_site: "blog".into(),
                trusted_proxies: vec![],
                max_head_bytes: 1,
                max_target_bytes: 2,
                max_body_bytes: 3,
                head_timeout_ms: 4,
                keep_alive_timeout_ms: 5,
                response_timeout_ms: 6,
                connect_timeout_ms: 7,
                max_connections: 8,
                drain_timeout_ms: 9,
                access_log: Some(access_log),
                cache_memory_bytes: 10,
                purge_allow: vec![],
            }),
            ToRouter::TablePart {
                routes: routes.clone(),
            },
            ToRouter::Change {
                generation: 2,
                upserts: routes,
                removals: vec![3],
            },
            ToRouter::AskStats { token: 1 },
            ToRouter::Purge {
                sequence: 3,
                sites: vec![SitePurge {
                    site_id: 7,
                    purges: vec![PurgeFrame::Site],
                }],
            },
            ToRouter::PurgeAll { sequence: 4 },
        ] {
            is_understood_of_a_later_version(&message);
        }
    }

    #[test]
    fn a_field_that_only_a_later_router_knows_is_ignored() {
        let instances = vec![InstanceLoad::default()];
        let hello = FromRouter::Hello {
            protocol: PROTOCOL_VERSION,
            pid: 1,
            version: "1.2.3".into(),
            purged: Some(1),
            knows_pools: true,
        };
        let stats = RouterStats::default();
        let load = SiteLoad {
            site_id: 7,
            requests: 1,
            waiting: 2,
            oldest_ms: 3,
            instances,
        };
        for message in [
            hello,
            FromRouter::Stats { token: 1, stats },
            FromRouter::Load { sites: vec![load] },
        ] {
            is_understood_of_a_later_version(&message);
        }
    }
}
