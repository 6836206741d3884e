//! Things a machine can lack: how each is recognised, and which Debian packages bring it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::shell;

/// The interpreter of the system. One that is managed in somebody's home is no use to workers:
/// they run as users of their own and can't enter it.
pub(super) const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Something that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The server programs of PostgreSQL.
    PostgreSql,
    /// python3.
    Python,
    /// Its `venv` with `ensurepip`, which Debian keeps apart.
    PythonVenv,
    /// Its C headers: uWSGI comes as source.
    PythonHeaders,
    /// A C compiler, for the same reason.
    CCompiler,
    /// A C++ compiler: libFuzzer comes as source.
    CxxCompiler,
    /// node.
    Node,
    /// A pooling proxy, in front of which LISTEN is lost.
    PgBouncer,
    /// nginx, to compare the fastrouter with.
    Nginx,
    /// Its module that purges pages: what purge targets are tried against.
    NginxPurge,
    /// Varnish, likewise.
    Varnish,
    /// HAProxy, to compare the fastrouter with.
    HaProxy,
    /// wrk, which makes load.
    Wrk,
    /// strace, which counts system calls.
    Strace,
    /// The `openssl` program, which makes certificates for tests.
    OpenSsl,
    /// systemd, and `systemd-nspawn` to boot it in a folder.
    Systemd,
    /// Chromium and what drives it: editors work in browsers.
    Chromium,
    /// uWSGI with the emperor that reads PostgreSQL, to compare ours with.
    UwsgiEmperor,
}

impl Need {
    /// Whether it is there.
    pub(super) fn is_met(self) -> bool {
        match self {
            Self::PostgreSql => has_postgresql(),
            Self::Python => Path::new(SYSTEM_PYTHON).is_file(),
            Self::PythonVenv => python_says("import ensurepip, venv"),
            Self::PythonHeaders => python_says(
                "import os, sysconfig; open(os.path.join(sysconfig.get_path('include'), 'Python.h'))",
            ),
            Self::CCompiler => on_system_path("gcc").is_some(),
            Self::CxxCompiler => on_system_path("g++").is_some(),
            Self::Node => on_system_path("node").is_some(),
            Self::PgBouncer => Path::new("/usr/sbin/pgbouncer").is_file(),
            Self::Nginx => Path::new("/usr/sbin/nginx").is_file(),
            Self::NginxPurge => {
                Path::new("/usr/lib/nginx/modules/ngx_http_cache_purge_module.so").is_file()
            }
            Self::Varnish => Path::new("/usr/sbin/varnishd").is_file(),
            Self::HaProxy => Path::new("/usr/sbin/haproxy").is_file(),
            Self::Wrk => on_system_path("wrk").is_some(),
            Self::Strace => on_system_path("strace").is_some(),
            Self::OpenSsl => on_system_path("openssl").is_some(),
            Self::Systemd => on_system_path("systemd-nspawn").is_some(),
            Self::Chromium => ["chromium", "chromedriver"]
                .iter()
                .all(|program| on_system_path(program).is_some()),
            Self::UwsgiEmperor => ["emperor_pg", "http", "python3"].iter().all(|plugin| {
                let plugin = format!("/usr/lib/uwsgi/plugins/{plugin}_plugin.so");
                Path::new(&plugin).is_file()
            }),
        }
    }

    /// The Debian packages that bring it.
    pub(super) fn packages(self) -> &'static [&'static str] {
        match self {
            Self::PostgreSql => &["postgresql"],
            Self::Python => &["python3"],
            Self::PythonVenv => &["python3-venv"],
            Self::PythonHeaders => &["python3-dev"],
            Self::CCompiler => &["gcc", "libc6-dev"],
            Self::CxxCompiler => &["g++"],
            Self::Node => &["nodejs"],
            Self::PgBouncer => &["pgbouncer"],
            Self::Nginx => &["nginx"],
            Self::NginxPurge => &["nginx", "libnginx-mod-http-cache-purge"],
            Self::Varnish => &["varnish"],
            Self::HaProxy => &["haproxy"],
            Self::Wrk => &["wrk"],
            Self::Strace => &["strace"],
            Self::OpenSsl => &["openssl"],
            Self::Systemd => &["systemd-container"],
            Self::Chromium => &["chromium", "chromium-driver"],
            Self::UwsgiEmperor => &[
                "uwsgi-core",
                "uwsgi-plugin-emperor-pg",
                "uwsgi-plugin-python3",
            ],
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostgreSql => "PostgreSQL's server programs",
            Self::Python => "python3",
            Self::PythonVenv => "python3's venv module",
            Self::PythonHeaders => "python3's C headers",
            Self::CCompiler => "a C compiler",
            Self::CxxCompiler => "a C++ compiler",
            Self::Node => "node",
            Self::PgBouncer => "pgbouncer",
            Self::Nginx => "nginx",
            Self::NginxPurge => "nginx's cache-purge module",
            Self::Varnish => "Varnish",
            Self::HaProxy => "HAProxy",
            Self::Wrk => "wrk",
            Self::Strace => "strace",
            Self::OpenSsl => "the openssl program",
            Self::Systemd => "systemd with systemd-nspawn",
            Self::Chromium => "Chromium with chromedriver",
            Self::UwsgiEmperor => "uWSGI with emperor_pg",
        })
    }
}

/// A program that every user of this machine can run: the folders of a worker's clean `PATH`.
pub(super) fn on_system_path(program: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
    shell::find_in(folders.map(Path::new), program)
}

fn has_postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut versioned = versions.into_iter().flatten().flatten();
    versioned.any(|version| version.path().join("bin/initdb").is_file())
        || on_system_path("initdb").is_some()
}

fn python_says(program: &str) -> bool {
    shell::succeeds(shell::command(SYSTEM_PYTHON).args(["-c", program]))
}
