//! Processes that end with their owner: also after an error, and when this program is killed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::shell::{self, CommandError};

/// How long a program may take to end by itself.
const GRACE: Timespec = Timespec {
    tv_sec: 3,
    tv_nsec: 0,
};

/// Moves standard input to descriptor 3 and tells of it as `sd_listen_fds(3)` has it. The pid stays
/// the same from the shell to the program.
const PASS_SOCKET: &str = "LISTEN_PID=$$; export LISTEN_PID; exec \"$@\" 3<&0 </dev/null";

/// A running program.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program.
    pub(super) fn start(command: &mut Command) -> Result<Self, CommandError> {
        let child = shell::start(command)?;
        Ok(Self { child })
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What std knows of it, for its pipes.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks it to end, insists after a while, and waits until it is gone.
    pub(super) fn end(&mut self, signal: Signal) {
        if !self.ends_by_itself(signal) {
            // It fails only where the process is gone already.
            let _gone = self.child.kill();
        }
        // The same: nobody else waits for this child.
        let _reaped = self.child.wait();
    }

    fn ends_by_itself(&mut self, signal: Signal) -> bool {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return true;
        }
        // Not waited for yet, so the number is still this child's.
        let pid = Pid::from_child(&self.child);
        let Ok(exit) = pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        let asked = kill_process(pid, signal).is_ok();
        let mut fds = [PollFd::new(&exit, PollFlags::IN)];
        asked && poll(&mut fds, Some(&GRACE)).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::TERM);
    }
}

/// A program on one core, which gets SIGTERM when this one dies.
pub(super) fn pinned(core: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = shell::command("setpriv");
    command.args(["--pdeathsig", "TERM", "taskset", "--cpu-list"]);
    command.arg(core.to_string()).arg(program);
    command
}

/// The same, with a listening socket as descriptor 3.
pub(super) fn pinned_with_socket(
    core: usize,
    socket: impl Into<OwnedFd>,
    program: impl AsRef<OsStr>,
) -> Command {
    let mut command = shell::command("setpriv");
    command.args(["--pdeathsig", "TERM", "sh", "-c", PASS_SOCKET, "sh"]);
    command.args(["taskset", "--cpu-list", &core.to_string()]);
    command.arg(program);
    command.env("LISTEN_FDS", "1");
    command.env("LISTEN_FDNAMES", "listen");
    command.stdin(socket.into());
    command
}

/// Has this thread, and those that it starts from now on, run on one core.
pub(super) fn pin_this_thread(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_process_ends_with_its_owner() {
        let process = Process::start(shell::command("sleep").arg("600")).unwrap();
        let exit = pidfd_open(Pid::from_child(&process.child), PidfdFlags::empty()).unwrap();
        drop(process);
        let mut fds = [PollFd::new(&exit, PollFlags::IN)];
        let now = Timespec::default();
        assert_eq!(poll(&mut fds, Some(&now)), Ok(1));
    }

    #[test]
    fn a_program_finds_its_socket_as_descriptor_3() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let core = super::super::stage::usable_cores().unwrap()[0];
        let mut command = pinned_with_socket(core, socket, "sh");
        let told = "test \"$LISTEN_PID\" = $$ && test -S /dev/fd/3 && echo $LISTEN_FDS";
        let output = command.args(["-c", told]).stderr(Stdio::null()).output();
        assert_eq!(output.unwrap().stdout, b"1\n");
    }
}
