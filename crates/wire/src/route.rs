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

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use site_model::{
    Backend, Generation, HostPattern, HostRole, Hostname, Incarnation, InstanceNumber, Protocol,
    QueueBounds, RouteChange, Service, SiteId, SiteRoute, Unavailable,
};
use thiserror::Error;

use crate::cache::{CacheFrame, CacheStats, PageFrame, SitePurge};

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
    /// Purges are heard, and all that may have been missed was said before this.
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

/// The load of one site, over all threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteLoad {
    /// The site.
    pub site_id: i64,
    /// Requests that came since it was last said, those of health checkers apart
    /// ([`SiteRoute::check_paths`]): they are no reason to keep a site awake.
    pub requests: u64,
    /// Requests that wait in its queue now.
    pub waiting: u64,
    /// How long the first of them has waited, in milliseconds.
    pub oldest_ms: u64,
    /// Its instances that have requests, had some since, or failed some.
    pub instances: Vec<InstanceLoad>,
}

/// The load of one instance, over all threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLoad {
    /// The instance.
    pub incarnation: u64,
    /// Requests it was given since the router knows it.
    pub requests: u64,
    /// Requests it has now, open tunnels among them, and those of health checkers apart.
    pub in_flight: u64,
    /// Tunnels that are open now. A router of an earlier version doesn't tell.
    #[serde(default)]
    pub tunnels: u64,
    /// Requests it answered since it was last said: signs of life.
    pub answered: u64,
    /// Connections that it didn't take since it was last said.
    pub refused: u64,
    /// Connections that it broke off before an answer was whole, since it was last said. One that was
    /// kept for a next request may end as it waits, and isn't counted.
    pub broken: u64,
    /// Answers that didn't begin in time, and connections that waited in vain for room in its
    /// backlog, since it was last said.
    pub late: u64,
}

/// How the fastrouter is to behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Slug of the site that answers for unknown hosts; empty: none does.
    pub default_site: String,
    /// Whose `X-Forwarded-*` headers are believed: addresses or networks in CIDR form.
    pub trusted_proxies: Vec<String>,
    /// The largest request head, in bytes (431).
    pub max_head_bytes: u32,
    /// The longest request target, in bytes (414).
    pub max_target_bytes: u32,
    /// The largest request body, in bytes (413); 0: no bound.
    pub max_body_bytes: u64,
    /// How long a request head may take to arrive (408).
    pub head_timeout_ms: u64,
    /// How long a kept-alive connection may idle between requests.
    pub keep_alive_timeout_ms: u64,
    /// How long a worker may take until the head of its answer, and between two reads of its body
    /// (504).
    pub response_timeout_ms: u64,
    /// How long connecting to a worker's socket may take.
    pub connect_timeout_ms: u64,
    /// How many client connections may be open at once, over all threads.
    pub max_connections: u32,
    /// How long requests and tunnels may take to end once the router is replaced or ends.
    pub drain_timeout_ms: u64,
    /// The access log; absent: none is written.
    pub access_log: Option<AccessLog>,
    /// How many bytes the page cache may hold; 0: there is none.
    #[serde(default)]
    pub cache_memory_bytes: u64,
    /// Whose `PURGE` requests are obeyed: addresses or networks in CIDR form.
    #[serde(default)]
    pub purge_allow: Vec<String>,
}

/// Where and how requests are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// The file; it is opened by the emperor and passed by name `access-log`, since the router's
    /// user may not write there.
    pub path: PathBuf,
    /// How a line looks.
    pub format: AccessLogFormat,
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogFormat {
    /// One JSON object.
    Json,
    /// The combined format of Apache httpd and nginx.
    Combined,
}

/// Counters since the router started, and gauges of this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStats {
    /// Client connections open now.
    pub connections: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests in flight now, waiting ones among them.
    pub in_flight: u64,
    /// The generation in force in every thread.
    pub generation: u64,
    /// Per instance that the table leads to or that still has requests in flight.
    pub instances: Vec<InstanceStats>,
    /// Per site with waiting requests.
    pub queues: Vec<QueueStats>,
    /// The page cache.
    #[serde(default)]
    pub cache: CacheStats,
}

/// Counters of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStats {
    /// The instance.
    pub incarnation: u64,
    /// Requests it was given.
    pub requests: u64,
    /// Requests it has now.
    pub in_flight: u64,
}

/// A site's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// The site.
    pub site_id: i64,
    /// How many wait.
    pub waiting: u64,
    /// How long the first of them has waited, in milliseconds.
    pub oldest_ms: u64,
}

/// A [`SiteRoute`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFrame {
    /// [`SiteRoute::id`].
    pub id: i64,
    /// [`SiteRoute::slug`].
    pub slug: String,
    /// [`SiteRoute::canonical`].
    pub canonical: String,
    /// Hosts that serve.
    pub serve: Vec<String>,
    /// Hosts that redirect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect: Vec<String>,
    /// [`SiteRoute::service`].
    pub service: ServiceFrame,
    /// [`QueueBounds::depth`].
    pub queue_depth: u32,
    /// [`QueueBounds::timeout`], in milliseconds.
    pub queue_timeout_ms: u64,
    /// [`SiteRoute::check_paths`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check_paths: Vec<String>,
    /// [`SiteRoute::cache`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFrame>,
}

/// A [`Service`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceFrame {
    /// [`Service::Ready`].
    Ready(Vec<BackendFrame>),
    /// [`Service::Waiting`].
    Waiting,
    /// [`Service::Asleep`].
    Asleep,
    /// [`Unavailable::Failed`].
    Failed,
    /// [`Unavailable::Rejected`].
    Rejected,
    /// [`Unavailable::Disabled`].
    Disabled,
}

/// A [`Backend`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendFrame {
    /// [`Backend::number`].
    pub number: u32,
    /// [`Backend::incarnation`].
    pub incarnation: u64,
    /// [`Backend::socket`].
    pub socket: PathBuf,
    /// [`Backend::protocol`].
    pub protocol: ProtocolFrame,
    /// [`Backend::concurrency`]; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
}

/// A [`Protocol`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolFrame {
    /// [`Protocol::Http`].
    Http,
    /// [`Protocol::Uwsgi`].
    Uwsgi,
    /// [`Protocol::Fastcgi`].
    Fastcgi,
    /// [`Protocol::Scgi`].
    Scgi,
}

/// A frame that describes no possible route.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the route of site {id} has a bad {field}: {detail}")]
pub struct BadRoute {
    /// The id as it stands in the frame.
    pub id: i64,
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

impl From<&SiteRoute> for RouteFrame {
    fn from(route: &SiteRoute) -> Self {
        let hosts = |wanted: HostRole| {
            let of_role = route.hosts.iter().filter(move |(_, role)| *role == wanted);
            of_role.map(|(pattern, _)| pattern.to_string()).collect()
        };
        Self {
            id: route.id.get(),
            slug: route.slug.to_string(),
            canonical: route.canonical.to_string(),
            serve: hosts(HostRole::Serve),
            redirect: hosts(HostRole::Redirect),
            service: ServiceFrame::from(&route.service),
            queue_depth: route.queue.depth,
            queue_timeout_ms: u64::try_from(route.queue.timeout.as_millis()).unwrap_or(u64::MAX),
            check_paths: route.check_paths.to_vec(),
            cache: route.cache.as_deref().map(CacheFrame::from),
        }
    }
}

impl TryFrom<RouteFrame> for SiteRoute {
    type Error = BadRoute;

    fn try_from(frame: RouteFrame) -> Result<Self, BadRoute> {
        let bad = |field| {
            let id = frame.id;
            move |error: &dyn std::fmt::Display| BadRoute {
                id,
                field,
                detail: error.to_string(),
            }
        };
        let canonical = Hostname::parse(&frame.canonical).map_err(|e| bad("canonical")(&e))?;
        // Just as many as there are: a table has one such list for each site.
        let mut hosts = Vec::with_capacity(frame.serve.len() + frame.redirect.len());
        for (texts, role, field) in [
            (&frame.serve, HostRole::Serve, "serve"),
            (&frame.redirect, HostRole::Redirect, "redirect"),
        ] {
            for text in texts {
                let pattern = if text == canonical.as_str() {
                    HostPattern::Exact(canonical.clone())
                } else {
                    HostPattern::parse(text).map_err(|error| bad(field)(&error))?
                };
                hosts.push((pattern, role));
            }
        }
        Ok(Self {
            id: SiteId::new(frame.id).map_err(|e| bad("id")(&e))?,
            slug: frame.slug.parse().map_err(|e| bad("slug")(&e))?,
            canonical,
            hosts,
            service: frame
                .service
                .into_service()
                .ok_or_else(|| bad("service")(&"no backend"))?,
            queue: QueueBounds {
                depth: frame.queue_depth,
                timeout: Duration::from_millis(frame.queue_timeout_ms),
            },
            check_paths: frame.check_paths.into(),
            cache: frame.cache.map(|cache| Arc::new(cache.into())),
        })
    }
}

impl From<&Service> for ServiceFrame {
    fn from(service: &Service) -> Self {
        match service {
            Service::Ready(backends) => {
                Self::Ready(backends.iter().map(BackendFrame::from).collect())
            }
            Service::Waiting => Self::Waiting,
            Service::Asleep => Self::Asleep,
            Service::Unavailable(Unavailable::Failed) => Self::Failed,
            Service::Unavailable(Unavailable::Rejected) => Self::Rejected,
            Service::Unavailable(Unavailable::Disabled) => Self::Disabled,
        }
    }
}

impl ServiceFrame {
    /// `None` where nothing is said to be ready.
    fn into_service(self) -> Option<Service> {
        Some(match self {
            Self::Ready(backends) if backends.is_empty() => return None,
            Self::Ready(backends) => {
                Service::Ready(backends.into_iter().map(Backend::from).collect())
            }
            Self::Waiting => Service::Waiting,
            Self::Asleep => Service::Asleep,
            Self::Failed => Service::Unavailable(Unavailable::Failed),
            Self::Rejected => Service::Unavailable(Unavailable::Rejected),
            Self::Disabled => Service::Unavailable(Unavailable::Disabled),
        })
    }
}

impl From<&Backend> for BackendFrame {
    fn from(backend: &Backend) -> Self {
        Self {
            number: backend.number.get(),
            incarnation: backend.incarnation.get(),
            socket: backend.socket.clone(),
            protocol: backend.protocol.into(),
            concurrency: backend.concurrency,
        }
    }
}

impl From<BackendFrame> for Backend {
    fn from(frame: BackendFrame) -> Self {
        Self {
            number: InstanceNumber::new(frame.number),
            incarnation: Incarnation::new(frame.incarnation),
            socket: frame.socket,
            protocol: frame.protocol.into(),
            concurrency: frame.concurrency,
        }
    }
}

impl From<Protocol> for ProtocolFrame {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::Http,
            Protocol::Uwsgi => Self::Uwsgi,
            Protocol::Fastcgi => Self::Fastcgi,
            Protocol::Scgi => Self::Scgi,
        }
    }
}

impl From<ProtocolFrame> for Protocol {
    fn from(frame: ProtocolFrame) -> Self {
        match frame {
            ProtocolFrame::Http => Self::Http,
            ProtocolFrame::Uwsgi => Self::Uwsgi,
            ProtocolFrame::Fastcgi => Self::Fastcgi,
            ProtocolFrame::Scgi => Self::Scgi,
        }
    }
}

/// A change as the router takes it.
pub fn parse_change(
    generation: u64,
    upserts: Vec<RouteFrame>,
    removals: &[i64],
) -> Result<RouteChange, BadRoute> {
    let gone = |id: &i64| {
        SiteId::new(*id).map_err(|e| BadRoute {
            id: *id,
            field: "id",
            detail: e.to_string(),
        })
    };
    Ok(RouteChange {
        generation: Generation::new(generation),
        upserts: upserts
            .into_iter()
            .map(SiteRoute::try_from)
            .collect::<Result<_, _>>()?,
        removals: removals.iter().map(gone).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::PurgeFrame;

    fn route() -> SiteRoute {
        SiteRoute {
            id: SiteId::new(7).unwrap(),
            slug: "blog".parse().unwrap(),
            canonical: "blog.example".parse().unwrap(),
            hosts: vec![
                ("blog.example".parse().unwrap(), HostRole::Serve),
                ("*.old.example".parse().unwrap(), HostRole::Redirect),
            ],
            service: Service::Ready(vec![Backend {
                number: InstanceNumber::new(1),
                incarnation: Incarnation::new(9),
                socket: "/run/x.sock".into(),
                protocol: Protocol::Uwsgi,
                concurrency: NonZeroU32::new(4),
            }]),
            queue: QueueBounds {
                depth: 10,
                timeout: Duration::from_millis(1500),
            },
            check_paths: vec!["/health".to_owned()].into(),
            cache: Some(Arc::new(site_model::CacheSettings {
                paths: vec![("^/api/".into(), site_model::CacheMode::Off)],
                max_age: Some(Duration::from_mins(5)),
                ..site_model::CacheSettings::default()
            })),
        }
    }

    #[test]
    fn a_route_survives_the_journey() {
        let json = serde_json::to_string(&RouteFrame::from(&route())).unwrap();
        let frame: RouteFrame = serde_json::from_str(&json).unwrap();
        assert_eq!(SiteRoute::try_from(frame), Ok(route()));
    }

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

    #[test]
    fn a_frame_that_is_no_route_names_its_field() {
        let mut frame = RouteFrame::from(&route());
        frame.serve = vec!["../x.sock".into()];
        assert_eq!(SiteRoute::try_from(frame).unwrap_err().field, "serve");
        let mut frame = RouteFrame::from(&route());
        frame.service = ServiceFrame::Ready(vec![]);
        assert_eq!(SiteRoute::try_from(frame).unwrap_err().field, "service");
    }
}
