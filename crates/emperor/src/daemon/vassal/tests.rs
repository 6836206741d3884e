//! The actor with workers that the tests play, on a clock that they stop.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use site_model::{InstanceState, RunAs, Site, SiteId, SiteState, SiteStatus};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use vassal_core::lifecycle::Haste;
use vassal_core::{Catalog, CatalogInput, ExitReason, Lifecycle, Source, TemplateSource, Want};
use wire::route::SiteLoad;

use super::stage::{Scene, Stage};
use super::{Beginning, End, Order, Wish, now, run};
use crate::daemon::process::{Outcome, Step};
use crate::daemon::turns::{Attempt, AwaitedBy, Permit};

fn id() -> SiteId {
    SiteId::new(1).unwrap()
}

/// What is wanted of a site whose row has been written so often.
fn want(slug: &str, edition: u32) -> Want {
    let template = TemplateSource {
        name: "test".parse().unwrap(),
        source: Source::new(
            "test.toml",
            "command = [\"/bin/true\", \"{{ vars.edition }}\"]\n[vars]\nedition = 0\n",
        ),
    };
    let catalog = Catalog::new(CatalogInput {
        templates: vec![template],
        ..CatalogInput::default()
    });
    let site = Site {
        id: id(),
        slug: slug.parse().unwrap(),
        domain: None,
        aliases: Box::default(),
        enabled: true,
        template: Some("test".parse().unwrap()),
        extra_config: format!("vars.edition = {edition}").into(),
        run_as: Some(RunAs::Auto),
        extra_uwsgi_ini: Box::default(),
        pool: None,
        reloads: 0,
    };
    let spec = catalog.unwrap().resolve(&Arc::new(site)).unwrap();
    Want::Run(Arc::new(spec))
}

struct Vassal {
    orders: watch::Sender<Order>,
    task: AbortOnDropHandle<End>,
}

impl Vassal {
    fn start(scene: &Scene, want: Want) -> Self {
        let (life, effects) = Lifecycle::begin(id(), want.clone(), 0, 7, now());
        let wish = Wish::Want(want);
        let known = Order { wish, reloads: 0 };
        let (orders, receiver) = watch::channel(known.clone());
        let beginning = Beginning {
            id: id(),
            known,
            orders: receiver,
            listener: scene.board.demand().listen(id()),
            token: TaskTracker::new().token(),
        };
        let task = run(beginning, (life, effects), Arc::clone(&scene.house));
        let task = tokio::spawn(task);
        Self {
            orders,
            task: AbortOnDropHandle::new(task),
        }
    }

    fn wish(&self, wish: Wish) {
        self.orders.send_modify(|order| order.wish = wish);
    }
}

fn is_ready(status: Option<&SiteStatus>) -> bool {
    status.is_some_and(|status| status.state == SiteState::Ready)
}

/// A site that serves with incarnation 1.
async fn serving(slug: &str) -> (Scene, Vassal) {
    let mut scene = Scene::new(Stage::default(), 1);
    let vassal = Vassal::start(&scene, want(slug, 1));
    scene.until(id(), is_ready).await;
    assert_eq!(scene.routed(id()), Some(vec![1]));
    (scene, vassal)
}

#[tokio::test(start_paused = true)]
async fn a_crashed_worker_is_replaced_and_its_folder_removed() {
    let (mut scene, _vassal) = serving("site").await;
    scene.stage.worker(1).end(1);
    scene.until(id(), |status| !is_ready(status)).await;
    scene.until(id(), is_ready).await;
    assert_eq!(scene.routed(id()), Some(vec![2]));
    assert_eq!(*scene.stage.worker(1).told.lock().unwrap(), ["remove"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_row_hands_over_from_one_worker_to_the_next() {
    let (mut scene, vassal) = serving("site").await;
    vassal.wish(Wish::Want(want("site", 2)));
    scene
        .until(id(), |status| {
            status.is_some_and(|status| {
                let numbers: Vec<_> = status
                    .instances
                    .iter()
                    .map(|i| i.incarnation.get())
                    .collect();
                numbers == [2]
            })
        })
        .await;
    assert_eq!(scene.routed(id()), Some(vec![2]));
    assert_eq!(scene.stage.worker(1).told.lock().unwrap()[0], "signal");
    assert!(scene.stage.worker(2).told.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_thousand_edits_the_last_one_runs() {
    let (mut scene, vassal) = serving("site").await;
    for edition in 2..=1_000 {
        vassal.wish(Wish::Want(want("site", edition)));
        if edition % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let Want::Run(last) = want("site", 1_000) else {
        panic!("rejected");
    };
    let revision = Some(last.revision);
    scene
        .until(id(), |status| {
            is_ready(status)
                && status.is_some_and(|s| s.revision == revision && s.instances.len() == 1)
        })
        .await;
    assert_eq!(scene.stage.running(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_removed_site_ends_its_worker_its_route_and_its_task() {
    let (mut scene, vassal) = serving("stubborn").await;
    vassal.wish(Wish::Removed);
    scene.until(id(), |status| status.is_none()).await;
    vassal.task.await.unwrap();
    assert_eq!(scene.routed(id()), None);
    let told = scene.stage.worker(1).told.lock().unwrap().clone();
    assert_eq!(told, ["signal", "kill", "remove"]);
}

#[tokio::test(start_paused = true)]
async fn the_emperor_s_end_leaves_no_worker_and_the_last_status() {
    let (scene, vassal) = serving("stubborn").await;
    vassal.wish(Wish::Shutdown(Haste::Orderly));
    tokio::task::yield_now().await;
    vassal.wish(Wish::Shutdown(Haste::AtOnce));
    vassal.task.await.unwrap();
    assert_eq!(scene.stage.running(), 0);
    let status = scene.house.statuses.get(id()).unwrap();
    assert_eq!(status.state, SiteState::Stopping);
}

/// A start that nobody waits for.
async fn start(scene: &Scene) -> Permit {
    let turns = &scene.house.turns;
    turns.start(AwaitedBy::Nobody, Attempt::First).await
}

#[tokio::test(start_paused = true)]
async fn a_visitor_gets_a_site_out_of_the_line_of_those_that_nobody_waits_for() {
    let mut scene = Scene::new(Stage::default(), 2);
    let _permit = start(&scene).await;
    scene.board.demand().all_tell(true);
    let _vassal = Vassal::start(&scene, want("site", 1));
    let queued = |status: Option<&SiteStatus>| {
        status.is_some_and(|status| status.detail == "waits for its turn to start")
    };
    scene.until(id(), queued).await;
    let visitor = SiteLoad {
        site_id: 1,
        requests: 1,
        waiting: 1,
        oldest_ms: 0,
        instances: vec![],
    };
    scene.board.demand().told(10, vec![visitor]);
    scene.until(id(), is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_start_permit_starts_when_another_is_ready() {
    let mut scene = Scene::new(Stage::default(), 1);
    let permit = start(&scene).await;
    let _vassal = Vassal::start(&scene, want("site", 1));
    let queued = |status: Option<&SiteStatus>| {
        status.is_some_and(|status| status.detail == "waits for its turn to start")
    };
    scene.until(id(), queued).await;
    assert_eq!(scene.stage.running(), 0);
    drop(permit);
    scene.until(id(), is_ready).await;
    // It came back.
    drop(start(&scene).await);
}

#[tokio::test(start_paused = true)]
async fn a_start_its_steps_and_the_exit_are_told_with_the_next_try() {
    let mut scene = Scene::new(Stage::default(), 1);
    let vassal = Vassal::start(&scene, want("portal", 1));
    scene.until(id(), is_ready).await;
    let story = scene.house.statuses.story(id());
    let start = story.last_start.unwrap();
    assert_eq!((start.incarnation.get(), start.outcome), (1, Outcome::Done));
    assert_eq!(start.steps.last().unwrap().step, Step::Acknowledge);
    assert_eq!(story.next_try_at, None);

    scene.stage.worker(1).end(3);
    let backs_off = |status: Option<&SiteStatus>| {
        status.is_some_and(|status| status.state == SiteState::BackingOff)
    };
    scene.until(id(), backs_off).await;
    let story = scene.house.statuses.story(id());
    assert!(story.next_try_at.is_some());
    let last = story.happened.last().unwrap();
    assert_eq!(
        (last.from, last.to),
        (Some(SiteState::Ready), SiteState::BackingOff)
    );
    assert_eq!(last.cause.reason, "exited");
    assert_eq!(last.cause.incarnation.unwrap().get(), 1);

    scene.until(id(), is_ready).await;
    let story = scene.house.statuses.story(id());
    let exit = story.last_exit.unwrap();
    assert_eq!((exit.incarnation.get(), exit.was_asked), (1, false));
    assert_eq!(exit.reason, ExitReason::Exited { status: 3 });
    assert_eq!(story.next_try_at, None);
    assert_eq!(story.last_start.unwrap().incarnation.get(), 2);
    drop(vassal);
}

/// What was logged, as JSON.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    /// `FROM TO REASON` of each transition of instances, or of sites.
    fn transitions(&self, whose: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let transitions = events.filter(|event| event["message"] == whose);
        let word = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        transitions
            .map(|event| {
                assert_eq!(
                    (&event["site"], &event["slug"]),
                    (&json!("1"), &json!("portal"))
                );
                ["from", "to", "reason"]
                    .map(|field| word(&event, field))
                    .join(" ")
            })
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_transition_is_one_event_with_its_reason() {
    let logged = Logged::default();
    let writer = logged.clone();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, an event that another test is the first to meet is judged by that
    // test's thread, which has none, and is told to nobody from then on.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(log);
    let mut scene = Scene::new(Stage::default(), 1);
    let vassal = Vassal::start(&scene, want("portal", 1));
    scene.until(id(), is_ready).await;
    vassal.wish(Wish::Removed);
    assert!(matches!(vassal.task.await.unwrap(), End::Gone));
    let instances = [
        "none queued begun",
        "queued starting permitted",
        "starting ready acknowledged",
        "ready draining removed",
        "draining stopping removed",
        "stopping none exited",
    ];
    assert_eq!(
        logged.transitions("an instance changed its state"),
        instances
    );
    let sites = logged.transitions("a site changed its state");
    assert_eq!(sites.last().unwrap(), "ready stopping removed");
}

#[tokio::test(start_paused = true)]
async fn a_start_doesn_t_wait_behind_replacements_and_a_place_is_held_until_the_old_one_is_gone() {
    let (mut scene, vassal) = serving("stubborn").await;
    vassal.wish(Wish::Want(want("stubborn", 2)));
    let ends = |status: Option<&SiteStatus>| {
        let mut instances = status.iter().flat_map(|status| &status.instances);
        instances.any(|instance| instance.state == InstanceState::Stopping)
    };
    scene.until(id(), ends).await;
    let told = scene.house.turns.replacing();
    assert_eq!((told.replacing, told.max), (1, 1));
    drop(start(&scene).await);
    let alone =
        |status: Option<&SiteStatus>| status.is_some_and(|status| status.instances.len() == 1);
    scene.until(id(), alone).await;
    assert_eq!(scene.house.turns.replacing().replacing, 0);
}
