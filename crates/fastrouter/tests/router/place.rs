//! A router with a page cache, between clients and a worker that the test plays.

use tokio::sync::mpsc;
use wire::cache::{CacheFrame, CacheModeFrame, PageFrame, PurgeFrame, SitePurge};
use wire::route::{FromRouter, RouteFrame, ServiceFrame, Settings, ToRouter};

use crate::client::Reply;
use crate::house::{House, ready, route};
use crate::worker::{Connection, Worker, next};

pub(crate) const HOST: &str = "site-1.example";
pub(crate) const MINUTE: &str = "Cache-Control: max-age=60\r\n";

/// A router whose emperor hears purges, a site with this cache, and its worker's connections.
pub(crate) struct Place {
    pub(crate) house: House,
    _worker: Worker,
    worker: mpsc::Receiver<Connection>,
}

pub(crate) fn cached(mode: CacheModeFrame, service: ServiceFrame) -> RouteFrame {
    RouteFrame {
        cache: Some(CacheFrame {
            mode,
            ..CacheFrame::from(&site_model::CacheSettings::default())
        }),
        ..route(1, service)
    }
}

impl Place {
    pub(crate) async fn new(mode: CacheModeFrame) -> Self {
        Self::with(mode, |_| {}, |_| {}).await
    }

    pub(crate) async fn with(
        mode: CacheModeFrame,
        change: impl FnOnce(&mut RouteFrame),
        settings: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut house = House::with(settings).await;
        let (kept, worker) = Worker::by_hand(house.socket("w1"));
        let mut route = cached(mode, ready(&[(1, kept.socket.clone())]));
        change(&mut route);
        house.publish(route).await;
        house.emperor.say(&ToRouter::ResumeCache).await;
        house.emperor.router_has_looked().await;
        Self {
            house,
            _worker: kept,
            worker,
        }
    }

    /// A client asks, and the worker answers so.
    pub(crate) async fn fill(&mut self, request: &str, answer: &str) -> Reply {
        let mut client = self.house.client().await;
        client.say(request).await;
        let (mut worker, _) = self.asked().await;
        worker.say(answer).await;
        drop(worker);
        client.reply().await
    }

    /// The worker is asked: the connection, and the head that came.
    pub(crate) async fn asked(&mut self) -> (Connection, String) {
        let mut worker = next(&mut self.worker).await;
        let head = worker.head().await.unwrap();
        (worker, head)
    }

    /// A client asks, and the worker is not.
    pub(crate) async fn hit(&mut self, request: &str) -> Reply {
        let mut client = self.house.client().await;
        let reply = client.ask(request).await;
        self.is_unasked();
        reply
    }

    pub(crate) fn is_unasked(&mut self) {
        assert!(self.worker.try_recv().is_err(), "the worker was asked");
    }

    /// What the router tells of this path.
    pub(crate) async fn shown(&mut self, path: &str) -> Vec<PageFrame> {
        let ask = ToRouter::AskCache {
            token: 3,
            site_id: 1,
            path: Some(path.into()),
        };
        self.house.emperor.say(&ask).await;
        match self.house.emperor.hear().await {
            FromRouter::CachePages { token: 3, pages } => pages,
            other => panic!("{other:?} instead of pages"),
        }
    }

    pub(crate) async fn purge(&mut self, sequence: u64, purges: Vec<PurgeFrame>) {
        let site_id = 1;
        let sites = vec![SitePurge { site_id, purges }];
        let purge = ToRouter::Purge { sequence, sites };
        self.house.emperor.say(&purge).await;
        let done = FromRouter::Purged { sequence };
        assert_eq!(self.house.emperor.hear().await, done);
    }
}

pub(crate) fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n")
}

pub(crate) fn says(lines: &str, text: &str) -> String {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n{text}")
}

pub(crate) fn said(reply: &Reply) -> (u16, &str, &str) {
    (reply.status, reply.text(), reply.header("cache-status"))
}
