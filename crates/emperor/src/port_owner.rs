//! Who listens on a TCP port of this machine, as far as `/proc` tells.
//!
//! For messages alone: what it finds may be gone a moment later.

use std::fmt;
use std::fs;
use std::path::Path;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortOwner {
    pid: u32,
    name: String,
}

impl PortOwner {
    /// The process that listens on a port. `None` where nobody does, or where it is another user's
    /// and this one may not look.
    pub(crate) fn find(port: u16) -> Option<Self> {
        let inodes: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|table| fs::read_to_string(table).ok())
            .flat_map(|table| listening_inodes(&table, port))
            .collect();
        let is_one = |target: &str| {
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.iter().any(|listening| listening == inode))
        };
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let pid = pids.into_iter().find(|pid| holds(*pid, is_one))?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some(Self {
            pid,
            name: name.trim().to_owned(),
        })
    }

    /// Whether it was started with this path among its arguments.
    pub(crate) fn was_told(&self, path: &Path) -> bool {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let wanted = path.as_os_str().as_encoded_bytes();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == wanted)
    }
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

fn holds(pid: u32, is_wanted: impl Fn(&str) -> bool) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut targets = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.to_str().is_some_and(&is_wanted))
}

/// `proc(5)`: the local address is `ADDRESS:PORT` in hexadecimal digits, state `0A` is listening,
/// the tenth column the inode.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let wanted = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let listens = columns.get(1)?.ends_with(&wanted) && *columns.get(3)? == "0A";
            listens.then(|| columns.get(9).map(ToString::to_string))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found_with_its_arguments() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let owner = PortOwner::find(port).unwrap();
        assert_eq!(owner.pid, std::process::id());
        let program = std::env::args_os().next().unwrap();
        assert!(owner.was_told(Path::new(&program)));
        assert!(!owner.was_told(Path::new("/nowhere")));
        drop(listener);
        assert_eq!(PortOwner::find(port), None);
    }

    #[test]
    fn the_kernel_s_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
            1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(listening_inodes(table, 8080), ["4711"]);
        assert!(listening_inodes(table, 80).is_empty());
    }
}
