//! The answer that hyper sends: a worker's, filtered, or one of the router's own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_edge::forward::X_REQUEST_ID;
use http_edge::upstream::{AnswerBody, AnswerHead};
use hyper::body::{Body, Frame, SizeHint};

use super::Record;
use super::feed::Fed;
use super::filling::Recording;
use super::page::Form;
use crate::cause::Cause;
use crate::tunnel::Tunnel;
use crate::worker::Exchange;

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The body of an answer. It carries the request's record, which ends with it.
#[derive(Debug)]
pub(crate) struct Answer {
    content: Content,
    /// `None` where a tunnel has it.
    record: Option<Record>,
}

#[derive(Debug)]
enum Content {
    Nothing,
    /// A page of the router's own.
    Page(Bytes),
    /// What a worker says, as it says it.
    Worker {
        exchange: Box<Exchange>,
        /// How much is still to come, where that is known.
        left: Option<u64>,
        /// Where it is taken down for the cache.
        recording: Option<Recording>,
    },
    /// What a worker says to a fill.
    Filled {
        fed: Fed,
        /// How much is still to come, where that is known.
        left: Option<u64>,
    },
    /// The worker broke its answer off, and the client has not been told yet.
    Broken(Cause),
}

impl Answer {
    /// A worker's answer.
    pub(super) fn of_worker(
        record: Record,
        head: AnswerHead,
        exchange: Box<Exchange>,
        recording: Option<Recording>,
    ) -> Response<Self> {
        let AnswerHead {
            status,
            mut headers,
            body,
        } = head;
        headers.insert(X_REQUEST_ID, record.id().clone());
        if body == AnswerBody::Tunnel {
            return Self::tunnel(record, headers, exchange);
        }
        let left = length_of(body);
        let content = if exchange.is_done() {
            if let Some(recording) = recording {
                recording.finish(record.now());
            }
            Content::Nothing
        } else {
            Content::Worker {
                exchange,
                left,
                recording,
            }
        };
        Self::response(record, status, headers, content)
    }

    /// A worker's answer, as a fill reads it.
    pub(super) fn filled(record: Record, head: AnswerHead, fed: Fed) -> Response<Self> {
        let AnswerHead {
            status,
            mut headers,
            body,
        } = head;
        headers.insert(X_REQUEST_ID, record.id().clone());
        let content = if fed.is_done() {
            Content::Nothing
        } else {
            let left = length_of(body);
            Content::Filled { fed, left }
        };
        Self::response(record, status, headers, content)
    }

    /// The worker leaves HTTP with the client's consent: so does the client's connection, once this
    /// answer was sent.
    fn tunnel(
        mut record: Record,
        mut headers: HeaderMap,
        exchange: Box<Exchange>,
    ) -> Response<Self> {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        record.answered(status);
        if let Some((worker, early, lease)) = exchange.into_tunnel() {
            let connection = std::rc::Rc::clone(&record.connection);
            connection.open_tunnel(Tunnel::new(worker, early, record, lease));
        }
        with_headers(
            status,
            headers,
            Self {
                content: Content::Nothing,
                record: None,
            },
        )
    }

    /// 301.
    pub(super) fn redirect(record: Record, location: &str, has_body: bool) -> Response<Self> {
        let mut headers = HeaderMap::new();
        // A canonical host and a target that the parser took make a value without control
        // characters.
        if let Ok(location) = HeaderValue::from_str(location) {
            headers.insert(header::LOCATION, location);
        }
        Self::own(record, StatusCode::MOVED_PERMANENTLY, headers, has_body)
    }

    /// A stored page.
    pub(super) fn stored(record: Record, stored: page_cache::Answer) -> Response<Self> {
        let page_cache::Answer {
            status,
            mut headers,
            body,
        } = stored;
        headers.insert(X_REQUEST_ID, record.id().clone());
        let content = if body.is_empty() {
            Content::Nothing
        } else {
            Content::Page(body)
        };
        Self::response(record, status, headers, content)
    }

    /// 200 to a purge.
    pub(super) fn purged(record: Record) -> Response<Self> {
        let mut headers = HeaderMap::new();
        let text = Bytes::from_static(b"purged\n");
        headers.insert(X_REQUEST_ID, record.id().clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self::response(record, StatusCode::OK, headers, Content::Page(text))
    }

    /// 204 in place of a site that sleeps.
    pub(super) fn asleep(record: Record) -> Response<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, record.id().clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self::response(record, StatusCode::NO_CONTENT, headers, Content::Nothing)
    }

    /// An error page.
    pub(super) fn failure(mut record: Record, cause: Cause, has_body: bool) -> Response<Self> {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = cause.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if cause.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        let status = cause.status();
        record.failed(cause);
        Self::own(record, status, headers, has_body)
    }

    fn own(
        record: Record,
        status: StatusCode,
        mut headers: HeaderMap,
        has_body: bool,
    ) -> Response<Self> {
        let form = Form::wanted(&record.head.headers);
        let page = form.page(status, record.id_text());
        headers.insert(X_REQUEST_ID, record.id().clone());
        headers.insert(header::CONTENT_TYPE, form.content_type());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(page.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if has_body {
            // What the client is still sending won't be read.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Self::response(record, status, headers, Content::Page(page))
    }

    fn response(
        mut record: Record,
        status: StatusCode,
        mut headers: HeaderMap,
        content: Content,
    ) -> Response<Self> {
        record.answered(status);
        if let Some(status) = record.cache_status() {
            headers.append(CACHE_STATUS, status);
        }
        if record.connection.thread.is_draining() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let record = Some(record);
        with_headers(status, headers, Self { content, record })
    }

    fn poll_worker(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cause>>> {
        let Content::Worker {
            exchange,
            left,
            recording,
        } = &mut self.content
        else {
            return Poll::Ready(None);
        };
        let part = ready!(exchange.poll_data(cx));
        if let (Some(Ok(part)), Some(left)) = (&part, left) {
            *left = left.saturating_sub(part.len() as u64);
        }
        let now = || self.record.as_ref().map(Record::now).unwrap_or_default();
        *recording = match &part {
            Some(Ok(part)) => recording.take().and_then(|it| it.push(part, now())),
            // A part of a page is no page.
            Some(Err(_)) => None,
            None => recording.take(),
        };
        if exchange.is_done() {
            if let Some(recording) = recording.take() {
                recording.finish(now());
            }
            self.content = Content::Nothing;
        }
        Poll::Ready(part)
    }

    fn poll_fed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cause>>> {
        let Content::Filled { fed, left } = &mut self.content else {
            return Poll::Ready(None);
        };
        let part = ready!(fed.poll_data(cx));
        if let (Some(Ok(part)), Some(left)) = (&part, left) {
            *left = left.saturating_sub(part.len() as u64);
        }
        if part.is_none() || fed.is_done() {
            self.content = Content::Nothing;
        }
        Poll::Ready(part)
    }

    fn note(&mut self, part: Option<&Result<Bytes, Cause>>) {
        let Some(record) = &mut self.record else {
            return;
        };
        match part {
            Some(Ok(part)) => record.sent(part.len() as u64),
            Some(Err(cause)) => record.failed(cause.clone()),
            None => {}
        }
        if matches!(self.content, Content::Nothing) {
            record.worker_is_done();
        }
    }
}

/// How much is to come, where that is known.
fn length_of(body: AnswerBody) -> Option<u64> {
    match body {
        AnswerBody::None => Some(0),
        AnswerBody::Length(length) => Some(length),
        AnswerBody::Tunnel | AnswerBody::Chunked | AnswerBody::UntilClose => None,
    }
}

fn with_headers(status: StatusCode, headers: HeaderMap, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl Body for Answer {
    type Data = Bytes;
    /// An answer that breaks off: the client learns of it by the end of its connection.
    type Error = Cause;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let this = self.get_mut();
        let part = match &mut this.content {
            Content::Nothing => None,
            Content::Page(page) => {
                let page = std::mem::take(page);
                this.content = Content::Nothing;
                Some(Ok(page))
            }
            Content::Broken(cause) => {
                let cause = cause.clone();
                this.content = Content::Nothing;
                return Poll::Ready(Some(Err(cause)));
            }
            Content::Worker { .. } => ready!(this.poll_worker(cx)),
            Content::Filled { .. } => ready!(this.poll_fed(cx)),
        };
        this.note(part.as_ref());
        if let Some(Err(cause)) = part {
            // Hyper throws away what it has not written yet once it learns of this; what came
            // before is for the client, its head above all.
            this.content = Content::Broken(cause);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Page(page) => SizeHint::with_exact(page.len() as u64),
            Content::Broken(_) => SizeHint::default(),
            Content::Worker { left, .. } | Content::Filled { left, .. } => {
                left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
