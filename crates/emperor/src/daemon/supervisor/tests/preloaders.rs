//! Preloaders of sites that sleep.

use super::*;

/// A site that sleeps and is forked, of this user.
fn forked(id: i64, run_as: &str) -> Site {
    Site {
        template: Some("forked".parse().unwrap()),
        run_as: Some(RunAs::parse(run_as).unwrap()),
        extra_config: "idle.stop_after = '1m'".into(),
        ..site(id, &format!("{id}.example"))
    }
}

fn rows(sites: impl IntoIterator<Item = Site>) -> Vec<Row> {
    let rows = sites.into_iter().map(|site| Row::Site(Arc::new(site)));
    rows.collect()
}

/// Waits until so many preloads were asked for, and returns what would end the last.
async fn preloaded(stage: &Stage, count: u64) -> std::sync::Weak<tokio::sync::Notify> {
    let mut preloads = stage.preloads.subscribe();
    drop(preloads.wait_for(|&done| done == count).await.unwrap());
    let preloaded = stage.preloaded.lock().unwrap();
    preloaded.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn sites_of_one_user_that_sleep_have_one_preloader_until_none_is_left() {
    let mut test = Test::start(Stage::default());
    let stage = Arc::clone(&test.scene.stage);
    let own_users = (50..60).map(|id| forked(id, "auto"));
    let many = (1..50).map(|id| forked(id, "www-data")).chain(own_users);
    test.write(rows(many));
    test.until(1, SiteState::Sleeping).await;
    let first = preloaded(&stage, 1).await;
    test.write(rows([forked(1, "www-data"), forked(99, "www-data")]));
    test.until(99, SiteState::Sleeping).await;
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(*stage.preloads.borrow(), 1);
    assert_eq!(stage.running(), 0);

    first.upgrade().unwrap().notify_one();
    let second = preloaded(&stage, 2).await;
    assert_eq!(first.strong_count(), 0);

    test.reload(Selection::All).await;
    let third = preloaded(&stage, 3).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(second.strong_count(), 0, "the new one is in its place");
    assert_eq!(third.strong_count(), 1);
    test.write(rows([forked(50, "auto")]));
    test.until_gone(99).await;
    assert_eq!(third.strong_count(), 0);
    assert_eq!(*stage.preloads.borrow(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_preload_that_fails_is_tried_again_later_and_later() {
    let mut test = Test::start(Stage::default());
    let stage = Arc::clone(&test.scene.stage);
    stage
        .failing_preloads
        .store(5, std::sync::atomic::Ordering::Relaxed);
    let began = Instant::now();
    test.write(rows([forked(1, "www-data")]));
    test.until(1, SiteState::Sleeping).await;
    let held = preloaded(&stage, 6).await;
    assert_eq!(held.strong_count(), 1);
    // Half of 0.5 s and its doubles, five times.
    assert!(began.elapsed() > Duration::from_secs(7));
    test.shutdown.send_replace(Some(Haste::Orderly));
    test.task.await.unwrap();
    assert_eq!(held.strong_count(), 0);
}
