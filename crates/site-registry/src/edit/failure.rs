//! What the server says of a change that it refuses, as an [`EditError`].

use tokio_postgres::error::SqlState;

use super::change::{Edit, EditError, NewSite};
use crate::link::{Doing, LinkError};

/// Either the server's error, to be explained, or one that explains itself.
pub(super) enum Failure {
    Server(tokio_postgres::Error),
    Known(EditError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Self::Known(error)
    }
}

impl Failure {
    pub(super) fn explain(self, edit: &Edit) -> EditError {
        let error = match self {
            Self::Server(error) => error,
            Self::Known(error) => return error,
        };
        let Some(server) = error.as_db_error() else {
            return EditError::Link(LinkError::from_postgres(&error, Doing::Editing));
        };
        let message = server.message().to_owned();
        match *server.code() {
            SqlState::UNIQUE_VIOLATION => taken(server.constraint(), message, edit),
            SqlState::FOREIGN_KEY_VIOLATION => match edit {
                Edit::Set(id, _) => EditError::NoSuchSite(*id),
                Edit::Add(_) | Edit::Remove(_) | Edit::Reload(_) | Edit::ReloadAll => {
                    EditError::Refused(message)
                }
            },
            SqlState::LOCK_NOT_AVAILABLE
            | SqlState::T_R_DEADLOCK_DETECTED
            | SqlState::T_R_SERIALIZATION_FAILURE => EditError::Locked,
            SqlState::CHECK_VIOLATION
            | SqlState::NOT_NULL_VIOLATION
            | SqlState::STRING_DATA_RIGHT_TRUNCATION
            | SqlState::CHARACTER_NOT_IN_REPERTOIRE => EditError::Refused(message),
            _ => EditError::Link(LinkError::from_postgres(&error, Doing::Editing)),
        }
    }
}

/// Which of the unique things is taken.
fn taken(constraint: Option<&str>, message: String, edit: &Edit) -> EditError {
    let slug = match edit {
        Edit::Add(site) => Some(&site.slug),
        Edit::Set(_, change) => change.slug.as_ref(),
        Edit::Remove(_) | Edit::Reload(_) | Edit::ReloadAll => None,
    };
    match (constraint, slug, edit) {
        (Some("sites_slug_key" | "django_sites_slug_key"), Some(slug), _) => {
            EditError::SlugTaken(slug.clone())
        }
        (Some("sites_pkey"), _, Edit::Add(NewSite { id: Some(id), .. })) => EditError::IdTaken(*id),
        (Some("host_claims_pkey" | "domains_pkey"), _, _) => EditError::HostTaken(message),
        _ => EditError::Refused(message),
    }
}
