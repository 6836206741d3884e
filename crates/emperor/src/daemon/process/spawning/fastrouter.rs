//! The fastrouter, as a process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use tracing::warn;
use vassal_core::settings::{Stop, StopSignal};
use wire::exec::ExecPlan;

use super::super::cgroup::Admission;
use super::super::environment::Environment;
use super::super::failure::SpawnFailure;
use super::super::output::Sink;
use super::super::record::{FastrouterRecord, Runs};
use super::super::running::RunningProcess;
use super::super::tools::Tools;
use super::{
    LISTEN, Maker, Prepared, Program, UMASK, identity_to_take, in_new_folder, router_walls,
};

/// The name under which it finds its log.
const ACCESS_LOG: &str = "access-log";
/// Whose folder its folder is, and what its lines in the emperor's log are marked with.
const NAME: &str = "fastrouter";

/// How it is ended by an emperor that did not start it.
const STOP: Stop = Stop {
    signal: StopSignal::Term,
    grace: Duration::from_secs(10),
};

/// What the fastrouter is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FastrouterOrder<'a> {
    /// Its listening sockets.
    pub(crate) listeners: &'a [OwnedFd],
    /// The opened access log.
    pub(crate) access_log: Option<&'a OwnedFd>,
    /// Where the emperor listens for it.
    pub(crate) link: &'a Path,
    /// How many threads.
    pub(crate) threads: usize,
    /// What is written down about it.
    pub(crate) record: &'a FastrouterRecord,
}

/// How it is called.
#[derive(Debug)]
pub(in super::super) struct Invocation {
    argv: Vec<String>,
    descriptors: Vec<String>,
    record: FastrouterRecord,
}

impl Invocation {
    pub(in super::super) fn new(tools: &Tools, order: &FastrouterOrder<'_>) -> Self {
        let argv = [
            &tools.programs.fastrouter.display().to_string(),
            "--link",
            &order.link.display().to_string(),
            "--threads",
            &order.threads.to_string(),
        ];
        let listeners = order.listeners.iter().map(|_| LISTEN);
        let descriptors = listeners.chain(order.access_log.map(|_| ACCESS_LOG));
        Self {
            argv: argv.map(str::to_owned).into(),
            descriptors: descriptors.map(str::to_owned).collect(),
            record: order.record.clone(),
        }
    }
}

/// Makes everything it needs, and starts its helper. Blocks, and needs a runtime.
pub(in super::super) fn prepare(
    tools: &Tools,
    invocation: Invocation,
) -> Result<Prepared, SpawnFailure> {
    let account = tools.identities.router();
    let identity = identity_to_take(tools, account);
    let plan = ExecPlan {
        descriptors: invocation.descriptors,
        rlimits: tools.limits.for_router(),
        umask: UMASK,
        session_nice: None,
        // It lies beside the emperor, where its own user may not be able to go.
        open_before_identity: true,
        walls: router_walls::walls(
            &tools.programs.fastrouter,
            &tools.layout.runtime_dir,
            identity.is_some(),
        ),
        identity,
        no_new_privs: true,
        working_dir: None,
        env: Environment::clean(account, Path::new("/")).into_variables(),
        argv: invocation.argv,
    };
    let incarnation = tools.incarnations.next();
    in_new_folder(tools, NAME, incarnation, |folder| {
        let program = Program {
            user: &account.identity,
            stop: &STOP,
            sink: Sink::Emperor(NAME),
            notify: None,
            runs: Runs::Fastrouter(invocation.record),
            plan,
            admission: Admission::default(),
            maker: Maker::VassalExec,
        };
        program.start(tools, folder)
    })
}

impl Prepared {
    /// Lets it become the fastrouter.
    pub(in super::super) async fn begin_routing(
        self,
        listeners: &[OwnedFd],
        access_log: Option<&OwnedFd>,
    ) -> Result<RunningProcess, SpawnFailure> {
        let descriptors = listeners.iter().chain(access_log);
        let descriptors: Vec<_> = descriptors.map(AsFd::as_fd).collect();
        let process = self.carry_out(&descriptors, |failure, _| failure.to_string());
        let process = process.await?;
        for wall in &process.missing {
            warn!(cause = wall, "the fastrouter runs without one of its walls");
        }
        Ok(process)
    }
}
