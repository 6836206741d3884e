//! A hit, answered at once: from the bytes of a request's head to those of its answer.
//!
//! Most of what a hit costs outside of the kernel is to make headers of bytes, and bytes of headers again.
//! A request that asks for a page and for nothing else needs neither: its key is read off its head, and
//! the head of a page is stored as it is sent. So the client's I/O asks here before it hands a head to
//! hyper. Whatever isn't simply a fresh page takes the straight path of [`request`](super), and a test
//! holds the answers of both against each other, byte by byte.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderValue, StatusCode, Uri, Version};
use http_edge::forward::{self, Trust, X_REQUEST_ID};
use http_edge::host;
use http_edge::plain::PlainHead;
use jiff::Timestamp;
use page_cache::{Hit, Plain};
use site_model::{Match, RouteTable, SiteId, SiteRoute};
use tokio::time::Instant;
use wire::route::AccessLogFormat;

use super::answer::CACHE_STATUS;
use super::caching::{host_said, scheme};
use super::record::{CACHE_NAME, given_id, microseconds, new_digits, told, version};
use crate::client::Connection;
use crate::log::Entry;
use crate::pages::SitePages;
use crate::thread::Current;

/// Up to this size it costs less to copy a body behind its head than to have the kernel read a list of
/// two.
const JOINED_BYTES: usize = 4 * 1024;
/// A buffer that has grown beyond this isn't kept.
const KEPT_BYTES: usize = 64 * 1024;

/// An answer as it is sent.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Its head, with the body behind it where that is small.
    pub(crate) head: Vec<u8>,
    /// What is sent after it; often nothing.
    pub(crate) body: Bytes,
}

/// Buffers that one hit after the other uses.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    key: RefCell<Vec<u8>>,
    head: RefCell<Vec<u8>>,
}

/// Where requests of a connection lead that name this host. The next one has most likely the same.
#[derive(Debug)]
pub(crate) struct Known {
    /// Of what was in force when it was looked up.
    edition: u64,
    host: Box<str>,
    /// `None`: to no site that has a cache.
    site: Option<(Arc<SiteRoute>, Arc<SitePages>)>,
}

/// A plain request, and what is said about it by a proxy.
struct Asked<'a> {
    connection: &'a Connection,
    current: &'a Current,
    head: PlainHead<'a>,
    forwarding: HeaderMap,
    begun: Instant,
}

/// Answers a whole head that the guard has let through, where a page is at hand: the request is counted
/// and logged, and all that is left is to send the answer.
pub(crate) fn answer(connection: &Connection, head: &[u8]) -> Option<Wire> {
    let thread = &connection.thread;
    let current = thread.current();
    // The answers of a draining router say that they are the last.
    if current.pages.is_off() || thread.is_draining() {
        return None;
    }
    let head = PlainHead::read(head)?;
    let mut known = connection.known.borrow_mut();
    let known = match &mut *known {
        Some(known) if known.is(&current, head.host) => known,
        other => other.insert(Known::find(&current, head.host)),
    };
    let (route, pages) = known.site.as_ref()?;
    // Whether the site lives is asked of its workers.
    if route
        .settings
        .check_paths
        .iter()
        .any(|known| known == head.path())
    {
        return None;
    }
    let asked = Asked::new(connection, &current, head);
    let hit = asked.look_up(pages)?;
    thread.count_request();
    Some(asked.answer(route, &hit))
}

impl Scratch {
    /// Takes the head of an answer back that was sent.
    pub(crate) fn give_back(&self, head: Vec<u8>) {
        if head.capacity() <= KEPT_BYTES {
            self.head.replace(head);
        }
    }
}

impl Known {
    fn is(&self, current: &Current, host: &str) -> bool {
        self.edition == current.edition && *self.host == *host
    }

    fn find(current: &Current, host: &str) -> Self {
        let table = current.table.as_deref();
        let route = table.and_then(|table| route(table, host));
        let site = route.and_then(|route| Some((Arc::clone(route), current.pages.of(route)?)));
        Self {
            edition: current.edition,
            host: host.into(),
            site,
        }
    }
}

fn route<'t>(table: &'t RouteTable, host: &str) -> Option<&'t Arc<SiteRoute>> {
    let written = HeaderValue::from_str(host).ok()?;
    let host = host::requested(&written, &Uri::from_static("/")).ok()?;
    match table.find(&host) {
        Match::Site(route) => Some(route),
        Match::Redirect(_) | Match::Unknown => None,
    }
}

impl<'a> Asked<'a> {
    fn new(connection: &'a Connection, current: &'a Current, head: PlainHead<'a>) -> Self {
        let forwarding = match (connection.peer.trust, current.settings.access_log) {
            // Nobody looks at it.
            (Trust::Stranger, None) => HeaderMap::new(),
            (Trust::Stranger, Some(_)) | (Trust::Proxy, _) => head.forwarding(),
        };
        Self {
            connection,
            current,
            head,
            forwarding,
            begun: connection.thread.deadlines.refresh(),
        }
    }

    fn look_up(&self, pages: &SitePages) -> Option<Hit> {
        let (thread, trust) = (&self.connection.thread, self.connection.peer.trust);
        let proto = forward::proto(&self.forwarding, trust);
        let asked = Plain {
            scheme: scheme(proto),
            host: &host_said(&self.forwarding, self.head.host, trust),
            path: self.head.path(),
            query: self.head.query(),
            has_cookies: self.head.has_cookies,
        };
        let SitePages {
            cache,
            site,
            policy,
            ..
        } = pages;
        let (lines, now) = (|| self.head.lines(), thread.shared.clock.at(self.begun));
        let mut key = thread.scratch.key.take();
        let hit = cache.at_hand(site, policy, asked, lines, &mut key, now);
        thread.scratch.key.replace(key);
        hit
    }

    /// Writes the answer, its headers in the order that they have on the straight path.
    fn answer(&self, route: &SiteRoute, hit: &Hit) -> Wire {
        let (page, digits) = (hit.page(), new_digits());
        let id = given_id(self.connection.peer.trust, &self.forwarding);
        let id = id.map_or(&digits[..], HeaderValue::as_bytes);
        let cache_status = hit.status().to_header(CACHE_NAME);
        let body = if self.head.head_only {
            &[]
        } else {
            page.body_bytes()
        };
        let mut head = self.connection.thread.scratch.head.take();
        head.clear();
        write_status(page.status(), &mut head);
        hit.write_headers(&mut head);
        write_header(X_REQUEST_ID.as_str(), id, &mut head);
        write_header(CACHE_STATUS.as_str(), cache_status.as_bytes(), &mut head);
        head.extend_from_slice(b"\r\n");
        if let Some(format) = self.current.settings.access_log {
            let answered = Answered {
                status: page.status(),
                bytes: body.len() as u64,
                site: route.id,
                id: std::str::from_utf8(id).unwrap_or_default(),
                cache: told(&cache_status),
            };
            self.write_line(format, &answered);
        }
        if body.len() > JOINED_BYTES {
            let body = page.body();
            return Wire { head, body };
        }
        head.extend_from_slice(body);
        Wire {
            head,
            body: Bytes::new(),
        }
    }

    fn write_line(&self, format: AccessLogFormat, answered: &Answered<'_>) {
        let Connection { thread, peer, .. } = self.connection;
        let proxies = &self.current.settings.trusted_proxies;
        let client = proxies.client(&self.forwarding, peer.address);
        let client = client.map(|address| address.to_string());
        let entry = Entry {
            time: Timestamp::now(),
            request_id: answered.id,
            client: client.as_deref().unwrap_or_default(),
            method: if self.head.head_only { "HEAD" } else { "GET" },
            host: self.head.host,
            target: self.head.target,
            status: answered.status.as_u16(),
            bytes: answered.bytes,
            duration_us: microseconds(self.begun.elapsed()),
            worker_us: None,
            queued_us: None,
            site: Some(answered.site.get()),
            incarnation: None,
            cause: None,
            cache: answered.cache,
            version: version(Version::HTTP_11),
            referer: self.head.text(&header::REFERER),
            user_agent: self.head.text(&header::USER_AGENT),
        };
        thread.lines.write(format, &entry);
    }
}

/// What the access log tells of an answer, besides what was asked.
struct Answered<'a> {
    status: StatusCode,
    bytes: u64,
    site: SiteId,
    id: &'a str,
    cache: Option<&'a str>,
}

/// As hyper writes it.
fn write_status(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
