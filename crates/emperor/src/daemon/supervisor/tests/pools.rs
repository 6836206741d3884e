//! Sites that share a vassal.

use super::*;

fn member(id: i64, pool: &str) -> Row {
    let pool = Some(pool.into());
    let site = site(id, &format!("site-{id}.example"));
    Row::Site(Arc::new(Site { pool, ..site }))
}

/// It has been reloaded once.
fn reloaded(id: i64, pool: &str) -> Row {
    match member(id, pool) {
        Row::Site(site) => Row::Site(Arc::new(Site {
            reloads: 1,
            ..Site::clone(&site)
        })),
        rejected @ Row::Rejected(_) => rejected,
    }
}

/// As the stage numbers it.
fn pool(name: &str) -> SiteId {
    SiteId::of_vassal(-i64::from(name.as_bytes()[0])).unwrap()
}

impl Test {
    /// The vassal that the route of a site leads to, and the incarnations there.
    fn answers(&self, site: i64) -> (SiteId, Vec<u64>) {
        let routes = &self.scene.house.routes;
        let vassal = routes.pool_of(id(site)).unwrap_or(id(site));
        (vassal, self.scene.routed(vassal).unwrap_or_default())
    }

    async fn until_answered_by(&mut self, site: i64, vassal: SiteId) {
        let said = |status: Option<&SiteStatus>| {
            status.is_some_and(|s| s.state == SiteState::Ready && s.instances.len() == 1)
        };
        loop {
            self.scene.until(id(site), said).await;
            if self.answers(site).0 == vassal {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sites_of_a_pool_share_one_instance_and_are_told_of_as_it_is() {
    let mut test = Test::start(Stage::default());
    test.write([member(1, "a"), member(2, "a"), row(3, "c.example")]);
    for site in [1, 2, 3] {
        test.until(site, SiteState::Ready).await;
    }
    assert_eq!(test.scene.stage.running(), 2);
    assert_eq!(test.answers(1), test.answers(2));
    let status = test.scene.status(id(2)).unwrap();
    assert_eq!(status.detail, "in pool a");
    assert_eq!(status.instances.len(), 1);
    assert_eq!(test.hosts(2), ["site-2.example"]);
    assert_eq!(test.scene.status(pool("a")), None, "a pool is no site");
}

#[tokio::test(start_paused = true)]
async fn a_pool_has_a_status_and_a_story_of_its_own_and_is_reloaded_by_name() {
    let mut test = Test::start(Stage::default());
    test.write([member(1, "a"), member(2, "a")]);
    test.until_answered_by(1, pool("a")).await;
    let statuses = Arc::clone(&test.scene.house.statuses);
    let told = statuses.pool(pool("a")).unwrap();
    let sites: Vec<_> = told.sites.iter().map(|(site, _)| *site).collect();
    assert_eq!((&*told.name, sites), ("a", vec![id(1), id(2)]));
    assert_eq!(told.status.state, SiteState::Ready);
    let story = statuses.story(pool("a"));
    assert_eq!(story.happened.last().unwrap().to, SiteState::Ready);

    let (answer, answered) = oneshot::channel();
    let command = Command::Tell(pool("a"), answer);
    test.commands.send(command).await.unwrap();
    assert!(matches!(answered.await.unwrap(), Some(Want::Run(_))));

    let before = test.answers(1).1;
    let reloaded = test.reload(Selection::Sites(vec![pool("a")])).await;
    assert_eq!(reloaded, [id(1), id(2)]);
    while test.answers(1).1 == before || test.answers(1).1.len() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    test.write([row(1, "site-1.example"), row(2, "site-2.example")]);
    while statuses.pool(pool("a")).is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_moves_into_a_pool_out_of_it_and_to_another_and_is_always_answered() {
    let mut test = Test::start(Stage::default());
    test.write([row(1, "site-1.example"), member(2, "a")]);
    test.until_answered_by(1, id(1)).await;
    test.until_answered_by(2, pool("a")).await;
    let (own, of_pool) = (test.answers(1).1, test.answers(2).1);

    test.write([member(1, "a"), member(2, "a")]);
    test.until_answered_by(1, pool("a")).await;
    assert_eq!(test.answers(1).1, of_pool, "its worker noticed nothing");
    test.scene
        .until(id(1), |s| s.is_some_and(|s| s.instances.len() == 1))
        .await;
    assert_eq!(test.scene.stage.running(), 1, "{own:?} has ended");

    test.write([member(1, "b"), member(2, "a")]);
    test.until_answered_by(1, pool("b")).await;
    assert_eq!(test.answers(2).1, of_pool);

    test.write([row(1, "site-1.example"), member(2, "a")]);
    test.until_answered_by(1, id(1)).await;
    while test.scene.stage.running() > 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(test.scene.routed(pool("b")), None, "nobody is in it");
}

#[tokio::test(start_paused = true)]
async fn a_site_is_answered_as_before_while_what_it_moves_to_does_not_start() {
    let mut test = Test::start(Stage::without_user(RunAs::parse("nobody-here").unwrap()));
    test.write([row(1, "site-1.example"), member(2, "a")]);
    test.until_answered_by(1, id(1)).await;
    test.until_answered_by(2, pool("a")).await;
    let stranger = |row: Row| match row {
        Row::Site(site) => Row::Site(Arc::new(Site {
            run_as: Some(RunAs::parse("nobody-here").unwrap()),
            ..Site::clone(&site)
        })),
        rejected @ Row::Rejected(_) => rejected,
    };
    let told = |words: &'static str| {
        move |status: Option<&SiteStatus>| status.is_some_and(|s| s.detail.contains(words))
    };
    // A pool that can't be run.
    test.write([stranger(member(1, "b")), member(2, "a")]);
    test.scene
        .until(id(1), told("pool b can't take over: "))
        .await;
    assert_eq!(test.answers(1).0, id(1));
    // A vassal of its own that can't be run.
    test.write([row(1, "site-1.example"), stranger(row(2, "site-2.example"))]);
    test.scene.until(id(2), told("pool a serves on")).await;
    assert_eq!(test.answers(2).0, pool("a"));
    assert!(!test.answers(2).1.is_empty());
    test.write([row(1, "site-1.example"), member(2, "a")]);
    test.until_answered_by(2, pool("a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_disabled_site_leaves_its_pool_alone_and_a_reload_of_one_is_the_pool_s() {
    let mut test = Test::start(Stage::default());
    let mut off = Site::clone(&site(1, "site-1.example"));
    (off.enabled, off.pool) = (false, Some("a".into()));
    test.write([Row::Site(Arc::new(off)), member(2, "a"), member(3, "a")]);
    test.until(1, SiteState::Disabled).await;
    test.until_answered_by(2, pool("a")).await;
    let before = test.answers(2).1;

    assert_eq!(
        test.reload(Selection::Sites(vec![id(2)])).await,
        [id(2), id(3)]
    );
    while test.answers(3).1 == before || test.answers(3).1.len() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // And by its row.
    let before = test.answers(2).1;
    test.write([member(2, "a"), reloaded(3, "a")]);
    test.until_gone(1).await;
    tokio::time::sleep(SETTLE * 2).await;
    while test.answers(2).1 == before || test.answers(2).1.len() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_replaced_once_for_all_its_sites_that_are_reloaded_within_a_while() {
    let mut test = Test::start(Stage::default());
    test.write([member(1, "a"), member(2, "a"), member(3, "a")]);
    test.until_answered_by(1, pool("a")).await;
    let before = test.answers(1).1;
    test.write([reloaded(1, "a"), member(2, "a"), member(3, "a")]);
    tokio::time::sleep(SETTLE / 2).await;
    test.write([reloaded(1, "a"), reloaded(2, "a"), member(3, "a")]);
    tokio::time::sleep(SETTLE * 3 / 4).await;
    assert_eq!(test.answers(3).1, before, "the other's while isn't over");
    while test.answers(3).1 == before || test.answers(3).1.len() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let after = test.answers(3).1;
    assert_eq!(after, [before[0] + 1]);
    tokio::time::sleep(SETTLE * 4).await;
    assert_eq!(test.answers(3).1, after);
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_made_anew_for_reloads_that_no_emperor_heard() {
    let known = vassal_core::PoolReloads {
        count: 3,
        of_sites: BTreeMap::from([(id(1), 0), (id(2), 0)]),
    };
    let mut left = Left::default();
    left.pools.insert(pool("a"), known);
    let mut test = Test::start_after(Stage::default(), left);
    test.write([reloaded(1, "a"), reloaded(2, "a")]);
    test.until_answered_by(1, pool("a")).await;
    let running = test.scene.stage.worker(test.answers(1).1[0]);
    assert_eq!(running.spec.site.reloads, 4);
}
