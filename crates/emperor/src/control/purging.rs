//! Purging, and what is stored: two resources of the API.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use site_registry::purges::Purge;
use wire::control::{CachedDocument, ErrorDocument, PurgeDocument, PurgedDocument};

use super::api::{Answer, Api};
use super::daemon::Daemon;
use super::refusal::Refusal;

/// Purge pages of a site, or of all
#[utoipa::path(
    post,
    path = "/v1/purge",
    request_body = PurgeDocument,
    responses(
        (status = 200, body = PurgedDocument, description = "it is committed"),
        (status = 400, body = ErrorDocument, description = "it says not what is to be purged"),
        (status = 404, body = ErrorDocument, description = "no such site"),
        (status = 422, body = ErrorDocument, description = "a path or a tag can't be one"),
        (status = 503, body = ErrorDocument, description = "PostgreSQL can't be reached")
    )
)]
pub(super) async fn purge<D: Daemon>(
    State(api): State<Api<D>>,
    body: Result<Json<PurgeDocument>, JsonRejection>,
) -> Answer<PurgedDocument> {
    let Json(document) = body?;
    let site = document.site.as_deref();
    let site = site.map(|site| api.find_site(site)).transpose()?;
    let mut purges = Vec::new();
    for what in wanted(document)? {
        let recorded = api.daemon.purge(site, what).await;
        purges.push(recorded.map_err(Refusal::Purge)?.get());
    }
    Ok(Json(PurgedDocument { purges }))
}

fn wanted(document: PurgeDocument) -> Result<Vec<Purge>, Refusal> {
    let named = [
        (document.paths, Purge::Paths as fn(Vec<String>) -> Purge),
        (document.prefixes, Purge::Prefixes),
        (document.tags, Purge::Tags),
    ];
    let named = named.into_iter().filter(|(names, _)| !names.is_empty());
    let named: Vec<_> = named.map(|(names, purge)| purge(names)).collect();
    match (document.all, named.is_empty()) {
        (true, true) => Ok(vec![Purge::Everything]),
        (false, false) => Ok(named),
        (true, false) | (false, true) => Err(Refusal::WhatToPurge),
    }
}

/// What of it is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CacheQuery {
    /// Pages with this path alone.
    path: Option<String>,
}

/// What is stored of a site's pages, and why others are not
#[utoipa::path(
    get,
    path = "/v1/sites/{site}/cache",
    params(("site" = String, Path, description = "slug or id"), CacheQuery),
    responses(
        (status = 200, body = CachedDocument),
        (status = 404, body = ErrorDocument),
        (status = 503, body = ErrorDocument, description = "the router doesn't tell now")
    )
)]
pub(super) async fn cached<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
    query: Result<Query<CacheQuery>, QueryRejection>,
) -> Answer<CachedDocument> {
    let Query(query) = query?;
    let cached = api.daemon.cached(api.find_site(&site)?, query.path).await;
    cached.map(Json).ok_or(Refusal::RouterSilent)
}
