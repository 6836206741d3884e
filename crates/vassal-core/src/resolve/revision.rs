//! The revision of a specification: a hash over everything that makes its workers what they are.
//!
//! Where the site is reached is none of that, unless a worker is told.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use site_model::{QueueBounds, Revision, RunAs, Site};

use super::uwsgi_options;
use crate::settings::{
    Health, Idle, Instances, Limits, Preload, Probe, Ready, Recycle, Restart, Sandbox, Settings,
    Stop,
};
use crate::spec::{NamesTold, SiteHosts, VassalSpec};
use crate::template::{Draft, Piece, ReachPieces, VarValue, Word};

/// Raised when the encoding below changes its meaning, or a built-in default becomes another that what
/// runs can't be told of: each instance is replaced then.
const ENCODING: u64 = 3;

/// What holds where nothing is said.
static UNSAID: LazyLock<Settings> = LazyLock::new(Settings::default);

/// Hashes a specification and the draft that it was made from; its own `revision` is not looked at.
///
/// Every struct is taken apart field by field, so that a field that is added can't be forgotten.
pub(super) fn of(spec: &VassalSpec, draft: &Draft) -> Revision {
    let VassalSpec {
        site,
        hosts,
        template,
        protocol,
        listen,
        run_as,
        settings,
        // What it renders is in the draft.
        recipe: _,
        told,
        // Nothing of a pool's processes depends on which sites are in it.
        asked_as: _,
        revision: _,
    } = spec;
    let mut encoder = Encoder::default();
    encoder.number(ENCODING);
    encoder.number(site.id.get().cast_unsigned());
    encoder.optional(site.pool.as_deref());
    encoder.number(site.reloads);
    encoder.names(*told, site, hosts);
    // Only where it changes what runs; what uses it is in the draft.
    if uwsgi_options::are_used(draft) {
        encoder.text(&site.extra_uwsgi_ini);
    }
    encoder.text(template.as_str());
    encoder.word(*protocol);
    encoder.word(*listen);
    encoder.optional(match run_as {
        RunAs::Auto => None,
        RunAs::User(name) => Some(name),
    });
    encoder.settings(settings, &draft.reach);
    encoder.list(&*draft.command, Encoder::piece);
    encoder.list(&draft.working_dir, Encoder::piece);
    for pieces in [&draft.env, &draft.files] {
        encoder.list(&**pieces, |encoder, (name, piece)| {
            encoder.text(name);
            encoder.piece(piece);
        });
    }
    encoder.list(&*draft.vars, |encoder, (name, variable)| {
        encoder.text(name);
        encoder.list(&variable.value, |encoder, (value, _)| {
            encoder.variable(value);
        });
    });
    encoder.finish()
}

/// Writes values so that no two lists of values are written alike: everything has a fixed length,
/// or its length before it.
#[derive(Default)]
struct Encoder(blake3::Hasher);

impl Encoder {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.list(&text, |encoder, text| encoder.text(text));
    }

    fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(u64::from(duration.subsec_nanos()));
    }

    fn word<W: Word>(&mut self, value: W) {
        self.optional(value.word());
    }

    fn list<'a, I>(
        &mut self,
        items: &'a I,
        mut each: impl FnMut(&mut Self, <&'a I as IntoIterator>::Item),
    ) where
        I: ?Sized,
        &'a I: IntoIterator,
    {
        // Counted first: an iterator over references costs nothing to run twice.
        self.number(items.into_iter().count() as u64);
        for item in items {
            each(self, item);
        }
    }

    /// The site's names that its workers are told, each under its own, and an empty one after the last.
    fn names(&mut self, told: NamesTold, site: &Site, hosts: &SiteHosts) {
        let NamesTold {
            slug,
            domain,
            hosts: all,
        } = told;
        if slug {
            self.text("slug");
            self.text(site.slug.as_str());
        }
        if domain {
            self.text("domain");
            self.text(hosts.canonical.as_str());
        }
        if all {
            self.text("hosts");
            let patterns: Vec<_> = hosts.patterns().collect();
            self.list(&patterns, |encoder, host| encoder.text(&host.to_string()));
        }
        self.text("");
    }

    fn piece(&mut self, piece: &Piece) {
        self.text(&piece.text);
    }

    fn variable(&mut self, value: &VarValue) {
        self.text(value.type_name());
        match value {
            VarValue::Text(text) => self.text(text),
            VarValue::Integer(number) => self.number(number.cast_unsigned()),
            VarValue::Float(number) => self.number(number.to_bits()),
            VarValue::Bool(yes) => self.number(u64::from(*yes)),
            VarValue::List(texts) => self.list(texts, |encoder, text| encoder.text(text)),
        }
    }

    /// A value under its name, unless it is what holds where nothing is said: so a setting that did not
    /// exist before, and that nobody has set yet, moves no revision.
    fn setting<T: PartialEq>(
        &mut self,
        name: &str,
        value: &T,
        unsaid: &T,
        write: impl FnOnce(&mut Self, &T),
    ) {
        if value != unsaid {
            self.text(name);
            write(self, value);
        }
    }

    fn whole(&mut self, name: &str, value: impl Into<u64>, unsaid: impl Into<u64>) {
        self.setting(name, &value.into(), &unsaid.into(), |encoder, number| {
            encoder.number(*number);
        });
    }

    fn span(&mut self, name: &str, value: Duration, unsaid: Duration) {
        self.setting(name, &value, &unsaid, |encoder, span| {
            encoder.duration(*span);
        });
    }

    fn paths(&mut self, name: &str, value: &Arc<[String]>, unsaid: &Arc<[String]>) {
        self.setting(name, value, unsaid, |encoder, paths| {
            encoder.list(&**paths, |encoder, path| encoder.text(path));
        });
    }

    fn choice<W: Word>(&mut self, name: &str, value: W, unsaid: W) {
        self.setting(name, &value, &unsaid, |encoder, word| encoder.word(*word));
    }

    /// Settings by name, and an empty name, which none has, after the last.
    fn settings(&mut self, settings: &Settings, reach: &ReachPieces) {
        let unsaid = &*UNSAID;
        let Settings {
            ready:
                Ready {
                    probe,
                    warm,
                    timeout,
                },
            health,
            preload,
            instances,
            idle,
            queue:
                QueueBounds {
                    depth,
                    timeout: patience,
                },
            restart,
            stop: Stop { signal, grace },
            recycle,
            limits,
            sandbox,
            // What is kept of a site's pages is between it and the router, and replaces no worker.
            cache: _,
        } = settings;
        self.setting("ready.probe", probe, &unsaid.ready.probe, Self::probe);
        self.paths("ready.warm", warm, &unsaid.ready.warm);
        self.span("ready.timeout", *timeout, unsaid.ready.timeout);
        self.health(health, &unsaid.health);
        self.preload(preload, &unsaid.preload);
        self.instances(instances, &unsaid.instances);
        self.idle(idle, &unsaid.idle);
        self.whole("queue.depth", *depth, unsaid.queue.depth);
        self.span("queue.timeout", *patience, unsaid.queue.timeout);
        self.restart(restart, &unsaid.restart);
        self.choice("stop.signal", *signal, unsaid.stop.signal);
        self.span("stop.grace", *grace, unsaid.stop.grace);
        self.recycle(recycle, &unsaid.recycle);
        self.limits(limits, &unsaid.limits);
        self.sandbox(sandbox, &unsaid.sandbox);
        self.reach(reach);
        self.text("");
    }

    fn probe(&mut self, probe: &Probe) {
        match probe {
            Probe::Http { path, status } => {
                self.text("http");
                self.text(path);
                self.list(status, |encoder, (first, last)| {
                    encoder.number(u64::from(*first));
                    encoder.number(u64::from(*last));
                });
            }
            Probe::Notify => self.text("notify"),
            Probe::Connect => self.text("connect"),
        }
    }

    fn health(&mut self, health: &Health, unsaid: &Health) {
        let Health {
            interval,
            probe,
            timeout,
            failures,
            successes,
            watchdog,
        } = health;
        self.span("health.interval", *interval, unsaid.interval);
        self.setting("health.probe", probe, &unsaid.probe, Self::probe);
        self.span("health.timeout", *timeout, unsaid.timeout);
        self.whole("health.failures", *failures, unsaid.failures);
        self.whole("health.successes", *successes, unsaid.successes);
        self.span("health.watchdog", *watchdog, unsaid.watchdog);
    }

    fn preload(&mut self, preload: &Preload, unsaid: &Preload) {
        let Preload {
            enabled,
            timeout,
            keep,
        } = preload;
        self.whole("preload.enabled", *enabled, unsaid.enabled);
        self.span("preload.timeout", *timeout, unsaid.timeout);
        self.span("preload.keep", *keep, unsaid.keep);
    }

    fn instances(&mut self, instances: &Instances, unsaid: &Instances) {
        let Instances {
            min,
            max,
            concurrency,
            max_surge,
        } = instances;
        self.whole("instances.min", *min, unsaid.min);
        self.whole("instances.max", *max, unsaid.max);
        self.whole("instances.concurrency", *concurrency, unsaid.concurrency);
        self.whole("instances.max_surge", *max_surge, unsaid.max_surge);
    }

    fn idle(&mut self, idle: &Idle, unsaid: &Idle) {
        let Idle {
            stop_after,
            answered,
        } = idle;
        self.span("idle.stop_after", *stop_after, unsaid.stop_after);
        self.paths("idle.answer_without_waking", answered, &unsaid.answered);
    }

    fn restart(&mut self, restart: &Restart, unsaid: &Restart) {
        let Restart {
            backoff_initial: initial,
            backoff_max: max,
        } = restart;
        self.span("restart.backoff_initial", *initial, unsaid.backoff_initial);
        self.span("restart.backoff_max", *max, unsaid.backoff_max);
    }

    fn recycle(&mut self, recycle: &Recycle, unsaid: &Recycle) {
        let Recycle {
            max_requests,
            max_memory_bytes,
            max_age,
        } = recycle;
        self.whole("recycle.max_requests", *max_requests, unsaid.max_requests);
        let (max, name) = (*max_memory_bytes, "recycle.max_memory");
        self.whole(name, max, unsaid.max_memory_bytes);
        self.span("recycle.max_age", *max_age, unsaid.max_age);
    }

    fn limits(&mut self, limits: &Limits, unsaid: &Limits) {
        let Limits {
            memory_max_bytes: max,
            memory_high_bytes: high,
            swap_max_bytes,
            cpu_max_percent,
            cpu_weight,
            io_weight,
            pids_max,
            nofile,
        } = limits;
        self.whole("limits.memory_max", *max, unsaid.memory_max_bytes);
        self.whole("limits.memory_high", *high, unsaid.memory_high_bytes);
        let (swap, name) = (swap_max_bytes, "limits.swap_max");
        self.setting(name, swap, &unsaid.swap_max_bytes, |encoder, swap| {
            encoder.list(swap, |encoder, bytes| encoder.number(*bytes));
        });
        self.whole("limits.cpu_max", *cpu_max_percent, unsaid.cpu_max_percent);
        self.whole("limits.cpu_weight", *cpu_weight, unsaid.cpu_weight);
        self.whole("limits.io_weight", *io_weight, unsaid.io_weight);
        self.whole("limits.pids_max", *pids_max, unsaid.pids_max);
        self.whole("limits.nofile", *nofile, unsaid.nofile);
    }

    fn sandbox(&mut self, sandbox: &Sandbox, unsaid: &Sandbox) {
        let Sandbox {
            required,
            private_tmp,
            tmp_size_bytes,
            read_only_system: read_only,
            syscalls,
            capabilities,
        } = sandbox;
        self.whole("sandbox.required", *required, unsaid.required);
        self.whole("sandbox.private_tmp", *private_tmp, unsaid.private_tmp);
        self.whole("sandbox.tmp_size", *tmp_size_bytes, unsaid.tmp_size_bytes);
        let name = "sandbox.read_only_system";
        self.whole(name, *read_only, unsaid.read_only_system);
        self.choice("sandbox.syscalls", *syscalls, unsaid.syscalls);
        let (bits, unsaid) = (capabilities.bits(), unsaid.capabilities.bits());
        self.whole("sandbox.capabilities", bits, unsaid);
    }

    fn reach(&mut self, reach: &ReachPieces) {
        let ReachPieces {
            writable,
            readable,
            inaccessible,
        } = reach;
        let named = [
            ("sandbox.writable", writable),
            ("sandbox.readable", readable),
            ("sandbox.inaccessible", inaccessible),
        ];
        for (name, paths) in named {
            if !paths.is_empty() {
                self.text(name);
                self.list(&**paths, Self::piece);
            }
        }
    }

    fn finish(&self) -> Revision {
        let hash = self.0.finalize();
        let half = hash.as_bytes().first_chunk();
        Revision::from_bytes(*half.expect("a hash has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(settings: &Settings) -> blake3::Hash {
        let mut encoder = Encoder::default();
        encoder.settings(settings, &ReachPieces::default());
        encoder.0.finalize()
    }

    #[test]
    fn a_setting_that_nobody_has_set_is_not_written() {
        let mut nothing = Encoder::default();
        nothing.text("");
        assert_eq!(written(&Settings::default()), nothing.0.finalize());
    }

    #[test]
    fn a_setting_that_is_set_is_written_by_its_name_and_alone() {
        let mut settings = Settings::default();
        settings.health.watchdog = Duration::from_secs(7);
        let mut alone = Encoder::default();
        alone.text("health.watchdog");
        alone.duration(Duration::from_secs(7));
        alone.text("");
        assert_eq!(written(&settings), alone.0.finalize());
    }
}
