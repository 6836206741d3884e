//! Layers laid over each other: what a specification is made from.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use site_model::QueueBounds;

use super::kind::Written;
use super::layer::Layer;
use super::piece::{LayerKind, Named, Origin, Piece, ReachPieces};
use super::schema;
use super::vars::{Assignment, VarEntry, Variable};
use super::words::ProbeKind;
use crate::diagnostic::{Diagnostic, Diagnostics, Source, nearest};
use crate::settings::{
    CacheSettings, Health, Idle, Instances, Limits, Preload, Probe, Ready, Recycle, Restart,
    Sandbox, Settings, Stop, StopSignal,
};

/// Every setting, still apart from what it will mean together. Made from the built-in defaults and
/// then from layer after layer; what a layer doesn't touch stays shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) description: String,
    pub(crate) protocol: Option<Piece>,
    pub(crate) listen: Option<Piece>,
    pub(crate) command: Arc<Vec<Piece>>,
    pub(crate) working_dir: Option<Piece>,
    pub(crate) env: Arc<Named<Piece>>,
    pub(crate) files: Arc<Named<Piece>>,
    pub(crate) vars: Arc<Named<Variable>>,
    /// Where each of the other keys got its value.
    pub(crate) origins: Arc<BTreeMap<&'static str, Origin>>,
    pub(crate) probe: ProbeKind,
    pub(crate) ready_path: String,
    pub(crate) ready_status: Vec<(u16, u16)>,
    pub(crate) ready_timeout: Duration,
    pub(crate) health_interval: Duration,
    pub(crate) health_path: Option<String>,
    pub(crate) health_timeout: Duration,
    pub(crate) health_failures: u32,
    pub(crate) health_successes: u32,
    pub(crate) health_watchdog: Duration,
    pub(crate) preload_enabled: bool,
    pub(crate) preload_timeout: Duration,
    pub(crate) preload_keep: Duration,
    pub(crate) instances_min: u32,
    pub(crate) instances_max: u32,
    pub(crate) instances_concurrency: u32,
    pub(crate) instances_max_surge: u32,
    pub(crate) idle_stop_after: Duration,
    pub(crate) idle_answered: Arc<[String]>,
    pub(crate) ready_warm: Arc<[String]>,
    pub(crate) queue_depth: u32,
    pub(crate) queue_timeout: Duration,
    pub(crate) backoff_initial: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) stop_signal: StopSignal,
    pub(crate) stop_grace: Duration,
    pub(crate) recycle_max_requests: u64,
    pub(crate) recycle_max_memory: u64,
    pub(crate) recycle_max_age: Duration,
    pub(crate) limits: Limits,
    pub(crate) sandbox: Sandbox,
    pub(crate) reach: ReachPieces,
    pub(crate) cache: CacheSettings,
    pub(crate) cache_max_age: Duration,
    pub(crate) cache_max_page: u64,
}

static BUILT_IN: LazyLock<Draft> = LazyLock::new(|| {
    let mut draft = Draft::default();
    let mut origins = BTreeMap::new();
    for key in schema::KEYS.iter().filter(|key| !key.default().is_empty()) {
        let source = Source::new("built-in default", key.default());
        let around = Origin {
            layer: LayerKind::BuiltIn,
            place: source.place(0..source.text().len()),
        };
        let value = toml::de::DeValue::parse(key.default());
        let value = value.expect("defaults are a constant table, which a test reads");
        let written = Written::new(&value, &around);
        let value = key.kind.read(&written);
        value
            .expect("defaults are a constant table, which a test reads")
            .assign(&mut draft);
        origins.insert(key.path(), written.origin);
    }
    draft.origins = Arc::new(origins);
    draft
});

impl Draft {
    /// What holds where nothing is said.
    pub(crate) fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Lays a layer over it. Tables of names merge by name, all other values replace.
    pub(crate) fn lay(&mut self, layer: &Layer) -> Diagnostics {
        for setting in &layer.settings {
            setting.value.assign(self);
            let origins = Arc::make_mut(&mut self.origins);
            origins.insert(setting.key.path(), setting.origin.clone());
        }
        lay_pieces(&mut self.env, &layer.env);
        lay_pieces(&mut self.files, &layer.files);
        let mut found = Diagnostics::default();
        if !layer.vars.is_empty() {
            let vars = Arc::make_mut(&mut self.vars);
            for (name, entry) in &layer.vars {
                found.extend(lay_variable(vars, name, entry).err());
            }
        }
        found
    }

    /// The variables that a site still has to fill in.
    pub(crate) fn missing_variables(&self) -> impl Iterator<Item = Diagnostic> {
        let missing = self
            .vars
            .iter()
            .filter(|(_, variable)| variable.value.is_none());
        missing.map(|(name, variable)| variable.missing(name))
    }

    /// The settings, if they fit together.
    pub(crate) fn settings(&self) -> Result<Settings, Diagnostics> {
        let mut found = Diagnostics::default();
        if self.backoff_initial > self.backoff_max {
            let title = "`restart.backoff_initial` is longer than `restart.backoff_max`";
            found.push(
                self.contradiction(["restart.backoff_initial", "restart.backoff_max"], title),
            );
        }
        if self.instances_min > self.instances_max && !self.is_built_in("instances.max") {
            let title = "`instances.min` is more than `instances.max`";
            found.push(self.contradiction(["instances.min", "instances.max"], title));
        }
        let Limits {
            memory_max_bytes: max,
            memory_high_bytes: high,
            ..
        } = self.limits;
        if max > 0 && high > max {
            let title = "`limits.memory_high` is more than `limits.memory_max`";
            found.push(self.contradiction(["limits.memory_max", "limits.memory_high"], title));
        }
        found.or_else_ok(self.settings_unchecked())
    }

    /// The settings, whether they fit together or not.
    pub(crate) fn settings_unchecked(&self) -> Settings {
        Settings {
            ready: Ready {
                probe: self.probe(),
                warm: Arc::clone(&self.ready_warm),
                timeout: self.ready_timeout,
            },
            health: Health {
                interval: self.health_interval,
                probe: self.health_probe(),
                timeout: self.health_timeout,
                failures: self.health_failures,
                successes: self.health_successes,
                watchdog: self.health_watchdog,
            },
            preload: Preload {
                enabled: self.preload_enabled,
                timeout: self.preload_timeout,
                keep: self.preload_keep,
            },
            instances: Instances {
                min: self.instances_min,
                max: self.instances_max.max(self.instances_min),
                concurrency: self.instances_concurrency,
                max_surge: self.instances_max_surge,
            },
            idle: Idle {
                stop_after: self.idle_stop_after,
                answered: Arc::clone(&self.idle_answered),
            },
            queue: QueueBounds {
                depth: self.queue_depth,
                timeout: self.queue_timeout,
            },
            restart: Restart {
                backoff_initial: self.backoff_initial,
                backoff_max: self.backoff_max,
            },
            stop: Stop {
                signal: self.stop_signal,
                grace: self.stop_grace,
            },
            recycle: Recycle {
                max_requests: self.recycle_max_requests,
                max_memory_bytes: self.recycle_max_memory,
                max_age: self.recycle_max_age,
            },
            limits: self.limits,
            sandbox: self.sandbox,
            cache: Arc::new(CacheSettings {
                max_age: Some(self.cache_max_age).filter(|most| !most.is_zero()),
                max_page: usize::try_from(self.cache_max_page).unwrap_or(usize::MAX),
                ..self.cache.clone()
            }),
        }
    }

    fn probe(&self) -> Probe {
        match self.probe {
            ProbeKind::Http => Probe::Http {
                path: self.ready_path.clone(),
                status: self.ready_status.clone(),
            },
            ProbeKind::Notify => Probe::Notify,
            ProbeKind::Connect => Probe::Connect,
        }
    }

    /// As readiness is, but for a path of its own, and what a worker says only once.
    fn health_probe(&self) -> Probe {
        let http = |path: &String| Probe::Http {
            path: path.clone(),
            status: self.ready_status.clone(),
        };
        match (&self.health_path, self.probe) {
            (Some(path), _) => http(path),
            (None, ProbeKind::Http) => http(&self.ready_path),
            (None, ProbeKind::Notify | ProbeKind::Connect) => Probe::Connect,
        }
    }

    fn is_built_in(&self, key: &str) -> bool {
        let origin = self.origins.get(key);
        origin.is_none_or(|origin| origin.layer == LayerKind::BuiltIn)
    }

    /// Shown at whichever of the two keys was set last, since that is where it went wrong.
    fn contradiction(&self, keys: [&str; 2], title: &str) -> Diagnostic {
        let origins = keys.iter().filter_map(|key| self.origins.get(key));
        let last = origins.max_by_key(|origin| origin.layer);
        let place = last.map_or_else(|| Source::new("", "").place(0..0), |o| o.place.clone());
        Diagnostic::new(place, title)
    }
}

impl Default for Settings {
    /// The built-in defaults: what holds for a template that says nothing but its command.
    fn default() -> Self {
        Draft::built_in().settings_unchecked()
    }
}

fn lay_pieces(under: &mut Arc<Named<Piece>>, over: &Named<Piece>) {
    if !over.is_empty() {
        let over = over
            .iter()
            .map(|(name, piece)| (name.clone(), piece.clone()));
        Arc::make_mut(under).extend(over);
    }
}

fn lay_variable(
    vars: &mut Named<Variable>,
    name: &Arc<str>,
    entry: &VarEntry,
) -> Result<(), Diagnostic> {
    match (entry, vars.get_mut(name)) {
        (VarEntry::Declared(variable), had) => {
            let mut variable = variable.clone();
            if let Some(had) = had.filter(|_| variable.help.is_empty()) {
                variable.help = Arc::clone(&had.help);
            }
            vars.insert(Arc::clone(name), Arc::new(variable));
            Ok(())
        }
        (VarEntry::Assigned(assignment), Some(variable)) => {
            Arc::make_mut(variable).assign(name, assignment)
        }
        (VarEntry::Assigned(assignment), None) => match assignment.origin.layer {
            LayerKind::Template => {
                let variable = Variable::with_default(assignment);
                vars.insert(Arc::clone(name), Arc::new(variable));
                Ok(())
            }
            // Laid over every template: the catalog checks that one of them has it.
            LayerKind::Vassal => Ok(()),
            LayerKind::BuiltIn | LayerKind::TemplateOverlay | LayerKind::Row => {
                let title = "the template has no variable";
                Err(undeclared(title, vars.keys(), name, assignment))
            }
        },
    }
}

/// Says that no such variable was declared.
pub(crate) fn undeclared<'a>(
    title: &str,
    declared: impl Iterator<Item = &'a Arc<str>>,
    name: &str,
    assignment: &Assignment,
) -> Diagnostic {
    let title = format!("{title} `{name}`");
    let diagnostic = Diagnostic::new(assignment.name.clone(), title);
    let declared: Vec<_> = declared.map(AsRef::as_ref).collect();
    match nearest(name, declared.iter().copied()) {
        Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
        None if declared.is_empty() => diagnostic,
        None => diagnostic.with_help(format!("it has: {}", declared.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_default_is_a_value_of_its_key() {
        let settings = Settings::default();
        assert_eq!(settings.ready.timeout, Duration::from_mins(1));
        assert_eq!(settings.queue.depth, 100);
        assert_eq!(settings.restart.backoff_max, Duration::from_mins(3));
        assert_eq!(settings.stop.grace, Duration::from_secs(30));
        assert!(Draft::built_in().settings().is_ok());
    }
}
