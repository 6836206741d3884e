//! From the configuration to the catalog that rows are resolved against: templates are sought in
//! `template_dirs`, then among those that are part of this program.

use std::io;
use std::path::{Path, PathBuf};

use site_model::TemplateName;
use thiserror::Error;
use vassal_core::overlay::{SiteTables, UnknownTable};
use vassal_core::resolve::{Domains, FormatError, Privilege, Rewrite};
use vassal_core::{Catalog, CatalogInput, Diagnostics, Policy, Source, TemplateSource};

use super::shipped::SHIPPED;
use crate::config::Config;
use crate::config::model::{self, OverlaySource};

/// Why a configuration makes no catalog.
#[derive(Debug, Error)]
pub(crate) enum AssemblyError {
    /// A folder of templates, or a template, is there and can't be read.
    #[error(
        "could not read the templates in {}: {source}; let the emperor's user read them, or take the \
         folder out of template_dirs", path.display()
    )]
    Unreadable {
        /// The folder or the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `policy.site_may_set` names what no template has.
    #[error(transparent)]
    Policy(#[from] UnknownTable),
    /// `domains.rewrite_format` makes no hosts.
    #[error(transparent)]
    Domains(#[from] FormatError),
    /// `[vassal]` or `[templates.NAME]` is wrong.
    #[error(transparent)]
    Overlays(#[from] Diagnostics),
}

/// Reads the templates and lays the configuration over them.
pub(crate) fn assemble(config: &Config) -> Result<Catalog, AssemblyError> {
    let mut templates = Vec::new();
    for dir in &config.template_dirs {
        templates.extend(templates_in(dir)?);
    }
    templates.extend(shipped());
    let overlays = config.templates.iter();
    let input = CatalogInput {
        templates,
        vassal: Some(source(&config.vassal)),
        overlays: overlays
            .map(|(name, overlay)| (name.clone(), source(overlay)))
            .collect(),
        default_template: config.default_template.clone(),
        mentions: config.mentions.clone(),
        default_run_as: config.default_run_as.clone(),
        policy: policy(&config.policy)?,
        domains: domains(&config.domains)?,
        privilege: privilege(),
    };
    Ok(Catalog::new(input)?)
}

/// The templates of a folder, by name. A folder that doesn't exist has none.
fn templates_in(dir: &Path) -> Result<Vec<TemplateSource>, AssemblyError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| AssemblyError::Unreadable { path, source }
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(dir)(error)),
    };
    let mut templates = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(dir))?.path();
        let Some(name) = template_name(&path) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let source = Source::new(path.display().to_string(), text);
        templates.push(TemplateSource { name, source });
    }
    Ok(templates)
}

fn template_name(path: &Path) -> Option<TemplateName> {
    if path.extension()? != "toml" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// The templates that are part of this program.
pub(crate) fn shipped() -> impl Iterator<Item = TemplateSource> {
    SHIPPED.iter().filter_map(|(name, text)| {
        let source = Source::new(format!("{name}.toml (shipped)"), *text);
        let name = name.parse().ok()?;
        Some(TemplateSource { name, source })
    })
}

fn source(overlay: &OverlaySource) -> Source {
    Source::new(overlay.origin.as_str(), overlay.text.as_str())
}

fn policy(policy: &model::Policy) -> Result<Policy, UnknownTable> {
    let names = policy.site_may_set.iter().map(String::as_str);
    Ok(Policy {
        site_may_set: SiteTables::parse(names)?,
        allow_root: policy.allow_root,
    })
}

/// How sites get hosts that they don't have of their own.
pub(crate) fn domains(domains: &model::Domains) -> Result<Domains, FormatError> {
    let rewrite = if domains.rewrite {
        Rewrite::Every
    } else {
        Rewrite::Missing
    };
    Domains::new(rewrite, domains.rewrite_format.as_str())
}

fn privilege() -> Privilege {
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return Privilege::Root;
    }
    let account = nix::unistd::User::from_uid(uid).ok().flatten();
    Privilege::User(account.map_or_else(|| uid.to_string(), |account| account.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_toml_file_with_a_name_that_rows_can_have() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["mine.toml", "README.md", ".hidden.toml", "two words.toml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = templates_in(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["mine"]);
        assert!(
            templates_in(&folder.path().join("none"))
                .unwrap()
                .is_empty()
        );
    }
}
