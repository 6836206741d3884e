//! What a site wants of the cache: its `[cache]` table, compiled once for each revision.

use regex::RegexSet;
pub use site_model::{CacheMode as Mode, CacheSettings as Settings};
use thiserror::Error;

/// A `[cache]` table can't be used.
#[derive(Debug, Clone, Error)]
pub enum PolicyError {
    /// A pattern of `ignore` or `path` is no regular expression.
    #[error("cache.{key}: {pattern:?} is no regular expression")]
    Pattern {
        /// The key it stands in.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// A cookie's name has a character that it can't have, or none at all.
    #[error("cache.cookies: {0:?} is no name of a cookie")]
    Cookie(String),
    /// A name has a `*` elsewhere than at its end, or is empty.
    #[error("cache.{key}: {name:?} is no name here; a '*' may stand at the end")]
    Name {
        /// The key it stands in.
        key: &'static str,
        /// The name.
        name: String,
    },
}

/// A site's wishes, compiled.
#[derive(Debug, Clone)]
pub struct Policy {
    settings: Settings,
    ignore: RegexSet,
    paths: RegexSet,
}

impl Policy {
    /// Compiles the patterns and checks the names.
    pub fn compile(settings: Settings) -> Result<Self, PolicyError> {
        let ignore = patterns("ignore", settings.ignore.iter())?;
        let paths = patterns("path", settings.paths.iter().map(|(pattern, _)| pattern))?;
        if let Some(name) = settings.cookies.iter().find(|name| !is_token(name)) {
            return Err(PolicyError::Cookie(name.clone()));
        }
        check_names("ignore_cookies", &settings.ignore_cookies)?;
        check_names("ignore_query", &settings.ignore_query)?;
        Ok(Self {
            settings,
            ignore,
            paths,
        })
    }

    /// How pages of this path are kept. The path is the one of the key.
    pub fn mode(&self, path: &str) -> Mode {
        if self.settings.paths.is_empty() {
            return self.settings.mode;
        }
        let first = self.paths.matches(path).iter().next();
        first.map_or(self.settings.mode, |index| self.settings.paths[index].1)
    }

    /// Whether this path is never kept.
    pub fn ignores(&self, path: &str) -> bool {
        self.ignore.is_match(path)
    }

    /// What was written.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a query parameter doesn't tell pages apart.
    pub(crate) fn ignores_parameter(&self, name: &str) -> bool {
        is_meant(name, &self.settings.ignore_query)
    }

    /// Whether a cookie tells pages apart.
    pub(crate) fn lists_cookie(&self, name: &str) -> bool {
        self.settings.cookies.iter().any(|listed| listed == name)
    }

    /// Whether the application doesn't read a cookie. One that tells pages apart it reads.
    pub(crate) fn ignores_cookie(&self, name: &str) -> bool {
        is_meant(name, &self.settings.ignore_cookies) && !self.lists_cookie(name)
    }

    /// Whether there may be such cookies.
    pub(crate) fn ignores_cookies(&self) -> bool {
        !self.settings.ignore_cookies.is_empty()
    }
}

/// Whether a name is one of these, some of which stand for all that begin so.
fn is_meant(name: &str, names: &[String]) -> bool {
    names.iter().any(|meant| match meant.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == meant,
    })
}

fn check_names(key: &'static str, names: &[String]) -> Result<(), PolicyError> {
    let is_wrong = |name: &&String| name.trim_end_matches('*').contains('*') || name.is_empty();
    match names.iter().find(is_wrong) {
        Some(name) => Err(PolicyError::Name {
            key,
            name: name.clone(),
        }),
        None => Ok(()),
    }
}

fn patterns<'a>(
    key: &'static str,
    texts: impl Iterator<Item = &'a String> + Clone,
) -> Result<RegexSet, PolicyError> {
    for pattern in texts.clone() {
        regex::Regex::new(pattern).map_err(|source| PolicyError::Pattern {
            key,
            pattern: pattern.clone(),
            source: Box::new(source),
        })?;
    }
    // Each compiled alone, so all that can fail now is their sum being too large.
    RegexSet::new(texts).map_err(|source| PolicyError::Pattern {
        key,
        pattern: "(all of them together)".to_owned(),
        source: Box::new(source),
    })
}

fn is_token(name: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(change: impl FnOnce(&mut Settings)) -> Result<Policy, PolicyError> {
        let mut settings = Settings::default();
        change(&mut settings);
        Policy::compile(settings)
    }

    #[test]
    fn the_admin_is_ignored_where_nothing_else_is_said() {
        let policy = policy(|_| {}).unwrap();
        assert!(policy.ignores("/admin/login/"));
        assert!(!policy.ignores("/blog/admin/"));
        assert_eq!(policy.mode("/"), Mode::Http);
    }

    #[test]
    fn the_first_path_that_matches_decides() {
        let policy = policy(|settings| {
            settings.mode = Mode::UntilPurged;
            settings.paths = vec![
                ("^/api/v2/".into(), Mode::Http),
                ("^/api/".into(), Mode::Off),
            ];
        });
        let policy = policy.unwrap();
        assert_eq!(policy.mode("/api/v2/x"), Mode::Http);
        assert_eq!(policy.mode("/api/v1/x"), Mode::Off);
        assert_eq!(policy.mode("/"), Mode::UntilPurged);
    }

    #[test]
    fn mistakes_are_named_with_their_key() {
        let check = |change: fn(&mut Settings), part: &str| {
            let error = policy(change).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(|to| to.ignore = vec!["(".into()], "cache.ignore: \"(\"");
        check(
            |to| to.paths = vec![("[".into(), Mode::Off)],
            "cache.path: \"[\"",
        );
        check(
            |to| to.cookies = vec!["a b".into()],
            "cache.cookies: \"a b\"",
        );
        check(
            |to| to.ignore_query = vec!["a*b".into()],
            "cache.ignore_query: \"a*b\"",
        );
        check(
            |to| to.ignore_cookies = vec![String::new()],
            "cache.ignore_cookies: \"\"",
        );
    }

    #[test]
    fn modes_are_read_as_they_are_written() {
        for mode in [Mode::Off, Mode::Http, Mode::UntilPurged] {
            assert_eq!(Mode::parse(mode.name()), Some(mode));
        }
        assert_eq!(Mode::parse("on"), None);
    }
}
