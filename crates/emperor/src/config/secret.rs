//! Secrets: where they are taken from.

use std::fmt::Display;
use std::path::Path;

use super::document::{Section, Text};
use super::model::Secret;
use super::surroundings::Surroundings;

/// Reads `name`, which may be `"$VARIABLE"`, or the file that `name_file` names.
/// `check` must not repeat the secret in its error.
pub(super) fn read<T, E: Display>(
    section: &mut Section<'_>,
    (name, name_file): (&'static str, &'static str),
    base: &Path,
    surroundings: &Surroundings,
    check: impl Fn(&str) -> Result<T, E>,
) -> Option<Secret> {
    let (given, file) = (section.text(name), section.text(name_file));
    let findings = section.findings();
    match (given, file) {
        (None, None) => None,
        (Some(_), Some(file)) => {
            let both = format!("either `{name}` or `{name_file}`, not both");
            findings.report(file.span, both);
            None
        }
        (Some(given), None) => from_text(&given, surroundings)
            .and_then(|secret| checked(secret, &check))
            .map_err(|problem| findings.report(given.span, problem))
            .ok(),
        (None, Some(file)) => from_file(&base.join(file.text))
            .and_then(|secret| checked(secret, &check))
            .map_err(|problem| findings.report(file.span, problem))
            .ok(),
    }
}

fn checked<T, E: Display>(
    secret: Secret,
    check: impl Fn(&str) -> Result<T, E>,
) -> Result<Secret, String> {
    match check(secret.expose()) {
        Ok(_) => Ok(secret),
        Err(error) => Err(error.to_string()),
    }
}

fn from_text(given: &Text<'_>, surroundings: &Surroundings) -> Result<Secret, String> {
    let Some(variable) = given.text.strip_prefix('$') else {
        return Ok(Secret::new(given.text.to_owned()));
    };
    surroundings
        .variable(variable)
        .map(|value| Secret::new(value.to_owned()))
        .ok_or_else(|| format!("the environment variable {variable} is not set"))
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        secret => Ok(Secret::new(secret.to_owned())),
    }
}
