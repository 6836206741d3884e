//! Sites that vanish in bulk keep running until somebody confirms.

use support::{House, PATIENCE, eventually};

const SITES: usize = 20;
/// More than half of them, and more than ten.
const GONE: usize = 12;

async fn house_with_sites() -> House {
    let house = House::open().await;
    let statement = format!(
        "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
         SELECT 'site-' || n, 'site-' || n || '.example', 'tiny', $1 \
         FROM generate_series(1, {SITES}) n"
    );
    house.sql(&statement, &[&house.tiny_vars("")]).await;
    for number in 1..=SITES {
        house.page(&host(number)).await;
    }
    house
}

fn host(number: usize) -> String {
    format!("site-{number}.example")
}

async fn held(house: &House, count: usize) {
    eventually(&format!("{count} removals held"), PATIENCE, async || {
        let status = house.emperor.status().await;
        let held = status["emperor"]["removals_held"].as_array().unwrap().len();
        (held == count)
            .then_some(())
            .ok_or_else(|| held.to_string())
    })
    .await;
}

async fn sites(house: &House, count: usize) {
    eventually(&format!("{count} sites"), PATIENCE, async || {
        let status = house.emperor.status().await;
        let sites = status["sites"].as_array().unwrap().len();
        (sites == count)
            .then_some(())
            .ok_or_else(|| sites.to_string())
    })
    .await;
}

async fn delete_many(house: &House) {
    let delete = format!("DELETE FROM emperor.sites WHERE id <= {GONE}");
    let deleted = house.sql(&delete, &[]).await;
    assert_eq!(usize::try_from(deleted), Ok(GONE));
    held(house, GONE).await;
}

#[tokio::test]
async fn a_mass_removal_waits_for_its_confirmation() {
    let house = house_with_sites().await;
    let first = house.page(&host(1)).await;
    delete_many(&house).await;
    assert_eq!(house.page(&host(1)).await["pid"], first["pid"]);
    let outcome = house.emperor.run(&["confirm-removals"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    sites(&house, SITES - GONE).await;
    held(&house, 0).await;
    let answer = house.client.get(&host(1), "/").await;
    assert_eq!(answer.status, hyper::StatusCode::NOT_FOUND);
    house.page(&host(SITES)).await;
}

#[tokio::test]
async fn rows_that_come_back_are_held_no_longer() {
    let house = house_with_sites().await;
    let first = house.page(&host(1)).await;
    delete_many(&house).await;
    let statement = format!(
        "INSERT INTO emperor.sites (id, slug, domain, template, extra_config) \
         SELECT n, 'site-' || n, 'site-' || n || '.example', 'tiny', $1 \
         FROM generate_series(1, {GONE}) n"
    );
    house.sql(&statement, &[&house.tiny_vars("")]).await;
    held(&house, 0).await;
    sites(&house, SITES).await;
    assert_eq!(
        house.page(&host(1)).await["pid"],
        first["pid"],
        "nothing was replaced"
    );
}

#[tokio::test]
async fn a_few_removals_are_believed_at_once() {
    let house = house_with_sites().await;
    house
        .sql("DELETE FROM emperor.sites WHERE id <= 5", &[])
        .await;
    sites(&house, SITES - 5).await;
    held(&house, 0).await;
}
