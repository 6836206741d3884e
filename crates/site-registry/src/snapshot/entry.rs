//! One row as a snapshot holds it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use site_model::{RejectedSite, RejectionReason, SiteId};

use crate::desired::Row;
use crate::reading::RawRow;

/// The columns a rejection can name; one that is not among them was written by a newer program.
const COLUMNS: &[&str] = &[
    "slug",
    "domain",
    "template",
    "run_as",
    "reloads",
    "domains.host",
    "domains.kind",
    "django_site.domain",
    "django_multisite_plus_site.real_domain",
    "django_multisite_plus_site.slug",
    "multisite_alias.domain",
    "emperor.django_sites.slug",
    "emperor.django_sites.template",
    "emperor.django_sites.run_as",
    "site_id",
    "hosts",
];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entry {
    Site(RawRow),
    Rejected {
        id: i64,
        slug: String,
        column: String,
        detail: String,
    },
}

impl From<&Row> for Entry {
    fn from(row: &Row) -> Self {
        match row {
            Row::Site(site) => Self::Site(RawRow::from(&**site)),
            Row::Rejected(rejected) => {
                let (column, detail) = match &rejected.reason {
                    RejectionReason::Column { column, detail } => (*column, detail.clone()),
                    // Of later judges, not of a row as such.
                    reason @ (RejectionReason::HostTaken { .. }
                    | RejectionReason::UnknownTemplate { .. }
                    | RejectionReason::Configuration(_)
                    | RejectionReason::RunAs(_)) => ("slug", reason.to_string()),
                };
                Self::Rejected {
                    id: rejected.id.get(),
                    slug: rejected.slug.clone(),
                    column: column.to_owned(),
                    detail,
                }
            }
        }
    }
}

impl Entry {
    pub(super) fn into_row(self) -> Option<(SiteId, Row)> {
        match self {
            Self::Site(raw) => {
                let id = SiteId::new(raw.id).ok()?;
                Some((id, raw.parse(id)))
            }
            Self::Rejected {
                id,
                slug,
                column,
                detail,
            } => {
                let id = SiteId::new(id).ok()?;
                let known = COLUMNS.iter().find(|known| **known == column);
                let column = known.copied().unwrap_or("(another)");
                let reason = RejectionReason::Column { column, detail };
                Some((
                    id,
                    Row::Rejected(Arc::new(RejectedSite { id, slug, reason })),
                ))
            }
        }
    }
}
