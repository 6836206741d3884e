//! One request sent and its answer received, both at once where they overlap.
//!
//! The exchange runs on the client connection's own task: first within the request's `async fn`, up
//! to the head of the answer, then as the body that hyper polls whenever the client takes more. So
//! neither side is read faster than the other is written, and a client that goes away drops all of
//! this, the connection to the worker included.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_edge::chunked::{put_chunk_start, put_end};
use http_edge::upstream::{
    AnswerDecoder, AnswerError, AnswerHead, Codec, RequestBody, RequestHead, Upgrade,
};
use tokio::net::UnixStream;

use super::failure::{Failure, Reached};
use super::lease::Lease;
use super::link::{Link, Unreachable};
use super::upload::{Upload, UploadError};
use crate::cause::Cause;
use crate::client::Connection;
use crate::tally::Sign;

/// A request that is on its way or being answered.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Rc<Connection>,
    /// `None` once the whole answer was received.
    under_way: Option<UnderWay>,
    response_timeout: Duration,
}

#[derive(Debug)]
struct UnderWay {
    lease: Lease,
    link: Link,
    origin: Origin,
    upload: Upload,
    sending: Sending,
    decoder: AnswerDecoder,
    reached: Reached,
    awaited: Awaited,
}

/// Where the connection came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Pool,
    Fresh,
}

/// What is left to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// The client has more, of which nothing was taken yet.
    FirstPart,
    /// The client has more.
    MoreParts,
    /// Only what is in the link's buffers.
    Rest,
    /// The worker takes no more. It may have answered all the same.
    Abandoned,
}

/// Who has to do something for the exchange to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Something has just happened: patience begins anew.
    Anew,
    Worker,
    /// The client, whose slowness is bounded where its bytes are read.
    Client,
}

/// How a request is to be delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// No connection that has waited in the pool: the last one that was met was dead.
    pub(crate) fresh_only: bool,
}

impl Exchange {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn begin(
        connection: &Rc<Connection>,
        lease: Lease,
        head: &RequestHead<'_>,
        upload: Upload,
        delivery: Delivery,
    ) -> Result<(AnswerHead, Box<Self>), Failure> {
        let (mut link, origin) = match link_to(connection, &lease, delivery).await {
            Ok(found) => found,
            Err(cause) => return Err(Failure::unsent(cause, upload)),
        };
        let encoded = codec(&lease).and_then(|codec| {
            codec.encode(head, &mut link.out)?;
            Ok(decoder(codec, head))
        });
        let decoder = match encoded {
            Ok(decoder) => decoder,
            Err(cause) => return Err(Failure::unsent(cause, upload)),
        };
        let mut exchange = Box::new(Self {
            connection: Rc::clone(connection),
            under_way: Some(UnderWay {
                lease,
                link,
                origin,
                upload,
                sending: Sending::FirstPart,
                decoder,
                reached: Reached::Nothing,
                awaited: Awaited::Anew,
            }),
            response_timeout: delivery.response_timeout,
        });
        match std::future::poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(head) => {
                exchange.sign(Sign::Answered);
                exchange.finish_if_done();
                Ok((head, exchange))
            }
            Err(cause) => Err(exchange.failed(cause)),
        }
    }

    /// Whether the whole answer was received.
    pub(crate) fn is_done(&self) -> bool {
        self.under_way.is_none()
    }

    /// Takes the next part of the answer's body, sending what is left of the request meanwhile.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cause>>> {
        let taken = ready!(self.poll_part(cx));
        if let Err(cause) = &taken {
            self.sign_failure(cause);
        }
        self.finish_if_done();
        Poll::Ready(taken.transpose())
    }

    /// The connection and all that belongs to it, after the worker agreed to leave HTTP.
    pub(crate) fn into_tunnel(self) -> Option<(UnixStream, Vec<u8>, Lease)> {
        let under_way = self.under_way?;
        let (stream, early) = under_way.link.into_parts();
        Some((stream, early.to_vec(), under_way.lease))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, Cause>> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        let sent = under_way.send(cx);
        let blocked_by =
            sent.map_err(|error| Cause::of_upload(error, self.connection.body_refusal()))?;
        loop {
            if let Some(head) = under_way.decoder.head(&mut under_way.link.received)? {
                return Poll::Ready(Ok(head));
            }
            match under_way.poll_receive(cx) {
                Poll::Ready(Ok(Received::More)) => {}
                Poll::Ready(Ok(Received::End)) if under_way.reached < Reached::Answer => {
                    return Poll::Ready(Err(Cause::WorkerGone));
                }
                Poll::Ready(Ok(Received::End)) => {
                    return Poll::Ready(Err(AnswerError::CutOff.into()));
                }
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                Poll::Pending => return self.poll_patience(cx, blocked_by).map(Err),
            }
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Cause>> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Ready(Ok(None));
        };
        let sent = under_way.send(cx);
        let blocked_by =
            sent.map_err(|error| Cause::of_upload(error, self.connection.body_refusal()))?;
        loop {
            let part = under_way.decoder.body(&mut under_way.link.received)?;
            if part.is_some() || under_way.decoder.is_at_end() {
                return Poll::Ready(Ok(part));
            }
            match under_way.poll_receive(cx) {
                Poll::Ready(Ok(Received::More)) => {}
                Poll::Ready(Ok(Received::End)) => under_way.decoder.closed()?,
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                Poll::Pending => return self.poll_patience(cx, blocked_by).map(Err),
            }
        }
    }

    /// Bounds how long the worker may do nothing.
    fn poll_patience(&mut self, cx: &mut Context<'_>, blocked_by: Awaited) -> Poll<Cause> {
        let alarm = &self.connection.worker_alarm;
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        if under_way.awaited != blocked_by {
            under_way.awaited = blocked_by;
            match blocked_by {
                Awaited::Client => alarm.clear(),
                Awaited::Worker | Awaited::Anew => alarm.set(self.response_timeout),
            }
        }
        alarm.poll(cx).map(|()| Cause::WorkerTooSlow)
    }

    /// Gives the connection back once the whole answer was received, or closes it where it can't
    /// carry another request.
    fn finish_if_done(&mut self) {
        let done = self
            .under_way
            .take_if(|under_way| under_way.decoder.is_at_end());
        let Some(under_way) = done else {
            return;
        };
        self.connection.worker_alarm.clear();
        if under_way.is_reusable() {
            let instances = &self.connection.thread.instances;
            instances.keep(under_way.lease.instance(), under_way.link);
        }
    }

    fn sign(&self, sign: Sign) {
        if let Some(under_way) = &self.under_way {
            under_way.lease.sign(sign);
        }
    }

    /// Notes a failure that says something about the instance.
    fn sign_failure(&self, cause: &Cause) {
        let sign = self.under_way.as_ref().and_then(|it| it.sign_of(cause));
        if let Some(sign) = sign {
            self.sign(sign);
        }
    }

    fn failed(mut self, cause: Cause) -> Failure {
        self.sign_failure(&cause);
        self.connection.worker_alarm.clear();
        let under_way = self
            .under_way
            .take()
            .expect("an exchange fails while it is under way");
        Failure {
            cause,
            reached: under_way.reached,
            was_reused: under_way.origin == Origin::Pool,
            upload: under_way.upload,
        }
    }
}

async fn link_to(
    connection: &Rc<Connection>,
    lease: &Lease,
    delivery: Delivery,
) -> Result<(Link, Origin), Cause> {
    let pooled = connection.thread.instances.reuse(lease.instance());
    if let Some(link) = pooled.filter(|_| !delivery.fresh_only) {
        return Ok((link, Origin::Pool));
    }
    let alarm = &connection.worker_alarm;
    alarm.set(delivery.connect_timeout);
    let connected = Link::connect(&lease.instance().socket, alarm).await;
    alarm.clear();
    match connected {
        Ok(link) => Ok((link, Origin::Fresh)),
        Err(Unreachable::Refused(error)) => {
            lease.sign(Sign::Refused);
            Err(Cause::WorkerUnreachable(error.kind()))
        }
        Err(Unreachable::TooSlow) => {
            lease.sign(Sign::Late);
            Err(Cause::WorkerTooSlow)
        }
    }
}

fn codec(lease: &Lease) -> Result<Codec, Cause> {
    lease.instance().codec.map_err(Cause::Unspoken)
}

fn decoder(codec: Codec, head: &RequestHead<'_>) -> AnswerDecoder {
    match head.upgrade {
        Upgrade::None => AnswerDecoder::new(codec, head.method),
        Upgrade::WebSocket => AnswerDecoder::of_upgrade(codec),
    }
}

/// What a read brought.
enum Received {
    More,
    End,
}

impl UnderWay {
    /// Sends as much as can be sent now, and says who has to do something next. The head goes with
    /// the first part of the body, in one write.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<Awaited, UploadError> {
        loop {
            let blocked_by_client = self.link.body.is_empty() && self.take_part(cx)?.is_pending();
            if blocked_by_client {
                return Ok(Awaited::Client);
            }
            if self.link.is_flushed() || self.sending == Sending::Abandoned {
                return Ok(Awaited::Worker);
            }
            match self.link.poll_write(cx) {
                Poll::Ready(Ok(_)) => {
                    self.reached = self.reached.max(Reached::Worker);
                    self.awaited = Awaited::Anew;
                }
                // Whether it has answered nevertheless, reading will tell.
                Poll::Ready(Err(_)) => self.sending = Sending::Abandoned,
                Poll::Pending => return Ok(Awaited::Worker),
            }
        }
    }

    /// Takes the next part of the body from the client, if there is to be one.
    fn take_part(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UploadError> {
        let is_first = match self.sending {
            Sending::FirstPart => true,
            Sending::MoreParts => false,
            Sending::Rest | Sending::Abandoned => return Ok(Poll::Ready(())),
        };
        let is_chunked = self.upload.framing() == RequestBody::Chunked;
        match self.upload.poll_next(cx) {
            Poll::Ready(Some(part)) => {
                let part = part?;
                if is_chunked {
                    put_chunk_start(&mut self.link.out, part.len(), is_first);
                }
                self.link.body = part;
                self.sending = Sending::MoreParts;
            }
            Poll::Ready(None) => {
                if is_chunked {
                    put_end(&mut self.link.out, is_first);
                }
                self.sending = Sending::Rest;
            }
            Poll::Pending => return Ok(Poll::Pending),
        }
        Ok(Poll::Ready(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Cause>> {
        match ready!(self.link.poll_read(cx)) {
            Ok(0) => Poll::Ready(Ok(Received::End)),
            Ok(_) => {
                self.reached = Reached::Answer;
                self.awaited = Awaited::Anew;
                Poll::Ready(Ok(Received::More))
            }
            Err(_) if self.reached < Reached::Answer => Poll::Ready(Err(Cause::WorkerGone)),
            Err(_) => Poll::Ready(Err(AnswerError::CutOff.into())),
        }
    }

    fn sign_of(&self, cause: &Cause) -> Option<Sign> {
        let is_late = *cause == Cause::WorkerTooSlow && self.reached < Reached::Answer;
        // One that had served before may end as it waits for a request.
        let is_gone = *cause == Cause::WorkerGone && self.origin == Origin::Fresh;
        let is_cut_off = *cause == Cause::BadAnswer(AnswerError::CutOff);
        let is_broken = (is_gone || is_cut_off).then_some(Sign::Broken);
        is_late.then_some(Sign::Late).or(is_broken)
    }

    fn is_reusable(&self) -> bool {
        self.sending == Sending::Rest
            && self.link.is_flushed()
            && self.link.received.is_empty()
            && self.decoder.is_reusable()
    }
}
