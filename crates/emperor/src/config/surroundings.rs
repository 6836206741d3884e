//! What a configuration depends on besides its file: environment, working folder, user, host name.
//! Gathered once, so that reading a configuration is a function of its arguments.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a process stands.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Environment variables; those that are no UTF-8 are left out.
    pub(crate) variables: BTreeMap<String, String>,
    /// The working folder.
    pub(crate) working_dir: PathBuf,
    /// The effective user.
    pub(crate) uid: u32,
    /// The machine's name.
    pub(crate) host_name: String,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect();
        let host_name = nix::unistd::gethostname().ok().and_then(text);
        Self {
            variables,
            working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            uid: nix::unistd::geteuid().as_raw(),
            host_name: host_name.unwrap_or_else(|| "localhost".to_owned()),
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether the user is root.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// `state_dir` where no file says one.
    ///
    /// A user other than root can't write the system's folders, and without a configuration nobody
    /// gave them any: they get their own.
    pub(crate) fn own_state_dir(&self) -> PathBuf {
        if self.is_root() {
            return PathBuf::from("/var/lib/emperor");
        }
        let home = || PathBuf::from(self.variable("HOME").unwrap_or("/tmp"));
        self.variable("XDG_STATE_HOME")
            .map_or_else(|| home().join(".local/state"), PathBuf::from)
            .join("emperor")
    }

    /// `runtime_dir` where no file says one.
    pub(crate) fn own_runtime_dir(&self) -> PathBuf {
        if self.is_root() {
            return PathBuf::from("/run/emperor");
        }
        self.variable("XDG_RUNTIME_DIR").map_or_else(
            || PathBuf::from(format!("/tmp/emperor-{}", self.uid)),
            |dir| PathBuf::from(dir).join("emperor"),
        )
    }
}
