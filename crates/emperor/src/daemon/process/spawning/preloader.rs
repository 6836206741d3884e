//! A preloader, as a process.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::net::UnixStream;
use vassal_core::settings::{Limits, Stop, StopSignal};
use wire::exec::ExecPlan;

use super::super::environment::Environment;
use super::super::failure::SpawnFailure;
use super::super::output::Sink;
use super::super::preloading::{Charter, Render, shared_reach};
use super::super::priority::Lowered;
use super::super::record::Runs;
use super::super::running::RunningProcess;
use super::super::tools::Tools;
use super::super::walls;
use super::{Maker, Prepared, Program, UMASK, identity_to_take, in_new_folder};

/// The name under which it finds its link.
const LINK: &str = "preload";
/// Whose folder its folder is.
const NAME: &str = "preloader";

/// How it is ended by an emperor that did not start it, and on which it has hung up already.
const STOP: Stop = Stop {
    signal: StopSignal::Term,
    grace: Duration::from_secs(5),
};

/// A preloader whose helper waits for its plan.
#[derive(Debug)]
pub(in super::super) struct PreparedPreloader {
    prepared: Prepared,
    ours: UnixStream,
    theirs: OwnedFd,
}

/// A preloader that runs.
#[derive(Debug)]
pub(in super::super) struct Begun {
    pub(in super::super) process: RunningProcess,
    pub(in super::super) link: UnixStream,
}

/// Makes everything it needs, and starts its helper. Blocks, and needs a runtime.
pub(in super::super) fn prepare(
    tools: &Tools,
    charter: &Charter,
    render: &Render,
) -> Result<PreparedPreloader, SpawnFailure> {
    tools.incarnations.claim_ahead();
    let incarnation = tools.incarnations.next();
    let account = &charter.account;
    let (ours, theirs) = link()?;
    in_new_folder(tools, NAME, incarnation, |folder| {
        let private = folder.private();
        let mut launch = render.render(&private)?;
        launch.reach = shared_reach(launch.reach);
        folder.make_private(&launch.files, &account.identity)?;
        let env = Environment::clean(account, &private).of_preloader(&launch.env);
        let plan = ExecPlan {
            descriptors: vec![LINK.to_owned()],
            rlimits: tools.limits.for_worker(charter.nofile),
            umask: UMASK,
            session_nice: tools.lowered.and_then(Lowered::group),
            open_before_identity: false,
            identity: identity_to_take(tools, account),
            walls: walls::walls(&charter.sandbox, &launch, folder),
            no_new_privs: true,
            working_dir: Some(launch.working_dir.clone().unwrap_or(private)),
            env: env.into_variables(),
            argv: launch.argv,
        };
        let program = Program {
            user: &account.identity,
            stop: &STOP,
            sink: Sink::Preloader(incarnation),
            notify: None,
            runs: Runs::Preloader,
            plan,
            admission: tools.cgroups.admit(&folder.name(), &Limits::default()),
            maker: Maker::VassalExec,
        };
        let prepared = program.start(tools, folder)?;
        if let Some(lowered) = tools.lowered {
            lowered.lower(prepared.process.leash.child.pid());
        }
        Ok(PreparedPreloader {
            prepared,
            ours,
            theirs,
        })
    })
}

impl PreparedPreloader {
    /// What it has in its environment.
    pub(in super::super) fn env(&self) -> &[(String, String)] {
        &self.prepared.plan.env
    }

    /// Lets it become the preloader.
    pub(in super::super) async fn begin(self) -> Result<Begun, SpawnFailure> {
        let descriptors = [self.theirs.as_fd()];
        let process = self.prepared.carry_out(&descriptors, walls::missing);
        Ok(Begun {
            process: process.await?,
            link: self.ours,
        })
    }
}

fn link() -> Result<(UnixStream, OwnedFd), SpawnFailure> {
    let failed = |error| SpawnFailure::Helper {
        doing: "make a socket for",
        error,
    };
    let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let ours = UnixStream::from_std(ours).map_err(failed)?;
    Ok((ours, theirs.into()))
}
