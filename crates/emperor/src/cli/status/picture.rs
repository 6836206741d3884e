//! What `emperor status` shows: asked once for a look, and at every change for `--watch`.

use jiff::Timestamp;
use wire::control::{PoolDocument, SiteDocument, StatusDocument};

use super::{detail, overview, pool};
use crate::cli::args::SiteRef;
use crate::cli::client::{Client, ClientError};

/// Last lines that are shown with one site.
pub(super) const LINES: u32 = 10;

/// Asks for one site, or for all.
pub(super) async fn ask(
    site: Option<&SiteRef>,
    client: &Client,
) -> Result<StatusDocument, ClientError> {
    match site {
        Some(site) => {
            client
                .get(&format!("/v1/sites/{}/status", site.as_str()))
                .await
        }
        None => client.get("/v1/status").await,
    }
}

/// What is to be shown.
#[derive(Debug)]
pub(super) enum Picture {
    House(Box<StatusDocument>),
    Site(Box<SiteDocument>),
    Pool(Box<PoolDocument>),
}

impl Picture {
    /// Of what was answered, for one site or for all.
    pub(super) fn of(mut status: StatusDocument, is_of_one: bool) -> Self {
        if !is_of_one {
            return Self::House(Box::new(status));
        }
        match (status.sites.pop(), status.pools.pop()) {
            (Some(only), _) => Self::Site(Box::new(only)),
            (None, Some(only)) => Self::Pool(Box::new(only)),
            (None, None) => Self::House(Box::new(status)),
        }
    }

    /// The text; `lines` are the last ones of the log of a single site or pool.
    pub(super) fn render(&self, lines: &str, now: Timestamp) -> String {
        match self {
            Self::House(status) => overview::render(status, now) + &pool::table(&status.pools, now),
            Self::Site(site) => detail::render(site, lines, now),
            Self::Pool(pool) => pool::render(pool, lines, now),
        }
    }
}
