//! An origin, programs that end with their test, and a delivery whose reports can be waited for.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use purge_targets::{Batch, Delivery, Kind, Limits, Order, Report, Target, What};
use site_model::{HostPattern, SiteId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Far more than anything here takes, also on a machine that does ten other things; a test that waits so
/// long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A server whose answers are numbered, and carry a tag of their path.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicU32::new(0));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&answered)));
            }
        });
        Self { address }
    }
}

async fn answer(mut stream: TcpStream, answered: Arc<AtomicU32>) {
    let head = read_head(&mut stream).await;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let tag = path.split(['?', '/']).nth(1).unwrap_or_default();
    let number = answered.fetch_add(1, Ordering::Relaxed);
    let body = number.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: max-age=3600\r\n\
         Surrogate-Key: all-pages tag-{tag}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A cache that probes and goes away needs no answer.
    let _gone = stream.write_all(answer.as_bytes()).await;
}

/// The bytes up to the empty line; less where the other side ends before.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read == 1) {
        head.extend_from_slice(&byte);
    }
    String::from_utf8(head).unwrap()
}

/// A port nobody listens at now, below those that the kernel gives out for outgoing connections: it is
/// bound only after a while.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 30_000 + u16::try_from(std::process::id() % 200).unwrap() * 10;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if StdListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A program that ends with its test.
pub(crate) struct Program(Child);

impl Program {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests run the real caches beside the deliveries"
    )]
    pub(crate) fn start(program: &str, arguments: &[&str], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = std::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(
            child.unwrap_or_else(|error| {
                panic!("{program}: {error}; `cargo xtask test` installs it")
            }),
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Waits until something listens.
pub(crate) async fn until_open(port: u16, log: &Path) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let waited = waited.await;
    waited.unwrap_or_else(|_| panic!("{}", std::fs::read_to_string(log).unwrap()));
}

/// What a cache answers for a page: the origin's number.
pub(crate) async fn get(port: u16, host: &str, path: &str) -> u32 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body = answer.rsplit("\r\n\r\n").next().unwrap();
    body.trim().parse().unwrap()
}

/// A cache and the pages it holds.
pub(crate) struct Pages {
    port: u16,
    held: Vec<(&'static str, &'static str, u32)>,
}

impl Pages {
    /// Asks for pages twice: the second answer is the first one's.
    pub(crate) async fn fill(port: u16, pages: &[(&'static str, &'static str)]) -> Self {
        let mut held = vec![];
        for &(host, path) in pages {
            let number = get(port, host, path).await;
            assert_eq!(
                get(port, host, path).await,
                number,
                "{host}{path} isn't cached"
            );
            held.push((host, path, number));
        }
        Self { port, held }
    }

    /// Which of them are no longer held. They are held again afterwards.
    pub(crate) async fn gone(&mut self) -> Vec<String> {
        let mut gone = vec![];
        for (host, path, number) in &mut self.held {
            let now = get(self.port, host, path).await;
            if now != *number {
                *number = now;
                gone.push(format!("{host}{path}"));
            }
        }
        gone
    }
}

/// A delivery, and what it reports.
pub(crate) struct Delivering {
    pub(crate) delivery: Delivery,
    pub(crate) reports: mpsc::Receiver<Report>,
    batch: u64,
}

impl Delivering {
    pub(crate) fn start(kind: Kind) -> Self {
        let limits = Limits {
            first_pause: Duration::from_millis(10),
            ..Limits::default()
        };
        Self::with(kind, limits)
    }

    pub(crate) fn with(kind: Kind, limits: Limits) -> Self {
        let target = Target {
            name: "front".into(),
            kind,
            timeout: Duration::from_secs(5),
        };
        let (sender, reports) = mpsc::channel(1_000);
        let delivery = Delivery::start(target, limits, move |report| {
            sender.try_send(report).unwrap();
        });
        Self {
            delivery,
            reports,
            batch: 0,
        }
    }

    pub(crate) async fn send(&mut self, orders: Vec<Order>) {
        self.batch += 1;
        let number = self.batch;
        self.delivery.send(Batch { number, orders }).await;
    }

    pub(crate) async fn report(&mut self) -> Report {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        let standing = self.delivery.standing().borrow().clone();
        report.unwrap_or_else(|_| panic!("{standing:?}")).unwrap()
    }

    /// Has orders carried out.
    pub(crate) async fn carry_out(&mut self, orders: Vec<Order>) {
        self.send(orders).await;
        assert_eq!(self.report().await, Report::Done(self.batch));
    }
}

pub(crate) fn order(hosts: &[&str], what: What) -> Order {
    Order {
        site: Some(SiteId::new(1).unwrap()),
        hosts: hosts
            .iter()
            .map(|host| HostPattern::parse(host).unwrap())
            .collect(),
        what,
    }
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
