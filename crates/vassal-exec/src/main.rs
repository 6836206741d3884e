//! The helper that becomes the worker.
//!
//! The emperor starts it with one end of a socketpair as its standard input and sends an
//! [`wire::exec::ExecPlan`] with descriptors. It carries the plan out step by step, in a
//! process of its own with a single thread, and at the end *is* the worker: same pid, same session.
//! So no code of Emperor's runs between `fork` and `exec` of a program with threads, and nothing
//! but this small program needs `unsafe` or changes identity.
//!
//! It must not know why it starts what it starts: no site, no template, no configuration. What it
//! is not told it doesn't do.

mod capabilities;
mod descriptors;
mod failure;
mod identity;
mod limits;
mod link;
mod mounts;
mod paths;
mod program;
mod session;
mod syscalls;
mod walls;

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;

use wire::exec::{ExecFailure, ExecPlan, ExecReport, ExecStep};

use crate::failure::AtStep;
use crate::link::Link;
use crate::walls::Foreman;

/// Not started as it has to be.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let Some(mut link) = Link::from_standard_input() else {
        let message = b"vassal-exec is started by emperor, with a socket as its standard input\n";
        // Nobody may be there to read it; the exit status says the same.
        let _ = std::io::stderr().write_all(message);
        return ExitCode::from(USAGE);
    };
    match run(&mut link) {
        Ok(never) => match never {},
        Err(failure) => {
            link.report(&ExecReport::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// The steps, in the order of the plan's fields. Every descriptor, limit and right is in place
/// before the first lookup that happens with the rights of the new identity.
fn run(link: &mut Link) -> Result<Infallible, ExecFailure> {
    let (plan, received) = link.receive()?;
    session::detach()?;
    if let Some(nice) = plan.session_nice {
        session::be_nice(nice);
    }
    let first_foreign = descriptors::expect(&plan.descriptors, received.len())?;
    link.move_above(first_foreign)?;
    descriptors::place(received, first_foreign)?;
    limits::set(&plan.rlimits)?;
    limits::set_umask(plan.umask);
    let opened = open_ahead(&plan)?;
    let foreman = Foreman {
        link,
        required: plan.walls.required,
    };
    change_sides(&plan, &foreman)?;
    enter_working_dir(&plan)?;
    let invocation = program::Invocation::of(&plan)?;
    if let Some(rules) = &plan.walls.paths {
        foreman.accept(paths::restrict(rules))?;
    }
    if plan.walls.filter_syscalls {
        foreman.accept(syscalls::filter())?;
    }
    match opened {
        Some(file) => invocation.execute_opened(&file),
        None => invocation.execute(),
    }
}

/// From the emperor's user and its view of the machine to the worker's.
fn change_sides(plan: &ExecPlan, foreman: &Foreman<'_>) -> Result<(), ExecFailure> {
    if let Some(mounts) = &plan.walls.mounts {
        mounts::enter(mounts, foreman)?;
    }
    if let Some(kept) = plan.walls.capabilities {
        foreman.accept(capabilities::bound(kept))?;
    }
    if let Some(identity) = &plan.identity {
        identity::become_user(identity)?;
    }
    if plan.no_new_privs {
        identity::give_up_privileges()?;
    }
    if let Some(kept) = plan.walls.capabilities {
        foreman.accept(capabilities::keep(kept))?;
    }
    Ok(())
}

fn open_ahead(plan: &ExecPlan) -> Result<Option<std::os::fd::OwnedFd>, ExecFailure> {
    if !plan.open_before_identity {
        return Ok(None);
    }
    let path = plan.argv.first().map(String::as_str).unwrap_or_default();
    program::open(path)
        .map(Some)
        .at(ExecStep::OpenProgram, || path.to_owned())
}

fn enter_working_dir(plan: &ExecPlan) -> Result<(), ExecFailure> {
    let Some(folder) = &plan.working_dir else {
        return nix::unistd::chdir("/").at(ExecStep::WorkingDir, || "/".to_owned());
    };
    nix::unistd::chdir(folder.as_path())
        .at(ExecStep::WorkingDir, || program::explain_folder(folder))
}
