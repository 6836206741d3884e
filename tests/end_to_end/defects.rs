//! Defects that emperors are known for, each tried here. `docs/RELIABILITY.md` lists all of them, with
//! those that are tried elsewhere.

use std::time::Duration;

use serde_json::Value;
use support::chaos::bound::Victim;
use support::chaos::{Bound, Damage, Sentence};
use support::house::vars;
use support::open_loop::{LONGEST_HOLD, Record};
use support::processes::Process;
use support::wait::undisturbed;
use support::{House, OpenLoop, PATIENCE, Row, Traffic, eventually};
use tokio::task::JoinSet;

fn process(pid: &Value) -> Process {
    Process::new(i32::try_from(pid.as_i64().unwrap()).unwrap())
}

fn steady(house: &House, slug: &str, more: &str) -> Row {
    let worker = house.place.steady_worker();
    let vars = vars(&[("program", worker.to_str().unwrap())]);
    Row::new(slug, "steady", &format!("{vars}{more}"))
}

#[tokio::test]
async fn a_long_overlay_arrives_whole() {
    let house = House::open().await;
    // Above what 16 bits can count, twice: in what is skipped and in what is taken.
    let comment = format!("# {}\n", "x".repeat(70_000));
    let marker = "y".repeat(70_000);
    let config = format!("{comment}{}", house.tiny_vars(&marker));
    house.insert(&Row::new("long", "tiny", &config)).await;
    let page = house.page("long.example").await;
    assert_eq!(page["marker"].as_str().unwrap().len(), marker.len());
    let longer = format!("{comment}{}", house.tiny_vars(&format!("{marker}z")));
    let statement = "UPDATE emperor.sites SET extra_config = $1";
    house.sql(statement, &[&longer]).await;
    let ends_otherwise = |page: &Value| page["marker"].as_str().unwrap().ends_with('z');
    house.page_where("long.example", ends_otherwise).await;
}

#[tokio::test]
async fn null_keeps_no_site_down() {
    let house = House::open().await;
    let statement = "INSERT INTO emperor.sites (slug, domain, template, extra_config, pool) \
                     VALUES ('one', 'one.example', 'tiny', $1, NULL)";
    house.sql(statement, &[&house.tiny_vars("")]).await;
    let before = house.page("one.example").await;
    // Columns that mean something have no NULL, and who tries is told at once.
    let client = house.postgres.client().await;
    for column in ["domain", "template", "extra_config", "run_as", "enabled"] {
        let statement = format!("UPDATE emperor.sites SET {column} = NULL");
        assert!(client.batch_execute(&statement).await.is_err(), "{column}");
    }
    assert_eq!(house.page("one.example").await["pid"], before["pid"]);
}

#[tokio::test]
async fn an_empty_table_stops_nobody() {
    const SITES: usize = 12;
    let house = House::open().await;
    for number in 1..=SITES {
        house.insert_tiny(&format!("site-{number}"), "").await;
    }
    let mut before = Vec::new();
    for number in 1..=SITES {
        before.push(house.page(&format!("site-{number}.example")).await["pid"].clone());
    }
    house.sql("TRUNCATE emperor.sites CASCADE", &[]).await;
    eventually("all removals held", PATIENCE, async || {
        let status = house.emperor.status().await;
        let held = status["emperor"]["removals_held"].as_array().unwrap().len();
        let all = held == SITES;
        all.then_some(()).ok_or_else(|| held.to_string())
    })
    .await;
    for (number, pid) in (1..=SITES).zip(before) {
        let page = house.page(&format!("site-{number}.example")).await;
        assert_eq!(page["pid"], pid);
    }
}

#[tokio::test]
async fn who_ends_at_once_is_not_waited_for() {
    let mut house = House::open().await;
    let grace = "[stop]\ngrace = \"1h\"\n";
    for slug in ["one", "two"] {
        house.insert(&steady(&house, slug, grace)).await;
    }
    let one = process(&house.page("one.example").await["pid"]);
    house.page("two.example").await;
    let delete = "DELETE FROM emperor.sites WHERE slug = 'one'";
    house.sql(delete, &[]).await;
    eventually("the end of one", PATIENCE, async || {
        let gone = !one.is_alive() && house.emperor.site("one").await.is_none();
        gone.then_some(()).ok_or_else(|| "still there".to_owned())
    })
    .await;
    // `stop` waits a minute at most, which is less than the grace.
    assert_eq!(house.emperor.stop(), 0);
}

#[tokio::test]
async fn a_dead_one_of_two_instances_costs_its_neighbour_nothing() {
    const KILLS: usize = 6;
    let house = House::open().await;
    let two = "[instances]\nmin = 2\nmax = 2\n[restart]\nbackoff_initial = \"10ms\"\n\
               backoff_max = \"100ms\"\n";
    house.insert(&steady(&house, "pair", two)).await;
    both_ready(&house).await;
    let load = OpenLoop::start(Traffic {
        port: house.port,
        slugs: vec!["pair".to_owned()],
        per_second: 100,
        patience: Duration::from_secs(15),
    });
    let (mut damage, mut kills) = (Damage::none(), Vec::new());
    for number in 0..KILLS {
        let instances = both_ready(&house).await;
        let victim = process(&instances[number % 2]["pid"]);
        let span = victim.killed().await;
        kills.push(span);
        damage.killed(Victim::WorkerOf("pair".to_owned()), span);
        // Who was in the dead one is tried once more, and needs its time for that.
        undisturbed(2 * LONGEST_HOLD).await;
    }
    both_ready(&house).await;
    let ledger = load.stop().await;
    // On a busy machine one may have been tried in both dead ones.
    let in_two = |record: &Record| {
        let held = kills
            .iter()
            .filter(|(from, until)| record.sent <= *until && record.ended >= *from);
        held.count() > 1
    };
    let broken = |record: &&Record| {
        Bound::PostsInFlight.sentence(&damage, record) == Sentence::Broken && !in_two(record)
    };
    let broken: Vec<_> = ledger.records.iter().filter(broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

async fn both_ready(house: &House) -> Vec<Value> {
    eventually("two ready instances", PATIENCE, async || {
        let site = house.emperor.site("pair").await.unwrap_or_default();
        let instances = site["instances"].as_array().cloned().unwrap_or_default();
        let ready = |instance: &Value| instance["state"] == "ready";
        let both = instances.len() == 2 && instances.iter().all(ready);
        both.then_some(instances).ok_or_else(|| site.to_string())
    })
    .await
}

#[tokio::test]
async fn a_full_backlog_is_waited_out() {
    const VISITORS: u64 = 40;
    // However long it takes until all of them are there.
    let house = House::open_with("limits.connect_timeout = \"1m\"").await;
    let (worker, closed) = (house.place.steady_worker(), house.place.join("closed"));
    let values = [("program", &worker), ("closed", &closed)];
    let overlay = vars(&values.map(|(name, path)| (name, path.to_str().unwrap())));
    house.insert(&Row::new("narrow", "narrow", &overlay)).await;
    house.page("narrow.example").await;
    std::fs::write(&closed, "").unwrap();
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        let client = house.client;
        visitors.spawn(async move { client.get("narrow.example", "/").await });
    }
    // Its backlog has room for two of them.
    eventually("all visitors in flight", PATIENCE, async || {
        let in_flight = house.emperor.status().await["router"]["in_flight"].clone();
        let all = in_flight.as_u64() == Some(VISITORS);
        all.then_some(()).ok_or_else(|| in_flight.to_string())
    })
    .await;
    std::fs::remove_file(closed).unwrap();
    while let Some(answer) = visitors.join_next().await {
        assert_eq!(answer.unwrap().json()["slug"], "narrow");
    }
}
