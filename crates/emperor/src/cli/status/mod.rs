//! `emperor status`: asked of the daemon, rendered in [`overview`], [`detail`] and [`pool`].

mod detail;
mod overview;
mod picture;
mod pool;
mod purges;
mod watch;

use jiff::Timestamp;

use super::args::{SiteRef, Status};
use super::client::{Client, ClientError};
use super::failure::Failure;
use super::output;
use picture::{LINES, Picture, ask};

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

/// The text for a person.
async fn render(site: Option<&SiteRef>, client: &Client) -> Result<String, ClientError> {
    let picture = Picture::of(ask(site, client).await?, site.is_some());
    let lines = match site {
        None => String::new(),
        Some(site) => super::logs::last_lines(client, site.as_str(), LINES).await?,
    };
    Ok(picture.render(&lines, Timestamp::now()))
}

#[cfg(test)]
mod tests;
