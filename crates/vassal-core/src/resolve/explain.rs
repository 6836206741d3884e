//! What would run for a site, and where each value came from: for people who ask.

use std::sync::Arc;

use site_model::{RejectionReason, Site};

use super::catalog::Catalog;
use crate::spec::{InstanceContext, Launch, VassalSpec};
use crate::template::{LayerKind, Origin, Piece, Word, schema};

/// What would run for a site.
#[derive(Debug, Clone)]
pub struct Rendering {
    /// The specification.
    pub spec: VassalSpec,
    /// What an instance would be started with.
    pub launch: Launch,
    /// Every setting: keys in the order of the schema, then `vars`, `env` and `files` by name.
    pub settings: Vec<ExplainedSetting>,
}

/// A setting, and where its value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedSetting {
    /// Its key: `ready.timeout`, `env.TZ`.
    pub key: String,
    /// Its value as it was written, in TOML; of `protocol` and `listen`, what it comes to.
    pub value: String,
    /// The layer that has it.
    pub layer: LayerKind,
    /// Origin and line; `built-in default` where nobody said anything.
    pub origin: String,
}

impl Catalog {
    /// What would run for a site as this instance.
    pub fn explain(
        &self,
        site: &Arc<Site>,
        instance: &InstanceContext,
    ) -> Result<Rendering, RejectionReason> {
        let (draft, spec) = self.draft_and_spec(site)?;
        let launch = spec
            .render(instance)
            .map_err(|error| RejectionReason::Configuration(error.to_string()))?;
        let keys = schema::KEYS.iter().filter_map(|key| {
            let origin = draft.origins.get(key.path())?;
            let mut setting = explained(key.path().to_owned(), origin);
            if let Some(word) = chosen(key.path(), &spec) {
                setting.value = format!("{word:?}");
            }
            Some(setting)
        });
        let variables = draft.vars.iter().filter_map(|(name, variable)| {
            let (_, origin) = variable.value.as_ref()?;
            Some(explained(format!("vars.{name}"), origin))
        });
        let env = draft.env.iter().map(piece("env"));
        let files = draft.files.iter().map(piece("files"));
        let settings = keys.chain(variables).chain(env).chain(files).collect();
        Ok(Rendering {
            spec,
            launch,
            settings,
        })
    }
}

/// What was made of a text that may have had to be rendered.
fn chosen(key: &str, spec: &VassalSpec) -> Option<&'static str> {
    match key {
        "protocol" => spec.protocol.word(),
        "listen" => spec.listen.word(),
        _ => None,
    }
}

fn piece(table: &str) -> impl Fn((&Arc<str>, &Arc<Piece>)) -> ExplainedSetting {
    move |(name, piece)| explained(format!("{table}.{name}"), &piece.origin)
}

fn explained(key: String, origin: &Origin) -> ExplainedSetting {
    ExplainedSetting {
        key,
        value: origin.place.text().to_owned(),
        layer: origin.layer,
        origin: origin.to_string(),
    }
}
