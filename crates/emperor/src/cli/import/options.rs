//! Where each of uWSGI's options goes.

use Goes::{
    AppDir, Block, Domain, Dropped, Env, Group, Idle, IsCheap, LateDir, Lost, Module, Number,
    OptionLine, Placeholder, Plugins, Subscription, User, Virtualenv, WsgiFile,
};

/// Where an option goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    AppDir,
    LateDir,
    Module,
    WsgiFile,
    Virtualenv,
    /// A variable of the template that is a number.
    Number(&'static str),
    Plugins,
    User,
    Group,
    Idle,
    IsCheap,
    Env,
    Domain,
    Subscription,
    Placeholder,
    /// The beginning or end of a loop or a condition.
    Block,
    /// The emperor, the router or the template does it.
    Dropped(&'static str),
    /// Nobody does it; this instead.
    Lost(&'static str),
    /// A line of the ini.
    OptionLine,
}

const SOCKET: Goes = Dropped("the emperor binds the site's socket, and the router alone opens it");
const TEMPLATE: Goes = Dropped("the template says so already");
const OUTPUT: Goes =
    Dropped("what it writes is captured (emperor logs), and the router logs requests");
const SUPERVISED: Goes = Dropped("the emperor supervises the site, and keeps no pid file");
const COMMAND: Goes =
    Lost("nothing is executed beside the application; do it when the site is deployed");
const BESIDE: Goes = Lost("give it a systemd service or timer of its own");
const TOUCH: Goes = Lost(
    "no file is watched; `emperor reload SITE` or `SELECT emperor.reload(ID)` replaces its workers",
);
const LIMITS: Goes = Lost("say it in [limits] or [sandbox] of [templates.uwsgi] in emperor.toml");

/// Options by their whole names.
const NAMES: &[(&str, Goes)] = &[
    ("chdir", AppDir),
    ("chdir2", LateDir),
    ("module", Module),
    ("wsgi", Module),
    ("w", Module),
    ("wsgi-file", WsgiFile),
    ("file", WsgiFile),
    ("home", Virtualenv),
    ("venv", Virtualenv),
    ("virtualenv", Virtualenv),
    ("pyhome", Virtualenv),
    ("H", Virtualenv),
    ("workers", Number("workers")),
    ("processes", Number("workers")),
    ("p", Number("workers")),
    ("threads", Number("threads")),
    ("harakiri", Number("harakiri")),
    ("t", Number("harakiri")),
    ("max-requests", Number("max_requests")),
    ("R", Number("max_requests")),
    ("plugin", Plugins),
    ("plugins", Plugins),
    ("uid", User),
    ("gid", Group),
    ("idle", Idle),
    ("cheap", IsCheap),
    ("die-on-idle", IsCheap),
    ("env", Env),
    ("domain", Domain),
    ("domains", Domain),
    ("server-name", Domain),
    ("server-names", Domain),
    ("site-domain", Domain),
    ("alias", Domain),
    ("aliases", Domain),
    ("hosts", Domain),
    ("set-ph", Placeholder),
    ("set-placeholder", Placeholder),
    ("endfor", Block),
    ("end-for", Block),
    ("endif", Block),
    ("end-if", Block),
    ("s", SOCKET),
    ("protocol", SOCKET),
    (
        "listen",
        Dropped("the emperor listens; queue.depth says how many requests may wait"),
    ),
    (
        "l",
        Dropped("the emperor listens; queue.depth says how many requests may wait"),
    ),
    ("chmod-socket", SOCKET),
    ("chown-socket", SOCKET),
    ("C", SOCKET),
    ("master", TEMPLATE),
    ("M", TEMPLATE),
    ("die-on-term", TEMPLATE),
    ("lazy", TEMPLATE),
    ("lazy-apps", TEMPLATE),
    ("need-app", TEMPLATE),
    ("strict", TEMPLATE),
    ("single-interpreter", TEMPLATE),
    ("enable-threads", TEMPLATE),
    ("T", TEMPLATE),
    (
        "buffer-size",
        Dropped("the template gives it the most that the protocol has"),
    ),
    (
        "b",
        Dropped("the template gives it the most that the protocol has"),
    ),
    ("vacuum", Dropped("the emperor removes what it made")),
    (
        "no-orphans",
        Dropped("the emperor ends every process of a site"),
    ),
    ("disable-logging", OUTPUT),
    ("L", OUTPUT),
    ("pidfile", SUPERVISED),
    ("pidfile2", SUPERVISED),
    ("safe-pidfile", SUPERVISED),
    ("safe-pidfile2", SUPERVISED),
    ("daemonize", SUPERVISED),
    ("daemonize2", SUPERVISED),
    ("d", SUPERVISED),
    ("master-fifo", SUPERVISED),
    (
        "show-config",
        Dropped("`emperor template render SITE` shows what runs"),
    ),
    (
        "print",
        Dropped("`emperor template render SITE` shows what runs"),
    ),
    ("fs-reload", TOUCH),
    ("fs-brutal-reload", TOUCH),
    ("chroot", LIMITS),
];

/// Options by their beginnings.
const BEGINNINGS: &[(&str, Goes)] = &[
    ("subscribe", Subscription),
    ("fastrouter-subscribe", Subscription),
    ("for", Block),
    ("if-", Block),
    (
        "http",
        Dropped("the router takes HTTP, where router.listen in emperor.toml says"),
    ),
    ("fastrouter", Dropped("the router is the emperor's")),
    (
        "subscription",
        Dropped("the row tells the router where the site is"),
    ),
    (
        "unsubscribe",
        Dropped("the router is told before a worker stops"),
    ),
    ("log", OUTPUT),
    ("req-log", OUTPUT),
    ("stats", Dropped("`emperor status` tells what runs")),
    ("emperor", Dropped("the row is in place of it")),
    ("vassal", Dropped("the row is in place of it")),
    ("imperial", Dropped("the row is in place of it")),
    (
        "heartbeat",
        Dropped("the emperor looks after its workers by itself; see [health]"),
    ),
    ("hook", COMMAND),
    ("exec", COMMAND),
    ("attach-", BESIDE),
    ("smart-attach-", BESIDE),
    ("cron", BESIDE),
    ("unique-cron", BESIDE),
    ("legion", BESIDE),
    ("touch-", TOUCH),
    ("cgroup", LIMITS),
    ("unshare", LIMITS),
    ("namespace", LIMITS),
    ("cap", LIMITS),
];

/// Where an option goes; `key` is spelled with hyphens.
pub(super) fn goes(key: &str) -> Goes {
    let whole = NAMES.iter().find(|(name, _)| *name == key);
    let begun = || BEGINNINGS.iter().find(|(begin, _)| key.starts_with(begin));
    let found = whole.or_else(begun).map(|(_, goes)| *goes);
    match found {
        Some(goes) => goes,
        // Every protocol has a socket of its own.
        None if key.ends_with("socket") => SOCKET,
        None => OptionLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_known_by_its_name_or_its_family() {
        assert_eq!(goes("processes"), Number("workers"));
        assert_eq!(goes("subscribe2"), Subscription);
        assert_eq!(goes("uwsgi-socket"), SOCKET);
        assert_eq!(goes("attach-daemon2"), BESIDE);
        assert_eq!(goes("if-exists"), Block);
        assert_eq!(goes("harakiri-verbose"), OptionLine);
        assert_eq!(goes("cheaper"), OptionLine);
        assert_eq!(goes("socket-timeout"), OptionLine);
        assert_eq!(goes("static-map"), OptionLine);
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
