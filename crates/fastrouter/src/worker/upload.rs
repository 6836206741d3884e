//! The body of a request on its way from the client to a worker.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_edge::upstream::RequestBody;
use hyper::body::{Body, Incoming};

/// The body of one request. It can be sent a second time as long as no more than its first part
/// was taken from the client.
#[derive(Debug)]
pub(crate) struct Upload {
    /// `None` once it was read to its end.
    source: Option<Incoming>,
    framing: RequestBody,
    max_bytes: Option<u64>,
    taken_bytes: u64,
    first: First,
}

/// The first part, and whether it was given to a worker.
#[derive(Debug)]
enum First {
    /// It isn't here yet.
    Awaited,
    /// It was given on and can be given again.
    Given(Bytes),
    /// It is to be given to another worker.
    Again(Bytes),
    /// More came after it, and it is gone.
    Gone,
}

/// Why a body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadError {
    /// It is larger than it may be.
    TooLarge,
    /// The client doesn't go on with it.
    CutOff,
}

impl Upload {
    pub(crate) fn new(source: Incoming, framing: RequestBody, max_bytes: Option<u64>) -> Self {
        let source = match framing {
            RequestBody::None => None,
            RequestBody::Length(_) | RequestBody::Chunked => Some(source),
        };
        Self {
            source,
            framing,
            max_bytes,
            taken_bytes: 0,
            first: First::Awaited,
        }
    }

    /// No body.
    pub(crate) fn none() -> Self {
        Self {
            source: None,
            framing: RequestBody::None,
            max_bytes: None,
            taken_bytes: 0,
            first: First::Awaited,
        }
    }

    /// A body that was gathered before.
    pub(crate) fn whole(body: Bytes) -> Self {
        let length = body.len() as u64;
        Self {
            source: None,
            framing: RequestBody::Length(length),
            max_bytes: None,
            taken_bytes: length,
            first: if body.is_empty() {
                First::Awaited
            } else {
                First::Again(body)
            },
        }
    }

    /// How it is framed.
    pub(crate) fn framing(&self) -> RequestBody {
        self.framing
    }

    /// Whether another worker can be given the same body.
    pub(crate) fn is_replayable(&self) -> bool {
        match self.first {
            First::Awaited | First::Given(_) | First::Again(_) => true,
            First::Gone => false,
        }
    }

    /// From the beginning once more.
    pub(crate) fn replay(&mut self) {
        if let First::Given(first) = &self.first {
            self.first = First::Again(first.clone());
        }
    }

    /// Takes the next part; `None` at the end.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UploadError>>> {
        if let First::Again(first) = &self.first {
            let first = first.clone();
            self.first = First::Given(first.clone());
            return Poll::Ready(Some(Ok(first)));
        }
        match ready!(self.poll_source(cx)) {
            Some(Ok(part)) => {
                self.first = match self.first {
                    First::Awaited => First::Given(part.clone()),
                    First::Given(_) | First::Again(_) | First::Gone => First::Gone,
                };
                Poll::Ready(Some(Ok(part)))
            }
            other => Poll::Ready(other),
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        while let Some(source) = &mut self.source {
            let Some(frame) = ready!(Pin::new(source).poll_frame(cx)) else {
                self.source = None;
                break;
            };
            let Ok(frame) = frame else {
                return Poll::Ready(Some(Err(UploadError::CutOff)));
            };
            // Trailers end here: they belong to this hop.
            let Ok(part) = frame.into_data() else {
                continue;
            };
            self.taken_bytes += part.len() as u64;
            if self.max_bytes.is_some_and(|most| self.taken_bytes > most) {
                return Poll::Ready(Some(Err(UploadError::TooLarge)));
            }
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(part)));
            }
        }
        Poll::Ready(None)
    }

    /// Reads all of it, if it is no more than this; `Ok(None)` where it is more.
    pub(crate) async fn gather(mut self, most: usize) -> Result<Option<Bytes>, UploadError> {
        let mut gathered = bytes::BytesMut::new();
        while let Some(part) = std::future::poll_fn(|cx| self.poll_next(cx)).await {
            let part = part?;
            if gathered.len() + part.len() > most {
                return Ok(None);
            }
            gathered.extend_from_slice(&part);
        }
        Ok(Some(gathered.freeze()))
    }
}
