//! Lines for uWSGI's ini that a row brings along (`extra_uwsgi_ini`): what of them a site may say of
//! itself, and what would break the walls around it.
//!
//! The row is the site's own, the ini is the emperor's. So a line may tune the worker, and may not
//! say who it is, where it listens, what it executes beside the application, or what else is read.

use site_model::{RejectionReason, Site};

use crate::template::{Draft, RESERVED_ENV, is_reserved_env};

/// The name by which templates have the lines.
const NAME: &str = "site.uwsgi_options";
/// What the column is called.
const COLUMN: &str = "extra_uwsgi_ini";

/// What an option would be, were it let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Danger {
    Socket,
    Identity,
    Execution,
    Emperor,
    Plugin,
    Reading,
    Process,
    Environment,
}

/// Options by their beginnings: uWSGI has several hundred, and most of these come in families.
const BEGINNINGS: &[(&str, Danger)] = &[
    ("http", Danger::Socket),
    ("fastrouter", Danger::Socket),
    ("rawrouter", Danger::Socket),
    ("sslrouter", Danger::Socket),
    ("forkpty", Danger::Socket),
    ("zerg", Danger::Socket),
    ("stats", Danger::Socket),
    ("subscri", Danger::Socket),
    ("map-socket", Danger::Socket),
    ("chmod", Danger::Socket),
    ("chown", Danger::Socket),
    ("uid", Danger::Identity),
    ("gid", Danger::Identity),
    ("immediate-", Danger::Identity),
    ("drop-after", Danger::Identity),
    ("add-gid", Danger::Identity),
    ("additional-gid", Danger::Identity),
    ("cap", Danger::Identity),
    ("chroot", Danger::Identity),
    ("pivot", Danger::Identity),
    ("unshare", Danger::Identity),
    ("setns", Danger::Identity),
    ("namespace", Danger::Identity),
    ("cgroup", Danger::Identity),
    ("emperor", Danger::Emperor),
    ("early-emperor", Danger::Emperor),
    ("vassal", Danger::Emperor),
    ("zeus", Danger::Emperor),
    ("imperial", Danger::Emperor),
    ("broodlord", Danger::Emperor),
    ("heartbeat", Danger::Emperor),
    ("legion", Danger::Execution),
    ("hook", Danger::Execution),
    ("exec", Danger::Execution),
    ("early-exec", Danger::Execution),
    ("cron", Danger::Execution),
    ("unique-cron", Danger::Execution),
    ("attach-", Danger::Execution),
    ("smart-attach-", Danger::Execution),
    ("touch-", Danger::Execution),
    ("plugin", Danger::Plugin),
    ("need-plugin", Danger::Plugin),
    ("load-plugin", Danger::Plugin),
    ("dlopen", Danger::Plugin),
    ("early-dlopen", Danger::Plugin),
    ("ini", Danger::Reading),
    ("xml", Danger::Reading),
    ("yaml", Danger::Reading),
    ("yml", Danger::Reading),
    ("json", Danger::Reading),
    ("sqlite", Danger::Reading),
    ("ldap", Danger::Reading),
    ("inherit", Danger::Reading),
    ("include", Danger::Reading),
    ("config", Danger::Reading),
    ("unenv", Danger::Environment),
    ("envdir", Danger::Environment),
    ("early-envdir", Danger::Environment),
    ("master-fifo", Danger::Process),
    ("no-master", Danger::Process),
    ("daemonize", Danger::Process),
    ("pidfile", Danger::Process),
    ("safe-pidfile", Danger::Process),
];

/// Options by their whole names.
const NAMES: &[(&str, Danger)] = &[
    ("s", Danger::Socket),
    ("b", Danger::Process),
    ("d", Danger::Process),
    ("x", Danger::Reading),
    ("y", Danger::Reading),
    ("j", Danger::Reading),
    ("master", Danger::Process),
    ("die-on-term", Danger::Process),
];

/// The name of the option, and the value after `=`.
type OptionLine<'a> = (&'a str, Option<&'a str>);

/// Whether a template uses the lines; in one that doesn't they mean nothing.
pub(super) fn are_used(draft: &Draft) -> bool {
    let mut texts = draft.files.values();
    texts.any(|piece| piece.text.contains(NAME))
}

/// Refuses the first line that would break a wall.
pub(super) fn check(site: &Site, rows_may_set_vars: bool) -> Result<(), RejectionReason> {
    let refuse = |detail| RejectionReason::Column {
        column: COLUMN,
        detail,
    };
    let mut lines = lines(site).peekable();
    if lines.peek().is_some() && !rows_may_set_vars {
        return Err(refuse(
            "policy.site_may_set has no \"vars\", so no row says how its worker runs".to_owned(),
        ));
    }
    lines.try_for_each(|line| check_line(line).map_err(refuse))
}

/// Why a line can't be in a site's ini; `None`: it can.
pub fn uwsgi_line_refusal(line: &str) -> Option<String> {
    check_line(line).err()
}

/// The lines that say something. A header of uWSGI's own section says nothing.
pub(super) fn lines(site: &Site) -> impl Iterator<Item = &str> {
    let lines = site.extra_uwsgi_ini.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with([';', '#']) && *line != "[uwsgi]")
}

fn check_line(line: &str) -> Result<(), String> {
    if line.starts_with('[') {
        return Err(format!(
            "{line:?} begins another section; only [uwsgi] is read"
        ));
    }
    if line.ends_with('\\') || line.chars().any(char::is_control) {
        return Err(format!("{line:?} is more than one line"));
    }
    let (name, value) = option(line);
    let name = name
        .trim_start_matches('-')
        .replace('_', "-")
        .to_ascii_lowercase();
    if let Some(danger) = danger(&name) {
        return Err(format!("{name:?} can't be set here: {}", danger.reason()));
    }
    if name == "env" || name == "early-env" {
        check_env(value.unwrap_or_default())?;
    }
    // uWSGI puts the content of the file, or the output of the command, in its place.
    if line.contains("@(") {
        return Err(format!("{name:?} reads elsewhere: @(…) can't be used here"));
    }
    Ok(())
}

fn option(line: &str) -> OptionLine<'_> {
    match line.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (line, None),
    }
}

fn danger(name: &str) -> Option<Danger> {
    let whole = NAMES.iter().find(|(known, _)| *known == name);
    let begun = || BEGINNINGS.iter().find(|(begin, _)| name.starts_with(begin));
    let found = whole.or_else(begun).map(|(_, danger)| *danger);
    // Every protocol has a socket of its own: `uwsgi-socket`, `raw-socket`, `shared-socket`.
    found.or_else(|| name.ends_with("socket").then_some(Danger::Socket))
}

fn check_env(value: &str) -> Result<(), String> {
    let name = value.split('=').next().unwrap_or_default().trim();
    if is_reserved_env(name) {
        return Err(format!(
            "env {name} is the emperor's own and can't be set: {}",
            RESERVED_ENV.join(", ")
        ));
    }
    // `$(NAME)` and `%(name)` could spell a name that is reserved.
    if name.contains(['$', '%', '(']) {
        return Err(format!("env {name:?} is no name"));
    }
    Ok(())
}

impl Danger {
    const fn reason(self) -> &'static str {
        match self {
            Self::Socket => "the emperor binds the site's socket, and the router alone opens it",
            Self::Identity => "who the worker is, is run_as's to say",
            Self::Execution => "nothing is executed beside the application",
            Self::Emperor => "the worker has an emperor",
            Self::Plugin => "which code uWSGI loads is the template's to say",
            Self::Reading => "no further configuration is read",
            Self::Process => "the emperor starts and stops the worker",
            Self::Environment => "SITE_ID and its like are the emperor's own; use env",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Option<String> {
        check_line(line).err()
    }

    #[test]
    fn what_tunes_a_worker_is_taken() {
        for line in [
            "workers = 5",
            "cheaper = 1",
            "harakiri=30",
            "buffer-size = 8192",
            "env = DJANGO_DEBUG=0",
            "static-map = /static=/srv/static",
            "route = ^/old redirect:/new",
            "max-requests = 500",
            "lazy-apps",
            "py-autoreload = 0",
            "socket-timeout = 30",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
    }

    #[test]
    fn what_breaks_a_wall_is_refused_by_name() {
        for line in [
            "env = SITE_ID=7",
            "env=SITE_DOMAIN = x",
            "env = LISTEN_FDS=1",
            "env = $(X)=7",
            "unenv = SITE_ID",
            "socket = /tmp/x.sock",
            "uwsgi_socket = :3031",
            "--http = :80",
            "HTTP-SOCKET = :80",
            "shared-socket = 0.0.0.0:80",
            "stats = /tmp/stats",
            "uid = root",
            "gid = 0",
            "chroot = /",
            "hook-post-app = exec:id",
            "exec-asap = id",
            "cron = 0 0 -1 -1 -1 id",
            "attach-daemon = id",
            "emperor = /etc/vassals",
            "vassal-sos-backlog = 1",
            "plugins = python3",
            "plugin-dir = /tmp",
            "ini = /etc/other.ini",
            "include = exec://id",
            "master = false",
            "daemonize = /dev/null",
            "[other]",
            "workers = @(exec://id)",
            "workers = 5 \\",
        ] {
            assert!(refusal(line).is_some(), "{line} was taken");
        }
    }

    #[test]
    fn a_refusal_names_the_option_and_why() {
        assert_eq!(
            refusal("uid = root").as_deref(),
            Some("\"uid\" can't be set here: who the worker is, is run_as's to say")
        );
    }
}
