//! A template made ready: overlays of the configuration laid over it, its texts compiled, its names
//! checked. Done once; what is left to do for each of its sites is little.

use std::ops::BitOr;
use std::sync::Arc;

use site_model::Site;

use super::engine::Engine;
use super::names::{InstanceScope, NamesTold, Scope, narrow};
use super::text::Text;
use super::uwsgi_options;
use crate::Settings;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::overlay::{self, SiteTables};
use crate::template::{Draft, Piece};

/// A template that sites can use.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) draft: Draft,
    pub(super) engine: Engine,
    /// What rows may lay over it.
    site_may_set: SiteTables,
    /// What it says by itself: most of its sites have the same, and share it.
    settings: Arc<Settings>,
}

/// What is rendered for each instance of a vassal: its template. What the row lays over that is read
/// again for each, so that a site which rests, as most of very many do, costs the text of its row and
/// nothing that was made of it.
///
/// Opaque: [`VassalSpec::render`](crate::VassalSpec::render) uses it. The default is an empty one, which renders nothing.
#[derive(Debug, Clone, Default)]
pub struct Recipe(pub(super) Arc<Prepared>);

impl Recipe {
    pub(super) fn new(template: Arc<Prepared>) -> Self {
        Self(template)
    }

    /// Whether `extra_uwsgi_ini` means anything in it.
    pub(super) fn uses_uwsgi_options(&self) -> bool {
        uwsgi_options::are_used(&self.0.draft)
    }
}

impl Prepared {
    /// Compiles a draft's texts and checks the names in them.
    pub(super) fn new(draft: Draft, site_may_set: SiteTables) -> Result<Self, Diagnostics> {
        let mut engine = Engine::default();
        let mut found = Diagnostics::default();
        for (text, _) in texts(&draft) {
            found.extend(engine.load(text).err());
        }
        found.extend(unknown_names(&engine, &draft));
        found.or_else_ok(())?;
        Ok(Self {
            settings: Arc::new(draft.settings_unchecked()),
            draft,
            engine,
            site_may_set,
        })
    }

    /// Whether a row may have a table.
    pub(super) fn rows_may_set(&self, table: &str) -> bool {
        self.site_may_set.contains(table)
    }

    /// The template's draft with a row laid over it.
    pub(super) fn draft_of(&self, site: &Site) -> Result<Draft, Diagnostics> {
        let mut draft = self.draft.clone();
        if !site.extra_config.trim().is_empty() {
            let source = overlay::row_source(site.id, &site.extra_config);
            let layer = overlay::read_row(&source, &self.site_may_set)?;
            draft.lay(&layer).or_else_ok(())?;
        }
        let missing: Diagnostics = draft.missing_variables().collect();
        missing.or_else_ok(draft)
    }

    /// Which of a site's names the workers of a draft that was made from this one are told.
    pub(super) fn told_by(&self, draft: &Draft) -> NamesTold {
        let told = texts(draft).map(|(text, _)| self.engine.told(text.text));
        told.fold(NamesTold::default(), BitOr::bitor)
    }

    /// The settings of a draft that was made from this one.
    pub(super) fn settings_of(&self, draft: &Draft) -> Result<Arc<Settings>, Diagnostics> {
        let settings = draft.settings()?;
        Ok(if settings == *self.settings {
            Arc::clone(&self.settings)
        } else {
            Arc::new(settings)
        })
    }
}

/// Complains of what is one site's in the texts of a draft that many sites share.
pub(super) fn names_of_one_site(engine: &Engine, draft: &Draft) -> Diagnostics {
    let named = |(text, _): (Text<'_>, Uses)| {
        let names = engine.names(text.text).into_iter();
        let of_one = names.filter(|name| match name.split_once('.') {
            Some(("site", member)) => member != "uwsgi_options",
            Some(_) => false,
            None => name == "site",
        });
        let complaints = of_one.map(|name| {
            let title = format!("`{name}` is one site's, and a pool's worker answers for many");
            Diagnostic::new(narrow(text, &name), title).with_help(
                "it finds the site that a request is for in the header X-Site-Id, and in the variable \
                 SITE_ID of uwsgi",
            )
        });
        complaints.collect::<Vec<_>>()
    };
    texts(draft).flat_map(named).collect()
}

/// What a text can name.
#[derive(Debug, Clone, Copy)]
enum Uses {
    Everything,
    /// A variable: it can't name another.
    Instance,
    /// What has to be known before there is an instance.
    Site,
}

fn unknown_names(engine: &Engine, draft: &Draft) -> Vec<Diagnostic> {
    let vars: Vec<_> = draft.vars.keys().map(AsRef::as_ref).collect();
    let files: Vec<_> = draft.files.keys().map(AsRef::as_ref).collect();
    let check = |(text, uses)| {
        let instance = match uses {
            Uses::Everything | Uses::Instance => InstanceScope::Known,
            Uses::Site => InstanceScope::Unknown,
        };
        let scope = match uses {
            Uses::Everything => Scope {
                vars: Some(&vars),
                files: Some(&files),
                instance,
            },
            Uses::Site => Scope {
                vars: Some(&vars),
                files: None,
                instance,
            },
            Uses::Instance => Scope::default(),
        };
        engine.unknown_names(text, &scope)
    };
    texts(draft).flat_map(check).collect()
}

fn texts(draft: &Draft) -> impl Iterator<Item = (Text<'_>, Uses)> {
    let early = draft.protocol.iter().chain(&draft.listen);
    let pieces = draft.command.iter().chain(&draft.working_dir);
    let pieces = pieces
        .chain(draft.reach.all())
        .chain(draft.env.values().map(AsRef::as_ref))
        .chain(draft.files.values().map(AsRef::as_ref));
    let variables = draft
        .vars
        .values()
        .filter_map(|variable| variable.value.as_ref());
    let variables = variables.flat_map(|(value, origin)| {
        let place = &origin.place;
        value.texts().iter().map(move |text| Text { text, place })
    });
    early
        .map(|piece| (of_piece(piece), Uses::Site))
        .chain(pieces.map(|piece| (of_piece(piece), Uses::Everything)))
        .chain(variables.map(|text| (text, Uses::Instance)))
}

fn of_piece(piece: &Piece) -> Text<'_> {
    Text {
        text: &piece.text,
        place: &piece.origin.place,
    }
}
