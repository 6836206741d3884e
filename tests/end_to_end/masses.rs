//! What happens in great numbers, in small ones: the counts have to be right. The times of the great
//! ones are measured by `cargo xtask bench supervision`.

use std::time::Duration;

use support::House;
use support::open_loop::{Ledger, Verdict};
use support::scenario::{cold, kills, storm, update};

/// `spawn.max_starting`, so that the bound doesn't depend on the machine.
const MAX_STARTING: usize = 3;

/// `rollout.max_replacing`, for the same reason.
const MAX_REPLACING: usize = 3;

fn lossless(ledger: &Ledger) {
    let verdicts = ledger.verdicts();
    assert_eq!(
        verdicts.keys().collect::<Vec<_>>(),
        [&Verdict::Page],
        "{verdicts:?}"
    );
}

#[tokio::test]
async fn every_killed_worker_is_replaced_once_and_nothing_is_left_of_it() {
    const SITES: usize = 10;
    const TIMES: usize = 15;
    let house = House::open_with(kills::CONFIG).await;
    let kills = kills::kill_workers(&house, SITES, TIMES).await;
    assert_eq!(kills.restarts, (SITES * TIMES) as u64);
    assert_eq!(kills.noticed.len(), SITES * TIMES);
    assert_eq!((kills.orphans, kills.zombies), (0, 0));
}

#[tokio::test]
async fn visitors_who_come_before_any_site_runs_wait_and_are_served() {
    let mut house = House::open_with(cold::CONFIG).await;
    let cold = cold::start_cold(&mut house, 100).await;
    assert_eq!(cold.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_storm_of_crashes_starts_no_more_at_once_than_may_and_costs_no_request() {
    let house = House::open_with(&format!("[spawn]\nmax_starting = {MAX_STARTING}")).await;
    let storm = storm::rage(&house, 300, Duration::from_secs(3), 10).await;
    assert!(storm.ended > 0);
    // Each of them ends while it holds its permit.
    assert!(storm.most_at_once <= MAX_STARTING, "{}", storm.most_at_once);
    assert_eq!(storm.restarts_of_neighbours, 0);
    for felt in [&storm.calm, &storm.arrival, &storm.storm] {
        lossless(&felt.visitors);
    }
}

#[tokio::test]
async fn one_update_of_many_rows_is_paced_and_costs_no_request() {
    let house = House::open_with(&format!("[rollout]\nmax_replacing = {MAX_REPLACING}")).await;
    let (calm, look) = (Duration::from_millis(500), Duration::from_millis(20));
    let update = update::update_all(&house, 100, calm, look).await;
    lossless(&update.calm);
    lossless(&update.meanwhile);
    assert!(update.most_waiting > 0, "{update:?}");
    assert!(update.most_replacing <= MAX_REPLACING as u64, "{update:?}");
    assert!(update.most_surplus <= MAX_REPLACING, "{update:?}");
}
