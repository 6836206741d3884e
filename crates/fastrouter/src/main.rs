//! The fastrouter: accepts requests and hands them to the instances of their site.
//!
//! It is started by the emperor, with its listening sockets inherited, and told over the link which
//! site has which hosts and instances. It knows no database, no template and no process; it goes on
//! serving its last table while the emperor is away.
//!
//! | module | what |
//! |---|---|
//! | [`link`], [`settings`], [`hearing`] | the control thread: what the emperor says, and whether it is heard |
//! | [`fleet`], [`order`], [`signals`] | from there to every serving thread |
//! | [`thread`], [`listeners`] | one single-threaded runtime per core, which accepts and serves |
//! | [`deadline`], [`waiting`], [`tally`] | what one thread keeps to itself: alarms, who waits for news, notes of load |
//! | [`client`] | the side of a client: guarded bytes to hyper |
//! | [`request`], [`cause`] | the life of a request, phase by phase; why one is answered here |
//! | [`worker`] | the side of a worker: instances, connections, one exchange |
//! | [`tunnel`] | a connection that left HTTP |
//! | [`pages`] | the page cache: which site has which policy, purges |
//! | [`shared`], [`gauge`], [`queue`], [`wakes`] | the little that threads share |
//! | [`sync`], [`weak`] | what it is made of |
//! | [`log`] | the access log, and the router's own |

mod cause;
mod client;
mod deadline;
mod fleet;
mod gauge;
mod hearing;
mod link;
mod listeners;
mod log;
#[cfg(test)]
#[cfg(feature = "model")]
mod model;
mod order;
mod pages;
mod queue;
mod request;
mod settings;
mod shared;
mod signals;
mod sync;
mod tally;
mod thread;
mod tunnel;
mod waiting;
mod wakes;
mod weak;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::Parser;
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::fleet::{Fleet, ThreadLost};
use crate::listeners::{InheritError, Listener};
use crate::log::{Lines, Writer};
use crate::order::{ORDER_BOUND, Order};
use crate::shared::Shared;
use crate::signals::Signals;
use crate::thread::Outfit;

/// Accepts requests and hands them to the instances of their site. Started by the emperor.
#[derive(Debug, Parser)]
#[command(name = "fastrouter", version)]
struct Arguments {
    /// The emperor's socket
    #[arg(long)]
    link: PathBuf,
    /// How many threads serve; 0: one per usable core
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Why the router can't run.
#[derive(Debug, Error)]
enum Fatal {
    #[error(transparent)]
    Inherit(#[from] InheritError),
    #[error("could not start: {0}")]
    Start(#[from] io::Error),
    #[error(transparent)]
    ThreadLost(#[from] ThreadLost),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::own::start();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            error!(error = %fatal, "the fastrouter ends");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Fatal> {
    let inherited = listeners::inherit()?;
    let count = match arguments.threads {
        0 => std::thread::available_parallelism()?.get(),
        count => count,
    };
    let writer = inherited.access_log.map(Writer::start).transpose()?;
    let shared = Arc::new(Shared::new(count));
    let (threads, orders) = start(&inherited.listeners, writer.as_ref(), count, &shared)?;
    info!(threads = count, "waiting for the emperor's table");
    let fleet = Fleet::new(orders, shared);
    let ended = follow(&arguments.link, &fleet, inherited.listeners).and_then(|()| join(threads));
    if let Some(writer) = writer {
        writer.finish();
    }
    ended
}

type Thread = JoinHandle<io::Result<()>>;

fn start(
    listeners: &[Listener],
    writer: Option<&Writer>,
    count: usize,
    shared: &Arc<Shared>,
) -> io::Result<(Vec<Thread>, Vec<mpsc::Sender<Order>>)> {
    let (mut threads, mut senders) = (Vec::new(), Vec::new());
    for index in 0..count {
        let (sender, orders) = mpsc::channel(ORDER_BOUND);
        let clones = listeners.iter().map(Listener::try_clone);
        let outfit = Outfit {
            index,
            shared: Arc::clone(shared),
            listeners: clones.collect::<io::Result<_>>()?,
            lines: writer.map_or_else(Lines::nowhere, Writer::lines),
            orders,
        };
        let builder = std::thread::Builder::new().name(format!("serve-{index}"));
        threads.push(builder.spawn(move || thread::run(outfit))?);
        senders.push(sender);
    }
    Ok((threads, senders))
}

/// Follows the emperor and listens for signals until every thread has drained: requests wait for news
/// of their sites until the last one is over.
fn follow(link: &Path, fleet: &Fleet, listeners: Vec<Listener>) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before the emperor hears of this router, and may signal it.
        let mut signals = Signals::listen()?;
        let told = async {
            let backlog = signals.until_told_to_end().await;
            fleet.drain(backlog).await?;
            info!("draining");
            // Kept until here, at the numbers they came with: an emperor that finds this router
            // without its own one takes them from there. Whoever connects from now on is refused,
            // unless others hold the sockets too.
            drop(listeners);
            fleet.ended().await
        };
        tokio::select! {
            lost = link::follow(link, fleet.clone()) => Err(lost.into()),
            ended = told => Ok(ended?),
            ended = fleet.ended() => Ok(ended?),
        }
    })
}

/// Takes in the threads, which have ended.
fn join(threads: Vec<Thread>) -> Result<(), Fatal> {
    for thread in threads {
        thread.join().map_err(|_| ThreadLost)??;
    }
    Ok(())
}
