//! Follows the daemon as it comes up, adds the demo sites, and says what to try. It knows the
//! daemon as everybody else does: through the control socket.

use std::io;
use std::time::Duration;

use site_registry::cluster;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use wire::control::{NewRowDocument, RouterStatus, RowDocument, SiteDocument, StatusDocument};

use super::place::Place;
use super::progress::{Progress, Step};
use crate::cli::text::{Tone, quoted};
use crate::cli::{Client, ClientError};
use crate::config::Config;

/// The demo sites, by id from 1.
const SITES: [&str; 3] = ["one", "two", "three"];
/// The one that the reader adds.
const FOURTH: &str = "fourth";
/// Their template.
const TEMPLATE: &str = "demo";
/// How often the daemon is asked while something is waited for.
const INTERVAL: Duration = Duration::from_millis(50);
/// A site that takes longer is left to itself; it may still come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why the guide gave up. The daemon goes on.
#[derive(Debug, Error)]
pub(super) enum GuideError {
    /// The daemon refused or broke off.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Says what happens until everything runs, and then how to go on.
pub(super) async fn guide(
    config: &Config,
    place: &Place,
    progress: &Progress,
) -> Result<(), GuideError> {
    let client = Client::new(&config.runtime_dir);
    let postgres = progress.begin("starting PostgreSQL")?;
    let status = wait(&client, |status| {
        status.emperor.database.state == "connected"
    })
    .await?;
    postgres.done(&format!(
        "PostgreSQL runs: {}",
        status.emperor.database.target
    ))?;
    let router = progress.begin("starting the router")?;
    let status = wait(&client, |status| status.router.state != "starting").await?;
    tell_router(&router, &status.router)?;
    seed(&client, progress).await?;
    let port = port(&status);
    let sites = follow_sites(&client, progress, &port).await?;
    progress.say("")?;
    for line in farewell(config, place, &sites, &port) {
        progress.say(&line)?;
    }
    Ok(())
}

fn tell_router(step: &Step, router: &RouterStatus) -> io::Result<()> {
    match router.state.as_str() {
        "running" => step.done(&format!(
            "the router listens on {}",
            router.listen.join(", ")
        )),
        _ => step.failed(&format!("the router does not run: {}", router.detail)),
    }
}

/// Asks until the answer is as wanted; a daemon that isn't there yet will be.
async fn wait(
    client: &Client,
    is_wanted: impl Fn(&StatusDocument) -> bool,
) -> Result<StatusDocument, ClientError> {
    loop {
        match client.get::<StatusDocument>("/v1/status").await {
            Ok(status) if is_wanted(&status) => return Ok(status),
            Ok(_) | Err(ClientError::Unreachable { .. }) => sleep(INTERVAL).await,
            Err(error) => return Err(error),
        }
    }
}

/// Adds the demo sites to an empty table; whatever else is there is somebody's work.
async fn seed(client: &Client, progress: &Progress) -> Result<(), GuideError> {
    let rows: Vec<RowDocument> = client.get("/v1/sites").await?;
    if !rows.is_empty() {
        return Ok(progress.say("going on with the sites that are there")?);
    }
    let step = progress.begin("adding three demo sites")?;
    for (slug, id) in SITES.iter().zip(1..) {
        let row = NewRowDocument {
            slug: (*slug).to_owned(),
            id: Some(id),
            domain: String::new(),
            aliases: Vec::new(),
            enabled: true,
            template: TEMPLATE.to_owned(),
            extra_config: String::new(),
            run_as: String::new(),
            pool: String::new(),
        };
        client.post::<RowDocument>("/v1/sites", &row).await?;
    }
    Ok(step.done("three rows inserted into emperor.sites")?)
}

/// Tells of each site when it is ready, or can't be.
async fn follow_sites(
    client: &Client,
    progress: &Progress,
    port: &str,
) -> Result<Vec<SiteDocument>, GuideError> {
    let deadline = Instant::now() + PATIENCE;
    let step = progress.begin("starting the sites")?;
    let mut told = Vec::new();
    loop {
        let status: StatusDocument = client.get("/v1/status").await?;
        let sites = status.sites;
        for site in sites.iter().filter(|site| is_settled(site)) {
            if !told.contains(&site.id) {
                told.push(site.id);
                tell(&step, site, port)?;
            }
        }
        if told.len() >= sites.len() && !sites.is_empty() {
            step.end()?;
            return Ok(sites);
        }
        if Instant::now() > deadline {
            step.failed("some sites still start; emperor status shows how far they are")?;
            return Ok(sites);
        }
        sleep(INTERVAL).await;
    }
}

fn is_settled(site: &SiteDocument) -> bool {
    matches!(
        site.state.as_str(),
        "ready" | "sleeping" | "failed" | "rejected" | "disabled" | "backing-off"
    )
}

fn tell(step: &Step, site: &SiteDocument, port: &str) -> io::Result<()> {
    let SiteDocument {
        slug,
        state,
        detail,
        ..
    } = site;
    match state.as_str() {
        "ready" => step.partly_done(&format!("{slug} is ready: {}", address(site, port))),
        "sleeping" | "disabled" => step.partly_done(&format!("{slug} is {state}")),
        _ => step.partly_failed(&format!("{slug} is {state}: {detail}")),
    }
}

fn address(site: &SiteDocument, port: &str) -> String {
    let host = site
        .hosts
        .first()
        .map_or(site.slug.as_str(), String::as_str);
    format!("http://{host}{port}/")
}

/// `:8080`, or nothing for port 80.
fn port(status: &StatusDocument) -> String {
    let port = status
        .router
        .listen
        .iter()
        .find_map(|listen| listen.rsplit_once(':'));
    match port {
        Some((_, "80")) | None => String::new(),
        Some((_, port)) => format!(":{port}"),
    }
}

fn farewell(config: &Config, place: &Place, sites: &[SiteDocument], port: &str) -> Vec<String> {
    let heading = |words: &str| Tone::Heading.paint(words);
    let mut lines = vec![heading("Open")];
    for site in sites.iter().filter(|site| site.state == "ready") {
        lines.push(format!("  {}", address(site, port)));
    }
    let next = next_slug(sites);
    let host = config.domains.rewrite_format.replace("{slug}", &next);
    lines.push(String::new());
    lines.push(heading(&format!(
        "Add a {} site: it runs at commit",
        if next == FOURTH { FOURTH } else { "further" }
    )));
    lines.push(format!("  {}", insert(config, &next)));
    lines.push(format!("  curl http://{host}{port}/"));
    lines.push(String::new());
    lines.push(heading("Look around"));
    let file = quoted(&place.config_file().to_string_lossy());
    lines.push(format!("  export EMPEROR_CONFIG={file}"));
    let shown = shown_site(sites);
    for command in [
        "status --watch".to_owned(),
        format!("logs {shown} --follow"),
        format!("template render {shown}"),
        "db psql".to_owned(),
    ] {
        lines.push(format!("  {} {command}", program()));
    }
    lines.push(String::new());
    lines.push("Ctrl-C stops everything; the same command goes on with what is there.".to_owned());
    lines
}

/// A slug that no row has: at the second start the fourth site is there.
fn next_slug(sites: &[SiteDocument]) -> String {
    let is_free = |slug: &str| sites.iter().all(|site| site.slug != slug);
    let numbered = (sites.len() + 1..).map(|number| format!("site-{number}"));
    std::iter::once(FOURTH.to_owned())
        .chain(numbered)
        .find(|slug| is_free(slug))
        .unwrap_or_default()
}

/// The site to try commands on: one that runs, where there is one.
fn shown_site(sites: &[SiteDocument]) -> &str {
    let ready = sites.iter().find(|site| site.state == "ready");
    let site = ready.or(sites.first());
    site.map_or(SITES[0], |site| site.slug.as_str())
}

/// How this very program is called: by its name where `PATH` has it, else by its path.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let path = std::env::current_exe().map(|path| path.to_string_lossy().into_owned());
    if called.contains('/') {
        return quoted(&path.unwrap_or(called));
    }
    "emperor".to_owned()
}

/// The line that adds a site, as a shell takes it.
fn insert(config: &Config, slug: &str) -> String {
    let host = config.cluster_socket_dir();
    let link = format!(
        "host={} port=5432 user={} dbname={}",
        conninfo(&host.to_string_lossy()),
        cluster::ROLE,
        cluster::DATABASE
    );
    let sql = format!("INSERT INTO emperor.sites (slug, template) VALUES ('{slug}', '{TEMPLATE}')");
    format!("psql {} -c \"{sql}\"", double_quoted(&link))
}

/// A value of a connection string (libpq, "Keyword/Value Connection Strings").
fn conninfo(value: &str) -> String {
    if value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
    {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A word between double quotes, as a POSIX shell takes it.
fn double_quoted(word: &str) -> String {
    let mut quoted = String::from('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Surroundings};

    fn config(runtime_dir: &str) -> Config {
        let text = format!("runtime_dir = {}", toml::Value::from(runtime_dir));
        config::parse(&text, None, &Surroundings::of_this_process()).unwrap()
    }

    #[test]
    fn the_line_for_a_fourth_site_can_be_pasted() {
        assert_eq!(
            insert(&config("/srv/x/run"), FOURTH),
            "psql \"host=/srv/x/run/postgres port=5432 user=emperor dbname=sites\" \
             -c \"INSERT INTO emperor.sites (slug, template) VALUES ('fourth', 'demo')\""
        );
        assert!(
            insert(&config("/srv/$a b"), FOURTH).contains("\"host='/srv/\\$a b/postgres' port")
        );
    }

    fn site(slug: &str, state: &str) -> SiteDocument {
        SiteDocument {
            id: 1,
            slug: slug.into(),
            pool: None,
            state: state.into(),
            detail: String::new(),
            hosts: vec![format!("{slug}.localhost")],
            revision: None,
            restarts: 0,
            cache: None,
            instances: vec![],
            next_try_at: None,
            exit: None,
            last_start: None,
            events: vec![],
        }
    }

    #[test]
    fn at_a_later_start_what_to_try_fits_what_is_there() {
        let sites = [site("one", "disabled"), site("fourth", "ready")];
        assert_eq!(next_slug(&sites), "site-3");
        assert_eq!(shown_site(&sites), "fourth");
        assert_eq!((&*next_slug(&[]), shown_site(&[])), (FOURTH, "one"));
    }

    #[test]
    fn what_to_try_names_addresses_and_the_configuration() {
        let place = Place {
            dir: "/srv/x".into(),
            state_dir: "/srv/x/state".into(),
            runtime_dir: "/srv/x/run".into(),
            remark: String::new(),
        };
        let sites = [site("one", "ready")];
        let lines = farewell(&config("/srv/x/run"), &place, &sites, ":8080").join("\n");
        assert!(lines.contains("  http://one.localhost:8080/\n"), "{lines}");
        assert!(
            lines.contains("export EMPEROR_CONFIG=/srv/x/emperor.toml\n"),
            "{lines}"
        );
        assert_eq!(place.config_file(), Path::new("/srv/x/emperor.toml"));
    }
}
