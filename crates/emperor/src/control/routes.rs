//! Resources and methods of the control API. Each handler parses, asks the daemon, answers.

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use site_model::SiteId;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use wire::control::{
    ErrorDocument, NewRowDocument, ReloadDocument, RenderDocument, RereadDocument,
    RowChangeDocument, RowDocument, SitesDocument, StatusDocument, TemplateDocument,
};

use super::api::{Answer, Api};
use super::changes;
use super::daemon::Daemon;
use super::logs;
use super::purging;
use super::refusal::Refusal;
use super::rows;
use crate::daemon::Selection;
use crate::runtime::off_the_loop;

/// The largest document taken: a row with a very long overlay.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The API as an OpenAPI document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Emperor control API",
        description = "HTTP + JSON on control.sock"
    ),
    paths(
        status,
        changes::changes,
        site_status,
        list_rows,
        show_row,
        add_row,
        change_row,
        remove_row,
        render,
        logs::logs,
        reload,
        reread,
        confirm_removals,
        purging::purge,
        purging::cached,
        list_templates,
        show_template
    ),
    components(schemas(ErrorDocument))
)]
struct Document;

/// The whole API.
pub(super) fn router<D: Daemon>(daemon: D, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/v1/status", get(status::<D>))
        .route("/v1/changes", get(changes::changes::<D>))
        .route("/v1/sites", get(list_rows::<D>).post(add_row::<D>))
        .route(
            "/v1/sites/{site}",
            get(show_row::<D>)
                .patch(change_row::<D>)
                .delete(remove_row::<D>),
        )
        .route("/v1/sites/{site}/status", get(site_status::<D>))
        .route("/v1/sites/{site}/render", get(render::<D>))
        .route("/v1/sites/{site}/logs", get(logs::logs::<D>))
        .route("/v1/reload", post(reload::<D>))
        .route("/v1/sites/{site}/cache", get(purging::cached::<D>))
        .route("/v1/purge", post(purging::purge::<D>))
        .route("/v1/reread", post(reread::<D>))
        .route("/v1/removals/confirm", post(confirm_removals::<D>))
        .route("/v1/templates", get(list_templates::<D>))
        .route("/v1/templates/{name}", get(show_template::<D>))
        .fallback(no_such_resource)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Api { daemon, shutdown })
}

async fn no_such_resource(uri: http::Uri) -> Refusal {
    Refusal::NoSuchResource(uri.path().to_owned())
}

async fn no_such_method(uri: http::Uri) -> Refusal {
    Refusal::NoSuchMethod(uri.path().to_owned())
}

async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// The daemon, the router, and every site
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = StatusDocument)))]
async fn status<D: Daemon>(State(api): State<Api<D>>) -> Response {
    let status = api.daemon.status().await;
    off_the_loop(move || Json(status).into_response()).await
}

/// The same with one site alone
#[utoipa::path(
    get,
    path = "/v1/sites/{site}/status",
    params(("site" = String, Path, description = "slug or id")),
    responses((status = 200, body = StatusDocument), (status = 404, body = ErrorDocument))
)]
async fn site_status<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
) -> Answer<StatusDocument> {
    let status = api.daemon.site_status(api.find(&site)?).await;
    status.map(Json).ok_or(Refusal::NoSuchSite(site))
}

/// Every row
#[utoipa::path(get, path = "/v1/sites", responses((status = 200, body = Vec<RowDocument>)))]
async fn list_rows<D: Daemon>(State(api): State<Api<D>>) -> Json<Vec<RowDocument>> {
    Json(api.daemon.rows())
}

/// One row
#[utoipa::path(
    get,
    path = "/v1/sites/{site}",
    params(("site" = String, Path, description = "slug or id")),
    responses((status = 200, body = RowDocument), (status = 404, body = ErrorDocument))
)]
async fn show_row<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
) -> Answer<RowDocument> {
    api.row(&site).map(Json)
}

/// Insert a row
#[utoipa::path(
    post,
    path = "/v1/sites",
    request_body = NewRowDocument,
    responses(
        (status = 201, body = RowDocument),
        (status = 400, body = ErrorDocument, description = "a field can't be"),
        (status = 409, body = ErrorDocument, description = "another row has its slug, id or host"),
        (status = 503, body = ErrorDocument, description = "PostgreSQL can't be reached")
    )
)]
async fn add_row<D: Daemon>(
    State(api): State<Api<D>>,
    body: Result<Json<NewRowDocument>, JsonRejection>,
) -> Result<(StatusCode, Json<RowDocument>), Refusal> {
    let Json(row) = body?;
    let id = api.daemon.add(rows::new_site(&row)?).await?;
    Ok((StatusCode::CREATED, Json(api.row(&id.to_string())?)))
}

/// Change a row, its columns and its hosts, all of it or nothing
#[utoipa::path(
    patch,
    path = "/v1/sites/{site}",
    params(("site" = String, Path, description = "slug or id")),
    request_body = RowChangeDocument,
    responses(
        (status = 200, body = RowDocument),
        (status = 400, body = ErrorDocument, description = "a field can't be"),
        (status = 404, body = ErrorDocument),
        (status = 409, body = ErrorDocument, description = "another row has its slug or host"),
        (status = 503, body = ErrorDocument, description = "PostgreSQL can't be reached")
    )
)]
async fn change_row<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
    body: Result<Json<RowChangeDocument>, JsonRejection>,
) -> Answer<RowDocument> {
    let Json(document) = body?;
    let id = api.find_site(&site)?;
    api.daemon.set(id, rows::site_change(&document)?).await?;
    api.row(&id.to_string()).map(Json)
}

/// Delete a row
#[utoipa::path(
    delete,
    path = "/v1/sites/{site}",
    params(("site" = String, Path, description = "slug or id")),
    responses(
        (status = 204),
        (status = 404, body = ErrorDocument),
        (status = 503, body = ErrorDocument, description = "PostgreSQL can't be reached")
    )
)]
async fn remove_row<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
) -> Result<StatusCode, Refusal> {
    let id = api.find_site(&site)?;
    api.daemon.remove(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What would run for a site, and where each value is from
#[utoipa::path(
    get,
    path = "/v1/sites/{site}/render",
    params(("site" = String, Path, description = "slug or id")),
    responses(
        (status = 200, body = RenderDocument),
        (status = 404, body = ErrorDocument),
        (status = 422, body = ErrorDocument, description = "the row is rejected")
    )
)]
async fn render<D: Daemon>(
    State(api): State<Api<D>>,
    Path(site): Path<String>,
) -> Answer<RenderDocument> {
    let id = api.find(&site)?;
    api.daemon
        .render(id)
        .await
        .map(Json)
        .map_err(Refusal::Rejected)
}

/// Replace instances without losing a request
#[utoipa::path(
    post,
    path = "/v1/reload",
    request_body = ReloadDocument,
    responses(
        (status = 200, body = SitesDocument, description = "the sites this concerns"),
        (status = 404, body = ErrorDocument, description = "no such site; none is reloaded")
    )
)]
async fn reload<D: Daemon>(
    State(api): State<Api<D>>,
    body: Result<Json<ReloadDocument>, JsonRejection>,
) -> Answer<SitesDocument> {
    let Json(document) = body?;
    let selection = match document {
        ReloadDocument::All => Selection::All,
        ReloadDocument::Sites(sites) => {
            let ids = sites.iter().map(|site| api.find(site));
            Selection::Sites(ids.collect::<Result<_, _>>()?)
        }
    };
    Ok(sites(&api.daemon.reload(selection).await?))
}

/// Read configuration, templates and rows again, as SIGHUP does
#[utoipa::path(
    post,
    path = "/v1/reread",
    responses(
        (status = 200, body = RereadDocument, description = "all of it is in force"),
        (status = 422, body = ErrorDocument, description = "a file is wrong; nothing was changed"),
        (status = 503, body = ErrorDocument, description = "the rows can't be read now")
    )
)]
async fn reread<D: Daemon>(State(api): State<Api<D>>) -> Answer<RereadDocument> {
    let reread = api.daemon.reread().await??;
    let needs_restart = reread.needs_restart.into_iter().map(str::to_owned);
    Ok(Json(RereadDocument {
        needs_restart: needs_restart.collect(),
    }))
}

/// Believe that the sites that are held are gone
#[utoipa::path(
    post,
    path = "/v1/removals/confirm",
    responses((status = 200, body = SitesDocument, description = "the sites that were held"))
)]
async fn confirm_removals<D: Daemon>(State(api): State<Api<D>>) -> Answer<SitesDocument> {
    Ok(sites(&api.daemon.confirm_removals().await?))
}

fn sites(ids: &[SiteId]) -> Json<SitesDocument> {
    Json(SitesDocument {
        sites: ids.iter().map(|id| id.get()).collect(),
    })
}

/// Every template
#[utoipa::path(get, path = "/v1/templates", responses((status = 200, body = Vec<TemplateDocument>)))]
async fn list_templates<D: Daemon>(State(api): State<Api<D>>) -> Json<Vec<TemplateDocument>> {
    Json(api.daemon.templates())
}

/// One template
#[utoipa::path(
    get,
    path = "/v1/templates/{name}",
    params(("name" = String, Path, description = "its name")),
    responses((status = 200, body = TemplateDocument), (status = 404, body = ErrorDocument))
)]
async fn show_template<D: Daemon>(
    State(api): State<Api<D>>,
    Path(name): Path<String>,
) -> Answer<TemplateDocument> {
    let templates = api.daemon.templates();
    if let Some(template) = templates.iter().find(|template| template.name == name) {
        return Ok(Json(template.clone()));
    }
    let names = templates.iter().map(|template| template.name.as_str());
    let nearest = vassal_core::diagnostic::nearest(&name, names).map(str::to_owned);
    Err(Refusal::NoSuchTemplate { name, nearest })
}
