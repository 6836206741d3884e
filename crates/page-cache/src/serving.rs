//! Answers made of a stored page: the whole, a part, or the word that nothing changed.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG,
    EXPIRES, HeaderMap, HeaderValue, LAST_MODIFIED, VARY,
};

use crate::cache_status::CacheStatus;
use crate::conditional::{Validators, is_unmodified};
use crate::moment::Moment;
use crate::page::Page;
use crate::range::{self, Part};
use crate::request::CacheRequest;

/// A stored page that may be served now.
#[derive(Debug, Clone)]
pub struct Hit {
    page: Arc<Page>,
    now: Moment,
}

/// An answer as the client gets it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, `Age` and `Content-Length` among them.
    pub headers: HeaderMap,
    /// The body; empty for HEAD and for 304.
    pub body: Bytes,
}

impl Hit {
    pub(crate) fn new(page: Arc<Page>, now: Moment) -> Self {
        Self { page, now }
    }

    /// The page.
    pub fn page(&self) -> &Arc<Page> {
        &self.page
    }

    /// Its age in seconds.
    pub fn age(&self) -> u64 {
        self.page.freshness().age(self.now)
    }

    /// Seconds until it expires.
    pub fn ttl(&self) -> i64 {
        self.page.freshness().ttl(self.now)
    }

    /// What `Cache-Status` says of it.
    pub fn status(&self) -> CacheStatus {
        CacheStatus::Hit { ttl: self.ttl() }
    }

    /// Appends the headers of the whole page as lines of HTTP/1.1: those of [`Self::answer`] to a request
    /// without conditions, in the same order, and in the bytes in which they are stored.
    pub fn write_headers(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(self.page.lines());
        out.extend_from_slice(b"age: ");
        out.extend_from_slice(digits.format(self.age()).as_bytes());
        out.extend_from_slice(b"\r\n");
        if has_body(self.page.status()) {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(digits.format(self.page.body_length()).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The answer to this request: conditions first, then parts (RFC 9110 §13.2.2).
    pub fn answer(&self, request: &CacheRequest<'_>) -> Answer {
        let mut headers = self.page.headers();
        headers.insert(AGE, HeaderValue::from(self.age()));
        let validators = Validators::of(&headers);
        if self.page.status() != StatusCode::OK {
            return self.whole(headers, request.head_only);
        }
        if is_unmodified(request.headers, validators) {
            return not_modified(&headers);
        }
        // RFC 9110 §14.2: a range is a matter of GET alone.
        let part = if request.head_only {
            Part::Whole
        } else {
            range::part(request.headers, validators, self.page.body_length())
        };
        match part {
            Part::Whole => self.whole(headers, request.head_only),
            Part::One { first, last } => self.part(headers, part, first..last + 1),
            Part::Unsatisfiable => self.unsatisfiable(&headers, part),
        }
    }

    fn whole(&self, mut headers: HeaderMap, head_only: bool) -> Answer {
        if has_body(self.page.status()) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.page.body_length()));
        }
        Answer {
            status: self.page.status(),
            headers,
            body: if head_only {
                Bytes::new()
            } else {
                self.page.body()
            },
        }
    }

    fn part(&self, mut headers: HeaderMap, part: Part, bytes: std::ops::Range<usize>) -> Answer {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        set_content_range(&mut headers, part, self.page.body_length());
        Answer {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            body: self.page.body().slice(bytes),
        }
    }

    fn unsatisfiable(&self, stored: &HeaderMap, part: Part) -> Answer {
        let mut headers = HeaderMap::new();
        headers.extend(stored.get(DATE).map(|date| (DATE, date.clone())));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        set_content_range(&mut headers, part, self.page.body_length());
        Answer {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            body: Bytes::new(),
        }
    }
}

fn has_body(status: StatusCode) -> bool {
    ![StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status)
}

fn set_content_range(headers: &mut HeaderMap, part: Part, length: usize) {
    let text = range::content_range(part, length).map(HeaderValue::try_from);
    if let Some(Ok(value)) = text {
        headers.insert(CONTENT_RANGE, value);
    }
}

/// RFC 9110 §15.4.5: the headers that a 304 has, and those that a cache downstream goes by.
fn not_modified(stored: &HeaderMap) -> Answer {
    let mut headers = HeaderMap::new();
    for name in [
        AGE,
        CACHE_CONTROL,
        CONTENT_LOCATION,
        DATE,
        ETAG,
        EXPIRES,
        VARY,
    ] {
        for value in stored.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    // Where there is no tag, the date is what the client validates by.
    if !headers.contains_key(ETAG) {
        headers.extend(
            stored
                .get(LAST_MODIFIED)
                .map(|date| (LAST_MODIFIED, date.clone())),
        );
    }
    // `CDN-Cache-Control` is for caches too (RFC 9213 §2).
    let targeted = http::HeaderName::from_static("cdn-cache-control");
    for value in stored.get_all(&targeted) {
        headers.append(&targeted, value.clone());
    }
    Answer {
        status: StatusCode::NOT_MODIFIED,
        headers,
        body: Bytes::new(),
    }
}
