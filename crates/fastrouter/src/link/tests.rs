//! The link against an emperor and serving threads that the test plays itself.

use bytes::BytesMut;
use serde::Serialize;
use site_model::{HostRole, Match, QueueBounds, RouteSettings, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;
use wire::frame;

use super::*;
use crate::order::{Order, ThreadStats};
use crate::settings::tests::on_the_wire;
use crate::shared::Shared;
use crate::tally::ThreadLoad;

struct House {
    listener: UnixListener,
    orders: mpsc::Receiver<Order>,
    following: AbortOnDropHandle<ThreadLost>,
    _folder: tempfile::TempDir,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("link");
    let listener = UnixListener::bind(&path).unwrap();
    let (thread, orders) = mpsc::channel(1);
    let fleet = Fleet::new(vec![thread], Arc::new(Shared::new(1)));
    let following = tokio::spawn(async move { follow(&path, fleet).await });
    House {
        listener,
        orders,
        following: AbortOnDropHandle::new(following),
        _folder: folder,
    }
}

/// The emperor's end.
struct FakeEmperor {
    stream: UnixStream,
    received: BytesMut,
}

impl FakeEmperor {
    async fn accept(house: &House) -> Self {
        let (stream, _) = house.listener.accept().await.unwrap();
        let mut emperor = Self {
            stream,
            received: BytesMut::new(),
        };
        assert!(matches!(
            emperor.hear().await,
            FromRouter::Hello { protocol: 1, .. }
        ));
        emperor
    }

    async fn say(&mut self, message: &impl Serialize) {
        let mut out = BytesMut::new();
        frame::encode(message, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    async fn say_table(&mut self, generation: u64, routes: Vec<RouteFrame>) {
        self.say(&ToRouter::TableBegin { generation }).await;
        self.say(&ToRouter::TablePart { routes }).await;
        self.say(&ToRouter::TableEnd).await;
    }

    async fn hear(&mut self) -> FromRouter {
        loop {
            if let Some(message) = frame::decode(&mut self.received).unwrap() {
                return message;
            }
            assert_ne!(
                self.stream.read_buf(&mut self.received).await.unwrap(),
                0,
                "hung up on"
            );
        }
    }
}

impl House {
    /// Takes the next order but for questions after load, of which there is none.
    async fn order(&mut self) -> Option<Order> {
        loop {
            match self.orders.recv().await? {
                Order::Load { load, .. } => load.send(ThreadLoad::default()).unwrap(),
                other => return Some(other),
            }
        }
    }

    /// Takes the next table, which is in force at once.
    async fn table(&mut self) -> Arc<RouteTable> {
        match self.order().await.unwrap() {
            Order::Table {
                table, in_force, ..
            } => {
                in_force.send(()).unwrap();
                table
            }
            other => panic!("{other:?} instead of a table"),
        }
    }
}

fn route(id: i64) -> RouteFrame {
    let host = format!("site-{id}.example");
    RouteFrame::from(&SiteRoute {
        id: SiteId::new(id).unwrap(),
        slug: format!("site-{id}").parse().unwrap(),
        canonical: host.parse().unwrap(),
        hosts: [(host.parse().unwrap(), HostRole::Serve)].into(),
        service: Service::Waiting,
        settings: Arc::new(RouteSettings {
            queue: QueueBounds {
                depth: 1,
                timeout: Duration::from_secs(1),
            },
            check_paths: [].into(),
            cache: None,
        }),
    })
}

fn change(generation: u64, id: i64) -> ToRouter {
    ToRouter::Change {
        generation,
        upserts: vec![route(id)],
        removals: vec![],
    }
}

fn acknowledged(generation: u64) -> FromRouter {
    FromRouter::Acknowledged { generation }
}

#[tokio::test]
async fn a_table_is_acknowledged_when_every_thread_has_it_in_force() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    emperor.say_table(5, vec![route(1)]).await;
    let Some(Order::Table {
        table, in_force, ..
    }) = house.order().await
    else {
        panic!()
    };
    assert_eq!(table.generation().get(), 5);
    tokio::select! {
        biased;
        heard = emperor.hear() => panic!("{heard:?} before the thread had the table"),
        () = tokio::task::yield_now() => {}
    }
    in_force.send(()).unwrap();
    assert_eq!(emperor.hear().await, acknowledged(5));

    emperor.say(&change(6, 2)).await;
    assert_eq!(house.table().await.sites().count(), 2);
    assert_eq!(emperor.hear().await, acknowledged(6));
}

#[tokio::test]
async fn a_gap_asks_for_the_whole_table_once_and_keeps_the_one_in_force() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    emperor.say_table(1, vec![route(1)]).await;
    house.table().await;
    assert_eq!(emperor.hear().await, acknowledged(1));

    emperor.say(&change(3, 3)).await;
    assert_eq!(emperor.hear().await, FromRouter::ResendTable);
    emperor.say(&change(4, 4)).await;
    emperor
        .say_table(4, vec![route(1), route(3), route(4)])
        .await;
    assert_eq!(house.table().await.sites().count(), 3);
    assert_eq!(emperor.hear().await, acknowledged(4));
}

#[tokio::test]
async fn a_table_with_a_host_of_two_sites_is_not_used() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    emperor.say_table(1, vec![route(1)]).await;
    house.table().await;
    emperor.hear().await;
    let thief = RouteFrame {
        serve: vec!["site-1.example".into()],
        ..route(2)
    };
    let theft = ToRouter::Change {
        generation: 2,
        upserts: vec![thief],
        removals: vec![],
    };
    emperor.say(&theft).await;
    assert_eq!(emperor.hear().await, FromRouter::ResendTable);
}

#[tokio::test]
async fn a_whole_table_that_can_t_be_used_is_asked_for_with_the_next_change_alone() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    emperor.say_table(1, vec![route(1)]).await;
    house.table().await;
    assert_eq!(emperor.hear().await, acknowledged(1));

    let thief = RouteFrame {
        serve: vec!["site-1.example".into()],
        ..route(2)
    };
    emperor.say_table(2, vec![route(1), thief]).await;
    // Nothing but the answer to this is said: had the table been asked for, that would come first.
    emperor.say(&ToRouter::AskStats { token: 7 }).await;
    let Some(Order::Stats(answer)) = house.order().await else {
        panic!()
    };
    answer.send(ThreadStats::default()).unwrap();
    assert!(matches!(
        emperor.hear().await,
        FromRouter::Stats { token: 7, .. }
    ));

    emperor.say(&change(3, 3)).await;
    assert_eq!(emperor.hear().await, FromRouter::ResendTable);
    emperor.say_table(3, vec![route(1), route(3)]).await;
    assert_eq!(house.table().await.sites().count(), 2);
    assert_eq!(emperor.hear().await, acknowledged(3));
}

#[tokio::test]
async fn the_last_table_stays_in_force_over_a_lost_emperor() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    emperor.say_table(9, vec![route(1)]).await;
    house.table().await;
    drop(emperor);

    let mut emperor = FakeEmperor::accept(&house).await;
    emperor.say(&change(10, 2)).await;
    assert_eq!(
        house.table().await.sites().count(),
        2,
        "the change built on the table from before"
    );
}

#[tokio::test]
async fn the_default_site_of_the_settings_holds_for_every_later_table() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    let settings = wire::route::Settings {
        default_site: "site-1".into(),
        ..on_the_wire()
    };
    emperor.say(&ToRouter::Settings(settings)).await;
    assert!(matches!(house.order().await, Some(Order::Settings(_))));
    emperor.say_table(1, vec![route(1)]).await;
    let table = house.table().await;
    assert!(matches!(
        table.find(&"other.example".parse().unwrap()),
        Match::Site(_)
    ));
}

#[tokio::test]
async fn questions_are_answered_beside_each_other() {
    let mut house = house();
    let mut emperor = FakeEmperor::accept(&house).await;
    emperor
        .say(&ToRouter::AwaitIdle {
            site_id: 1,
            incarnation: 4,
        })
        .await;
    let Some(Order::AwaitIdle { idle, .. }) = house.order().await else {
        panic!()
    };

    emperor.say(&ToRouter::AskStats { token: 8 }).await;
    let Some(Order::Stats(answer)) = house.order().await else {
        panic!()
    };
    answer
        .send(ThreadStats {
            requests: 3,
            ..ThreadStats::default()
        })
        .unwrap();
    let FromRouter::Stats { token: 8, stats } = emperor.hear().await else {
        panic!()
    };
    assert_eq!(stats.requests, 3);

    idle.send(()).unwrap();
    assert_eq!(
        emperor.hear().await,
        FromRouter::Idle {
            site_id: 1,
            incarnation: 4
        }
    );
}

#[tokio::test]
async fn a_lost_thread_ends_the_following() {
    let House {
        listener,
        orders,
        following,
        _folder,
    } = house();
    drop(orders);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut out = BytesMut::new();
    frame::encode(&ToRouter::AskStats { token: 1 }, &mut out).unwrap();
    stream.write_all(&out).await.unwrap();
    assert_eq!(following.await.unwrap(), ThreadLost);
}
