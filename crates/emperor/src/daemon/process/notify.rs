//! `sd_notify(3)`: the socket on which a worker tells of itself.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, UCred, recvmsg};
use rustix::process::{Pid, Uid};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::watch;

/// The longest message; systemd takes as much.
const MESSAGE_BYTES: usize = 4096;

/// What a worker has told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notified {
    /// It said `READY=1`.
    pub(crate) ready: bool,
    /// What it last said as `STATUS=`.
    pub(crate) status: Option<String>,
}

/// Whose messages count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    /// The session of the instance: its main process.
    pub(crate) session: Pid,
    /// The user it runs as. A helper program of the worker's that sends and is gone at once has no
    /// session to be asked for any more, but the kernel vouches for its uid.
    pub(crate) uid: Uid,
}

/// The emperor's end of an instance's socket.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    sender: Sender,
    told: watch::Sender<Notified>,
}

impl NotifySocket {
    /// Takes a bound datagram socket that doesn't block and passes credentials.
    pub(crate) fn new(socket: OwnedFd, sender: Sender) -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::from_std(StdUnixDatagram::from(socket))?,
            sender,
            told: watch::Sender::default(),
        })
    }

    /// Follows what is told.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Notified> {
        self.told.subscribe()
    }

    /// Takes one message; never ends where there is no socket.
    ///
    /// Cancel safe.
    pub(crate) async fn listen(socket: Option<&mut Self>) {
        let Some(socket) = socket else {
            return std::future::pending().await;
        };
        if let Some((message, from)) = socket.receive().await
            && socket.sender.may_tell(&from)
        {
            socket.told.send_if_modified(|told| told.hear(&message));
        }
    }

    async fn receive(&self) -> Option<(Vec<u8>, UCred)> {
        let receive = || receive_once(&self.socket);
        match self.socket.async_io(Interest::READABLE, receive).await {
            Ok(received) => received,
            // The kernel knows of no such case. Should one come, it is not asked in a circle.
            Err(_) => std::future::pending().await,
        }
    }
}

/// There is room for the credentials alone: descriptors that somebody sends along find none, and
/// the kernel drops them.
fn receive_once(socket: &UnixDatagram) -> io::Result<Option<(Vec<u8>, UCred)>> {
    let mut message = vec![0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut message)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    message.truncate(received.bytes);
    let from = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmCredentials(from) => Some(from),
        _ => None,
    });
    Ok(from.map(|from| (message, from)))
}

impl Sender {
    fn may_tell(self, from: &UCred) -> bool {
        from.uid == self.uid || session_of(from.pid) == Some(self.session)
    }
}

/// None where it has ended, and where its session was made outside of this pid namespace: getsid(2)
/// then answers 0, which is no pid.
fn session_of(pid: Pid) -> Option<Pid> {
    let asked = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    Pid::from_raw(nix::unistd::getsid(Some(asked)).ok()?.as_raw())
}

impl Notified {
    /// Takes the variables that mean something here; true if anything changed.
    fn hear(&mut self, message: &[u8]) -> bool {
        let before = self.clone();
        for line in String::from_utf8_lossy(message).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => self.ready = true,
                Some(("STATUS", text)) => self.status = Some(text.to_owned()),
                Some(_) | None => {}
            }
        }
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_variables_are_heard() {
        let mut told = Notified::default();
        assert!(!told.hear(b"WATCHDOG=1\nMAINPID=1\nREADY=0\n\xff"));
        assert!(told.hear(b"STATUS=loading\nREADY=1"));
        assert!(!told.hear(b"READY=1\n"));
        assert!(told.ready);
        assert_eq!(told.status.as_deref(), Some("loading"));
    }
}
