//! A site, a worker that answers what it is told, and clients.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use page_cache::{
    Answered, Ask, Asked, Begin, BypassReason, CacheRequest, FillPermit, Hit, Lookup, Mode, Moment,
    Page, PageCache, Policy, Scheme, Settings, SiteCache,
};
use site_model::SiteId;

/// One site in a cache of its own.
pub(crate) struct House {
    pub(crate) cache: PageCache,
    pub(crate) site: Arc<SiteCache>,
    pub(crate) policy: Policy,
    pub(crate) now: Moment,
}

/// A request of a client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    method: Method,
    path: String,
    query: Option<String>,
    pub(crate) headers: HeaderMap,
}

/// What a worker says.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

pub(crate) fn get(target: &str, lines: &[(&str, &str)]) -> Client {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Client {
        method: Method::GET,
        path: path.to_owned(),
        query,
        headers: headers(lines),
    }
}

pub(crate) fn head(target: &str) -> Client {
    Client {
        method: Method::HEAD,
        ..get(target, &[])
    }
}

pub(crate) fn says(status: u16, lines: &[(&str, &str)], body: &str) -> Said {
    Said {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers(lines),
        body: body.to_owned(),
    }
}

pub(crate) const MAX_AGE: (&str, &str) = ("cache-control", "max-age=60");

pub(crate) fn site_id() -> SiteId {
    SiteId::new(7).unwrap()
}

impl House {
    pub(crate) fn new(mode: Mode) -> Self {
        Self::with(Settings {
            mode,
            ..Settings::default()
        })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let cache = PageCache::new(64 << 20);
        let site = cache.site(site_id());
        Self {
            cache,
            site,
            policy: Policy::compile(settings).unwrap(),
            now: Moment::from_seconds(1_000_000_000),
        }
    }

    pub(crate) fn later(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    pub(crate) fn request<'a>(&self, client: &'a Client) -> Result<CacheRequest<'a>, BypassReason> {
        CacheRequest::read(&self.policy, asked(client))
    }

    pub(crate) fn look_up(&self, client: &Client) -> Lookup {
        match self.request(client) {
            Ok(request) => self.cache.look_up(&self.site, &request, self.now),
            Err(reason) => Lookup::Bypass(reason),
        }
    }

    pub(crate) fn begin(&self, ask: Ask) -> Begin {
        self.cache.begin(&self.site, ask, self.now)
    }

    /// The permit that a client gets who finds nothing usable.
    pub(crate) fn permit(&self, client: &Client) -> FillPermit {
        let ask = match self.look_up(client) {
            Lookup::Miss(ask)
            | Lookup::Revalidate(ask)
            | Lookup::StaleServable {
                refresh: Some(ask), ..
            } => ask,
            other => panic!("{client:?} finds {other:?}"),
        };
        match self.begin(ask) {
            Begin::Fill(permit) => permit,
            other => panic!("{client:?} is not the one who asks: {other:?}"),
        }
    }

    pub(crate) fn answered(&self, permit: FillPermit, client: &Client, said: &Said) -> Answered {
        let request = self.request(client).unwrap();
        let (status, headers) = (said.status, &said.headers);
        permit.answer(
            &self.cache,
            &self.policy,
            &request,
            status,
            headers,
            self.now,
        )
    }

    /// Lets an answer be recorded to its end.
    pub(crate) fn finish(
        &self,
        permit: FillPermit,
        client: &Client,
        said: &Said,
    ) -> Result<Arc<Page>, BypassReason> {
        match self.answered(permit, client, said) {
            Answered::Record(recorder) => {
                let recorder = recorder.push(&self.cache, said.body.as_bytes(), self.now);
                let recorder = recorder.ok_or(BypassReason::TooLarge)?;
                recorder.finish(&self.cache, self.now)
            }
            Answered::Refused(reason) => Err(reason),
            other => panic!("{client:?} gets {other:?}"),
        }
    }

    /// A client finds nothing usable and asks, whatever becomes of the answer.
    pub(crate) fn answer_with(&self, client: &Client, said: &Said) {
        let permit = self.permit(client);
        if let Answered::Record(recorder) = self.answered(permit, client, said) {
            let recorder = recorder.push(&self.cache, said.body.as_bytes(), self.now);
            recorder.unwrap().finish(&self.cache, self.now).unwrap();
        }
    }

    /// A client finds nothing usable and fills.
    pub(crate) fn fill(&self, client: &Client, said: &Said) -> Result<Arc<Page>, BypassReason> {
        self.finish(self.permit(client), client, said)
    }

    /// The fresh page that a client finds.
    pub(crate) fn hit(&self, client: &Client) -> Hit {
        match self.look_up(client) {
            Lookup::Fresh(hit) => hit,
            other => panic!("{client:?} finds {other:?}"),
        }
    }

    /// The body that a client gets without anybody asking the worker.
    pub(crate) fn body(&self, client: &Client) -> Option<String> {
        match self.look_up(client) {
            Lookup::Fresh(hit) => {
                let answer = hit.answer(&self.request(client).unwrap());
                Some(String::from_utf8(answer.body.to_vec()).unwrap())
            }
            Lookup::Miss(_) | Lookup::Revalidate(_) => None,
            other => panic!("{client:?} finds {other:?}"),
        }
    }

    pub(crate) fn answer(&self, client: &Client) -> page_cache::Answer {
        self.hit(client).answer(&self.request(client).unwrap())
    }
}

pub(crate) fn asked(client: &Client) -> Asked<'_> {
    Asked {
        site: site_id(),
        scheme: Scheme::Https,
        host: "a.example",
        method: &client.method,
        path: &client.path,
        query: client.query.as_deref(),
        headers: &client.headers,
    }
}

pub(crate) fn post(target: &str) -> Client {
    Client {
        method: Method::POST,
        ..get(target, &[])
    }
}
