//! `emperor reload`, `emperor reread` and `emperor confirm-removals`: orders to the daemon.

use wire::control::{ReloadDocument, RereadDocument, SitesDocument};

use super::args::Reload;
use super::client::Client;
use super::failure::Failure;
use super::output;
use super::text::counted;

/// `emperor reload`
pub(super) async fn reload(command: &Reload, client: &Client) -> Result<(), Failure> {
    let sites = command.sites.iter().map(|site| site.as_str().to_owned());
    let which = if command.all {
        ReloadDocument::All
    } else {
        ReloadDocument::Sites(sites.collect())
    };
    let begun: SitesDocument = client.post("/v1/reload", &which).await?;
    let more_than_meant = !command.all && begun.sites.len() > command.sites.len();
    let shared = if more_than_meant {
        ", those among them that share a worker in a pool"
    } else {
        ""
    };
    let said = match begun.sites.len() {
        0 => "nothing to replace: none of these sites runs\n".to_owned(),
        count => format!(
            "{} being replaced{shared}; emperor status shows how far it is\n",
            counted(count, "site")
        ),
    };
    Ok(output::print(&said)?)
}

/// `emperor reread`
pub(super) async fn reread(client: &Client) -> Result<(), Failure> {
    let read: RereadDocument = client.post("/v1/reread", &()).await?;
    let mut said = "configuration, templates and rows are in force as they are now\n".to_owned();
    if !read.needs_restart.is_empty() {
        let keys = read.needs_restart.join(", ");
        said.push_str("these take effect at the next start only: ");
        said.push_str(&keys);
        said.push('\n');
    }
    Ok(output::print(&said)?)
}

/// `emperor confirm-removals`
pub(super) async fn confirm_removals(client: &Client) -> Result<(), Failure> {
    let removed: SitesDocument = client.post("/v1/removals/confirm", &()).await?;
    let said = match removed.sites.len() {
        0 => "no site was held\n".to_owned(),
        count => format!("{} let go and stopping\n", counted(count, "site")),
    };
    Ok(output::print(&said)?)
}
