//! A site whose pages are rows of a watched table: who writes to the table purges the pages.

use serde_json::Value;
use tokio_postgres::Client;

use crate::house::vars;
use crate::postgres::{APPLICATION_PASSWORD, APPLICATION_ROLE, DATABASE};
use crate::wait::{PATIENCE, eventually};
use crate::{Answer, House, Row};

/// Its host.
pub const HOST: &str = "paper.example";

/// The house, with the site in it.
#[derive(Debug)]
pub struct Paper {
    /// The house.
    pub house: House,
    /// The site's id.
    pub site: i64,
}

impl Paper {
    /// A site with so many pages, `/1` and on, all of version 0, and a house with lines at the end of
    /// its configuration.
    pub async fn open(pages: i32, more: &str) -> Self {
        let house = House::open_with(more).await;
        house.postgres.make_application_database().await;
        let client = house.postgres.client().await;
        let tables = format!(
            "CREATE TABLE page (
                path text PRIMARY KEY, site_id bigint NOT NULL, version bigint NOT NULL DEFAULT 0
            );
            ALTER TABLE page OWNER TO {APPLICATION_ROLE};"
        );
        client.batch_execute(&tables).await.unwrap();
        let row = Row::new("paper", "paper", &overlay(&house));
        let site = house.insert(&row).await;
        let fill = "INSERT INTO page SELECT '/' || n, $1, 0 FROM generate_series(1, $2::int4) n";
        client.execute(fill, &[&site, &pages]).await.unwrap();
        house.emperor.in_state("paper", "ready").await;
        Self { house, site }
    }

    /// Has whoever changes a row purge its page.
    pub async fn watch(&self) {
        let watch = "SELECT emperor.purge_on_change('page', 'row.site_id', 'VALUES (row.path)')";
        self.house.sql(watch, &[]).await;
        self.followed().await;
    }

    /// Waits until purges are heard: only then anything is kept.
    pub async fn followed(&self) {
        eventually("purges are heard", PATIENCE, async || {
            let answer = self.get("/never-changed").await;
            let answer = (answer.header("cache-status").to_owned(), answer);
            let stored = answer.0.contains("stored") || answer.0.contains("hit");
            stored.then_some(()).ok_or(answer.0)
        })
        .await;
    }

    /// A session of the application, which has no right in the schema `emperor`.
    pub async fn writer(&self) -> Client {
        let client = self.house.postgres.client().await;
        // The log of every statement is for tests that read it.
        let role = format!("SET log_statement = none; SET ROLE {APPLICATION_ROLE}");
        client.batch_execute(&role).await.unwrap();
        client
    }

    /// Asks for a page.
    pub async fn get(&self, path: &str) -> Answer {
        self.house.client.get(HOST, path).await
    }

    /// The version of a page as a visitor sees it.
    pub async fn version(&self, path: &str) -> i64 {
        let page: Value = self.get(path).await.json();
        page["version"].as_i64().unwrap()
    }

    /// Asks for a page until it is answered from the cache.
    pub async fn cached(&self, path: &str) {
        eventually(&format!("{path} is cached"), PATIENCE, async || {
            let answer = self.get(path).await;
            let status = answer.header("cache-status").to_owned();
            let hit = status.contains("; hit");
            hit.then_some(()).ok_or(status)
        })
        .await;
    }

    /// Waits until a page has a version.
    pub async fn shows(&self, path: &str, version: i64) {
        eventually(
            &format!("version {version} of {path}"),
            PATIENCE,
            async || {
                let shown = self.version(path).await;
                (shown == version)
                    .then_some(())
                    .ok_or_else(|| shown.to_string())
            },
        )
        .await;
    }

    /// Waits until everything that was committed is purged here.
    pub async fn purged(&self) {
        let client = self.house.postgres.client().await;
        let wait = "SELECT emperor.purge_wait(NULL, '30 seconds')";
        let done: bool = client.query_one(wait, &[]).await.unwrap().get(0);
        assert!(done, "the caches have not acknowledged");
    }
}

/// What its row says beside the template.
fn overlay(house: &House) -> String {
    let database = format!(
        "host=127.0.0.1 port={} user={APPLICATION_ROLE} password={APPLICATION_PASSWORD} \
         dbname={DATABASE}",
        house.postgres.port()
    );
    let program = house.place.paper_worker();
    vars(&[
        ("program", program.to_str().unwrap()),
        ("database", &database),
    ])
}
