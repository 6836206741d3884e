//! Everything but the rows: templates, overlays, policy and domains, as one immutable value. A
//! changed configuration is another catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use site_model::{RejectionReason, RunAs, Site, TemplateName};

use super::hosts::Domains;
use super::prepared::Prepared;
use super::run_as::{self, Privilege};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, nearest};
use crate::overlay::Policy;
use crate::spec::SiteHosts;
use crate::template::{
    self, Draft, Layer, LayerKind, Permitted, TemplateSource, VarEntry, VarValue, read_layer,
    undeclared,
};

/// What a catalog is made of.
#[derive(Debug, Clone, Default)]
pub struct CatalogInput {
    /// Templates in the order in which they are sought: the first of a name counts.
    pub templates: Vec<TemplateSource>,
    /// `[vassal]` as a document of its own, without `template` and `run_as`; `None`: there is none.
    pub vassal: Option<Source>,
    /// `[templates.NAME]`, each as a document of its own.
    pub overlays: BTreeMap<TemplateName, Source>,
    /// `[vassal] template`
    pub default_template: Option<TemplateName>,
    /// Where the configuration names templates, to be shown where there is none of a name.
    pub mentions: BTreeMap<TemplateName, Place>,
    /// `[vassal] run_as`
    pub default_run_as: Option<RunAs>,
    /// `[policy]`
    pub policy: Policy,
    /// `[domains]`
    pub domains: Domains,
    /// What the emperor itself may do.
    pub privilege: Privilege,
}

/// Templates, overlays, policy and domains: all that rows are resolved against.
#[derive(Debug)]
pub struct Catalog {
    templates: BTreeMap<TemplateName, Entry>,
    default_template: Option<TemplateName>,
    default_run_as: Option<RunAs>,
    policy: Policy,
    domains: Domains,
    privilege: Privilege,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    state: State,
}

#[derive(Debug)]
enum State {
    Usable(Arc<Prepared>),
    Broken(Diagnostics),
}

/// A template, for people who look at it.
#[derive(Debug, Clone)]
pub struct TemplateInfo<'a> {
    /// Its name.
    pub name: &'a TemplateName,
    /// Its file and text.
    pub source: &'a Source,
    /// What it says about itself; empty where it is broken.
    pub description: &'a str,
    /// What its sites may fill in.
    pub variables: Vec<VariableInfo<'a>>,
    /// Why no site can use it.
    pub problem: Option<&'a Diagnostics>,
}

/// A variable of a template, after the configuration was laid over it.
#[derive(Debug, Clone, Copy)]
pub struct VariableInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its default; `None`: each site has to give a value.
    pub default: Option<&'a VarValue>,
    /// What it is for.
    pub help: &'a str,
}

impl Catalog {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// Every mistake in `[vassal]` and `[templates.NAME]`, by themselves or over a template, and every
    /// name there that is no template's. A mistake in a template's own file is none of these: it
    /// rejects that template's sites alone.
    pub fn new(input: CatalogInput) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::default();
        let mut overlay = |source: &Source, kind| {
            let (layer, wrong) = read_layer(source, kind, Permitted::All);
            found.extend(wrong);
            layer
        };
        let vassal = input.vassal.as_ref();
        let vassal = vassal.map(|source| overlay(source, LayerKind::Vassal));
        let vassal = vassal.unwrap_or_default();
        let overlays = input.overlays.iter();
        let overlays: BTreeMap<_, _> = overlays
            .map(|(name, source)| (name, overlay(source, LayerKind::TemplateOverlay)))
            .collect();
        let mut reader = Reader {
            vassal: &vassal,
            policy: &input.policy,
            declared: BTreeSet::new(),
            found,
        };
        let mut templates = BTreeMap::new();
        for TemplateSource { name, source } in input.templates {
            let overlay = overlays.get(&name);
            templates
                .entry(name)
                .or_insert_with(|| reader.template(source, overlay));
        }
        let mut found = reader.finish();
        let catalog = Self {
            templates,
            default_template: input.default_template,
            default_run_as: input.default_run_as,
            policy: input.policy,
            domains: input.domains,
            privilege: input.privilege,
        };
        found.extend(catalog.unknown_templates(overlays.keys().copied(), &input.mentions));
        found.or_else_ok(catalog)
    }

    /// Every template, by name.
    pub fn templates(&self) -> impl Iterator<Item = TemplateInfo<'_>> {
        let entries = self.templates.iter();
        entries.map(|(name, entry)| entry.info(name))
    }

    /// One template.
    pub fn template(&self, name: &TemplateName) -> Option<TemplateInfo<'_>> {
        let (name, entry) = self.templates.get_key_value(name)?;
        Some(entry.info(name))
    }

    /// The hosts of a site on this machine.
    pub fn hosts(&self, site: &Site) -> Result<SiteHosts, RejectionReason> {
        match &site.domain {
            // The host that it is asked for was settled where its site has it.
            Some(domain) if site.id.is_pool() => Ok(SiteHosts {
                canonical: domain.clone(),
                aliases: Box::default(),
            }),
            Some(_) | None => self.domains.hosts(site),
        }
    }

    pub(super) fn prepared(
        &self,
        site: &Site,
    ) -> Result<(&TemplateName, &Arc<Prepared>), RejectionReason> {
        let wanted = site.template.as_ref().or(self.default_template.as_ref());
        let wanted = wanted.ok_or_else(|| RejectionReason::Column {
            column: "template",
            detail: "it is empty, and the configuration has no `template` in [vassal] either"
                .to_owned(),
        })?;
        let Some((name, entry)) = self.templates.get_key_value(wanted) else {
            return Err(RejectionReason::UnknownTemplate {
                name: wanted.to_string(),
                nearest: self.nearest(wanted).map(ToString::to_string),
            });
        };
        match &entry.state {
            State::Usable(prepared) => Ok((name, prepared)),
            State::Broken(found) => Err(RejectionReason::Configuration(format!(
                "its template {name} is broken:\n{found}"
            ))),
        }
    }

    pub(super) fn run_as(&self, site: &Site) -> Result<RunAs, RejectionReason> {
        let wanted = site.run_as.as_ref().or(self.default_run_as.as_ref());
        run_as::decide(wanted, &self.privilege, self.policy.allow_root)
            .map_err(|error| RejectionReason::RunAs(error.to_string()))
    }

    fn nearest(&self, wanted: &TemplateName) -> Option<&TemplateName> {
        let near = nearest(
            wanted.as_str(),
            self.templates.keys().map(TemplateName::as_str),
        )?;
        self.templates.keys().find(|name| name.as_str() == near)
    }

    fn unknown_templates<'a>(
        &'a self,
        overlays: impl Iterator<Item = &'a TemplateName>,
        mentions: &'a BTreeMap<TemplateName, Place>,
    ) -> impl Iterator<Item = Diagnostic> + 'a {
        let named: BTreeSet<_> = self.default_template.iter().chain(overlays).collect();
        let unknown = named
            .into_iter()
            .filter(|name| !self.templates.contains_key(name));
        unknown.map(|name| {
            let place = mentions.get(name).cloned().unwrap_or_else(|| {
                let text = name.as_str();
                Source::new("configuration", text).place(0..text.len())
            });
            let unknown =
                Diagnostic::new(place, format!("there is no template {:?}", name.as_str()));
            match self.nearest(name) {
                Some(near) => unknown.with_label(format!("did you mean {:?}?", near.as_str())),
                None => unknown.with_help("`emperor template list` names those there are"),
            }
        })
    }
}

impl Entry {
    fn info<'a>(&'a self, name: &'a TemplateName) -> TemplateInfo<'a> {
        let (draft, problem) = match &self.state {
            State::Usable(prepared) => (Some(&prepared.draft), None),
            State::Broken(found) => (None, Some(found)),
        };
        TemplateInfo {
            name,
            source: &self.source,
            description: draft.map(|draft| &*draft.description).unwrap_or_default(),
            variables: draft.map(variables).unwrap_or_default(),
            problem,
        }
    }
}

fn variables(draft: &Draft) -> Vec<VariableInfo<'_>> {
    let variables = draft.vars.iter();
    let variables = variables.map(|(name, variable)| VariableInfo {
        name,
        default: variable.value.as_ref().map(|(value, _)| value),
        help: &variable.help,
    });
    variables.collect()
}

struct Reader<'a> {
    vassal: &'a Layer,
    policy: &'a Policy,
    /// Variables that at least one template has.
    declared: BTreeSet<Arc<str>>,
    /// What is wrong with the configuration's overlays.
    found: Diagnostics,
}

impl Reader<'_> {
    /// Lays the configuration over a template. What is wrong then is the template's own fault, or
    /// the configuration's: where it stands tells which.
    fn template(&mut self, source: Source, overlay: Option<&Layer>) -> Entry {
        let mut draft = match template::read(&source) {
            Ok(draft) => draft,
            Err(found) => {
                let state = State::Broken(found);
                return Entry { source, state };
            }
        };
        let mut found = draft.lay(self.vassal);
        found.extend(overlay.into_iter().flat_map(|overlay| draft.lay(overlay)));
        found.extend(draft.settings().err().into_iter().flatten());
        self.declared.extend(draft.vars.keys().cloned());
        let prepared = Prepared::new(draft, self.policy.site_may_set.clone());
        let state = match prepared {
            Ok(prepared) if found.is_empty() => State::Usable(Arc::new(prepared)),
            Ok(_) => self.blame(&source, found),
            Err(more) => {
                found.extend(more);
                self.blame(&source, found)
            }
        };
        Entry { source, state }
    }

    fn blame(&mut self, source: &Source, found: Diagnostics) -> State {
        let mut own = Diagnostics::default();
        for diagnostic in found {
            if diagnostic.place().source() == source {
                own.push(diagnostic);
            } else {
                self.found.push(diagnostic);
            }
        }
        State::Broken(own)
    }

    /// A variable in `[vassal]` is passed over by templates that don't have it; one that none has
    /// is a slip.
    fn finish(mut self) -> Diagnostics {
        for (name, entry) in &self.vassal.vars {
            match entry {
                VarEntry::Assigned(assignment) if !self.declared.contains(name) => {
                    let title = "no template has a variable";
                    let declared = self.declared.iter();
                    self.found
                        .push(undeclared(title, declared, name, assignment));
                }
                VarEntry::Assigned(_) | VarEntry::Declared(_) => {}
            }
        }
        self.found
    }
}
