//! What uWSGI puts in the place of `%n`, `%(name)` and `$(NAME)`.

use std::path::Path;

/// How deep a placeholder may lead to further ones.
const DEPTH: usize = 16;

/// Why a value can't be known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

/// The files that the letters after `%` speak of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    /// The one in which the line stands.
    pub(super) own: &'a Path,
    /// The vassal's.
    pub(super) vassal: &'a Path,
}

/// Puts in what a letter after `%` stands for. Capital letters speak of the vassal's file, small ones of
/// that in which they stand.
pub(super) fn letters(value: &str, files: Files<'_>) -> Result<String, Unknown> {
    let mut known = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        known.push_str(before);
        let letter = after.chars().next();
        rest = after;
        match letter {
            Some('%') => known.push('%'),
            Some(letter) if letter.is_ascii_alphanumeric() => {
                let text = letter_value(letter, files);
                known += &text.ok_or_else(|| Unknown(format!("%{letter} can't be known here")))?;
            }
            Some(_) | None => {
                known.push('%');
                continue;
            }
        }
        rest = &after[1..];
    }
    known.push_str(rest);
    Ok(known)
}

fn letter_value(letter: char, files: Files<'_>) -> Option<String> {
    let file = if letter.is_ascii_uppercase() {
        files.vassal
    } else {
        files.own
    };
    let text = |part: Option<&std::ffi::OsStr>| Some(part?.to_str()?.to_owned());
    let folder = file.parent()?;
    match letter.to_ascii_lowercase() {
        'p' => Some(file.to_str()?.to_owned()),
        's' => text(file.file_name()),
        'n' => text(file.file_stem()),
        'e' => text(file.extension()),
        'c' => text(folder.file_name()),
        // With a slash at its end: "%dapp" and "%d/app" are both seen.
        'd' => Some(format!("{}/", folder.to_str()?.trim_end_matches('/'))),
        // An emperor starts its vassals in its folder.
        'v' if letter == 'v' => Some(files.vassal.parent()?.to_str()?.to_owned()),
        digit => {
            let digit = usize::try_from(digit.to_digit(10)?).ok()?;
            let mut parts = folder.iter().filter(|part| *part != "/");
            text(parts.nth(digit))
        }
    }
}

/// Puts in what `%(name)` and `$(NAME)` stand for, as far as they are known; uWSGI leaves the others as
/// they are.
pub(super) fn names(
    value: &str,
    placeholder: &dyn Fn(&str) -> Option<String>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Unknown> {
    let mut known = value.to_owned();
    for _ in 0..DEPTH {
        let next = replaced(&replaced(&known, "$(", variable), "%(", placeholder);
        if next == known {
            return check(known);
        }
        known = next;
    }
    Err(Unknown("its placeholders lead to themselves".to_owned()))
}

fn replaced(value: &str, opening: &str, find: &dyn Fn(&str) -> Option<String>) -> String {
    let mut done = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once(opening) {
        done.push_str(before);
        let Some((name, behind)) = after.split_once(')') else {
            done.push_str(opening);
            rest = after;
            continue;
        };
        match find(name) {
            Some(found) => done.push_str(&found),
            None => done.extend([opening, name, ")"]),
        }
        rest = behind;
    }
    done.push_str(rest);
    done
}

fn check(value: String) -> Result<String, Unknown> {
    if value.contains("@(") {
        return Err(Unknown(
            "@(…) reads elsewhere, which is not done here; put its content in its place".to_owned(),
        ));
    }
    for opening in ["%(", "$("] {
        if let Some((_, after)) = value.split_once(opening) {
            let name = after.split(')').next().unwrap_or_default();
            return Err(Unknown(format!(
                "{opening}{name}) is not known here; put its value in its place"
            )));
        }
    }
    Ok(value)
}

/// The names after `%(` in a value.
pub(super) fn mentioned(value: &str) -> impl Iterator<Item = &str> {
    let after = value.split("%(").skip(1);
    after.filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_what_uwsgi_takes_them_for() {
        let files = Files {
            own: Path::new("/etc/common/base.ini"),
            vassal: Path::new("/etc/vassals/a.b.ini"),
        };
        let all = letters(
            "%n %N %s %S %p %P %d %D %c %C %e %v %0 %1 %%n 5% %(x)",
            files,
        );
        assert_eq!(
            all.unwrap(),
            "base a.b base.ini a.b.ini /etc/common/base.ini /etc/vassals/a.b.ini /etc/common/ \
             /etc/vassals/ common vassals ini /etc/vassals etc common %n 5% %(x)"
        );
        assert!(letters("%k", files).is_err());
    }

    #[test]
    fn placeholders_lead_to_others_and_an_unknown_one_is_told_by_name() {
        let placeholder = |name: &str| match name {
            "home" => Some("/srv/%(name)".to_owned()),
            "name" => Some("wiki".to_owned()),
            "round" => Some("%(round)x".to_owned()),
            _ => None,
        };
        let variable = |name: &str| (name == "STAGE").then(|| "live".to_owned());
        let known = |value| names(value, &placeholder, &variable);
        assert_eq!(known("%(home)/$(STAGE)").unwrap(), "/srv/wiki/live");
        assert!(known("%(nowhere)").unwrap_err().0.contains("%(nowhere)"));
        assert!(known("$(NOPE)").unwrap_err().0.contains("$(NOPE)"));
        assert!(known("@(exec://id)").is_err());
        assert!(known("%(round)").is_err());
    }

    #[test]
    fn the_names_in_a_value_are_found() {
        let found: Vec<_> = mentioned("%(a)/%(b)%(").collect();
        assert_eq!(found, ["a", "b"]);
    }
}
