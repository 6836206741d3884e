//! One row against the catalog.

use std::fmt::Display;
use std::sync::Arc;

use minijinja::Value;
use site_model::{Protocol, RejectionReason, Revision, Site};

use super::catalog::Catalog;
use super::engine::Engine;
use super::names::{InstanceScope, Scope, table};
use super::prepared::{self, Recipe};
use super::rendering;
use super::text::{Bound, Text};
use super::{revision, uwsgi_options};
use crate::Settings;
use crate::diagnostic::Diagnostic;
use crate::spec::{ListenMode, VassalSpec};
use crate::template::{Draft, Piece, Word, unknown_word};

impl Catalog {
    /// Makes a site's specification, or says why there is none. Everything that it will be started
    /// with is rendered once on trial, so that a mistake shows now and not at the first start.
    pub fn resolve(&self, site: &Arc<Site>) -> Result<VassalSpec, RejectionReason> {
        self.draft_and_spec(site).map(|(_, spec)| spec)
    }

    /// The specification, and what it was made from.
    pub(super) fn draft_and_spec(
        &self,
        site: &Arc<Site>,
    ) -> Result<(Draft, VassalSpec), RejectionReason> {
        let (template, prepared) = self.prepared(site)?;
        let run_as = self.run_as(site)?;
        let hosts = self.hosts(site)?;
        let draft = prepared.draft_of(site);
        let draft = draft.map_err(|found| configuration(&found))?;
        if uwsgi_options::are_used(&draft) {
            uwsgi_options::check(site, prepared.rows_may_set("vars"))?;
        }
        let settings = prepared.settings_of(&draft);
        let settings = settings.map_err(|found| configuration(&found))?;
        if site.id.is_pool() {
            check_shared(&prepared.engine, &draft, &settings)?;
        }
        let mut spec = VassalSpec {
            site: Arc::clone(site),
            hosts,
            template: template.clone(),
            protocol: Protocol::Http,
            listen: ListenMode::Fd,
            run_as,
            settings,
            recipe: Recipe::new(Arc::clone(prepared)),
            told: prepared.told_by(&draft),
            asked_as: None,
            revision: Revision::from_bytes([0; 16]),
        };
        let early = Early::new(&spec, &draft, &prepared.engine);
        let protocol = early.word(draft.protocol.as_ref(), spec.protocol);
        let listen = early.word(draft.listen.as_ref(), spec.listen);
        spec.protocol = protocol.map_err(|wrong| configuration(&wrong))?;
        spec.listen = listen.map_err(|wrong| configuration(&wrong))?;
        rendering::render(&spec, &draft, &rendering::trial_instance())
            .map_err(|error| configuration(&error))?;
        spec.revision = revision::of(&spec, &draft);
        Ok((draft, spec))
    }
}

/// What a pool's worker can't be, as it answers for many sites.
fn check_shared(
    engine: &Engine,
    draft: &Draft,
    settings: &Settings,
) -> Result<(), RejectionReason> {
    if settings.preload.enabled {
        let title = "a worker that is forked from a preloader (`preload.enabled`) is one site's, and a pool's answers \
                     for many; take its sites out of the pool, or give all of them a template without preloader, \
                     such as gunicorn or uwsgi";
        return Err(configuration(&title));
    }
    let found = prepared::names_of_one_site(engine, draft);
    found.or_else_ok(()).map_err(|found| configuration(&found))
}

fn configuration(found: &impl Display) -> RejectionReason {
    RejectionReason::Configuration(found.to_string())
}

/// Rendering what has to be known before there is an instance.
struct Early<'a> {
    engine: &'a Engine,
    names: Vec<&'a str>,
    values: Value,
}

impl<'a> Early<'a> {
    fn new(spec: &VassalSpec, draft: &'a Draft, engine: &'a Engine) -> Self {
        let variables = draft.vars.iter().filter_map(|(name, variable)| {
            let (value, _) = variable.value.as_ref()?;
            Some((name.clone(), rendering::plain_value(value)))
        });
        let vars = Value::from_pairs(variables);
        Self {
            engine,
            names: draft.vars.keys().map(AsRef::as_ref).collect(),
            values: table([("site", rendering::site_values(spec)), ("vars", vars)]),
        }
    }

    /// A word that may have to be rendered first; `unsaid`: what holds where no layer has one.
    fn word<W: Word>(&self, piece: Option<&Piece>, unsaid: W) -> Result<W, Diagnostic> {
        let Some(piece) = piece else {
            return Ok(unsaid);
        };
        let place = &piece.origin.place;
        let text = Text {
            text: &piece.text,
            place,
        };
        let scope = Scope {
            vars: Some(&self.names),
            files: None,
            instance: InstanceScope::Unknown,
        };
        let text = self
            .engine
            .render(text, &self.values, &scope, Bound::Argument)?;
        W::from_word(text.trim()).ok_or_else(|| unknown_word::<W>(place, &text))
    }
}
