//! `sd_notify(3)`: the socket on which a worker tells of itself.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::time::Duration;

use rustix::net::UCred;
use rustix::process::{Pid, Uid};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::time::Instant;

use super::credentials;
use super::session::session_of;

/// The longest message; systemd takes as much.
const MESSAGE_BYTES: usize = 4096;

/// What a worker has told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notified {
    /// It said `READY=1`.
    pub(crate) ready: bool,
    /// What it last said as `STATUS=`.
    pub(crate) status: Option<String>,
    /// When it last said `WATCHDOG=1`. Nobody is woken for that alone: whoever waits for it has a
    /// deadline, and looks then.
    pub(crate) spoke: Option<Instant>,
    /// It said `WATCHDOG=trigger`.
    pub(crate) broken: bool,
    /// How long it may be silent, as it asked with `WATCHDOG_USEC=`.
    pub(crate) watchdog: Option<Duration>,
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
            let now = Instant::now();
            socket
                .told
                .send_if_modified(|told| told.hear(&message, now));
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

fn receive_once(socket: &UnixDatagram) -> io::Result<Option<(Vec<u8>, UCred)>> {
    let mut message = vec![0; MESSAGE_BYTES];
    let (length, from) = credentials::receive(socket, &mut message)?;
    message.truncate(length);
    Ok(from.map(|from| (message, from)))
}

impl Sender {
    /// Where its session can be asked for, that decides: two sites may run as one user, and neither
    /// is to speak for the other.
    fn may_tell(self, from: &UCred) -> bool {
        match session_of(from.pid) {
            Some(session) => session == self.session,
            None => from.uid == self.uid,
        }
    }
}

impl Notified {
    /// Takes the variables that mean something here; true if anything changed that somebody may
    /// wait for.
    fn hear(&mut self, message: &[u8], now: Instant) -> bool {
        let before = self.clone();
        for line in String::from_utf8_lossy(message).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => self.ready = true,
                Some(("STATUS", text)) => self.status = Some(text.to_owned()),
                Some(("WATCHDOG", "1")) => self.spoke = Some(now),
                Some(("WATCHDOG", "trigger")) => self.broken = true,
                Some(("WATCHDOG_USEC", usec)) => {
                    let asked = usec.parse().ok().map(Duration::from_micros);
                    self.watchdog = asked.or(self.watchdog);
                }
                Some(_) | None => {}
            }
        }
        let Self { spoke, .. } = before;
        (Self {
            spoke,
            ..self.clone()
        }) != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_variables_are_heard() {
        let mut told = Notified::default();
        let now = Instant::now();
        assert!(!told.hear(b"WATCHDOG=0\nMAINPID=1\nREADY=0\n\xff", now));
        assert!(told.hear(b"STATUS=loading\nREADY=1", now));
        assert!(!told.hear(b"READY=1\n", now));
        assert!(told.ready);
        assert_eq!(told.status.as_deref(), Some("loading"));
    }

    #[test]
    fn a_watchdog_is_noted_and_wakes_nobody_but_for_what_can_t_wait() {
        let mut told = Notified::default();
        let now = Instant::now();
        assert!(!told.hear(b"WATCHDOG=1", now));
        assert_eq!((told.spoke, told.broken), (Some(now), false));
        assert!(told.hear(b"WATCHDOG_USEC=20000000\nWATCHDOG=1", now));
        assert!(!told.hear(b"WATCHDOG_USEC=often", now));
        assert_eq!(told.watchdog, Some(Duration::from_secs(20)));
        assert!(told.hear(b"WATCHDOG=trigger", now));
        assert!(told.broken);
    }

    #[test]
    fn a_session_that_can_be_asked_for_decides_who_may_speak() {
        let (own, session) = (rustix::process::getpid(), own_session());
        let uid = rustix::process::geteuid();
        let from = UCred {
            pid: own,
            uid,
            gid: rustix::process::getegid(),
        };
        let may = |session, uid| Sender { session, uid }.may_tell(&from);
        let (other_session, other_uid) = (Pid::INIT, Uid::from_raw(uid.as_raw() + 1));
        match session {
            Some(session) => {
                assert!(may(session, other_uid));
                assert!(session == other_session || !may(other_session, uid));
            }
            None => assert!(may(other_session, uid) && !may(other_session, other_uid)),
        }
    }

    fn own_session() -> Option<Pid> {
        session_of(rustix::process::getpid())
    }
}
