//! The doors of a thread: who is let in, and how all are let go once the router drains.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{Stage, Thread};
use crate::client::connection::serve;
use crate::client::{Connection, Door, Peer, Socket};
use crate::order::Backlog;
use crate::shared::Open;

/// How long a router without a table accepts nobody. The kernel keeps connections meanwhile, so a
/// router that was started anew refuses none; after this, clients are told rather than kept.
const FIRST_TABLE_WAIT: Duration = Duration::from_secs(5);
/// How long to wait where the process or the machine has no descriptor left: accepting again at
/// once would only burn the time in which connections end.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// How long to wait where as many connections are open as may be.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// How long connections between two requests stay open once the router drains. A request that is on
/// its way finds somebody who answers it, and learns from the answer that it was the last one here.
const IDLE_GRACE: Duration = Duration::from_millis(500);

impl Thread {
    /// Has a doorman at each door until the thread is to drain.
    pub(super) async fn accept_all(self: &Rc<Self>, doors: Vec<Door>) -> TaskTracker {
        let (doormen, connections) = (TaskTracker::new(), TaskTracker::new());
        for door in doors {
            let (thread, connections) = (Rc::clone(self), connections.clone());
            doormen.spawn_local(async move {
                let accepting = thread.accept(&door, &connections);
                thread.drain.run_until_cancelled(accepting).await;
                thread.close(door, &connections);
            });
        }
        doormen.close();
        doormen.wait().await;
        connections.close();
        connections
    }

    async fn accept(self: &Rc<Self>, door: &Door, connections: &TaskTracker) {
        // What is too late is told by the answers, not by this.
        timeout(FIRST_TABLE_WAIT, self.begun.cancelled()).await.ok();
        loop {
            self.permit().await;
            match door.accept().await {
                Ok((socket, address)) => {
                    self.begin(socket, address, connections);
                    // Other threads wake for the same connections: each takes one at a time.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    /// Ends the accepting at one door.
    fn close(self: &Rc<Self>, door: Door, connections: &TaskTracker) {
        self.stage.set(Stage::Draining);
        if self.backlog.get() == Backlog::Leave {
            return;
        }
        match door.close() {
            Ok(come) => come
                .into_iter()
                .for_each(|(socket, address)| self.begin(socket, address, connections)),
            Err(error) => warn!(%error, "could not accept the last connections"),
        }
    }

    fn begin(self: &Rc<Self>, socket: Socket, address: Option<IpAddr>, connections: &TaskTracker) {
        let registered = self.register(address);
        connections.spawn_local(async move {
            serve(Rc::clone(&registered.connection), socket).await;
        });
    }

    /// Waits until another connection may be opened. Threads don't reserve one each, so there may
    /// be one more per thread than the bound says.
    async fn permit(&self) {
        while self.shared.connections() >= self.current().settings.max_connections {
            sleep(FULL_PAUSE).await;
        }
    }

    fn register(self: &Rc<Self>, address: Option<IpAddr>) -> Registered {
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        self.deadlines.refresh();
        let peer = Peer {
            address,
            text: address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            trust: self.current().settings.trusted_proxies.trust(address),
        };
        let connection = Rc::new(Connection::new(Rc::clone(self), peer));
        let mut connections = self.connections.borrow_mut();
        connections.insert(id, Rc::clone(&connection));
        Registered {
            id,
            connection,
            _open: self.shared.open(),
        }
    }

    /// Has all connections end: first those that are used meanwhile, then the idle ones, and what is
    /// under way when it is done.
    pub(super) async fn end(&self, connections: &TaskTracker) {
        if timeout(IDLE_GRACE, connections.wait()).await.is_ok() {
            return;
        }
        // What has arrived at the sockets is known to the runtime after this.
        tokio::task::yield_now().await;
        self.stage.set(Stage::Closing);
        self.connections
            .borrow()
            .values()
            .for_each(|one| one.wake());
        let bound = self.current().settings.drain_timeout;
        if timeout(bound, connections.wait()).await.is_err() {
            let left = connections.len();
            warn!(left, "connections were still busy at the end of the drain");
        }
    }
}

/// A connection that is being served; it is forgotten however that ends.
#[derive(Debug)]
struct Registered {
    id: u64,
    connection: Rc<Connection>,
    _open: Open,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut connections = self.connection.thread.connections.borrow_mut();
        connections.remove(&self.id);
    }
}
