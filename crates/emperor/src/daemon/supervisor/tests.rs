//! The supervisor over rows that a test writes and workers that it plays.

use site_model::{RejectedSite, Site, SiteState, SiteStatus};
use site_registry::Source;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use vassal_core::{CatalogInput, TemplateSource};

use super::*;
use crate::daemon::router::posted::Posted;
use crate::daemon::vassal::stage::{Scene, Stage};

const SETTLE: Duration = Duration::from_millis(500);

struct Test {
    scene: Scene,
    desired: watch::Sender<Arc<Desired>>,
    commands: mpsc::Sender<Command>,
    shutdown: watch::Sender<Option<Haste>>,
    stillness: watch::Sender<Duration>,
    settled: watch::Receiver<bool>,
    task: AbortOnDropHandle<()>,
}

impl Test {
    fn start(stage: Stage) -> Self {
        let scene = Scene::new(stage, 4);
        let (desired, rows) = watch::channel(Arc::new(Desired::nothing()));
        let (catalog, catalogs) = watch::channel(catalog());
        let (commands, obeyed) = mpsc::channel(1);
        let (shutdown, shutdowns) = watch::channel(None);
        let (settle, settled) = watch::channel(false);
        let (stillness, stillnesses) = watch::channel(SETTLE);
        let channels = Channels {
            desired: rows,
            catalog: catalogs,
            settle: stillnesses,
            commands: obeyed,
            shutdown: shutdowns,
            settled: settle,
            pulse: crate::daemon::pulse::pulse().0,
        };
        let supervisor = Supervisor::new(Arc::clone(&scene.house), channels, Left::default());
        let task = tokio::spawn(async move {
            let _catalog = catalog;
            supervisor.run().await;
        });
        Self {
            scene,
            desired,
            commands,
            shutdown,
            stillness,
            settled,
            task: AbortOnDropHandle::new(task),
        }
    }

    fn write(&self, rows: impl IntoIterator<Item = Row>) {
        let desired = Desired {
            rows: rows.into_iter().map(|row| (row.id(), row)).collect(),
            held_removals: None,
            source: Source::Database {
                read_at: std::time::SystemTime::UNIX_EPOCH,
            },
        };
        self.desired.send_replace(Arc::new(desired));
    }

    async fn until(&mut self, site: i64, state: SiteState) {
        let like = |status: Option<&SiteStatus>| status.is_some_and(|s| s.state == state);
        self.scene.until(id(site), like).await;
    }

    async fn until_gone(&mut self, site: i64) {
        self.scene.until(id(site), |status| status.is_none()).await;
    }

    /// The hosts in the route of a site.
    fn hosts(&self, site: i64) -> Vec<String> {
        let whole = self.scene.board.whole();
        let route = whole.routes.get(&id(site)).and_then(Posted::route);
        let hosts = route.iter().flat_map(|route| &route.hosts);
        hosts.map(|(host, _)| host.to_string()).collect()
    }
}

fn id(site: i64) -> SiteId {
    SiteId::new(site).unwrap()
}

fn catalog() -> Arc<Catalog> {
    let plain = "command = [\"/bin/true\"]\n";
    let forked = format!("{plain}[preload]\nenabled = true\n");
    let template = |name: &str, text: &str| TemplateSource {
        name: name.parse().unwrap(),
        source: vassal_core::Source::new(format!("{name}.toml"), text),
    };
    let input = CatalogInput {
        templates: vec![template("test", plain), template("forked", &forked)],
        ..CatalogInput::default()
    };
    Arc::new(Catalog::new(input).unwrap())
}

fn site(site: i64, domain: &str) -> Site {
    Site {
        id: id(site),
        slug: format!("site-{site}").parse().unwrap(),
        domain: Some(domain.parse().unwrap()),
        aliases: vec![],
        enabled: true,
        template: Some("test".parse().unwrap()),
        extra_config: String::new(),
        run_as: None,
        extra_uwsgi_ini: Box::default(),
        pool: None,
        reloads: 0,
    }
}

fn row(id: i64, domain: &str) -> Row {
    Row::Site(Arc::new(site(id, domain)))
}

#[tokio::test(start_paused = true)]
async fn rows_come_and_go_and_a_bad_one_disturbs_nobody() {
    let mut test = Test::start(Stage::default());
    let bad = Row::Rejected(Arc::new(RejectedSite {
        id: id(2),
        slug: "?".into(),
        reason: RejectionReason::Configuration("no".into()),
    }));
    test.write([row(1, "a.example"), bad, row(3, "c.example")]);
    test.until(1, SiteState::Ready).await;
    test.until(2, SiteState::Rejected).await;
    test.until(3, SiteState::Ready).await;
    test.write([row(3, "c.example")]);
    test.until_gone(1).await;
    test.until_gone(2).await;
    assert_eq!(test.scene.stage.running(), 1);
    test.write([row(1, "a.example"), row(3, "c.example")]);
    test.until(1, SiteState::Ready).await;
    assert_eq!(test.scene.routed(id(3)), Some(vec![2]), "it was left alone");
}

#[tokio::test(start_paused = true)]
async fn nothing_known_is_not_no_rows() {
    let mut test = Test::start(Stage::default());
    test.write([row(1, "a.example")]);
    test.until(1, SiteState::Ready).await;
    test.desired.send_replace(Arc::new(Desired::nothing()));
    let (answer, answered) = oneshot::channel();
    let command = Command::Reload(Selection::Sites(vec![]), answer);
    test.commands.send(command).await.unwrap();
    answered.await.unwrap();
    assert_eq!(test.scene.routed(id(1)), Some(vec![1]));
    assert!(*test.settled.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_domain_moves_from_one_site_to_another() {
    let mut test = Test::start(Stage::default());
    test.write([row(1, "a.example"), row(2, "b.example")]);
    test.until(1, SiteState::Ready).await;
    test.until(2, SiteState::Ready).await;
    test.write([row(1, "b.example"), row(2, "c.example")]);
    test.scene
        .until(id(1), |status| {
            status.is_some_and(|s| s.state == SiteState::Ready && s.instances.len() == 1)
                && status.is_some_and(|s| s.hosts[0].to_string() == "b.example")
        })
        .await;
    assert_eq!(test.hosts(1), ["b.example"]);
}

#[tokio::test(start_paused = true)]
async fn a_user_that_this_machine_lacks_rejects_the_row() {
    let nobody = RunAs::parse("nobody-here").unwrap();
    let mut test = Test::start(Stage::without_user(nobody.clone()));
    let mut stranger = site(1, "a.example");
    stranger.run_as = Some(nobody);
    test.write([Row::Site(Arc::new(stranger)), row(2, "b.example")]);
    test.until(1, SiteState::Rejected).await;
    test.until(2, SiteState::Ready).await;
    assert_eq!(test.hosts(1), ["a.example"], "503 and not 404");
}

#[tokio::test(start_paused = true)]
async fn a_reload_replaces_what_runs_and_the_end_leaves_nothing() {
    let mut test = Test::start(Stage::default());
    let mut off = site(2, "b.example");
    off.enabled = false;
    test.write([row(1, "a.example"), Row::Site(Arc::new(off))]);
    test.until(1, SiteState::Ready).await;
    test.until(2, SiteState::Disabled).await;
    let (answer, answered) = oneshot::channel();
    let command = Command::Reload(Selection::All, answer);
    test.commands.send(command).await.unwrap();
    assert_eq!(answered.await.unwrap(), [id(1)]);
    let replaced = |status: Option<&SiteStatus>| {
        status.is_some_and(|s| s.instances.iter().all(|i| i.incarnation.get() == 2))
    };
    test.scene.until(id(1), replaced).await;
    test.shutdown.send_replace(Some(Haste::Orderly));
    test.task.await.unwrap();
    assert_eq!(test.scene.stage.running(), 0);
}

fn sleepy(id: i64) -> Row {
    let mut sleepy = site(id, "a.example");
    sleepy.extra_config = "idle.stop_after = '1m'".to_owned();
    Row::Site(Arc::new(sleepy))
}

#[tokio::test(start_paused = true)]
async fn a_site_that_may_sleep_costs_nothing_until_a_request_wakes_it() {
    let mut test = Test::start(Stage::default());
    let demand = Arc::clone(test.scene.board.demand());
    demand.all_tell(true);
    test.write([sleepy(1), row(2, "b.example")]);
    test.until(1, SiteState::Sleeping).await;
    test.until(2, SiteState::Ready).await;
    assert_eq!(test.scene.stage.running(), 1);
    for cycle in 2..5 {
        demand.wake(id(1));
        test.until(1, SiteState::Ready).await;
        assert_eq!(test.scene.routed(id(1)), Some(vec![cycle]));
        // Time passes, and no request comes.
        test.until(1, SiteState::Sleeping).await;
        test.scene
            .until(id(1), |s| s.is_some_and(|s| s.instances.is_empty()))
            .await;
        assert_eq!(test.scene.stage.running(), 1);
    }
    test.write([row(2, "b.example")]);
    test.until_gone(1).await;
    assert_eq!(test.hosts(1), <[&str; 0]>::default());
}

#[tokio::test(start_paused = true)]
async fn a_call_in_any_moment_of_falling_asleep_is_answered() {
    let mut test = Test::start(Stage::default());
    let demand = Arc::clone(test.scene.board.demand());
    demand.all_tell(true);
    test.write([sleepy(1)]);
    test.until(1, SiteState::Sleeping).await;
    demand.wake(id(1));
    for turns in 0..200 {
        test.until(1, SiteState::Ready).await;
        test.until(1, SiteState::Sleeping).await;
        // Each time a little later: while it leaves the route, ends, or has no task any more.
        for _ in 0..turns % 40 {
            tokio::task::yield_now().await;
        }
        demand.wake(id(1));
    }
    test.until(1, SiteState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn what_rests_can_be_edited_and_begins_when_it_is_to_run() {
    let mut test = Test::start(Stage::default());
    let mut off = site(1, "a.example");
    off.enabled = false;
    test.write([Row::Site(Arc::new(off))]);
    test.until(1, SiteState::Disabled).await;
    test.write([sleepy(1)]);
    test.until(1, SiteState::Sleeping).await;
    test.write([row(1, "b.example")]);
    test.until(1, SiteState::Ready).await;
    assert_eq!(test.hosts(1), ["b.example"]);
    test.shutdown.send_replace(Some(Haste::Orderly));
    test.task.await.unwrap();
    assert_eq!(test.scene.stage.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_too_much_memory_is_replaced() {
    let mut test = Test::start(Stage::default());
    let mut bounded = site(1, "a.example");
    bounded.extra_config = "recycle.max_memory = '100MiB'".to_owned();
    test.write([Row::Site(Arc::new(bounded))]);
    test.until(1, SiteState::Ready).await;
    let leaking = test.scene.stage.worker(1);
    leaking
        .memory_bytes
        .store(200 << 20, std::sync::atomic::Ordering::Relaxed);
    test.scene
        .until(id(1), |s| {
            s.is_some_and(|s| s.instances.iter().all(|i| i.incarnation.get() == 2))
        })
        .await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_is_found_and_replaced() {
    let mut test = Test::start(Stage::default());
    let mut probed = site(1, "a.example");
    probed.extra_config = "health.interval = '10s'".to_owned();
    test.write([Row::Site(Arc::new(probed))]);
    test.until(1, SiteState::Ready).await;
    let hung = test.scene.stage.worker(1);
    hung.hangs.store(true, std::sync::atomic::Ordering::Relaxed);
    test.scene
        .until(id(1), |s| {
            s.is_some_and(|s| s.instances.iter().all(|i| i.incarnation.get() == 2))
        })
        .await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_reloads_replaces_a_site_once() {
    let mut test = Test::start(Stage::default());
    let reloaded = |reloads| {
        let site = site(1, "a.example");
        Row::Site(Arc::new(Site { reloads, ..site }))
    };
    test.write([reloaded(0)]);
    test.until(1, SiteState::Ready).await;
    for reloads in 1..=5 {
        test.write([reloaded(reloads)]);
        tokio::time::sleep(SETTLE / 2).await;
        assert_eq!(test.scene.routed(id(1)), Some(vec![1]), "it waits");
    }
    let second = |status: Option<&SiteStatus>| {
        status.is_some_and(|s| s.instances.iter().all(|i| i.incarnation.get() == 2))
    };
    test.scene.until(id(1), second).await;
    tokio::time::sleep(SETTLE * 10).await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![2]), "once");
}

#[tokio::test(start_paused = true)]
async fn another_stillness_is_waited_for_once_it_is_told() {
    let mut test = Test::start(Stage::default());
    let reloaded = |reloads| {
        let site = site(1, "a.example");
        Row::Site(Arc::new(Site { reloads, ..site }))
    };
    test.write([reloaded(0)]);
    test.until(1, SiteState::Ready).await;
    test.stillness.send_replace(SETTLE * 100);
    // It is told before the row is.
    tokio::time::sleep(SETTLE).await;
    test.write([reloaded(1)]);
    tokio::time::sleep(SETTLE * 50).await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![1]), "it waits");
    let second = |status: Option<&SiteStatus>| {
        status.is_some_and(|s| s.instances.iter().all(|i| i.incarnation.get() == 2))
    };
    test.scene.until(id(1), second).await;
}

/// A site that sleeps and is forked, of this user.
fn forked(id: i64, run_as: &str) -> Site {
    Site {
        template: Some("forked".parse().unwrap()),
        run_as: Some(RunAs::parse(run_as).unwrap()),
        extra_config: "idle.stop_after = '1m'".to_owned(),
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

    let (answer, answered) = oneshot::channel();
    let command = Command::Reload(Selection::All, answer);
    test.commands.send(command).await.unwrap();
    answered.await.unwrap();
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

fn member(id: i64, pool: &str) -> Row {
    let pool = Some(pool.to_owned());
    let site = site(id, &format!("site-{id}.example"));
    Row::Site(Arc::new(Site { pool, ..site }))
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
    (off.enabled, off.pool) = (false, Some("a".to_owned()));
    test.write([Row::Site(Arc::new(off)), member(2, "a"), member(3, "a")]);
    test.until(1, SiteState::Disabled).await;
    test.until_answered_by(2, pool("a")).await;
    let before = test.answers(2).1;

    let (answer, answered) = oneshot::channel();
    let command = Command::Reload(Selection::Sites(vec![id(2)]), answer);
    test.commands.send(command).await.unwrap();
    assert_eq!(answered.await.unwrap(), [id(2), id(3)]);
    while test.answers(3).1 == before || test.answers(3).1.len() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // And by its row.
    let before = test.answers(2).1;
    let asked = match member(3, "a") {
        Row::Site(site) => Site {
            reloads: 1,
            ..Site::clone(&site)
        },
        Row::Rejected(_) => unreachable!("it is a site"),
    };
    test.write([member(2, "a"), Row::Site(Arc::new(asked))]);
    test.until_gone(1).await;
    tokio::time::sleep(SETTLE * 2).await;
    while test.answers(2).1 == before || test.answers(2).1.len() != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
