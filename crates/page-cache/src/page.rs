//! A stored page: key, head and body in one piece of memory, and its times beside them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue};

use crate::freshness::Freshness;
use crate::head;
use crate::key;
use crate::reason::BypassReason;
use crate::site::SiteCache;
use crate::storing::Storable;

/// What keeping a page costs besides its key, head and body: the page's own fields, its places in
/// the store, and the allocator's. `examples/overhead.rs` measures it.
pub const PAGE_OVERHEAD_BYTES: u64 = 200;

/// Headers whose members are tags.
const TAG_HEADERS: [&[u8]; 3] = [b"surrogate-key", b"cache-tag", b"xkey"];

/// What stands in a place of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole answer.
    Whole,
    /// The page is several, told apart by the headers that this one names.
    Variants,
    /// The last answer could not be kept, so nobody waits for the next.
    Uncacheable(BypassReason),
}

/// A stored page. Never changed but for how far it was compared with purges.
pub struct Page {
    buffer: Box<[u8]>,
    site: Arc<SiteCache>,
    verified: AtomicU64,
    freshness: Freshness,
    key_length: u16,
    head_length: u32,
    status: StatusCode,
    kind: Kind,
    marks: Marks,
}

/// What is known of a page besides its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "five facts that don't depend on each other"
)]
pub(crate) struct Marks {
    pub(crate) shareable: bool,
    pub(crate) always_validate: bool,
    /// The `ETag` is the cache's own: the worker doesn't know it.
    pub(crate) own_etag: bool,
    /// Whether a client may not accept it expired (`max-stale`).
    pub(crate) strict: bool,
    tagged: bool,
}

/// Where a page is to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) site: &'a Arc<SiteCache>,
    pub(crate) key: &'a [u8],
    /// The number of the site's last purge when the page was asked for.
    pub(crate) verified: u64,
}

impl Page {
    /// Puts an answer together.
    pub(crate) fn whole(place: Place<'_>, answer: &Storable, body: &[u8]) -> Self {
        let mut headers = answer.headers.clone();
        let own_etag = answer.status == StatusCode::OK && !headers.contains_key(ETAG);
        if own_etag {
            headers.insert(ETAG, etag_of(body));
        }
        Self::assembled(place, answer, &headers, body, own_etag)
    }

    /// This page's body under a newer head.
    pub(crate) fn freshened(&self, answer: &Storable, verified: u64) -> Self {
        let place = Place {
            site: &self.site,
            key: self.key(),
            verified,
        };
        let (body, own_etag) = (self.body_bytes(), self.marks.own_etag);
        Self::assembled(place, answer, &answer.headers, body, own_etag)
    }

    fn assembled(
        place: Place<'_>,
        answer: &Storable,
        headers: &HeaderMap,
        body: &[u8],
        own_etag: bool,
    ) -> Self {
        let mut lines = Vec::with_capacity(512);
        head::write(headers, &mut lines);
        let tagged = head::pairs(&lines).any(|(name, _)| TAG_HEADERS.contains(&name));
        let mut page = Self::new(place, &lines, body, Kind::Whole, answer.freshness);
        page.status = answer.status;
        page.marks = Marks {
            shareable: answer.shareable,
            always_validate: answer.always_validate,
            own_etag,
            strict: answer.strict,
            tagged,
        };
        page
    }

    /// A place that says which headers tell its pages apart.
    pub(crate) fn variants(place: Place<'_>, names: &[HeaderName], freshness: Freshness) -> Self {
        let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
        let head = names.join(",");
        Self::new(place, head.as_bytes(), b"", Kind::Variants, freshness)
    }

    /// A place that says for a while that nothing is kept there.
    pub(crate) fn uncacheable(
        place: Place<'_>,
        reason: BypassReason,
        freshness: Freshness,
    ) -> Self {
        Self::new(place, b"", b"", Kind::Uncacheable(reason), freshness)
    }

    fn new(place: Place<'_>, head: &[u8], body: &[u8], kind: Kind, freshness: Freshness) -> Self {
        let Place {
            site,
            key,
            verified,
        } = place;
        let page = Self {
            buffer: [key, head, body].concat().into_boxed_slice(),
            site: Arc::clone(site),
            verified: AtomicU64::new(verified),
            freshness,
            key_length: u16::try_from(key.len()).unwrap_or(u16::MAX),
            head_length: u32::try_from(head.len()).unwrap_or(u32::MAX),
            status: StatusCode::OK,
            kind,
            marks: Marks::default(),
        };
        let counters = site.counters();
        counters.pages.fetch_add(page.counts(), Ordering::Relaxed);
        counters.bytes.fetch_add(page.weight(), Ordering::Relaxed);
        page
    }

    /// As how many stored pages it counts: what stands here for several, or for none, is no page.
    fn counts(&self) -> u64 {
        match self.kind {
            Kind::Whole => 1,
            Kind::Variants | Kind::Uncacheable(_) => 0,
        }
    }

    /// What it counts towards the bound of the store, in bytes.
    pub fn weight(&self) -> u64 {
        self.buffer.len() as u64 + PAGE_OVERHEAD_BYTES
    }

    /// What stands here.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its times.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The lines of its head as HTTP/1.1 writes them, without `Age`, `Content-Length` and
    /// `Cache-Status`, and without the empty line at the end.
    pub fn head_lines(self: &Arc<Self>) -> Bytes {
        self.shared().slice(self.head_range())
    }

    /// The same, where the page lies.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.buffer[self.head_range()]
    }

    /// Its head, sharing its bytes.
    pub fn headers(self: &Arc<Self>) -> HeaderMap {
        head::read(&self.head_lines())
    }

    /// The first value of a header.
    pub fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        head::find(self.lines(), name)
    }

    /// Its body, sharing its bytes.
    pub fn body(self: &Arc<Self>) -> Bytes {
        self.shared().slice(self.head_range().end..)
    }

    /// The same, where the page lies.
    pub fn body_bytes(&self) -> &[u8] {
        &self.buffer[self.head_range().end..]
    }

    /// All its bytes. The handle is made for each answer: one that lay in the page would cost every
    /// page what only those being sent need.
    fn shared(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Sent(Arc::clone(self)))
    }

    /// The length of its body, in bytes.
    pub fn body_length(&self) -> usize {
        self.body_bytes().len()
    }

    /// The site that it is of.
    pub fn site(&self) -> &SiteCache {
        &self.site
    }

    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.buffer[..usize::from(self.key_length)]
    }

    /// The headers that tell variants apart; none where this is no such place.
    pub(crate) fn vary(&self) -> impl Iterator<Item = &[u8]> {
        let names = match self.kind {
            Kind::Variants => self.lines(),
            Kind::Whole | Kind::Uncacheable(_) => b"",
        };
        let names = names.split(|byte| *byte == b',');
        names.filter(|name| !name.is_empty())
    }

    /// Its tags, in the order of its headers.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        let head = if self.marks.tagged {
            self.lines()
        } else {
            b"".as_slice()
        };
        let lines = head::pairs(head).filter(|(name, _)| TAG_HEADERS.contains(name));
        let separates = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let members = lines.flat_map(move |(_, value)| value.split(separates));
        members.filter(|tag| !tag.is_empty())
    }

    /// Whether no purge has named it.
    pub fn is_current(&self) -> bool {
        let path = || key::path_of(self.key());
        self.site.is_current(&self.verified, path, self.tags())
    }

    fn head_range(&self) -> std::ops::Range<usize> {
        let start = usize::from(self.key_length);
        start..start + self.head_length as usize
    }
}

/// A page that is being sent.
struct Sent(Arc<Page>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0.buffer
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let counters = self.site.counters();
        counters.pages.fetch_sub(self.counts(), Ordering::Relaxed);
        counters.bytes.fetch_sub(self.weight(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("key", &self.key().escape_ascii().to_string())
            .field("kind", &self.kind)
            .field("status", &self.status)
            .field("verified", &self.verified)
            .field("body_length", &self.body_length())
            .finish_non_exhaustive()
    }
}

/// A strong validator: the same for the same bytes alone.
fn etag_of(body: &[u8]) -> HeaderValue {
    let hash = blake3::hash(body).to_hex();
    let quoted = format!("\"{}\"", &hash[..32]);
    HeaderValue::from_str(&quoted).unwrap_or(HeaderValue::from_static("\"\""))
}
