//! Reloads, however they are asked for: a new worker takes over, and no request is lost.

use nix::sys::signal::Signal;
use support::{House, Load, PATIENCE};

#[tokio::test]
async fn a_reload_replaces_the_worker_although_nothing_changed() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    let first = house.page("one.example").await;
    let load = Load::start(house.client, &["one.example"], "/");
    house.sql("SELECT emperor.reload($1)", &[&id]).await;
    let second = house
        .page_where("one.example", |page| page["pid"] != first["pid"])
        .await;
    let outcome = house.emperor.run(&["reload", "one"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    house
        .page_where("one.example", |page| page["pid"] != second["pid"])
        .await;
    load.stop().await;
}

#[tokio::test]
async fn a_reload_that_is_rolled_back_never_happened() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    let first = house.page("one.example").await;
    let client = house.postgres.client().await;
    let withdrawn = format!("BEGIN; SELECT emperor.reload({id}); ROLLBACK");
    client.batch_execute(&withdrawn).await.unwrap();
    // What is committed later has an effect, and so would have had what came before.
    house.insert_tiny("two", "").await;
    house.page("two.example").await;
    assert_eq!(house.page("one.example").await["pid"], first["pid"]);
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["instances"].as_array().unwrap().len(), 1, "{site}");
}

#[tokio::test]
async fn a_reload_asked_for_while_there_is_no_emperor_replaces_what_the_next_one_adopts() {
    let mut house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    house.insert_tiny("two", "").await;
    let first = house.page("one.example").await;
    let other = house.page("two.example").await;
    let load = Load::start(house.client, &["one.example", "two.example"], "/");
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
    house.sql("SELECT emperor.reload($1)", &[&id]).await;
    house.emperor.start_again().await;
    house
        .page_where("one.example", |page| page["pid"] != first["pid"])
        .await;
    load.stop().await;
    assert_eq!(house.page("two.example").await["pid"], other["pid"]);
}

#[tokio::test]
async fn a_change_in_a_watched_table_replaces_the_workers_of_its_sites_alone() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    house.insert_tiny("two", "").await;
    let first = house.page("one.example").await;
    let other = house.page("two.example").await;
    let client = house.postgres.client().await;
    let watch =
        "CREATE TABLE public.settings (id int PRIMARY KEY, site bigint, value text, hits int);
        SELECT emperor.reload_on_change('public.settings', 'row.site', ARRAY['value'])";
    client.batch_execute(watch).await.unwrap();
    let load = Load::start(house.client, &["one.example", "two.example"], "/");
    let many = "INSERT INTO public.settings SELECT n, $1, 'old', 0 FROM generate_series(1, 1000) n";
    house.sql(many, &[&id]).await;
    let second = house
        .page_where("one.example", |page| page["pid"] != first["pid"])
        .await;
    house.emperor.in_state("one", "ready").await;
    house.sql("UPDATE public.settings SET hits = 1", &[]).await;
    house.insert_tiny("three", "").await;
    house.page("three.example").await;
    assert_eq!(house.page("one.example").await["pid"], second["pid"]);
    house
        .sql("UPDATE public.settings SET value = 'new'", &[])
        .await;
    house
        .page_where("one.example", |page| page["pid"] != second["pid"])
        .await;
    load.stop().await;
    assert_eq!(house.page("two.example").await["pid"], other["pid"]);
}
