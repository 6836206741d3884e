//! One serving thread: its runtime, its connections, and everything they share without locks.

mod doors;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use site_model::{Incarnation, RouteTable, SiteId};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Connection, Door};
use crate::deadline::Deadlines;
use crate::listeners::Listener;
use crate::log::Lines;
use crate::order::{Backlog, Order, ThreadStats};
use crate::pages::{FoundPages, SitesPages};
use crate::request::at_once::Scratch;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tally::Tallies;
use crate::waiting::Waiting;
use crate::worker::{Instances, leads_to};

/// What a thread has in force.
#[derive(Debug)]
pub(crate) struct Current {
    /// Another for all that is put in force.
    pub(crate) edition: u64,
    /// `None` until the first one comes.
    pub(crate) table: Option<Arc<RouteTable>>,
    pub(crate) settings: Arc<Settings>,
    /// What the sites of the table have of the page cache.
    pub(crate) pages: FoundPages,
}

/// What the tasks of one thread share.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) tallies: Rc<Tallies>,
    pub(crate) instances: Instances,
    pub(crate) waiting: Rc<Waiting>,
    pub(crate) lines: Lines,
    pub(crate) scratch: Scratch,
    current: RefCell<Rc<Current>>,
    /// Set with the first table.
    begun: CancellationToken,
    drain: CancellationToken,
    backlog: Cell<Backlog>,
    stage: Cell<Stage>,
    requests: Cell<u64>,
    in_flight: Cell<u64>,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next_connection: Cell<u64>,
    idle_questions: RefCell<Vec<IdleQuestion>>,
    /// Fills of the page cache. They end with the thread, if not before.
    pub(crate) fills: TaskTracker,
    /// How many bytes fills have read ahead of their clients.
    pub(crate) ahead: Cell<usize>,
}

/// How far a thread is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// It accepts no more, and each answer is the last one of its connection.
    Draining,
    /// Connections without a request end too.
    Closing,
}

#[derive(Debug)]
struct IdleQuestion {
    site: SiteId,
    incarnation: Incarnation,
    idle: oneshot::Sender<()>,
}

/// What a thread is started with.
#[derive(Debug)]
pub(crate) struct Outfit {
    /// Its number, from 0.
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) lines: Lines,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// Runs a thread until it has drained.
pub(crate) fn run(outfit: Outfit) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let doors = outfit.listeners.into_iter().map(Door::open);
        let doors = doors.collect::<io::Result<Vec<_>>>()?;
        let thread = Rc::new(Thread::new(outfit.index, outfit.shared, outfit.lines));
        thread.work(doors, outfit.orders).await;
        Ok(())
    })
}

impl Thread {
    fn new(index: usize, shared: Arc<Shared>, lines: Lines) -> Self {
        let deadlines = Deadlines::new();
        let tallies = Rc::new(Tallies::new(Arc::clone(&shared)));
        Self {
            instances: Instances::new(index, Arc::clone(&shared), &deadlines, &tallies),
            shared,
            tallies,
            deadlines,
            waiting: Rc::default(),
            lines,
            scratch: Scratch::default(),
            current: RefCell::new(Rc::new(Current {
                edition: 0,
                table: None,
                settings: Arc::new(Settings::before_any()),
                pages: FoundPages::default(),
            })),
            begun: CancellationToken::new(),
            drain: CancellationToken::new(),
            backlog: Cell::new(Backlog::Take),
            stage: Cell::new(Stage::Serving),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            idle_questions: RefCell::default(),
            fills: TaskTracker::new(),
            ahead: Cell::new(0),
        }
    }

    /// The table and the settings in force. A request takes them once, and again after it waited.
    pub(crate) fn current(&self) -> Rc<Current> {
        Rc::clone(&self.current.borrow())
    }

    /// Whether each answer is the last one of its connection.
    pub(crate) fn is_draining(&self) -> bool {
        self.stage.get() != Stage::Serving
    }

    /// Whether connections end that have no request.
    pub(crate) fn closes_idle(&self) -> bool {
        self.stage.get() == Stage::Closing
    }

    /// A request begins.
    pub(crate) fn begin_request(&self) -> Instant {
        self.in_flight.set(self.in_flight.get() + 1);
        self.deadlines.refresh()
    }

    /// A request was answered, or given up.
    pub(crate) fn end_request(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.requests.set(self.requests.get() + 1);
    }

    /// A request was answered as it came.
    pub(crate) fn count_request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// Accepts and serves until the thread is to drain, then waits for what is in flight.
    async fn work(self: &Rc<Self>, doors: Vec<Door>, orders: mpsc::Receiver<Order>) {
        let served = async {
            let connections = self.accept_all(doors).await;
            self.end(&connections).await;
        };
        // These end with the thread: none of them is spawned.
        tokio::select! {
            () = served => {}
            () = self.deadlines.run() => {}
            () = self.instances.forget_idle() => {}
            () = self.lines.flush_in_time() => {}
            () = self.obey_all(orders) => {}
        }
        self.lines.flush();
    }

    /// Takes orders for as long as it is polled. A control thread that is gone has none but to drain.
    async fn obey_all(&self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else {
                        // The control thread has said all it had to say.
                        self.drain.cancel();
                        return std::future::pending().await;
                    };
                    self.obey(order);
                }
                () = self.instances.retired_request_ended() => {}
            }
            self.answer_idle_questions();
        }
    }

    /// Whoever asked for an answer may be gone: then nobody misses it.
    fn obey(&self, order: Order) {
        match order {
            Order::Table {
                table,
                pages,
                in_force,
            } => {
                let before = self.current().table.clone();
                self.put_table_in_force(&table, pages);
                self.instances.retire(before.as_deref(), &table);
                self.waiting.tell(&table);
                self.begun.cancel();
                // Requests of this thread that begin from here on find the new table.
                in_force.send(()).ok();
            }
            Order::Settings(settings) => self.put_settings_in_force(settings),
            Order::AwaitIdle {
                site,
                incarnation,
                idle,
            } => self.idle_questions.borrow_mut().push(IdleQuestion {
                site,
                incarnation,
                idle,
            }),
            Order::Load { whole, load } => {
                if whole {
                    self.instances.note_busy();
                }
                drop(load.send(self.tallies.take()));
            }
            Order::Stats(answer) => drop(answer.send(self.stats())),
            Order::Drain(backlog) => {
                self.backlog.set(backlog);
                self.drain.cancel();
            }
        }
    }

    fn put_table_in_force(&self, table: &Arc<RouteTable>, pages: SitesPages) {
        let before = self.current();
        self.current.replace(Rc::new(Current {
            edition: before.edition + 1,
            table: Some(Arc::clone(table)),
            settings: Arc::clone(&before.settings),
            pages: FoundPages::new(pages),
        }));
    }

    fn put_settings_in_force(&self, settings: Arc<Settings>) {
        let before = self.current();
        self.current.replace(Rc::new(Current {
            edition: before.edition + 1,
            table: before.table.clone(),
            settings,
            pages: FoundPages::new(before.pages.pages().clone()),
        }));
    }

    fn answer_idle_questions(&self) {
        let current = self.current();
        let mut questions = self.idle_questions.borrow_mut();
        let answered = questions.extract_if(.., |question| {
            let table = current.table.as_ref();
            let led_to = table.is_some_and(|t| leads_to(t, question.site, question.incarnation));
            !led_to && self.instances.in_flight(question.incarnation) == 0
        });
        for question in answered {
            // Whoever asked may be gone.
            question.idle.send(()).ok();
        }
    }

    fn stats(&self) -> ThreadStats {
        ThreadStats {
            connections: self.connections.borrow().len() as u64,
            requests: self.requests.get(),
            in_flight: self.in_flight.get(),
            instances: self.instances.figures(),
        }
    }
}
