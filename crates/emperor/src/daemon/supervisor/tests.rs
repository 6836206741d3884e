//! The supervisor over rows that a test writes and workers that it plays.

mod pools;
mod preloaders;

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
        Self::start_after(stage, Left::default())
    }

    fn start_after(stage: Stage, left: Left) -> Self {
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
        let supervisor = Supervisor::new(Arc::clone(&scene.house), channels, left);
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

    /// Waits until this incarnation is all that a site has.
    async fn until_replaced_by(&mut self, site: i64, incarnation: u64) {
        let is_alone = |status: Option<&SiteStatus>| {
            status.is_some_and(|s| {
                s.instances
                    .iter()
                    .all(|i| i.incarnation.get() == incarnation)
            })
        };
        self.scene.until(id(site), is_alone).await;
    }

    /// Asks for new instances, and returns the sites that get them.
    async fn reload(&self, selection: Selection) -> Vec<SiteId> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Reload(selection, answer);
        self.commands.send(command).await.unwrap();
        answered.await.unwrap()
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
        aliases: Box::default(),
        enabled: true,
        template: Some("test".parse().unwrap()),
        extra_config: Box::default(),
        run_as: None,
        extra_uwsgi_ini: Box::default(),
        pool: None,
        reloads: 0,
    }
}

fn row(id: i64, domain: &str) -> Row {
    Row::Site(Arc::new(site(id, domain)))
}

/// As its row is after so many reloads were asked for.
fn reloaded(id: i64, reloads: u64) -> Row {
    let site = site(id, "a.example");
    Row::Site(Arc::new(Site { reloads, ..site }))
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
    test.reload(Selection::Sites(vec![])).await;
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
    assert_eq!(test.reload(Selection::All).await, [id(1)]);
    test.until_replaced_by(1, 2).await;
    test.shutdown.send_replace(Some(Haste::Orderly));
    test.task.await.unwrap();
    assert_eq!(test.scene.stage.running(), 0);
}

fn sleepy(id: i64) -> Row {
    let mut sleepy = site(id, "a.example");
    sleepy.extra_config = "idle.stop_after = '1m'".into();
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
    bounded.extra_config = "recycle.max_memory = '100MiB'".into();
    test.write([Row::Site(Arc::new(bounded))]);
    test.until(1, SiteState::Ready).await;
    let leaking = test.scene.stage.worker(1);
    leaking
        .memory_bytes
        .store(200 << 20, std::sync::atomic::Ordering::Relaxed);
    test.until_replaced_by(1, 2).await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_is_found_and_replaced() {
    let mut test = Test::start(Stage::default());
    let mut probed = site(1, "a.example");
    probed.extra_config = "health.interval = '10s'".into();
    test.write([Row::Site(Arc::new(probed))]);
    test.until(1, SiteState::Ready).await;
    let hung = test.scene.stage.worker(1);
    hung.hangs.store(true, std::sync::atomic::Ordering::Relaxed);
    test.until_replaced_by(1, 2).await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_reloads_replaces_a_site_once() {
    let mut test = Test::start(Stage::default());
    test.write([reloaded(1, 0)]);
    test.until(1, SiteState::Ready).await;
    for reloads in 1..=5 {
        test.write([reloaded(1, reloads)]);
        tokio::time::sleep(SETTLE / 2).await;
        assert_eq!(test.scene.routed(id(1)), Some(vec![1]), "it waits");
    }
    test.until_replaced_by(1, 2).await;
    tokio::time::sleep(SETTLE * 10).await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![2]), "once");
}

#[tokio::test(start_paused = true)]
async fn another_stillness_is_waited_for_once_it_is_told() {
    let mut test = Test::start(Stage::default());
    test.write([reloaded(1, 0)]);
    test.until(1, SiteState::Ready).await;
    test.stillness.send_replace(SETTLE * 100);
    // It is told before the row is.
    tokio::time::sleep(SETTLE).await;
    test.write([reloaded(1, 1)]);
    tokio::time::sleep(SETTLE * 50).await;
    assert_eq!(test.scene.routed(id(1)), Some(vec![1]), "it waits");
    test.until_replaced_by(1, 2).await;
}
