//! The private PostgreSQL can't be had: the sites of the last reading are served all the same, what
//! is wrong is said, and it is tried until it can.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::place::free_port;
use support::{Client, Emperor, PATIENCE, Place, eventually};

/// An emperor without a `database.url`.
struct Private {
    emperor: Emperor,
    client: Client,
    place: Place,
}

impl Private {
    fn prepare() -> Self {
        let place = Place::new();
        let port = free_port();
        let folder = place.path().display();
        let config = format!(
            "node = \"test\"\nstate_dir = \"{folder}/state\"\nruntime_dir = \"{folder}/run\"\n\
             template_dirs = [\"{}\"]\n[router]\nlisten = [\"127.0.0.1:{port}\"]\n",
            place.fixture("templates").display()
        );
        Self {
            emperor: Emperor::prepare(&place, &config),
            client: Client::new(port),
            place,
        }
    }

    /// PostgreSQL's own configuration, where it is damaged and mended.
    fn settings(&self) -> PathBuf {
        self.place.join("state/postgres/data/postgresql.conf")
    }

    async fn add(&self, slug: &str) {
        let overlay = self.place.join("overlay.toml");
        let tiny = self.place.tiny_worker();
        let vars = support::house::vars(&[("program", tiny.to_str().unwrap()), ("marker", "")]);
        fs::write(&overlay, vars).unwrap();
        let overlay = overlay.to_str().unwrap();
        let domain = format!("{slug}.example");
        let add = ["site", "add", slug, "--domain", &domain];
        let columns = ["--template", "tiny", "--extra-config", overlay];
        let outcome = self.emperor.run(&[add.as_slice(), &columns].concat()).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
    }

    async fn database(&self) -> Value {
        self.emperor.status().await["emperor"]["database"].clone()
    }

    /// Waits until the link is lost.
    async fn lost(&self) -> Value {
        eventually("the loss", PATIENCE, async || {
            let database = self.database().await;
            let is_lost = database["state"] == "lost";
            is_lost
                .then(|| database.clone())
                .ok_or_else(|| database.to_string())
        })
        .await
    }

    async fn answers(&self, host: &str) {
        eventually(&format!("the page of {host}"), PATIENCE, async || {
            let answer = self.client.try_get(host, "/").await;
            let status = answer.map_err(|failure| format!("{failure:?}"))?.status;
            status.is_success().then_some(()).ok_or(status.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn the_last_reading_is_served_while_the_cluster_cannot_start() {
    let mut house = Private::prepare();
    house.emperor.start_again().await;
    house.emperor.connected().await;
    house.add("one").await;
    house.answers("one.example").await;
    assert_eq!(house.emperor.stop(), 0);
    let sound = fs::read_to_string(house.settings()).unwrap();
    fs::write(house.settings(), "no_such_setting = 1\n").unwrap();

    house.emperor.start_again().await;
    house.answers("one.example").await;
    let database = house.lost().await;
    assert_eq!(database["rows"], "snapshot");
    let detail = database["detail"].as_str().unwrap();
    for words in ["no_such_setting", "tried again by itself"] {
        assert!(detail.contains(words), "{detail}");
    }
    let shown = house.emperor.run(&["status"]).await;
    for words in ["no_such_setting", "the snapshot read"] {
        assert!(shown.out.contains(words), "{shown:?}");
    }
    for command in [["site", "disable", "one"].as_slice(), &["db", "status"]] {
        let refused = house.emperor.run(command).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("no_such_setting"), "{refused:?}");
        assert!(
            !refused.err.contains("shut down"),
            "an earlier life's words: {refused:?}"
        );
    }

    fs::write(house.settings(), sound).unwrap();
    house.emperor.connected().await;
    assert_eq!(house.database().await["rows"], "database");
    house.add("two").await;
    house.answers("two.example").await;
    assert_eq!(house.emperor.stop(), 0);
}

#[tokio::test]
async fn without_a_last_reading_no_host_is_denied_and_the_rows_come_later() {
    let mut house = Private::prepare();
    // Where the cluster's folder is to be there is a file.
    fs::create_dir_all(house.place.join("state")).unwrap();
    let obstacle = house.place.join("state/postgres");
    fs::write(&obstacle, "").unwrap();
    house.emperor.start_again().await;
    let database = house.lost().await;
    assert_eq!(database["rows"], "nothing");
    let detail = database["detail"].as_str().unwrap();
    assert!(detail.contains(obstacle.to_str().unwrap()), "{detail}");
    let answer = house.client.get("one.example", "/").await;
    assert_eq!(answer.status, 503, "a host that may be a site's is not 404");

    fs::remove_file(&obstacle).unwrap();
    house.emperor.connected().await;
    house.add("one").await;
    house.answers("one.example").await;
    assert_eq!(house.emperor.stop(), 0);
}
