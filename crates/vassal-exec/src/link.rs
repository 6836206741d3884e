//! The socket to the emperor: the plan comes in over it, a failure goes out, and its silent end is
//! how the emperor learns that the program was executed.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use bytes::BytesMut;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::dup2_stdin;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use wire::exec::{ExecFailure, ExecPlan, ExecReport, ExecStep};
use wire::frame;

use crate::failure::AtStep;

/// The most descriptors one message can carry (`SCM_MAX_FD` of the kernel).
const MAX_DESCRIPTORS: usize = 253;

/// What one read takes: a plan is a few KiB, most of it environment.
const READ_BYTES: usize = 16 * 1024;

/// The socket, closed by the kernel at the moment of `exec`.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
}

impl Link {
    /// Takes the socket from standard input, and leaves `/dev/null` there.
    ///
    /// `None`: standard input is no socket, or can't be replaced.
    pub(crate) fn from_standard_input() -> Option<Self> {
        let stdin = std::io::stdin();
        let mode = fstat(stdin.as_fd()).ok()?.st_mode;
        if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
            return None;
        }
        let socket = above(stdin.as_fd(), 3).ok()?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        dup2_stdin(null).ok()?;
        Some(Self { socket })
    }

    /// Waits for the plan and the descriptors that come with it.
    pub(crate) fn receive(&mut self) -> Result<(ExecPlan, Vec<OwnedFd>), ExecFailure> {
        let mut bytes = BytesMut::new();
        let mut descriptors = Vec::new();
        loop {
            let taken = self.read(&mut bytes, &mut descriptors)?;
            let plan = frame::decode(&mut bytes).map_err(|error| ExecFailure {
                step: ExecStep::Plan,
                subject: error.to_string(),
                errno: Errno::EBADMSG as i32,
            })?;
            match plan {
                Some(plan) => return Ok((plan, descriptors)),
                None if taken == 0 => {
                    // The emperor is gone: nobody may start what nobody would supervise.
                    return Err(Errno::EPIPE).at(ExecStep::Plan, || "that broke off".to_owned());
                }
                None => {}
            }
        }
    }

    fn read(
        &mut self,
        bytes: &mut BytesMut,
        descriptors: &mut Vec<OwnedFd>,
    ) -> Result<usize, ExecFailure> {
        let mut chunk = [0u8; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut chunk)];
            recvmsg(
                &self.socket,
                &mut parts,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .at(ExecStep::Plan, || "from its socket".to_owned())?;
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::EMFILE).at(ExecStep::Plan, || "and all of its descriptors".into());
        }
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                descriptors.extend(received);
            }
        }
        bytes.extend_from_slice(&chunk[..message.bytes]);
        Ok(message.bytes)
    }

    /// Makes room: moves the socket to a number that is none of the worker's.
    pub(crate) fn move_above(&mut self, first_foreign: RawFd) -> Result<(), ExecFailure> {
        self.socket = above(self.socket.as_fd(), first_foreign)
            .at(ExecStep::Descriptors, || "(the link)".to_owned())?;
        Ok(())
    }

    /// Tells the emperor what failed or is missing. There is nobody else to tell if that fails too.
    pub(crate) fn report(&self, report: &ExecReport) {
        let mut bytes = BytesMut::new();
        if frame::encode(report, &mut bytes).is_err() {
            return;
        }
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => drop(bytes.split_to(sent)),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// A copy of a descriptor with a number of at least `least`, closed at `exec`.
pub(crate) fn above(fd: impl AsFd, least: RawFd) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, least)
}
