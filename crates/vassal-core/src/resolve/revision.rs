//! The revision of a specification: a hash over everything that decides how it runs and is reached.

use std::time::Duration;

use site_model::{AliasKind, QueueBounds, Revision, RunAs};

use crate::settings::{
    Cache, Health, Idle, Instances, Limits, Probe, Ready, Recycle, Restart, Sandbox, Settings, Stop,
};
use crate::spec::VassalSpec;
use crate::template::{Draft, Piece, ReachPieces, VarValue, Word};

/// Raised when the encoding below changes its meaning.
const ENCODING: u64 = 1;

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
        revision: _,
    } = spec;
    let mut encoder = Encoder::default();
    encoder.number(ENCODING);
    encoder.number(site.id.get().cast_unsigned());
    encoder.text(site.slug.as_str());
    encoder.optional(site.pool.as_deref());
    encoder.number(site.reloads);
    encoder.text(hosts.canonical.as_str());
    encoder.list(&hosts.aliases, |encoder, alias| {
        encoder.text(&alias.pattern.to_string());
        encoder.text(match alias.kind {
            AliasKind::Alias => "alias",
            AliasKind::Redirect => "redirect",
        });
    });
    encoder.text(template.as_str());
    encoder.word(*protocol);
    encoder.word(*listen);
    encoder.optional(match run_as {
        RunAs::Auto => None,
        RunAs::User(name) => Some(name),
    });
    encoder.settings(settings);
    encoder.list(&*draft.command, Encoder::piece);
    encoder.list(&draft.working_dir, Encoder::piece);
    let ReachPieces {
        writable,
        readable,
        inaccessible,
    } = &draft.reach;
    for paths in [writable, readable, inaccessible] {
        encoder.list(&**paths, Encoder::piece);
    }
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

    fn settings(&mut self, settings: &Settings) {
        let Settings {
            ready: Ready { probe, timeout },
            health,
            instances,
            idle: Idle {
                stop_after,
                answered,
            },
            queue,
            restart,
            stop: Stop { signal, grace },
            recycle,
            limits,
            sandbox,
            cache,
        } = settings;
        self.probe(probe);
        self.duration(*timeout);
        self.health(health);
        self.instances(instances);
        self.duration(*stop_after);
        self.list(&**answered, |encoder, path| encoder.text(path));
        self.queue(queue);
        let Restart {
            backoff_initial,
            backoff_max,
        } = restart;
        self.duration(*backoff_initial);
        self.duration(*backoff_max);
        self.word(*signal);
        self.duration(*grace);
        self.recycle(recycle);
        self.limits(limits);
        self.sandbox(sandbox);
        self.cache(cache);
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

    fn health(&mut self, health: &Health) {
        let Health {
            interval,
            probe,
            timeout,
            failures,
            successes,
            watchdog,
        } = health;
        self.duration(*interval);
        self.probe(probe);
        self.duration(*timeout);
        self.number(u64::from(*failures));
        self.number(u64::from(*successes));
        self.duration(*watchdog);
    }

    fn instances(&mut self, instances: &Instances) {
        let Instances {
            min,
            max,
            concurrency,
            max_surge,
        } = instances;
        for number in [min, max, concurrency, max_surge] {
            self.number(u64::from(*number));
        }
    }

    fn queue(&mut self, queue: &QueueBounds) {
        let QueueBounds { depth, timeout } = queue;
        self.number(u64::from(*depth));
        self.duration(*timeout);
    }

    fn recycle(&mut self, recycle: &Recycle) {
        let Recycle {
            max_requests,
            max_memory_bytes,
            max_age,
        } = recycle;
        self.number(*max_requests);
        self.number(*max_memory_bytes);
        self.duration(*max_age);
    }

    fn limits(&mut self, limits: &Limits) {
        let Limits {
            memory_max_bytes,
            memory_high_bytes,
            swap_max_bytes,
            cpu_max_percent,
            cpu_weight,
            io_weight,
            pids_max,
            nofile,
        } = limits;
        for number in [memory_max_bytes, memory_high_bytes, pids_max, nofile] {
            self.number(*number);
        }
        for number in [cpu_max_percent, cpu_weight, io_weight] {
            self.number(u64::from(*number));
        }
        self.list(swap_max_bytes, |encoder, bytes| encoder.number(*bytes));
    }

    fn sandbox(&mut self, sandbox: &Sandbox) {
        let Sandbox {
            required,
            private_tmp,
            tmp_size_bytes,
            read_only_system,
            syscalls,
            capabilities,
        } = sandbox;
        for switch in [required, private_tmp, read_only_system] {
            self.number(u64::from(*switch));
        }
        self.number(*tmp_size_bytes);
        self.word(*syscalls);
        self.number(capabilities.bits());
    }

    fn cache(&mut self, cache: &Cache) {
        let Cache { mode, ignore } = cache;
        self.word(*mode);
        self.list(ignore, |encoder, pattern| encoder.text(pattern));
    }

    fn finish(&self) -> Revision {
        let hash = self.0.finalize();
        let half = hash.as_bytes().first_chunk();
        Revision::from_bytes(*half.expect("a hash has 32 bytes"))
    }
}
