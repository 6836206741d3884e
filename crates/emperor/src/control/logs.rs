//! A site's log over HTTP: its last lines, and what comes after them as it comes.

#![expect(
    unused_qualifications,
    reason = "the code that utoipa's macro makes of a query type qualifies it"
)]

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use wire::control::ErrorDocument;

use super::api::Api;
use super::daemon::Daemon;
use super::refusal::Refusal;
use super::tail::Tail;

/// The most lines of a log that one request gets.
const MAX_LINES: u32 = 1_000_000;

/// Which part of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// How many of the last lines.
    #[serde(default = "default_lines")]
    #[param(default = 100)]
    lines: u32,
    /// Go on with what comes.
    #[serde(default)]
    #[param(default = false)]
    follow: bool,
}

const fn default_lines() -> u32 {
    100
}

/// What a site's workers wrote, as text
#[utoipa::path(
    get,
    path = "/v1/sites/{site}/logs",
    params(("site" = String, Path, description = "slug or id"), LogQuery),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, body = ErrorDocument)
    )
)]
pub(super) async fn logs<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let path = api.daemon.log(api.find(&site)?);
    let lines = query.lines.min(MAX_LINES) as usize;
    let tail = Tail::open(&path, lines).await?;
    let body = if query.follow {
        followed(tail, api.shutdown)
    } else {
        to_its_end(tail)
    };
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((plain, body).into_response())
}

/// The stream is pulled by whoever reads it, so a slow reader holds one chunk and no more.
fn to_its_end(tail: Tail) -> Body {
    Body::from_stream(stream::try_unfold(tail, async |mut tail: Tail| {
        Ok::<_, std::io::Error>(tail.next().await?.map(|bytes| (bytes, tail)))
    }))
}

fn followed(tail: Tail, shutdown: CancellationToken) -> Body {
    let shutdown = Arc::new(shutdown);
    Body::from_stream(stream::try_unfold(tail, move |mut tail: Tail| {
        let shutdown = Arc::clone(&shutdown);
        async move {
            tokio::select! {
                () = shutdown.cancelled() => Ok::<_, std::io::Error>(None),
                bytes = tail.next_awaited() => Ok(Some((bytes?, tail))),
            }
        }
    }))
}
