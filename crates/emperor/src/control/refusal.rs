//! Every refusal of the control API, as an HTTP status and an [`ErrorDocument`].

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use site_model::template_hint;
use site_registry::{EditError, LinkError};
use thiserror::Error;
use wire::control::{ErrorCode, ErrorDocument};

use super::rows::FieldError;
use crate::daemon::{PurgeError, RereadError, Stopping};

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// No row and no vassal has this slug or id.
    #[error("there is no {}", absent(.0))]
    NoSuchSite(String),
    /// What is asked for, only a site can have.
    #[error(
        "{0} is a pool: rows, hosts and cached pages are those of its sites, which `emperor status {0}` names. \
         Ask for one of them; `emperor site disable SITE` and `emperor site set SITE --pool ''` take it out, and the \
         pool ends with its last. `emperor status`, `logs`, `reload` and `template render` understand {0}"
    )]
    IsAPool(String),
    /// No template has this name.
    #[error("there is no template {name:?}{}", template_hint(.nearest.as_deref()))]
    NoSuchTemplate {
        /// The name.
        name: String,
        /// The one that may have been meant.
        nearest: Option<String>,
    },
    /// No resource has this path.
    #[error("there is no {0}; /openapi.json lists what there is")]
    NoSuchResource(String),
    /// The resource has no such method.
    #[error("{0} has no such method; /openapi.json lists what there is")]
    NoSuchMethod(String),
    /// A field of the document can't be.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The body is not the document it should be.
    #[error("{0}")]
    Body(#[from] JsonRejection),
    /// The query is not understood.
    #[error("{0}")]
    Query(#[from] QueryRejection),
    /// The row was not changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The daemon takes no more orders.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// Not everything was read again.
    #[error(transparent)]
    Reread(#[from] RereadError),
    /// Nothing can be rendered of a row that is wrong.
    #[error("{0}")]
    Rejected(String),
    /// A purge without a name, or with names and all.
    #[error("say what is to be purged: paths, prefixes and tags, or all of it")]
    WhatToPurge,
    /// The purge is not recorded.
    #[error("nothing was purged: {0}")]
    Purge(#[source] PurgeError),
    /// The router has not answered in time.
    #[error("the fastrouter does not tell what it has stored; `emperor status` shows how it is")]
    RouterSilent,
    /// A log can't be read.
    #[error("could not read the log: {0}")]
    Log(#[from] std::io::Error),
}

/// What isn't there, and what names those that are.
fn absent(reference: &str) -> String {
    match reference.strip_prefix("pool.") {
        Some(pool) => format!("pool {pool:?}; `emperor status` names all of them"),
        None => format!("site {reference:?}; `emperor site list` names all of them"),
    }
}

impl Refusal {
    fn kind(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::NoSuchSite(_) => (StatusCode::NOT_FOUND, ErrorCode::NoSuchSite),
            Self::NoSuchTemplate { .. } => (StatusCode::NOT_FOUND, ErrorCode::NoSuchTemplate),
            Self::NoSuchResource(_) => (StatusCode::NOT_FOUND, ErrorCode::NoSuchResource),
            Self::NoSuchMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::NoSuchResource),
            Self::Field(_) | Self::WhatToPurge => (StatusCode::BAD_REQUEST, ErrorCode::BadRequest),
            Self::Body(rejection) => match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge)
                }
                status => (status, ErrorCode::BadRequest),
            },
            Self::Query(rejection) => (rejection.status(), ErrorCode::BadRequest),
            Self::Edit(error) => edit_kind(error),
            Self::Stopping(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            Self::Reread(error) => reread_kind(error),
            Self::Rejected(_)
            | Self::IsAPool(_)
            | Self::Purge(
                PurgeError::NothingIsKept | PurgeError::Link(LinkError::Statement { .. }),
            ) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::Refused),
            Self::Purge(PurgeError::Link(_)) | Self::RouterSilent => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
            }
            Self::Log(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
        }
    }
}

fn reread_kind(error: &RereadError) -> (StatusCode, ErrorCode) {
    match error {
        RereadError::Config(_) | RereadError::Assembly(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::Refused)
        }
        RereadError::Rows(_) | RereadError::Slow => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
        }
    }
}

fn edit_kind(error: &EditError) -> (StatusCode, ErrorCode) {
    match error {
        EditError::NoSuchSite(_) => (StatusCode::NOT_FOUND, ErrorCode::NoSuchSite),
        EditError::SlugTaken(_)
        | EditError::IdTaken(_)
        | EditError::HostTaken(_)
        | EditError::Locked => (StatusCode::CONFLICT, ErrorCode::Conflict),
        EditError::NoSuchDomain { .. }
        | EditError::KeptByDjango(_)
        | EditError::KeptElsewhere(_)
        | EditError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::Refused),
        EditError::Link(_) | EditError::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        let error = self.to_string();
        (status, Json(ErrorDocument { code, error })).into_response()
    }
}
