//! Every key of a template, of `[vassal]`, of `[templates.NAME]` and of a row's `extra_config`: one
//! table from which texts are checked, built-in defaults are taken, and the documentation is
//! checked.

pub use super::key::Key;
use super::key::new;
use super::kind::{Kind, Zero};

/// Tables whose keys are the template's own: name and meaning.
pub const MAPS: &[(&str, &str)] = &[
    ("vars", "what a site may fill in"),
    ("env", "what is added to the clean environment"),
    ("files", "texts rendered into the instance's private folder"),
];

/// All of them, tables together.
pub const KEYS: &[Key] = &[
    new(
        "description",
        Kind::Note(|draft| &mut draft.description),
        "\"\"",
        "one line for `emperor template list`",
    ),
    new(
        "protocol",
        Kind::Protocol(|draft| &mut draft.protocol),
        "\"http\"",
        "what the workers speak on their socket; may be rendered from `vars`",
    ),
    new(
        "listen",
        Kind::Listen(|draft| &mut draft.listen),
        "\"fd\"",
        "`fd`: the emperor binds and the worker inherits descriptor 3; `path`: the worker binds `socket.path`; may be rendered from `vars`",
    ),
    new(
        "command",
        Kind::Command(|draft| &mut draft.command),
        "",
        "program and arguments, each rendered on its own; required in a template",
    ),
    new(
        "working_dir",
        Kind::Folder(|draft| &mut draft.working_dir),
        "",
        "folder it runs in, rendered; without it: `instance.dir`",
    ),
    new(
        "ready.probe",
        Kind::Probe(|draft| &mut draft.probe),
        "\"http\"",
        "`http`: a GET with the site's own Host answers; `notify`: `READY=1` on `NOTIFY_SOCKET`; `connect`: the socket accepts",
    ),
    new(
        "ready.path",
        Kind::Target(|draft| &mut draft.ready_path),
        "\"/\"",
        "what the `http` probe asks for",
    ),
    new(
        "ready.status",
        Kind::Statuses(|draft| &mut draft.ready_status),
        "\"200-499\"",
        "statuses that count as ready: numbers and ranges, separated by commas",
    ),
    new(
        "ready.warm",
        Kind::Targets(|draft| &mut draft.ready_warm),
        "[]",
        "paths that are asked for as well before visitors are let in, one after the other, so that no visitor waits for what is made at the first request; any answer will do",
    ),
    new(
        "ready.timeout",
        Kind::Duration(Zero::Refused, |draft| &mut draft.ready_timeout),
        "\"60s\"",
        "how long an instance may take from its start until it is ready",
    ),
    new(
        "health.interval",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.health_interval),
        "\"0s\"",
        "time between two probes of a ready instance; 0: none",
    ),
    new(
        "health.path",
        Kind::OptionalTarget(|draft| &mut draft.health_path),
        "",
        "what is asked for, with the site's own Host; without it: as `ready.probe` has it, or a connection",
    ),
    new(
        "health.timeout",
        Kind::Duration(Zero::Refused, |draft| &mut draft.health_timeout),
        "\"10s\"",
        "how long an answer may take",
    ),
    new(
        "health.failures",
        Kind::Count(1..=1000, |draft| &mut draft.health_failures),
        "3",
        "so many failures in a row make an instance unwell, and it is replaced",
    ),
    new(
        "health.successes",
        Kind::Count(1..=1000, |draft| &mut draft.health_successes),
        "2",
        "so many good probes in a row make it well again",
    ),
    new(
        "health.watchdog",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.health_watchdog),
        "\"0s\"",
        "how long a ready instance may be without `WATCHDOG=1` on `NOTIFY_SOCKET` before that counts as a failure, at least a second; 0: it need not say so",
    ),
    new(
        "preload.enabled",
        Kind::Switch(|draft| &mut draft.preload_enabled),
        "false",
        "`true`: `command` starts a preloader, one for all sites for which it would be started alike, and each instance is forked from it",
    ),
    new(
        "preload.timeout",
        Kind::Duration(Zero::Refused, |draft| &mut draft.preload_timeout),
        "\"60s\"",
        "how long a preloader may take until it can be forked",
    ),
    new(
        "preload.keep",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.preload_keep),
        "\"1h\"",
        "how long a preloader stays once no site is to be forked from it; 0: none is kept for sites that sleep",
    ),
    new(
        "instances.min",
        Kind::Count(1..=1000, |draft| &mut draft.instances_min),
        "1",
        "how many instances run at least",
    ),
    new(
        "instances.max",
        Kind::Count(1..=1000, |draft| &mut draft.instances_max),
        "1",
        "how many run at most, where the load wants them; raised to `instances.min` where only that is set",
    ),
    new(
        "instances.concurrency",
        Kind::Count(0..=1_000_000, |draft| &mut draft.instances_concurrency),
        "0",
        "requests in flight per instance; 0: no bound",
    ),
    new(
        "instances.max_surge",
        Kind::Surge(|draft| &mut draft.instances_max_surge),
        "1",
        "how many more there may be while they are replaced, those that end included",
    ),
    new(
        "idle.stop_after",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.idle_stop_after),
        "\"0s\"",
        "stop after that long without a request, to be woken by the next; 0: never",
    ),
    new(
        "idle.answer_without_waking",
        Kind::Targets(|draft| &mut draft.idle_answered),
        "[]",
        "paths, those of health checkers, that are answered with 204 while the site sleeps: they don't wake it, and don't keep it awake",
    ),
    new(
        "queue.depth",
        Kind::Count(0..=1_000_000, |draft| &mut draft.queue_depth),
        "100",
        "how many requests may wait while nothing is ready or has room",
    ),
    new(
        "queue.timeout",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.queue_timeout),
        "\"30s\"",
        "how long one may wait",
    ),
    new(
        "restart.backoff_initial",
        Kind::Duration(Zero::Refused, |draft| &mut draft.backoff_initial),
        "\"500ms\"",
        "pause after the first crash; it doubles with each",
    ),
    new(
        "restart.backoff_max",
        Kind::Duration(Zero::Refused, |draft| &mut draft.backoff_max),
        "\"3m\"",
        "longest such pause",
    ),
    new(
        "stop.signal",
        Kind::Signal(|draft| &mut draft.stop_signal),
        "\"SIGTERM\"",
        "signal that asks an instance to end",
    ),
    new(
        "stop.grace",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.stop_grace),
        "\"30s\"",
        "how long it may take before its process group is killed",
    ),
    new(
        "recycle.max_requests",
        Kind::Number(|draft| &mut draft.recycle_max_requests),
        "0",
        "replace an instance after that many requests; 0: never",
    ),
    new(
        "recycle.max_memory",
        Kind::Bytes(|draft| &mut draft.recycle_max_memory),
        "\"0\"",
        "replace an instance whose processes have that much memory together, shared pages counted once; 0: never",
    ),
    new(
        "recycle.max_age",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.recycle_max_age),
        "\"0s\"",
        "replace an instance after that long; 0: never",
    ),
    new(
        "limits.memory_max",
        Kind::Bytes(|draft| &mut draft.limits.memory_max_bytes),
        "\"0\"",
        "memory an instance may have; above it the kernel ends the instance, and no other; 0: no bound",
    ),
    new(
        "limits.memory_high",
        Kind::Bytes(|draft| &mut draft.limits.memory_high_bytes),
        "\"0\"",
        "memory above which an instance is slowed down and made to give some back; 0: no bound",
    ),
    new(
        "limits.swap_max",
        Kind::Swap(|draft| &mut draft.limits.swap_max_bytes),
        "\"max\"",
        "swap an instance may have, besides its memory; 0: none; `max`: no bound",
    ),
    new(
        "limits.cpu_max",
        Kind::Percent(|draft| &mut draft.limits.cpu_max_percent),
        "\"0\"",
        "processor time an instance may have, 100% being one core; 0: no bound",
    ),
    new(
        "limits.cpu_weight",
        Kind::Count(0..=10_000, |draft| &mut draft.limits.cpu_weight),
        "0",
        "its share of processor time where others want it too, 100 being usual; 0: as the kernel has it",
    ),
    new(
        "limits.io_weight",
        Kind::Count(0..=10_000, |draft| &mut draft.limits.io_weight),
        "0",
        "its share of a disk where others want it too, 100 being usual; 0: as the kernel has it",
    ),
    new(
        "limits.pids_max",
        Kind::Number(|draft| &mut draft.limits.pids_max),
        "0",
        "processes and threads an instance may have; 0: no bound",
    ),
    new(
        "limits.nofile",
        Kind::Number(|draft| &mut draft.limits.nofile),
        "0",
        "descriptors a process may have open; 0: as the emperor has it",
    ),
    new(
        "sandbox.required",
        Kind::Switch(|draft| &mut draft.sandbox.required),
        "false",
        "`true`: without every limit and wall that is asked for, nothing is started; `false`: what is missing is told",
    ),
    new(
        "sandbox.private_tmp",
        Kind::Switch(|draft| &mut draft.sandbox.private_tmp),
        "false",
        "`/tmp` and `/var/tmp` are the instance's own, empty at its start and gone with it",
    ),
    new(
        "sandbox.tmp_size",
        Kind::Bytes(|draft| &mut draft.sandbox.tmp_size_bytes),
        "\"256MiB\"",
        "what the private `/tmp` may hold; it is memory; 0: half of the machine's",
    ),
    new(
        "sandbox.read_only_system",
        Kind::Switch(|draft| &mut draft.sandbox.read_only_system),
        "false",
        "everything is read-only but the instance's own folders, `/tmp`, `/var/tmp`, `/dev`, `/proc` and `sandbox.writable`",
    ),
    new(
        "sandbox.writable",
        Kind::Paths(|draft| &mut draft.reach.writable),
        "[]",
        "rendered; not empty: an instance writes to these, to what is its own, and nowhere else",
    ),
    new(
        "sandbox.readable",
        Kind::Paths(|draft| &mut draft.reach.readable),
        "[]",
        "rendered; not empty: an instance reads these, the system's folders, what is its own, and nothing else",
    ),
    new(
        "sandbox.inaccessible",
        Kind::Paths(|draft| &mut draft.reach.inaccessible),
        "[]",
        "rendered; folders and files that are empty and closed to an instance",
    ),
    new(
        "sandbox.syscalls",
        Kind::Syscalls(|draft| &mut draft.sandbox.syscalls),
        "\"service\"",
        "`service`: system calls that administer the machine are refused; `off`: none is",
    ),
    new(
        "sandbox.capabilities",
        Kind::Capabilities(|draft| &mut draft.sandbox.capabilities),
        "[]",
        "rights of root's that a worker has, such as `CAP_NET_BIND_SERVICE`; what isn't named can't be gained either",
    ),
    new(
        "cache.mode",
        Kind::CacheMode(|draft| &mut draft.cache.mode),
        "\"http\"",
        "`off`: nothing is kept; `http`: what RFC 9111 lets a shared cache keep; `until-purged`: every cacheable page until it is purged",
    ),
    new(
        "cache.ignore",
        Kind::Patterns(|draft| &mut draft.cache.ignore),
        "['^/admin/']",
        "regular expressions over the path; what matches one is never kept",
    ),
    new(
        "cache.path",
        Kind::CachePaths(|draft| &mut draft.cache.paths),
        "[]",
        "a regular expression over the path, and the mode of what it matches; the first that matches decides",
    ),
    new(
        "cache.max_age",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.cache_max_age),
        "\"0s\"",
        "`until-purged`: how long a page is kept at most; 0: until it is purged",
    ),
    new(
        "cache.cookies",
        Kind::Cookies(|draft| &mut draft.cache.cookies),
        "[]",
        "cookies that tell pages apart; a request with any other one is the worker's",
    ),
    new(
        "cache.ignore_cookies",
        Kind::CookieNames(|draft| &mut draft.cache.ignore_cookies),
        "[]",
        "cookies that the application doesn't read, such as those of analytics: they keep nothing from the cache, and the worker doesn't get them with a request for a page that may be kept",
    ),
    new(
        "cache.ignore_query",
        Kind::Parameters(|draft| &mut draft.cache.ignore_query),
        "[]",
        "query parameters that don't tell pages apart",
    ),
    new(
        "cache.sort_query",
        Kind::Switch(|draft| &mut draft.cache.sort_query),
        "false",
        "whether the order of query parameters means nothing",
    ),
    new(
        "cache.stale_while_revalidate",
        Kind::Duration(Zero::Allowed, |draft| {
            &mut draft.cache.stale_while_revalidate
        }),
        "\"0s\"",
        "how long an expired page is served while it is refreshed, where the answer doesn't say",
    ),
    new(
        "cache.stale_if_error",
        Kind::Duration(Zero::Allowed, |draft| &mut draft.cache.stale_if_error),
        "\"0s\"",
        "how long an expired page is served while workers fail or sleep, where the answer doesn't say",
    ),
    new(
        "cache.max_page",
        Kind::Bytes(|draft| &mut draft.cache_max_page),
        "\"8MiB\"",
        "the largest page that is kept",
    ),
];
