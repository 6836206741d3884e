//! `emperor status`: asked of the daemon, rendered in [`overview`] and [`detail`].

mod detail;
mod overview;
mod watch;

use jiff::Timestamp;
use wire::control::StatusDocument;

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
    let status = ask(site, client).await?;
    let now = Timestamp::now();
    let (Some(_), [only]) = (site, status.sites.as_slice()) else {
        return Ok(overview::render(&status, now));
    };
    let lines = super::logs::last_lines(client, only.id, LINES).await?;
    Ok(detail::render(only, &lines, now))
}

#[cfg(test)]
mod tests;
