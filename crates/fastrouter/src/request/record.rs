//! What is known of one request, from its head to the line in the access log.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use http_edge::forward::{Trust, X_REQUEST_ID};
use jiff::Timestamp;
use page_cache::{CacheStatus, Moment};
use site_model::{Incarnation, SiteId};
use tokio::time::Instant;
use wire::route::AccessLogFormat;

use crate::cause::Cause;
use crate::client::Connection;
use crate::log::Entry;

/// What this cache is called in `Cache-Status`.
pub(super) const CACHE_NAME: &str = "emperor";
/// The longest request id that is taken over from a trusted proxy.
const MAX_ID_BYTES: usize = 128;

/// On whose behalf the site is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A client, which is counted and logged.
    Client,
    /// A fill, which is neither: its client is, where it has one.
    Fill,
}

/// One request. Dropping it ends the request: the counters go down, the connection is idle again,
/// and the line is written, with status 499 if nothing was answered.
#[derive(Debug)]
pub(crate) struct Record {
    asker: Asker,
    pub(super) connection: Rc<Connection>,
    pub(super) head: Parts,
    id: HeaderValue,
    begun: Instant,
    status: Option<StatusCode>,
    cause: Option<Cause>,
    site: Option<SiteId>,
    incarnation: Option<Incarnation>,
    sent_bytes: u64,
    queued: Duration,
    worker_begun: Option<Instant>,
    worker_took: Option<Duration>,
    cache: Option<CacheStatus>,
    cache_text: Option<HeaderValue>,
}

impl Record {
    pub(super) fn begin(connection: Rc<Connection>, head: Parts) -> Self {
        Self {
            asker: Asker::Client,
            begun: connection.thread.begin_request(),
            id: given_id(connection.peer.trust, &head.headers)
                .cloned()
                .unwrap_or_else(new_id),
            connection,
            head,
            status: None,
            cause: None,
            site: None,
            incarnation: None,
            sent_bytes: 0,
            queued: Duration::ZERO,
            worker_begun: None,
            worker_took: None,
            cache: None,
            cache_text: None,
        }
    }

    /// The same asked by a fill, on a connection that is nobody's.
    pub(super) fn of_fill(&self) -> Self {
        let thread = Rc::clone(&self.connection.thread);
        Self {
            asker: Asker::Fill,
            connection: Rc::new(Connection::new(thread, self.connection.peer.clone())),
            head: self.head.clone(),
            id: self.id.clone(),
            begun: self.begun,
            status: None,
            cause: None,
            site: self.site,
            incarnation: None,
            sent_bytes: 0,
            queued: self.queued,
            worker_begun: None,
            worker_took: None,
            cache: None,
            cache_text: None,
        }
    }

    /// How its fill fared so far.
    pub(super) fn learn(&mut self, fill: &Self) {
        self.incarnation = fill.incarnation;
        self.queued = fill.queued;
        self.worker_begun = fill.worker_begun;
        self.cache = fill.cache;
    }

    /// The value of `X-Request-Id`.
    pub(super) fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// The same as text.
    pub(super) fn id_text(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// A header of the request as text; empty where there is none.
    fn header(&self, name: HeaderName) -> &str {
        let value = self.head.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The `Host` as the client wrote it.
    pub(super) fn host(&self) -> &str {
        self.header(header::HOST)
    }

    /// Path and query as the client wrote them.
    pub(super) fn target(&self) -> &str {
        self.head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    pub(super) fn is_for(&mut self, site: SiteId) {
        self.site = Some(site);
    }

    /// The page cache did this; what was said last counts.
    pub(super) fn cached(&mut self, status: CacheStatus) {
        self.cache = Some(status);
    }

    /// The value of `Cache-Status`, where the site has a cache.
    pub(super) fn cache_status(&mut self) -> Option<HeaderValue> {
        let text = self.cache?.to_header(CACHE_NAME);
        self.cache_text = HeaderValue::from_maybe_shared(Bytes::from(text)).ok();
        self.cache_text.clone()
    }

    /// Now, as the cache counts.
    pub(super) fn now(&self) -> Moment {
        self.connection.thread.shared.clock.now()
    }

    /// When it began, as the cache counts.
    pub(super) fn begun_at(&self) -> Moment {
        self.connection.thread.shared.clock.at(self.begun)
    }

    /// How long it has waited, in the site's queue or for another's answer.
    pub(super) fn queued(&self) -> Duration {
        self.queued
    }

    pub(super) fn waited(&mut self, wait: Duration) {
        self.queued += wait;
    }

    /// It goes to this instance.
    pub(super) fn goes_to(&mut self, incarnation: Incarnation) {
        self.incarnation = Some(incarnation);
        self.worker_begun = self.is_logged().then(Instant::now);
    }

    /// The worker has answered all of it.
    pub(super) fn worker_is_done(&mut self) {
        let begun = self.worker_begun.take();
        self.worker_took = begun.map(|begun| begun.elapsed()).or(self.worker_took);
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The router answers by itself, or breaks off an answer, for this cause.
    pub(super) fn failed(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// So many bytes of the body were handed over.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    fn is_logged(&self) -> bool {
        self.log_format().is_some()
    }

    fn log_format(&self) -> Option<AccessLogFormat> {
        self.connection.thread.current().settings.access_log
    }

    /// What `Cache-Status` says, without the cache's name.
    fn cache_told(&self) -> Option<&str> {
        told(self.cache_text.as_ref()?.to_str().ok()?)
    }

    fn write_line(&mut self, format: AccessLogFormat) {
        self.worker_is_done();
        let gone = Cause::ClientGone;
        let status = self.status.unwrap_or_else(|| gone.status());
        let cause = match (&self.cause, self.status) {
            (Some(cause), _) => Some(cause),
            (None, None) => Some(&gone),
            (None, Some(_)) => None,
        };
        let settings = Arc::clone(&self.connection.thread.current().settings);
        let peer = &self.connection.peer;
        let client = settings
            .trusted_proxies
            .client(&self.head.headers, peer.address);
        let client = client
            .map(|address| address.to_string())
            .unwrap_or_default();
        let entry = Entry {
            time: Timestamp::now(),
            request_id: self.id_text(),
            client: &client,
            method: self.head.method.as_str(),
            host: self.host(),
            target: self.target(),
            status: status.as_u16(),
            bytes: self.sent_bytes,
            duration_us: microseconds(self.begun.elapsed()),
            worker_us: self.worker_took.map(microseconds),
            queued_us: Some(microseconds(self.queued)).filter(|queued| *queued > 0),
            site: self.site.map(SiteId::get),
            incarnation: self.incarnation.map(Incarnation::get),
            cause: cause.map(ToString::to_string),
            cache: self.cache_told(),
            version: version(self.head.version),
            referer: self.header(header::REFERER),
            user_agent: self.header(header::USER_AGENT),
        };
        self.connection.thread.lines.write(format, &entry);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.asker == Asker::Fill {
            return;
        }
        self.connection.thread.end_request();
        self.connection.end_request();
        if let Some(format) = self.log_format() {
            self.write_line(format);
        }
    }
}

/// A value of `Cache-Status` without the cache's name.
pub(super) fn told(cache_status: &str) -> Option<&str> {
    cache_status.strip_prefix(CACHE_NAME)?.strip_prefix("; ")
}

pub(super) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn version(version: Version) -> &'static str {
    if version == Version::HTTP_10 {
        "HTTP/1.0"
    } else {
        "HTTP/1.1"
    }
}

/// The id that a trusted proxy has given.
pub(super) fn given_id(trust: Trust, headers: &HeaderMap) -> Option<&HeaderValue> {
    let given = match trust {
        Trust::Proxy => headers.get(X_REQUEST_ID),
        Trust::Stranger => None,
    };
    given.filter(|id| is_id(id))
}

/// Letters, digits and what ids are made of; nothing that a page or a log would have to escape.
fn is_id(value: &HeaderValue) -> bool {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    let bytes = value.as_bytes();
    (1..=MAX_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(good)
}

/// A new id: 128 random bits, unique without anybody having to be asked.
pub(super) fn new_digits() -> [u8; 32] {
    let mut random = fastrand::u128(..);
    let mut text = [0; 32];
    for digit in &mut text {
        *digit = b"0123456789abcdef"[(random & 0xf) as usize];
        random >>= 4;
    }
    text
}

fn new_id() -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&new_digits()))
        .unwrap_or(const { HeaderValue::from_static("0") })
}
