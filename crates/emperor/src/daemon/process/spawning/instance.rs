//! An instance of a site, as a process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Gid, Uid};
use vassal_core::spec::RenderError;
use vassal_core::{InstanceContext, Launch, ListenMode, Reach};
use wire::exec::ExecPlan;

use super::super::cgroup::Admission;
use super::super::environment::Environment;
use super::super::failure::SpawnFailure;
use super::super::folder::InstanceFolder;
use super::super::identity::Account;
use super::super::listen;
use super::super::notebook::Notebook;
use super::super::order::Order;
use super::super::output::{Origin, Sink};
use super::super::preloading::Forked;
use super::super::priority::Lowered;
use super::super::record::{InstanceRecord, Runs};
use super::super::room::Taken;
use super::super::running::RunningInstance;
use super::super::start::{Start, Step};
use super::super::tools::Tools;
use super::super::walls;
use super::super::worker_socket::WorkerSocket;
use super::{LISTEN, Maker, Prepared, Program, UMASK, identity_to_take, in_new_folder};

/// An instance whose helper waits for its plan.
#[derive(Debug)]
pub(in super::super) struct PreparedInstance {
    prepared: Prepared,
    listener: Option<OwnedFd>,
    socket: WorkerSocket,
    notebook: Arc<Notebook>,
    start: Start,
    lowered: Option<Lowered>,
    room: Taken,
}

/// Makes everything an instance needs, and starts its helper. Blocks, and needs a runtime.
pub(in super::super) fn prepare(
    tools: &Tools,
    order: &Order,
    start: Start,
    render: impl FnOnce(&InstanceContext) -> Result<Launch, RenderError>,
) -> Result<PreparedInstance, SpawnFailure> {
    prepare_with(tools, order, start, Maker::VassalExec, render)
}

/// As [`prepare`], for a worker that was forked already.
pub(in super::super) fn prepare_fork(
    tools: &Tools,
    order: &Order,
    start: Start,
    forked: Forked,
    env: Vec<(String, String)>,
) -> Result<PreparedInstance, SpawnFailure> {
    // Everything else is as its preloader has it.
    let launch = Launch {
        argv: Vec::new(),
        working_dir: None,
        env,
        files: Vec::new(),
        reach: Reach::default(),
    };
    let maker = Maker::Forked(forked);
    prepare_with(tools, order, start, maker, |_| Ok(launch))
}

fn prepare_with(
    tools: &Tools,
    order: &Order,
    start: Start,
    maker: Maker,
    render: impl FnOnce(&InstanceContext) -> Result<Launch, RenderError>,
) -> Result<PreparedInstance, SpawnFailure> {
    let room = tools.room.take()?;
    tools.incarnations.claim_ahead();
    let account = tools.identities.of(order.site, &order.run_as)?;
    let whose = order.site.to_string();
    start.enter(Step::Folder);
    in_new_folder(tools, &whose, order.incarnation, |folder| {
        let making = Making {
            tools,
            order,
            account: &account,
            folder,
            start,
        };
        making.make((maker, room), render)
    })
}

impl PreparedInstance {
    /// Lets it become the worker. The emperor's copy of the listening socket is closed then: if the
    /// worker dies, the kernel refuses those who wait there, and the router asks another at once.
    pub(in super::super) async fn begin(self) -> Result<RunningInstance, SpawnFailure> {
        self.start.enter(Step::Exec);
        let descriptors: Vec<_> = self.listener.iter().map(AsFd::as_fd).collect();
        let notified = self.prepared.notified.clone();
        Ok(RunningInstance {
            process: self
                .prepared
                .carry_out(&descriptors, walls::missing)
                .await?,
            socket: self.socket,
            notified,
            notebook: self.notebook,
            start: Some(self.start),
            lowered: self.lowered,
            room: self.room,
        })
    }
}

/// The making of one instance.
struct Making<'a> {
    tools: &'a Tools,
    order: &'a Order,
    account: &'a Account,
    folder: &'a InstanceFolder,
    start: Start,
}

impl Making<'_> {
    fn make(
        self,
        (maker, room): (Maker, Taken),
        render: impl FnOnce(&InstanceContext) -> Result<Launch, RenderError>,
    ) -> Result<PreparedInstance, SpawnFailure> {
        self.start.enter(Step::Socket);
        let (listener, socket) = self.make_socket()?;
        self.start.enter(Step::Files);
        let launch = render(&InstanceContext {
            number: self.order.number.get(),
            dir: self.folder.private(),
            socket_path: socket.told().to_path_buf(),
        })?;
        let user = &self.account.identity;
        self.folder.make_private(&launch.files, user)?;
        self.start.enter(Step::Spawn);
        let program = Program {
            user,
            stop: &self.order.stop,
            sink: self.sink(),
            notify: Some(self.make_notify_socket()?),
            runs: Runs::Instance(self.record()),
            plan: self.plan(launch),
            admission: self.admission(&maker)?,
            maker,
        };
        Ok(PreparedInstance {
            prepared: program.start(self.tools, self.folder)?,
            listener,
            socket,
            notebook: Arc::clone(&self.tools.notebook),
            start: self.start,
            lowered: self.tools.lowered,
            room,
        })
    }

    fn make_socket(&self) -> Result<(Option<OwnedFd>, WorkerSocket), SpawnFailure> {
        let router = Gid::from_raw(self.tools.identities.router().identity.gid);
        match self.order.listen {
            ListenMode::Fd => {
                let path = self.folder.bound_socket();
                let listener = listen::listener(&path, router)?;
                Ok((Some(listener), WorkerSocket::Inherited(path)))
            }
            ListenMode::Path => {
                let user = &self.account.identity;
                let bound = self.folder.socket_to_bind();
                listen::check_path(&bound)?;
                self.folder.make_socket_folders(user, router)?;
                let socket = WorkerSocket::Own {
                    bound,
                    link: self.folder.socket_let_out(),
                    uid: user.uid,
                    router,
                };
                Ok((None, socket))
            }
        }
    }

    fn make_notify_socket(&self) -> Result<OwnedFd, SpawnFailure> {
        let user = &self.account.identity;
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        listen::notify_socket(&self.folder.notify(), uid, gid)
    }

    fn admission(&self, maker: &Maker) -> Result<Admission, SpawnFailure> {
        let name = self.folder.name();
        let mut admission = self.tools.cgroups.admit(&name, &self.order.limits);
        match maker {
            Maker::VassalExec => {}
            Maker::Forked(forked) => admission.missing.extend_from_slice(forked.missing()),
        }
        if self.order.sandbox.required && !admission.missing.is_empty() {
            return Err(SpawnFailure::Required(admission.missing));
        }
        Ok(admission)
    }

    fn record(&self) -> InstanceRecord {
        InstanceRecord {
            site: self.order.site.get(),
            incarnation: self.order.incarnation.get(),
            revision: self.order.revision.to_string(),
            protocol: self.order.protocol.into(),
            binds: self.order.listen == ListenMode::Path,
            row: self.order.row.clone(),
            lowered: self.tools.lowered,
        }
    }

    fn sink(&self) -> Sink {
        let origin = Origin {
            number: self.order.number,
            incarnation: self.order.incarnation,
        };
        Sink::Site(self.tools.logbook.of(self.order.site), origin)
    }

    fn plan(&self, launch: Launch) -> ExecPlan {
        let private = self.folder.private();
        let env = Environment::clean(self.account, &private);
        let env = env.of_site(self.order, &self.folder.notify(), &launch.env);
        let descriptors = match self.order.listen {
            ListenMode::Fd => vec![LISTEN.to_owned()],
            ListenMode::Path => Vec::new(),
        };
        let walls = walls::walls(&self.order.sandbox, &launch, self.folder);
        ExecPlan {
            descriptors,
            rlimits: self.tools.limits.for_worker(self.order.limits.nofile),
            umask: UMASK,
            session_nice: self.tools.lowered.and_then(Lowered::group),
            open_before_identity: false,
            identity: identity_to_take(self.tools, self.account),
            walls,
            no_new_privs: true,
            working_dir: Some(launch.working_dir.unwrap_or(private)),
            env: env.into_variables(),
            argv: launch.argv,
        }
    }
}
