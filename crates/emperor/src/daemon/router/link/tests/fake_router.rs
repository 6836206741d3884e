//! The emperor's end of a link, and a router at the other that the test plays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde::Serialize;
use site_model::{
    Backend, Generation, HostRole, Incarnation, InstanceNumber, Protocol, QueueBounds,
    RouteSettings, RouteTable, Service, SiteId, SiteRoute,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wire::frame;
use wire::route::{FromRouter, Settings, ToRouter};

use crate::daemon::router::board::RouteBoard;
use crate::daemon::router::link::{converse, serve};
use crate::daemon::router::roster::{Enlisted, Standing};
use crate::daemon::router::settings::fixture::settings;

/// The emperor's end of the link.
pub(super) struct House {
    pub(super) board: Arc<RouteBoard>,
    pub(super) socket: PathBuf,
    _folder: tempfile::TempDir,
    _serving: AbortOnDropHandle<()>,
    _enlisted: Enlisted,
}

/// The rows are known.
pub(super) fn house() -> House {
    let house = closed_house();
    house.board.open();
    house
}

/// The rows are not known yet.
pub(super) fn closed_house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("link");
    let listener = UnixListener::bind(&socket).unwrap();
    let board = Arc::new(RouteBoard::new(settings("")));
    // Routers that connect to the socket are this process.
    let roster = board.roster();
    let enlisted = roster.enlist(std::process::id(), Standing::New);
    roster.set_current(std::process::id());
    let serving = serve(
        listener,
        Arc::clone(&board),
        nix::unistd::getuid().as_raw(),
        crate::daemon::pulse::pulse().0,
        CancellationToken::new(),
    );
    let serving = AbortOnDropHandle::new(tokio::spawn(serving));
    House {
        board,
        socket,
        _folder: folder,
        _serving: serving,
        _enlisted: enlisted,
    }
}

pub(super) fn route(id: i64, incarnation: u64) -> SiteRoute {
    let host = format!("site-{id}.example");
    SiteRoute {
        id: SiteId::new(id).unwrap(),
        slug: format!("site-{id}").parse().unwrap(),
        canonical: host.parse().unwrap(),
        hosts: [(host.parse().unwrap(), HostRole::Serve)].into(),
        service: Service::Ready(vec![Backend {
            number: InstanceNumber::new(1),
            incarnation: Incarnation::new(incarnation),
            socket: "/run/s".into(),
            protocol: Protocol::Http,
            concurrency: None,
        }]),
        settings: Arc::new(RouteSettings {
            queue: QueueBounds {
                depth: 1,
                timeout: Duration::from_secs(1),
            },
            check_paths: [].into(),
            cache: None,
        }),
    }
}

/// The fastrouter's end, as far as a test needs one.
pub(super) struct FakeRouter {
    stream: UnixStream,
    received: BytesMut,
    pub(super) table: RouteTable,
    pub(super) settings: Option<Settings>,
}

impl FakeRouter {
    pub(super) async fn connect(house: &House) -> Self {
        Self::greet(UnixStream::connect(&house.socket).await.unwrap()).await
    }

    /// Connects as another process.
    pub(super) async fn connect_as(pid: u32, house: &House) -> (Self, AbortOnDropHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let conversing = converse(theirs, pid, Arc::clone(&house.board));
        let conversing = AbortOnDropHandle::new(tokio::spawn(conversing));
        (Self::greet(ours).await, conversing)
    }

    /// One with a cache, whose number of the last purge is another emperor's.
    pub(super) async fn with_cache(house: &House) -> Self {
        let stream = UnixStream::connect(&house.socket).await.unwrap();
        Self::say_hello(stream, Some(u64::MAX)).await
    }

    async fn greet(stream: UnixStream) -> Self {
        Self::say_hello(stream, None).await
    }

    async fn say_hello(stream: UnixStream, purged: Option<u64>) -> Self {
        let mut router = Self {
            stream,
            received: BytesMut::new(),
            table: RouteTable::default(),
            settings: None,
        };
        let hello = FromRouter::Hello {
            protocol: 1,
            pid: 7,
            version: "test".into(),
            purged,
            knows_pools: true,
        };
        router.say(&hello).await;
        router
    }

    pub(super) async fn say(&mut self, message: &impl Serialize) {
        let mut out = BytesMut::new();
        frame::encode(message, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    pub(super) async fn acknowledge(&mut self) {
        let generation = self.table.generation().get();
        self.say(&FromRouter::Acknowledged { generation }).await;
    }

    pub(super) async fn hear(&mut self) -> ToRouter {
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

    /// Takes messages, and the table with them, up to one that is neither settings nor a route.
    pub(super) async fn hear_question(&mut self) -> ToRouter {
        loop {
            let message = self.hear().await;
            if let Some(question) = self.take(message).await {
                return question;
            }
        }
    }

    /// Takes messages until the table has that generation.
    pub(super) async fn follow_to(&mut self, generation: Generation) {
        while self.table.generation() < generation {
            let message = self.hear().await;
            assert_eq!(self.take(message).await, None);
        }
    }

    async fn take(&mut self, message: ToRouter) -> Option<ToRouter> {
        match message {
            ToRouter::Settings(settings) => self.settings = Some(settings),
            ToRouter::TableBegin { generation } => {
                self.table = self.whole(Generation::new(generation)).await;
            }
            ToRouter::Change {
                generation,
                upserts,
                removals,
            } => {
                let change = wire::route::parse_change(generation, upserts, &removals).unwrap();
                assert_eq!(change.generation, self.table.generation().next(), "a gap");
                self.table = self.table.changed(change).unwrap();
            }
            other => return Some(other),
        }
        None
    }

    async fn whole(&mut self, generation: Generation) -> RouteTable {
        let mut all = Vec::new();
        loop {
            match self.hear().await {
                ToRouter::TablePart { routes } => all.extend(routes),
                ToRouter::TableEnd => break,
                other => panic!("{other:?} inside a table"),
            }
        }
        let routes = all
            .into_iter()
            .map(|frame| SiteRoute::try_from(frame).unwrap());
        RouteTable::new(generation, routes).unwrap()
    }
}
