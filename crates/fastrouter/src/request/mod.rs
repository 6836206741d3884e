//! The life of a request, phase by phase.
//!
//! Permit and acceptance lie behind it when it comes here ([`thread`](crate::thread)); its head has
//! passed the guard ([`client`](crate::client)). What follows is one straight path: the table, the
//! site, an instance or the site's queue, the exchange, the filtered answer. The record goes along
//! from the first line to the last byte, and ends in the access log.
//!
//! [`at_once`] is the one way beside it: for pages that are at hand.

mod answer;
pub(crate) mod at_once;
mod caching;
mod delivery;
mod feed;
mod filling;
mod outcome;
mod page;
mod purge;
mod record;

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, header};
use http_edge::forward::{self, Forwarded, connection_says};
use http_edge::host::port_of;
use http_edge::upstream::{RequestBody, RequestHead, Upgrade};
use hyper::body::{Body, Incoming};
use site_model::{Match, SiteId, SiteRoute};

pub(crate) use self::answer::Answer;
use self::caching::Way;
use self::outcome::{Outcome, vassal_of};
pub(crate) use self::record::Record;
use crate::cause::Cause;
use crate::client::{Connection, Refusal};
use crate::gauge::Purpose;
use crate::settings::Settings;
use crate::worker::Upload;

/// Answers one request.
pub(crate) async fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let refusal = connection.begin_request();
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let mut record = Record::begin(connection, head);
    match outcome(&mut record, body, refusal).await {
        Ok(Outcome::Worker(head, exchange, recording)) => {
            Answer::of_worker(record, head, exchange, recording)
        }
        Ok(Outcome::Filled(head, fed)) => Answer::filled(record, head, fed),
        Ok(Outcome::Stored(stored)) => Answer::stored(record, *stored),
        Ok(Outcome::Purged) => Answer::purged(record),
        Ok(Outcome::Redirect(location)) => Answer::redirect(record, &location, has_body),
        Ok(Outcome::Asleep) => Answer::asleep(record),
        Err(cause) => Answer::failure(record, cause, has_body),
    }
}

async fn outcome(
    record: &mut Record,
    body: Incoming,
    refusal: Option<Refusal>,
) -> Result<Outcome, Cause> {
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    let current = record.connection.thread.current();
    let written = record.head.headers.get(header::HOST);
    let written = written.ok_or(http_edge::guard::HeadRefusal::HostMissing)?;
    let host = record.connection.host(written, &record.head.uri)?;
    let table = current.table.as_ref().ok_or(Cause::NoTable)?;
    let route = match table.find(&host) {
        Match::Site(route) => Arc::clone(route),
        Match::Redirect(route) => {
            let location = location(record, route);
            record.is_for(route.id);
            return Ok(Outcome::Redirect(location));
        }
        Match::Unknown => return Err(Cause::UnknownHost),
    };
    record.is_for(route.id);
    let purpose = purpose(&route, &record.head);
    let upload = upload(&record.head, body, &current.settings)?;
    if let (Purpose::Visit, Some(pages)) = (purpose, current.pages.of(&route)) {
        if record.head.method.as_str() == "PURGE" {
            return purge::obey(record, &pages);
        }
        return caching::answer(record, Way { route, pages, host }, upload).await;
    }
    match purpose {
        Purpose::Visit => record.connection.thread.tallies.came(vassal_of(&route)),
        // Whether the site lives is asked of its workers, whatever is kept of its pages.
        Purpose::Check => {}
    }
    delivery::deliver(record, route.id, purpose, upload).await
}

fn purpose(route: &SiteRoute, head: &Parts) -> Purpose {
    let path = head.uri.path();
    let is_check = route.settings.check_paths.iter().any(|known| known == path)
        && matches!(head.method, Method::GET | Method::HEAD)
        // Whoever opens a tunnel there wants more than to know whether the site lives.
        && matches!(upgrade(head, RequestBody::None), Upgrade::None);
    if is_check {
        Purpose::Check
    } else {
        Purpose::Visit
    }
}

/// Where a redirecting alias leads: the canonical host, and all else as the client asked for it.
fn location(record: &Record, route: &SiteRoute) -> String {
    let (headers, trust) = (&record.head.headers, record.connection.peer.trust);
    let proto = forward::proto(headers, trust);
    let port = port_of(forward::host(headers, record.host(), trust));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let target = record.target();
    // `OPTIONS *` asks about no page in particular.
    let target = if target.starts_with('/') { target } else { "/" };
    format!("{proto}://{}{port}{target}", route.canonical)
}

/// The body of a request, with the framing that the guard has found good.
fn upload(head: &Parts, body: Incoming, settings: &Settings) -> Result<Upload, Cause> {
    let framing = match body.size_hint().exact() {
        // Nothing, and a length that says so, are two things to some workers.
        Some(0) if !head.headers.contains_key(header::CONTENT_LENGTH) => RequestBody::None,
        Some(length) => RequestBody::Length(length),
        None => RequestBody::Chunked,
    };
    match (framing, settings.max_body_bytes) {
        (RequestBody::Length(length), Some(most)) if length > most => Err(Cause::BodyTooLarge),
        (RequestBody::None | RequestBody::Length(_) | RequestBody::Chunked, most) => {
            Ok(Upload::new(body, framing, most))
        }
    }
}

/// A WebSocket is asked for by these two headers together, and has no body.
fn upgrade(head: &Parts, body: RequestBody) -> Upgrade {
    let wished = head.headers.get(header::UPGRADE);
    let websocket = wished.is_some_and(|wish| wish.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let bodiless = matches!(body, RequestBody::None | RequestBody::Length(0));
    if websocket && bodiless && connection_says(&head.headers, "upgrade") {
        Upgrade::WebSocket
    } else {
        Upgrade::None
    }
}

impl Record {
    /// What a worker is asked. `client` is the address of the client as far as it is believed, `site`
    /// what a worker of several sites is told.
    fn request_head<'a>(
        &'a self,
        client: &'a str,
        site: Option<SiteId>,
        body: RequestBody,
    ) -> RequestHead<'a> {
        let (headers, peer) = (&self.head.headers, &self.connection.peer);
        let host = self.host();
        RequestHead {
            method: &self.head.method,
            target: self.target(),
            host,
            headers,
            forwarded: Forwarded {
                peer: &peer.text,
                trust: peer.trust,
                client,
                proto: forward::proto(headers, peer.trust),
                host: forward::host(headers, host, peer.trust),
                request_id: self.id_text(),
            },
            site,
            body,
            upgrade: upgrade(&self.head, body),
        }
    }
}
