//! Starting `vassal-exec` and handing it its plan.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;
use serde::Serialize;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;
use wire::exec::{ExecFailure, ExecPlan, ExecReport};
use wire::frame;

use super::child::Child;
use super::failure::SpawnFailure;

/// How long a plan may take. Its steps are a handful of system calls; only a file system that does
/// not answer makes them last.
const DEADLINE: Duration = Duration::from_secs(10);

/// The most descriptors one message can carry (`SCM_MAX_FD` of the kernel).
const MAX_DESCRIPTORS: usize = 253;

/// A `vassal-exec` that waits for its plan.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) child: Arc<Child>,
    link: UnixStream,
}

impl Helper {
    /// Starts it. Blocks for as long as the kernel takes to make a process, and needs a runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the emperor makes a process; std does it without fork"
    )]
    pub(super) fn start(
        program: &Path,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> Result<Self, SpawnFailure> {
        let (ours, theirs) = StdUnixStream::pair().map_err(failed("make a socket for"))?;
        let process = Command::new(program)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(failed("start"))?;
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a positive pid");
        let child = Arc::new(Child::new(pid).map_err(failed("watch"))?);
        let link = asynchronous(ours).map_err(failed("speak to"))?;
        Ok(Self { child, link })
    }

    /// Sends the plan, and resolves once it was carried out: the link ends by itself at the moment
    /// of `exec`. Yields the walls that the kernel can't give.
    pub(super) async fn carry_out(
        mut self,
        plan: &ExecPlan,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Vec<ExecFailure>, SpawnFailure> {
        let carried_out = async {
            send(&self.link, plan, descriptors)
                .await
                .map_err(failed("send its plan to"))?;
            self.answer().await
        };
        timeout(DEADLINE, carried_out)
            .await
            .unwrap_or(Err(SpawnFailure::Deadline(DEADLINE)))
    }

    async fn answer(&mut self) -> Result<Vec<ExecFailure>, SpawnFailure> {
        let mut bytes = BytesMut::new();
        while self
            .link
            .read_buf(&mut bytes)
            .await
            .map_err(failed("hear from"))?
            > 0
        {}
        let mut missing = Vec::new();
        while !bytes.is_empty() {
            match frame::decode(&mut bytes) {
                Ok(Some(ExecReport::Missing(failure))) => missing.push(failure),
                Ok(Some(ExecReport::Failed(failure))) => return Err(SpawnFailure::Exec(failure)),
                Ok(None) => return Err(failed("hear from")(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Err(failed("understand")(io::Error::other(error))),
            }
        }
        Ok(missing)
    }
}

fn asynchronous(stream: StdUnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Sends a message, and descriptors with its first byte.
pub(super) async fn send(
    link: &UnixStream,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    frame::encode(message, &mut bytes).map_err(io::Error::other)?;
    let mut with = descriptors;
    while !bytes.is_empty() {
        let length = link
            .async_io(Interest::WRITABLE, || send_with(link, &bytes, with))
            .await?;
        bytes.advance(length);
        with = &[];
    }
    Ok(())
}

/// Sends the first bytes, and with them all descriptors.
fn send_with(link: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other(
            "more descriptors than a message can carry",
        ));
    }
    let bytes = [IoSlice::new(bytes)];
    Ok(sendmsg(link, &bytes, &mut ancillary, SendFlags::NOSIGNAL)?)
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> SpawnFailure {
    move |error| SpawnFailure::Helper { doing, error }
}
