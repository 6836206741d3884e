//! A whole house: PostgreSQL, emperor, router, and visitors. Most tests begin here.

use std::fmt::Write;

use serde_json::Value;
use tokio_postgres::types::ToSql;

use crate::place::{Place, free_port};
use crate::wait::{PATIENCE, eventually};
use crate::{Answer, Client, Emperor, Postgres};

/// Everything together. The fields end in their order: the emperor before its database.
#[derive(Debug)]
pub struct House {
    /// The daemon.
    pub emperor: Emperor,
    /// Its database.
    pub postgres: Postgres,
    /// A visitor.
    pub client: Client,
    /// The folder of all this.
    pub place: Place,
    /// Where the router listens.
    pub port: u16,
    /// Keys of `[database]`, besides the URL.
    database: String,
}

/// A row to insert.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Column `slug`.
    pub slug: String,
    /// Column `domain`.
    pub domain: String,
    /// Column `template`.
    pub template: String,
    /// Column `extra_config`.
    pub extra_config: String,
    /// Column `run_as`.
    pub run_as: String,
}

impl Row {
    /// A row whose domain is `SLUG.example`.
    pub fn new(slug: &str, template: &str, extra_config: &str) -> Self {
        Self {
            slug: slug.to_owned(),
            domain: format!("{slug}.example"),
            template: template.to_owned(),
            extra_config: extra_config.to_owned(),
            run_as: String::new(),
        }
    }
}

impl House {
    /// With the plain configuration.
    pub async fn open() -> Self {
        Self::open_with("").await
    }

    /// With lines at the end of the configuration.
    pub async fn open_with(more: &str) -> Self {
        Self::open_at(Place::new(), more).await
    }

    /// In a place that is there already.
    pub async fn open_at(place: Place, more: &str) -> Self {
        let postgres = Postgres::start(&place).await;
        Self::open_on(place, postgres, "", more).await
    }

    /// On a database that is there already, with keys of `[database]` besides its URL.
    pub async fn open_on(place: Place, postgres: Postgres, database: &str, more: &str) -> Self {
        let port = free_port();
        let config = config(&place, &postgres.url(), port, (database, more));
        let emperor = Emperor::start(&place, &config).await;
        emperor.connected().await;
        Self {
            emperor,
            postgres,
            client: Client::new(port),
            place,
            port,
            database: database.to_owned(),
        }
    }

    /// Writes another end of the configuration.
    pub fn configure(&self, more: &str) {
        let more = (self.database.as_str(), more);
        let config = config(&self.place, &self.postgres.url(), self.port, more);
        self.emperor.configure(&config);
    }

    /// The configuration as it is written.
    pub fn config_text(&self) -> String {
        std::fs::read_to_string(self.place.join("emperor.toml")).unwrap()
    }

    /// Runs a statement as the superuser; returns how many rows it touched.
    pub async fn sql(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> u64 {
        let client = self.postgres.client().await;
        client.execute(statement, values).await.unwrap()
    }

    /// Inserts a row and returns its id.
    pub async fn insert(&self, row: &Row) -> i64 {
        let client = self.postgres.client().await;
        let statement = "INSERT INTO emperor.sites (slug, domain, template, extra_config, run_as) \
                         VALUES ($1, $2, $3, $4, $5) RETURNING id";
        let values: [&(dyn ToSql + Sync); 5] = [
            &row.slug,
            &row.domain,
            &row.template,
            &row.extra_config,
            &row.run_as,
        ];
        client.query_one(statement, &values).await.unwrap().get(0)
    }

    /// Inserts a row of the tiny worker with its domain `SLUG.example`.
    pub async fn insert_tiny(&self, slug: &str, marker: &str) -> i64 {
        self.insert(&Row::new(slug, "tiny", &self.tiny_vars(marker)))
            .await
    }

    /// The `extra_config` of such a row.
    pub fn tiny_vars(&self, marker: &str) -> String {
        vars(&[
            ("program", self.place.tiny_worker().to_str().unwrap()),
            ("marker", marker),
        ])
    }

    /// Sets the marker of a tiny worker's row.
    pub async fn set_marker(&self, slug: &str, marker: &str) {
        let statement = "UPDATE emperor.sites SET extra_config = $2 WHERE slug = $1";
        let touched = self.sql(statement, &[&slug, &self.tiny_vars(marker)]).await;
        assert_eq!(touched, 1, "there is no row {slug}");
    }

    /// Asks a site until it answers by itself, and returns its page.
    pub async fn page(&self, host: &str) -> Value {
        self.page_where(host, |_| true).await
    }

    /// Asks a site until its page is as wanted.
    pub async fn page_where(&self, host: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the page of {host}"), PATIENCE, async || {
            let answer = self.client.try_get(host, "/").await;
            let answer = answer.map_err(|failure| format!("{failure:?}"))?;
            page_of(&answer)
                .filter(&wanted)
                .ok_or_else(|| format!("{} {}", answer.status, answer.text()))
        })
        .await
    }

    /// The row that the emperor wrote about a site.
    pub async fn status_row(&self, id: i64) -> Option<(String, String)> {
        let client = self.postgres.client().await;
        let statement = "SELECT state, detail FROM emperor.site_status WHERE site_id = $1";
        let row = client.query_opt(statement, &[&id]).await.unwrap()?;
        Some((row.get(0), row.get(1)))
    }
}

/// An `extra_config` with these variables.
pub fn vars(values: &[(&str, &str)]) -> String {
    table("vars", values)
}

/// A TOML table of strings.
pub fn table(name: &str, values: &[(&str, &str)]) -> String {
    let mut text = format!("[{name}]\n");
    for (key, value) in values {
        writeln!(text, "{key} = {}", Value::from(*value)).unwrap();
    }
    text
}

fn config(place: &Place, url: &str, port: u16, (database, more): (&str, &str)) -> String {
    let folder = place.path().display();
    let templates = place.fixture("templates");
    let templates = templates.display();
    format!(
        "node = \"test\"\n\
         state_dir = \"{folder}/state\"\n\
         runtime_dir = \"{folder}/run\"\n\
         template_dirs = [\"{templates}\"]\n\
         [database]\n\
         url = \"{url}\"\n\
         {database}\n\
         [router]\n\
         listen = [\"127.0.0.1:{port}\"]\n\
         {more}\n"
    )
}

fn page_of(answer: &Answer) -> Option<Value> {
    if !answer.status.is_success() {
        return None;
    }
    serde_json::from_slice(&answer.body).ok()
}
