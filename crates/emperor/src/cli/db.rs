//! `emperor db`: the way into the database. Works without the daemon where there is a server; a
//! private cluster runs only while the daemon does.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;
use site_registry::{DatabaseTarget, cluster};
use wire::control::StatusDocument;

use super::args::{Db, Format};
use super::client::Client;
use super::failure::Failure;
use super::output;
use super::rewriting;
use super::source;
use super::text::{Tone, put_line};
use super::watches;
use crate::config::Config;

/// Runs the command.
pub(super) async fn run(command: &Db, config: &Config, client: &Client) -> Result<(), Failure> {
    match command {
        Db::Url(format) => url(*format, config),
        Db::Psql { arguments } => Err(psql(arguments, config, client).await),
        Db::Migrate => migrate(config, client).await,
        Db::Watches(command) => watches::run(command, &target(config, client).await?).await,
        Db::Status(format) => status(*format, config, client).await,
        Db::CheckSource(format) => {
            source::check(*format, config, &target(config, client).await?).await
        }
        Db::RewriteDomains(command) => {
            rewriting::run(command, config, &target(config, client).await?).await
        }
    }
}

#[derive(Debug, Serialize)]
struct UrlDocument {
    url: String,
    private: bool,
}

fn url(format: Format, config: &Config) -> Result<(), Failure> {
    let url = config.database_url();
    let private = config.database.url.is_none();
    if format.json {
        return Ok(output::print_json(&UrlDocument { url, private })?);
    }
    Ok(output::print(&format!("{url}\n"))?)
}

/// Becomes psql; returns only where it can't.
#[expect(
    clippy::disallowed_methods,
    reason = "this process becomes psql, in the operator's own environment; no worker is started"
)]
async fn psql(arguments: &[String], config: &Config, client: &Client) -> Failure {
    if let Err(failure) = check_private_cluster(config, client).await {
        return failure;
    }
    let programs = cluster::find_programs(std::env::var_os("PATH").as_deref()).await;
    let program = programs
        .first()
        .map_or_else(|| "psql".into(), cluster::Programs::psql);
    // An argument list is for everybody to read; an environment is not.
    let url = config.database_url();
    let (url, password) = without_password(&url);
    let mut command = Command::new(&program);
    command.arg("--dbname").arg(url).args(arguments);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Failure::NoPsql {
        program,
        source: command.exec(),
    }
}

/// The URL without its password, and the password, percent-decoded.
fn without_password(url: &str) -> (String, Option<String>) {
    let parts = || {
        let (scheme, rest) = url.split_once("://")?;
        let (login, place) = rest.split_at(rest.rfind('@')?);
        let (user, password) = login.split_once(':')?;
        Some((format!("{scheme}://{user}{place}"), decoded(password)))
    };
    let (url, password) = match parts() {
        Some((url, password)) => (url, Some(password)),
        None => (url.to_owned(), None),
    };
    let (url, parameter) = without_parameter(&url);
    (url, parameter.or(password))
}

fn without_parameter(url: &str) -> (String, Option<String>) {
    let Some((place, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let (mut kept, mut password) = (Vec::new(), None);
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("password", value)) => password = Some(decoded(value)),
            _ => kept.push(parameter),
        }
    }
    let kept = kept.join("&");
    let separator = if kept.is_empty() { "" } else { "?" };
    (format!("{place}{separator}{kept}"), password)
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// Whether there can be an answer at all: a private cluster runs only while the daemon does, and a
/// daemon can run without.
async fn check_private_cluster(config: &Config, client: &Client) -> Result<(), Failure> {
    let Err(socket) = private_socket(config) else {
        return Ok(());
    };
    match client.get::<StatusDocument>("/v1/status").await {
        Ok(status) if status.emperor.database.state == "connecting" => Err(Failure::ClusterStarts),
        Ok(status) => Err(Failure::ClusterFails {
            cause: status.emperor.database.detail,
        }),
        Err(_) => Err(Failure::NoCluster { socket }),
    }
}

/// The private cluster's socket, where there is to be one and there is none.
pub(super) fn private_socket(config: &Config) -> Result<(), PathBuf> {
    let socket = config.cluster_socket_dir().join(".s.PGSQL.5432");
    if config.database.url.is_none() && !socket.exists() {
        return Err(socket);
    }
    Ok(())
}

async fn target(config: &Config, client: &Client) -> Result<DatabaseTarget, Failure> {
    check_private_cluster(config, client).await?;
    Ok(DatabaseTarget::parse(&config.database_url())?)
}

async fn migrate(config: &Config, client: &Client) -> Result<(), Failure> {
    let target = target(config, client).await?;
    let migrated = site_registry::migrate(&target, &config.database.source).await?;
    let needed = migrated.before.needed;
    let mut said = match migrated.before.found {
        Some(found) if found == needed => format!("the schema has version {needed} already\n"),
        Some(found) => format!("the schema was upgraded from version {found} to {needed}\n"),
        None => format!("the schema was created, version {needed}\n"),
    };
    for table in &migrated.heard_again {
        put_line!(said, "changes in {table} are told from now on");
    }
    Ok(output::print(&said)?)
}

/// What is told about the database.
#[derive(Debug, Serialize)]
struct DatabaseDocument {
    target: String,
    private: bool,
    schema_version: Option<i32>,
    schema_needed: i32,
    /// The daemon's own link; `null` where no daemon runs.
    link: Option<wire::control::DatabaseStatus>,
}

async fn status(format: Format, config: &Config, client: &Client) -> Result<(), Failure> {
    let target = target(config, client).await?;
    let schema = site_registry::schema_status(&target).await?;
    // Without one that answers, nothing is said of its link.
    let daemon: Option<StatusDocument> = client.get("/v1/status").await.ok();
    let document = DatabaseDocument {
        target: target.to_string(),
        private: config.database.url.is_none(),
        schema_version: schema.found,
        schema_needed: schema.needed,
        link: daemon.map(|status| status.emperor.database),
    };
    if format.json {
        return Ok(output::print_json(&document)?);
    }
    Ok(output::print(&sheet(&document))?)
}

fn sheet(document: &DatabaseDocument) -> String {
    let needed = document.schema_needed;
    let schema = match document.schema_version {
        Some(found) if found == needed => Tone::Good.paint(&format!("version {found}, up to date")),
        Some(found) if found > needed => Tone::Bad.paint(&format!(
            "version {found}, made by a newer emperor than this ({needed})"
        )),
        Some(found) => Tone::Attention.paint(&format!(
            "version {found}, {needed} is needed; emperor db migrate upgrades it"
        )),
        None => Tone::Attention.paint("none; emperor db migrate creates it"),
    };
    let link = match &document.link {
        Some(link) => format!("{} {}", link.state, link.detail),
        None => "no daemon answers".to_owned(),
    };
    let kind = if document.private { " (private)" } else { "" };
    format!(
        "database  {}{kind}\nschema    {schema}\ndaemon    {}\n",
        document.target,
        link.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_the_url() {
        let check = |url: &str, without: &str, password: Option<&str>| {
            let (url, found) = without_password(url);
            assert_eq!((url.as_str(), found.as_deref()), (without, password));
        };
        check("postgresql://u:p%40@h/d", "postgresql://u@h/d", Some("p@"));
        check("postgresql://u@h/d", "postgresql://u@h/d", None);
        check("postgresql:///d", "postgresql:///d", None);
        check(
            "postgresql://u@h/d?sslmode=require&password=x",
            "postgresql://u@h/d?sslmode=require",
            Some("x"),
        );
        check("postgresql://h/d?password=x", "postgresql://h/d", Some("x"));
    }
}
