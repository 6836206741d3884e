//! Routes as they travel, whole or as changes, and back.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use site_model::{
    Backend, Generation, HostPattern, HostRole, Hostname, Incarnation, InstanceNumber, Protocol,
    QueueBounds, RouteChange, RouteSettings, Service, SiteId, SiteRoute, Slug, Unavailable,
};
use thiserror::Error;

use crate::cache::CacheFrame;

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
    /// [`Service::Pooled`]. Said only to a router that knows of pools.
    Pooled(i64),
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
            queue_depth: route.settings.queue.depth,
            queue_timeout_ms: u64::try_from(route.settings.queue.timeout.as_millis())
                .unwrap_or(u64::MAX),
            check_paths: route.settings.check_paths.to_vec(),
            cache: route.settings.cache.as_deref().map(CacheFrame::from),
        }
    }
}

impl RouteFrame {
    /// A route as it is said to a router. To one that knows of no pools nothing is said of a pool's own
    /// route, and that a site in one has to wait: what answered for it there would not know for which
    /// site.
    pub fn told(route: &SiteRoute, knows_pools: bool) -> Option<Self> {
        let mut frame = Self::from(route);
        if !knows_pools && route.id.is_pool() {
            return None;
        }
        if let (false, ServiceFrame::Pooled(_)) = (knows_pools, &frame.service) {
            frame.service = ServiceFrame::Waiting;
        }
        Some(frame)
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
            id: SiteId::of_vassal(frame.id).map_err(|e| bad("id")(&e))?,
            slug: Slug::of_vassal(&frame.slug).map_err(|e| bad("slug")(&e))?,
            canonical,
            hosts: hosts.into(),
            service: frame
                .service
                .into_service()
                .ok_or_else(|| bad("service")(&"no backend, or no pool"))?,
            settings: Arc::new(RouteSettings {
                queue: QueueBounds {
                    depth: frame.queue_depth,
                    timeout: Duration::from_millis(frame.queue_timeout_ms),
                },
                check_paths: frame.check_paths.into(),
                cache: frame.cache.map(|cache| Arc::new(cache.into())),
            }),
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
            Service::Pooled(pool) => Self::Pooled(pool.get()),
            Service::Unavailable(Unavailable::Failed) => Self::Failed,
            Service::Unavailable(Unavailable::Rejected) => Self::Rejected,
            Service::Unavailable(Unavailable::Disabled) => Self::Disabled,
        }
    }
}

impl ServiceFrame {
    /// `None` where nothing is said to be ready, or what is said to be a pool is none.
    fn into_service(self) -> Option<Service> {
        Some(match self {
            Self::Ready(backends) if backends.is_empty() => return None,
            Self::Ready(backends) => {
                Service::Ready(backends.into_iter().map(Backend::from).collect())
            }
            Self::Waiting => Service::Waiting,
            Self::Asleep => Service::Asleep,
            Self::Pooled(pool) => {
                let pool = SiteId::of_vassal(pool).ok().filter(|pool| pool.is_pool());
                Service::Pooled(pool?)
            }
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
        SiteId::of_vassal(*id).map_err(|e| BadRoute {
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
pub(super) mod fixture {
    use super::*;

    pub(in crate::route) fn route() -> SiteRoute {
        SiteRoute {
            id: SiteId::new(7).unwrap(),
            slug: "blog".parse().unwrap(),
            canonical: "blog.example".parse().unwrap(),
            hosts: [
                ("blog.example".parse().unwrap(), HostRole::Serve),
                ("*.old.example".parse().unwrap(), HostRole::Redirect),
            ]
            .into(),
            service: Service::Ready(vec![Backend {
                number: InstanceNumber::new(1),
                incarnation: Incarnation::new(9),
                socket: "/run/x.sock".into(),
                protocol: Protocol::Uwsgi,
                concurrency: NonZeroU32::new(4),
            }]),
            settings: Arc::new(RouteSettings {
                queue: QueueBounds {
                    depth: 10,
                    timeout: Duration::from_millis(1500),
                },
                check_paths: ["/health".to_owned()].into(),
                cache: Some(Arc::new(site_model::CacheSettings {
                    paths: vec![("^/api/".into(), site_model::CacheMode::Off)],
                    max_age: Some(Duration::from_mins(5)),
                    ..site_model::CacheSettings::default()
                })),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::route;
    use super::*;

    #[test]
    fn a_route_survives_the_journey() {
        let json = serde_json::to_string(&RouteFrame::from(&route())).unwrap();
        let frame: RouteFrame = serde_json::from_str(&json).unwrap();
        assert_eq!(SiteRoute::try_from(frame), Ok(route()));
    }

    #[test]
    fn a_pool_and_its_sites_survive_the_journey_to_who_knows_of_pools() {
        let pool = SiteId::of_pool(NonZeroU32::MIN);
        let own = SiteRoute {
            id: pool,
            slug: Slug::of_pool("small").unwrap(),
            hosts: Box::default(),
            ..route()
        };
        let member = SiteRoute {
            service: Service::Pooled(pool),
            ..route()
        };
        for route in [&own, &member] {
            let frame = RouteFrame::from(route);
            assert_eq!(SiteRoute::try_from(frame).as_ref(), Ok(route));
        }
        assert_eq!(RouteFrame::told(&own, false), None);
        let told = RouteFrame::told(&member, false);
        assert_eq!(told.unwrap().service, ServiceFrame::Waiting);
        let told = RouteFrame::told(&member, true);
        assert_eq!(told, Some(RouteFrame::from(&member)));
        let mut frame = RouteFrame::from(&member);
        frame.service = ServiceFrame::Pooled(7);
        assert_eq!(SiteRoute::try_from(frame).unwrap_err().field, "service");
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
