//! The program: found with the rights of its own user, then executed.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, execve, fexecve, geteuid, getpid};
use wire::exec::{ExecFailure, ExecPlan, ExecStep};

use crate::descriptors;
use crate::failure::AtStep;

/// Program, arguments and environment in the shape the kernel takes them.
pub(crate) struct Invocation {
    program: String,
    search_path: Option<String>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// Opens a program to be executed later, whatever its folder allows by then.
pub(crate) fn open(path: &str) -> Result<OwnedFd, Errno> {
    open_file(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

impl Invocation {
    /// Takes it from the plan, with what only this process knows: its pid, for `LISTEN_PID` and
    /// `WATCHDOG_PID`.
    pub(crate) fn of(plan: &ExecPlan) -> Result<Self, ExecFailure> {
        let program = plan.argv.first().cloned().unwrap_or_default();
        let listen = listen_variables(plan);
        let watchdog = watchdog_variable(&plan.env);
        let environment = plan.env.iter().chain(&listen).chain(&watchdog);
        Ok(Self {
            program,
            search_path: plan
                .env
                .iter()
                .find(|(name, _)| name == "PATH")
                .map(|(_, value)| value.clone()),
            arguments: plan
                .argv
                .iter()
                .map(|a| c_string(a.clone()))
                .collect::<Result<_, _>>()?,
            environment: environment
                .map(|(name, value)| c_string(format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Becomes the program that was opened ahead.
    pub(crate) fn execute_opened(&self, file: &OwnedFd) -> Result<Infallible, ExecFailure> {
        fexecve(file, &self.arguments, &self.environment)
            .at(ExecStep::Exec, || self.program.clone())
    }

    /// Becomes the program. As `execvp(3)` does it, a refusal on the way is remembered, and told if
    /// nothing better is found; unlike it, a file without an interpreter is never given to a shell,
    /// and an empty part of `PATH` is no folder.
    pub(crate) fn execute(&self) -> Result<Infallible, ExecFailure> {
        let mut refused = None;
        for candidate in self.candidates() {
            let path = c_string(candidate.clone())?;
            let Err(errno) = execve(&path, &self.arguments, &self.environment);
            match errno {
                Errno::EACCES => refused = refused.or(Some(candidate)),
                // Not there, or a part of the path is a file. If it *is* there, its interpreter
                // isn't, and going on would hide that.
                Errno::ENOENT | Errno::ENOTDIR if !Path::new(&candidate).exists() => {}
                found => return Err(found).at(ExecStep::Exec, || explain(&candidate, found)),
            }
        }
        let (errno, subject) = match refused {
            Some(path) => (Errno::EACCES, explain(&path, Errno::EACCES)),
            None => (Errno::ENOENT, self.not_found()),
        };
        Err(errno).at(ExecStep::Exec, || subject)
    }

    fn candidates(&self) -> Vec<String> {
        if self.program.is_empty() || self.program.contains('/') {
            return vec![self.program.clone()];
        }
        let folders = self.search_path.as_deref().unwrap_or_default().split(':');
        folders
            .filter(|folder| !folder.is_empty())
            .map(|folder| format!("{folder}/{}", self.program))
            .collect()
    }

    fn not_found(&self) -> String {
        match &self.search_path {
            Some(path) if !self.program.contains('/') => {
                format!("{:?} (sought in {path})", self.program)
            }
            Some(_) | None => self.program.clone(),
        }
    }
}

/// `sd_listen_fds(3)`, which compares `LISTEN_PID` with its own: set here, where the pid is the one
/// the worker will have. Without it the others are for people to read.
fn listen_variables(plan: &ExecPlan) -> Vec<(String, String)> {
    let descriptors = &plan.descriptors;
    if descriptors.is_empty() {
        return Vec::new();
    }
    let mut variables = vec![
        ("LISTEN_FDS", descriptors.len().to_string()),
        ("LISTEN_FDNAMES", descriptors.join(":")),
    ];
    if !tells_of_a_descriptor(plan) {
        variables.push(("LISTEN_PID", getpid().to_string()));
    }
    let named = variables.into_iter();
    named
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Whether an argument (`fd://3`, `--bind=fd://3`) tells what the variables would. gunicorn heeds both,
/// takes its socket twice and fails.
fn tells_of_a_descriptor(plan: &ExecPlan) -> bool {
    let passed = descriptors::FIRST..;
    let names = passed.take(plan.descriptors.len());
    let names: Vec<_> = names.map(|number| format!("fd://{number}")).collect();
    let mut values = plan.argv.iter().filter_map(|a| a.rsplit('=').next());
    values.any(|value| names.iter().any(|name| name == value))
}

/// `sd_watchdog_enabled(3)`, which compares it as `sd_listen_fds(3)` does: a child that inherits the
/// variables knows that they aren't meant for it.
fn watchdog_variable(env: &[(String, String)]) -> Option<(String, String)> {
    let is_watched = env.iter().any(|(name, _)| name == "WATCHDOG_USEC");
    is_watched.then(|| ("WATCHDOG_PID".to_owned(), getpid().to_string()))
}

fn c_string(text: String) -> Result<CString, ExecFailure> {
    CString::new(text).map_err(|error| ExecFailure {
        step: ExecStep::Exec,
        // The value could be a secret of the site; only its name is told.
        subject: format!("with a NUL byte in {:?}", shown_name(&error.into_vec())),
        errno: Errno::EINVAL as i32,
    })
}

fn shown_name(bytes: &[u8]) -> String {
    let name = bytes
        .split(|b| matches!(b, b'=' | 0))
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The program's path, with the likely cause that the bare error number hides.
fn explain(program: &str, errno: Errno) -> String {
    let path = Path::new(program);
    let hint = match errno {
        Errno::EACCES => match closed_folder(path) {
            Some(folder) => format!("user {} may not enter {}", geteuid(), folder.display()),
            None if path.is_dir() => "it is a folder".to_owned(),
            None => format!("user {} may not execute it", geteuid()),
        },
        Errno::ENOENT => "the file is there, but its interpreter is not".to_owned(),
        Errno::ENOEXEC => "it is no binary of this machine, and names no interpreter".to_owned(),
        _ => return program.to_owned(),
    };
    format!("{program} ({hint})")
}

/// A folder that can't be entered, with the one on the way to it that is closed.
pub(crate) fn explain_folder(folder: &Path) -> String {
    match closed_folder(folder) {
        Some(outer) => format!(
            "{} (user {} may not enter {})",
            folder.display(),
            geteuid(),
            outer.display()
        ),
        None => folder.display().to_string(),
    }
}

/// The outermost existing folder above a path that may not be entered.
fn closed_folder(path: &Path) -> Option<PathBuf> {
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    folders.reverse();
    folders
        .into_iter()
        .find(|folder| access(*folder, AccessFlags::X_OK) == Err(Errno::EACCES))
        .map(Path::to_path_buf)
}
