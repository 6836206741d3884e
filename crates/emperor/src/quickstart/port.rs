//! Whether the router will get its port, and who has it if not.

use std::io;
use std::net::TcpListener;
use std::path::Path;

use thiserror::Error;

use crate::port_owner::PortOwner;

/// The address can't be had.
#[derive(Debug, Error)]
pub(crate) enum PortError {
    /// Somebody else listens there.
    #[error(
        "{listen} is taken{}; end that, or choose another address: --listen 127.0.0.1:{next}",
        by(owner.as_ref()), next = next_port(listen)
    )]
    Taken {
        /// The address.
        listen: String,
        /// Who, if it can be told.
        owner: Option<PortOwner>,
    },
    /// The system refused.
    #[error("could not listen on {listen}: {source}; choose another address with --listen")]
    Refused {
        /// The address.
        listen: String,
        /// Why not.
        source: io::Error,
    },
}

fn by(owner: Option<&PortOwner>) -> String {
    owner
        .map(|owner| format!(" by {owner}"))
        .unwrap_or_default()
}

fn port_of(listen: &str) -> Option<u16> {
    listen.rsplit_once(':')?.1.parse().ok()
}

fn next_port(listen: &str) -> u16 {
    port_of(listen)
        .and_then(|port| port.checked_add(1))
        .unwrap_or(8081)
}

/// Binds the address and lets it go again: a clear word now instead of a failed start later.
///
/// A fastrouter that follows this `link` was left by an emperor that was killed, and is ended by the
/// next one before it binds.
pub(super) fn check_free(listen: &str, link: &Path) -> Result<(), PortError> {
    let listen_text = || listen.to_owned();
    match TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let owner = port_of(listen).and_then(PortOwner::find);
            if owner.as_ref().is_some_and(|owner| owner.was_told(link)) {
                return Ok(());
            }
            Err(PortError::Taken {
                listen: listen_text(),
                owner,
            })
        }
        Err(source) => Err(PortError::Refused {
            listen: listen_text(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "/nowhere/fastrouter.sock";

    #[test]
    fn a_taken_port_is_told_with_its_owner() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap().to_string();
        let refused = check_free(&listen, LINK.as_ref()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            refused.starts_with(&format!("{listen} is taken by ")),
            "{refused}"
        );
        assert!(refused.contains(&format!("(pid {pid})")), "{refused}");
        assert!(refused.contains("--listen 127.0.0.1:"), "{refused}");
        drop(taken);
        check_free(&listen, LINK.as_ref()).unwrap();
    }

    #[test]
    fn a_router_that_an_emperor_before_left_is_no_obstacle() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap().to_string();
        // Stands for the link: it is among the arguments of the process that listens.
        let program = std::env::args_os().next().unwrap();
        check_free(&listen, Path::new(&program)).unwrap();
    }
}
