//! Sockets that the service manager passes at start (`sd_listen_fds_with_names(3)`): those of socket
//! units, and those that an emperor before had it keep (`FileDescriptorStoreMax=`).
//!
//! What an emperor binds by itself is kept like that, so that a restart refuses nobody even where no
//! fastrouter is left to have the sockets from. Without a service manager nothing is passed or kept.

use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sd_notify::NotifyState;
use tracing::warn;

/// Before the name of a socket that is kept: no socket unit's `FileDescriptorName=` begins like that.
const KEPT: &str = "emperor-listen=";
/// What a name may not hold: systemd separates names by colons.
const ESCAPED: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// Sockets that were passed, until they are taken.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<(String, OwnedFd)>);

impl Passed {
    /// All of them. What is no listening socket stays where it is.
    pub(super) fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let with_index = names.split(':').enumerate().take(sockets.len());
        let taken = with_index.filter_map(|(index, name)| {
            let socket = take_at(&mut sockets, index)?;
            Some((name.to_owned(), socket))
        });
        Self(taken.collect())
    }

    /// All sockets of a socket unit's name: it may have several under one.
    pub(super) fn take(&mut self, name: &str) -> Vec<OwnedFd> {
        let taken = self.0.extract_if(.., |(of, _)| of == name);
        taken.map(|(_, socket)| socket).collect()
    }

    /// All sockets that were kept for a place of `router.listen`.
    pub(super) fn take_kept(&mut self, place: &str) -> Vec<OwnedFd> {
        self.take(&kept_name(place))
    }

    /// Has the service manager forget what was kept and nobody wants any more.
    pub(super) fn forget_the_rest(self) {
        for (name, _) in self.0 {
            if let Some(place) = kept_place(&name) {
                tracing::info!(place, "no longer listening there");
                let forget = [NotifyState::FdStoreRemove, NotifyState::FdName(&name)];
                told(sd_notify::notify(&forget));
            }
        }
    }
}

/// Has the service manager keep a socket for the next start.
pub(super) fn keep(place: &str, socket: &OwnedFd) {
    let name = kept_name(place);
    let store = [NotifyState::FdStore, NotifyState::FdName(&name)];
    told(sd_notify::notify_with_fds(&store, &[socket.as_fd()]));
}

fn told(notified: std::io::Result<()>) {
    if let Err(error) = notified {
        warn!(%error, "the service manager can't be told of a listening socket");
    }
}

fn kept_name(place: &str) -> String {
    format!("{KEPT}{}", utf8_percent_encode(place, ESCAPED))
}

fn kept_place(name: &str) -> Option<String> {
    let place = percent_decode_str(name.strip_prefix(KEPT)?).decode_utf8();
    Some(place.ok()?.into_owned())
}

fn take_at(sockets: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    // A descriptor of another kind stays where it is, and the next kind is tried.
    if let Ok(Some(tcp)) = sockets.take_tcp_listener(index) {
        return Some(tcp.into());
    }
    let unix = sockets.take_unix_listener(index).ok().flatten();
    unix.map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_kept_socket_s_name_is_one_that_systemd_takes_and_leads_back_to_its_place() {
        for place in ["[::1]:8080", "localhost:80", "100%:1"] {
            let name = kept_name(place);
            assert!(!name.contains(':') && name.len() < 256, "{name}");
            assert_eq!(kept_place(&name).as_deref(), Some(place));
        }
        assert_eq!(kept_place("http"), None);
    }

    #[test]
    fn sockets_are_taken_by_name_all_at_once() {
        let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let kept = kept_name("127.0.0.1:80");
        let names = ["http", "other", "http", &kept];
        let mut passed = Passed(names.map(|name| (name.to_owned(), socket())).into());
        assert_eq!(passed.take("http").len(), 2);
        assert_eq!(passed.take("http").len(), 0);
        assert_eq!(passed.take_kept("127.0.0.1:80").len(), 1);
        assert_eq!(passed.0.len(), 1);
    }
}
