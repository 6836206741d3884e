//! A running router and the emperor that tells it what to serve.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::BytesMut;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::frame;
use wire::route::{
    AccessLog, AccessLogFormat, BackendFrame, FromRouter, ProtocolFrame, RouteFrame, RouterStats,
    ServiceFrame, Settings, SiteLoad, ToRouter,
};

use crate::PATIENCE;
use crate::client::Client;
use crate::worker::{Connection, Worker, next};

/// A router, its emperor, and the folder they live in.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) router: Child,
    pub(crate) address: SocketAddr,
    pub(crate) emperor: Emperor,
    listener: UnixListener,
    door: std::net::TcpListener,
}

/// A client that has asked for this, and the worker's end of its request.
pub(crate) async fn exchange(request: &str) -> (House, Worker, Client, Connection) {
    let (house, worker, mut connections) = House::new().await.with_worker_by_hand().await;
    let mut client = house.client().await;
    client.say(request).await;
    let connection = next(&mut connections).await;
    (house, worker, client, connection)
}

/// Opens a WebSocket to a worker that the test plays, and returns the worker's end.
pub(crate) async fn open_tunnel(
    client: &mut Client,
    connections: &mut mpsc::Receiver<Connection>,
) -> Connection {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client
        .say(format!(
            "GET /chat HTTP/1.1\r\nHost: site-1.example\r\n{upgrade}"
        ))
        .await;
    let mut tunnel = next(connections).await;
    tunnel.head().await;
    tunnel
        .say(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}"))
        .await;
    client.until(b"\r\n\r\n").await;
    tunnel
}

/// Whether one request waits in a queue.
pub(crate) fn one_waits(stats: &RouterStats) -> bool {
    stats.queues.iter().any(|queue| queue.waiting == 1)
}

/// The emperor's end of one connection.
pub(crate) struct Emperor {
    stream: UnixStream,
    received: BytesMut,
    pub(crate) generation: u64,
    /// The number of the last purge, as the router's hello has it.
    pub(crate) purged: Option<u64>,
    /// What the router told of load by itself.
    loads: Vec<SiteLoad>,
}

impl House {
    /// A router of two threads with an empty table.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let mut house = Self::silent().await;
        house.emperor.say(&ToRouter::Settings(settings)).await;
        house.emperor.whole_table(1, vec![]).await;
        house
    }

    /// With site 1, and its worker, whose connections the test takes.
    pub(crate) async fn with_worker_by_hand(
        mut self,
    ) -> (Self, Worker, mpsc::Receiver<Connection>) {
        let (worker, connections) = Worker::by_hand(self.socket("w1"));
        let route = route(1, ready(&[(1, worker.socket.clone())]));
        self.publish(route).await;
        (self, worker, connections)
    }

    /// A router that was told nothing yet.
    pub(crate) async fn silent() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("link")).unwrap();
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = door.local_addr().unwrap();
        let router = start(folder.path(), door.try_clone().unwrap().into());
        let emperor = Emperor::accept(&listener).await;
        Self {
            folder,
            router,
            address,
            emperor,
            listener,
            door,
        }
    }

    /// Starts another router on the same listening socket, and returns the one before with its link.
    pub(crate) async fn next_router(&mut self, table: Vec<RouteFrame>) -> (Child, Emperor) {
        let door = self.door.try_clone().unwrap();
        let started = start(self.folder.path(), door.into());
        let router = std::mem::replace(&mut self.router, started);
        let hello = Emperor::accept(&self.listener).await;
        let link = std::mem::replace(&mut self.emperor, hello);
        self.emperor.say(&ToRouter::Settings(settings())).await;
        self.emperor.whole_table(1, table).await;
        (router, link)
    }

    /// Sends a signal to the router.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(&self.router, signal);
    }

    /// The emperor goes and another comes.
    pub(crate) async fn next_emperor(&mut self) {
        self.emperor.stream.shutdown().await.unwrap();
        self.emperor = Emperor::accept(&self.listener).await;
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// A client that asks for nothing, beside so many others, once the router has accepted it: one that
    /// still stands at the door belongs to nobody.
    pub(crate) async fn idle_client(&mut self, others: u64) -> Client {
        let accepted = |count| move |stats: &RouterStats| stats.connections == count;
        self.emperor.stats_until(accepted(others)).await;
        let client = self.client().await;
        self.emperor.stats_until(accepted(others + 1)).await;
        client
    }

    /// A client that has said this when the router first sees it, so that it is never one that says
    /// nothing for too long.
    pub(crate) async fn client_saying(&self, bytes: impl AsRef<[u8]>) -> Client {
        self.signal(Signal::SIGSTOP);
        let mut client = self.client().await;
        client.say(bytes).await;
        self.signal(Signal::SIGCONT);
        client
    }

    /// A path for a worker's socket.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn access_log(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    /// Publishes this route in a change, and waits until it is in force.
    pub(crate) async fn publish(&mut self, route: RouteFrame) {
        self.emperor.change(vec![route], vec![]).await;
    }
}

/// Sends a signal to a router that has not been waited for.
pub(crate) fn signal_to(router: &Child, signal: Signal) {
    let pid = i32::try_from(router.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the router itself is started here, as vassal-exec does it"
)]
fn start(folder: &Path, door: OwnedFd) -> Child {
    // A shell moves the descriptors to their places: that takes `unsafe` in Rust.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=listen:access-log; \
                  exec \"$0\" --link \"$1\" --threads 2 3<&0 4>&1 0</dev/null";
    let log = std::fs::File::create(folder.join("access.log")).unwrap();
    Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_fastrouter")])
        .arg(folder.join("link"))
        .env("RUST_LOG", "error")
        .stdin(Stdio::from(door))
        .stdout(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

impl Emperor {
    async fn accept(listener: &UnixListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut emperor = Self {
            stream,
            received: BytesMut::new(),
            generation: 0,
            purged: None,
            loads: Vec::new(),
        };
        match emperor.hear().await {
            FromRouter::Hello {
                protocol: 1,
                purged,
                ..
            } => emperor.purged = purged,
            other => panic!("{other:?} instead of hello"),
        }
        emperor
    }

    pub(crate) async fn say(&mut self, message: &impl Serialize) {
        let mut out = BytesMut::new();
        frame::encode(message, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    /// What the router says next, besides load.
    pub(crate) async fn hear(&mut self) -> FromRouter {
        loop {
            match self.hear_anything().await {
                FromRouter::Load { sites } => self.loads.extend(sites),
                other => return other,
            }
        }
    }

    /// Gathers what is told of load until that is as wanted.
    pub(crate) async fn loads_until(
        &mut self,
        wanted: impl Fn(&[SiteLoad]) -> bool,
    ) -> &[SiteLoad] {
        while !wanted(&self.loads) {
            match self.hear_anything().await {
                FromRouter::Load { sites } => self.loads.extend(sites),
                other => panic!("{other:?} instead of load"),
            }
        }
        &self.loads
    }

    async fn hear_anything(&mut self) -> FromRouter {
        loop {
            if let Some(message) = frame::decode(&mut self.received).unwrap() {
                return message;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            assert_ne!(
                read.expect("the router says nothing").unwrap(),
                0,
                "hung up on"
            );
        }
    }

    pub(crate) async fn whole_table(&mut self, generation: u64, routes: Vec<RouteFrame>) {
        self.generation = generation;
        self.say(&ToRouter::TableBegin { generation }).await;
        self.say(&ToRouter::TablePart { routes }).await;
        self.say(&ToRouter::TableEnd).await;
        assert_eq!(self.hear().await, FromRouter::Acknowledged { generation });
    }

    pub(crate) async fn change(&mut self, upserts: Vec<RouteFrame>, removals: Vec<i64>) {
        let generation = self.tell_change(upserts, removals).await;
        assert_eq!(self.hear().await, FromRouter::Acknowledged { generation });
    }

    /// Tells a change of a router that may end by it, and so acknowledge nothing.
    pub(crate) async fn tell_change(
        &mut self,
        upserts: Vec<RouteFrame>,
        removals: Vec<i64>,
    ) -> u64 {
        self.generation += 1;
        let generation = self.generation;
        self.say(&ToRouter::Change {
            generation,
            upserts,
            removals,
        })
        .await;
        generation
    }

    pub(crate) async fn stats(&mut self) -> RouterStats {
        self.say(&ToRouter::AskStats { token: 7 }).await;
        match self.hear().await {
            FromRouter::Stats { token: 7, stats } => stats,
            other => panic!("{other:?} instead of figures"),
        }
    }

    /// Returns once every thread of the router has looked at whatever had come to it: each answer
    /// comes from between two looks.
    pub(crate) async fn router_has_looked(&mut self) {
        for _ in 0..3 {
            self.stats().await;
        }
    }

    /// Asks for figures until they are as wanted.
    pub(crate) async fn stats_until(
        &mut self,
        wanted: impl Fn(&RouterStats) -> bool,
    ) -> RouterStats {
        let asking = async {
            loop {
                let stats = self.stats().await;
                if wanted(&stats) {
                    return stats;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asking)
            .await
            .expect("the figures never became as wanted")
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        default_site: String::new(),
        trusted_proxies: vec![],
        max_head_bytes: 16 * 1024,
        max_target_bytes: 4 * 1024,
        max_body_bytes: 0,
        head_timeout_ms: 10_000,
        keep_alive_timeout_ms: 10_000,
        response_timeout_ms: 10_000,
        connect_timeout_ms: 10_000,
        max_connections: 1_000,
        drain_timeout_ms: 30_000,
        access_log: Some(AccessLog {
            path: "access.log".into(),
            format: AccessLogFormat::Json,
        }),
        cache_memory_bytes: 64 << 20,
        purge_allow: vec!["127.0.0.0/8".into()],
    }
}

/// A site that answers for `site-ID.example`.
pub(crate) fn route(id: i64, service: ServiceFrame) -> RouteFrame {
    RouteFrame {
        id,
        slug: format!("site-{id}"),
        canonical: format!("site-{id}.example"),
        serve: vec![format!("site-{id}.example")],
        redirect: vec![format!("old-{id}.example")],
        service,
        queue_depth: 100,
        queue_timeout_ms: 10_000,
        check_paths: vec!["/health".into()],
        cache: None,
    }
}

/// Instances that speak HTTP, with these incarnations and sockets.
pub(crate) fn ready(instances: &[(u64, PathBuf)]) -> ServiceFrame {
    backends(ProtocolFrame::Http, instances)
}

pub(crate) fn backends(protocol: ProtocolFrame, instances: &[(u64, PathBuf)]) -> ServiceFrame {
    let backends = instances.iter().map(|(incarnation, socket)| BackendFrame {
        number: 1,
        incarnation: *incarnation,
        socket: socket.clone(),
        protocol,
        concurrency: None,
    });
    ServiceFrame::Ready(backends.collect())
}
