//! `emperor status`: asked of the daemon, rendered in [`overview`] and [`detail`].

mod detail;
mod overview;
mod purges;
mod watch;

use jiff::Timestamp;
use wire::control::{SiteDocument, StatusDocument};

use super::args::{SiteRef, Status};
use super::client::{Client, ClientError};
use super::failure::Failure;
use super::output;

/// Last lines that are shown with one site.
const LINES: u32 = 10;

/// Runs the command.
pub(super) async fn run(command: &Status, client: &Client) -> Result<(), Failure> {
    if command.watch {
        return watch::run(command.site.as_ref(), client).await;
    }
    if command.format.json {
        let status = ask(command.site.as_ref(), client).await?;
        return Ok(output::print_json(&status)?);
    }
    let text = render(command.site.as_ref(), client).await?;
    Ok(output::print(&text)?)
}

async fn ask(site: Option<&SiteRef>, client: &Client) -> Result<StatusDocument, ClientError> {
    match site {
        Some(site) => {
            client
                .get(&format!("/v1/sites/{}/status", site.as_str()))
                .await
        }
        None => client.get("/v1/status").await,
    }
}

/// The text for a person.
async fn render(site: Option<&SiteRef>, client: &Client) -> Result<String, ClientError> {
    let picture = Picture::of(ask(site, client).await?, site.is_some());
    let lines = match &picture {
        Picture::House(_) => String::new(),
        Picture::Site(only) => super::logs::last_lines(client, only.id, LINES).await?,
    };
    Ok(picture.render(&lines, Timestamp::now()))
}

/// What is to be shown.
#[derive(Debug)]
enum Picture {
    House(Box<StatusDocument>),
    Site(Box<SiteDocument>),
}

impl Picture {
    fn of(mut status: StatusDocument, is_of_one: bool) -> Self {
        match status.sites.pop() {
            Some(only) if is_of_one => Self::Site(Box::new(only)),
            last => {
                status.sites.extend(last);
                Self::House(Box::new(status))
            }
        }
    }

    /// The text; `lines` are the last ones of a single site's log.
    fn render(&self, lines: &str, now: Timestamp) -> String {
        match self {
            Self::House(status) => overview::render(status, now),
            Self::Site(site) => detail::render(site, lines, now),
        }
    }
}

#[cfg(test)]
mod tests;
