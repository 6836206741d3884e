//! The database goes away in every way there is: what is served goes on, and no edit is lost.

use std::time::Duration;

use serde_json::Value;
use support::postgres::ROLE;
use support::wait::undisturbed;
use support::{House, Load, PATIENCE, eventually};

/// One way to go away.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Stop,
    Crash,
    Hang,
    Terminate,
}

/// Two thirds cost the server no restart, so that a hundred fit into a test.
const ROUND: [Outage; 5] = [
    Outage::Terminate,
    Outage::Hang,
    Outage::Stop,
    Outage::Terminate,
    Outage::Crash,
];
const OUTAGES: usize = 100;

#[tokio::test]
async fn a_hundred_outages_disturb_nothing_and_lose_no_edit() {
    let mut house = House::open().await;
    house.insert_tiny("one", "0").await;
    house.insert_tiny("still", "").await;
    house.page("one.example").await;
    let still = house.page("still.example").await;
    let load = Load::start(house.client, &["one.example", "still.example"], "/");
    for (number, outage) in (1..=OUTAGES).zip(ROUND.into_iter().cycle()) {
        let answered = load.answered();
        happen(&mut house, outage, answered, &load).await;
        // At once: the emperor may not have noticed yet that its sessions are gone.
        let marker = number.to_string();
        house.set_marker("one", &marker).await;
        house
            .page_where("one.example", |page| page["marker"] == marker)
            .await;
    }
    load.stop().await;
    assert_eq!(house.page("still.example").await["pid"], still["pid"]);
    assert_eq!(house.emperor.site("still").await.unwrap()["restarts"], 0);
    sessions(&house, 3).await;
}

async fn happen(house: &mut House, outage: Outage, answered: usize, load: &Load) {
    match outage {
        Outage::Stop => house.postgres.stop(),
        Outage::Crash => house.postgres.crash(),
        Outage::Hang => house.postgres.freeze(),
        Outage::Terminate => {
            house.postgres.terminate_sessions().await;
            return;
        }
    }
    // Visitors and the command line don't notice.
    eventually("answers without a database", PATIENCE, async || {
        let more = load.answered() > answered + 5;
        more.then_some(())
            .ok_or_else(|| load.answered().to_string())
    })
    .await;
    house.emperor.status().await;
    match outage {
        Outage::Hang => house.postgres.thaw(),
        Outage::Stop | Outage::Crash | Outage::Terminate => house.postgres.start_again().await,
    }
}

async fn sessions(house: &House, expected: i64) {
    let statement = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    let client = house.postgres.client().await;
    eventually("its sessions", PATIENCE, async || {
        let sessions: i64 = client.query_one(&statement, &[]).await.unwrap().get(0);
        (sessions == expected)
            .then_some(())
            .ok_or_else(|| sessions.to_string())
    })
    .await;
}

#[tokio::test]
async fn an_idle_house_without_a_cache_has_two_sessions_and_sends_no_query() {
    let house = House::open_with("cache.memory = \"0\"").await;
    house.insert_tiny("one", "").await;
    house.page("one.example").await;
    house.emperor.in_state("one", "ready").await;
    sessions(&house, 2).await;
    // The status row of the start may still be on its way.
    let quiet = Duration::from_secs(4);
    eventually("silence", PATIENCE, async || {
        let before = house.postgres.statements_of_the_emperor();
        undisturbed(quiet).await;
        let sent = house.postgres.statements_of_the_emperor() - before;
        (sent == 0)
            .then_some(())
            .ok_or_else(|| format!("{sent} statements in {quiet:?}"))
    })
    .await;
}

#[tokio::test]
async fn without_its_database_the_emperor_starts_from_the_last_reading() {
    let mut house = House::open().await;
    house.insert_tiny("one", "kept").await;
    house.page("one.example").await;
    house.emperor.in_state("one", "ready").await;
    assert_eq!(house.emperor.stop(), 0);
    house.postgres.stop();
    house.emperor.start_again().await;
    let page = house.page("one.example").await;
    assert_eq!(page["marker"], "kept");
    let status = house.emperor.status().await;
    assert_ne!(status["emperor"]["database"]["state"], "connected");
    house.postgres.start_again().await;
    house.set_marker("one", "new").await;
    house
        .page_where("one.example", |page| page["marker"] == "new")
        .await;
}

#[tokio::test]
async fn a_full_reading_heals_what_no_notification_told() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "0").await;
    house.page("one.example").await;
    // A restored dump or a replication apply worker runs no triggers.
    let client = house.postgres.client().await;
    let untold = format!(
        "SET session_replication_role = replica; \
         UPDATE emperor.sites SET extra_config = '{}' WHERE id = {id}",
        house.tiny_vars("untold")
    );
    client.batch_execute(&untold).await.unwrap();
    house.emperor.signal(nix::sys::signal::Signal::SIGHUP);
    house
        .page_where("one.example", |page| page["marker"] == "untold")
        .await;
}

#[tokio::test]
async fn edits_of_one_instant_are_all_honoured() {
    let house = House::open().await;
    let slugs: Vec<_> = (1..=8).map(|number| format!("site-{number}")).collect();
    for slug in &slugs {
        house.insert_tiny(slug, "0").await;
    }
    for slug in &slugs {
        house.page(&format!("{slug}.example")).await;
    }
    let mut edits = tokio::task::JoinSet::new();
    for slug in slugs.clone() {
        let client = house.postgres.client().await;
        let config = house.tiny_vars("1");
        let statement = "UPDATE emperor.sites SET extra_config = $2 WHERE slug = $1";
        edits.spawn(async move { client.execute(statement, &[&slug, &config]).await });
    }
    for touched in edits.join_all().await {
        assert_eq!(touched.unwrap(), 1);
    }
    let changed = |page: &Value| page["marker"] == "1";
    for slug in &slugs {
        house.page_where(&format!("{slug}.example"), changed).await;
    }
}
