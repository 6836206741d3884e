//! The names that can stand between braces.

use std::ops::BitOr;

use minijinja::Value;

use super::text::Text;
use crate::diagnostic::{Diagnostic, Place, nearest};

/// Every name that templates can use, and its meaning; `NAME` stands for one of the template's own.
pub const RENDER_NAMES: &[(&str, &str)] = &[
    ("site.id", "the site's id, a number"),
    ("site.slug", "its slug"),
    ("site.domain", "its canonical host"),
    (
        "site.hosts",
        "a list of all its hosts, the canonical one first",
    ),
    (
        "site.uwsgi_options",
        "a list of the lines of its `extra_uwsgi_ini`, where Django keeps one",
    ),
    ("vars.NAME", "a variable of the template"),
    (
        "socket.fd",
        "the descriptor of the inherited socket, with `listen = \"fd\"` alone",
    ),
    ("socket.path", "the path of the instance's socket"),
    (
        "instance.number",
        "the instance's place among those of its site, from 1",
    ),
    (
        "instance.dir",
        "its private folder, which is also its `HOME`",
    ),
    ("files[NAME]", "the path of a rendered file"),
];

/// Functions of the engine that templates can call.
const FUNCTIONS: [&str; 2] = ["range", "dict"];

/// Which of a site's names its texts use. One that none uses is between the site and the router: it
/// changes without a new worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamesTold {
    /// `site.slug`
    pub slug: bool,
    /// `site.domain`
    pub domain: bool,
    /// `site.hosts`
    pub hosts: bool,
}

impl BitOr for NamesTold {
    type Output = Self;

    /// What either is told.
    fn bitor(self, other: Self) -> Self {
        Self {
            slug: self.slug || other.slug,
            domain: self.domain || other.domain,
            hosts: self.hosts || other.hosts,
        }
    }
}

/// Which of the site's names this one is. `site` as a whole, which a text may take apart in ways that
/// don't show here, is all of them.
pub(super) fn told(name: &str) -> NamesTold {
    let mut parts = name.split('.');
    let (is_site, member) = (parts.next() == Some("site"), parts.next());
    let is = |wanted| is_site && member.is_none_or(|member| member == wanted);
    NamesTold {
        slug: is("slug"),
        domain: is("domain"),
        hosts: is("hosts"),
    }
}

/// The names that a certain text can use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scope<'a> {
    /// Variables; `None`: this text can use none.
    pub(super) vars: Option<&'a [&'a str]>,
    /// Files; `None`: this text can use none.
    pub(super) files: Option<&'a [&'a str]>,
    /// Whether the instance and its socket are known.
    pub(super) instance: InstanceScope,
}

/// Whether `socket` and `instance` can be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum InstanceScope {
    #[default]
    Known,
    Unknown,
}

impl Scope<'_> {
    /// Complains of a name that is none.
    pub(super) fn unknown(&self, name: &str, text: Text<'_>) -> Option<Diagnostic> {
        let (root, member) = match name.split_once('.') {
            Some((root, rest)) => (root, rest.split('.').next()),
            None => (name, None),
        };
        if FUNCTIONS.contains(&root) {
            return None;
        }
        let roots = self.roots();
        if !roots.contains(&root) {
            let place = narrow(text, name);
            return Some(Diagnostic::unknown_name(place, "name", name, self.names()));
        }
        let member = member?;
        let members = self.members(root)?;
        if members.contains(&member) {
            return None;
        }
        let place = narrow(text, &format!("{root}.{member}"));
        let members: Vec<_> = members
            .iter()
            .map(|known| format!("{root}.{known}"))
            .collect();
        let known = members.iter().map(String::as_str);
        let name = format!("{root}.{member}");
        Some(Diagnostic::unknown_name(place, "name", &name, known))
    }

    /// Complains of an expression that has no value for this site.
    pub(super) fn undefined(&self, text: Text<'_>, expression: &str) -> Diagnostic {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if expression.chars().all(is_name)
            && let Some(unknown) = self.unknown(expression, text)
        {
            return unknown;
        }
        let place = narrow(text, expression);
        let title = format!("`{expression}` is undefined");
        let diagnostic = Diagnostic::new(place, title);
        if expression.contains("socket.fd") {
            return diagnostic.with_help(
                "there is an inherited socket with listen = \"fd\" alone; use socket.path",
            );
        }
        let name = expression.split(['"', '\'']).nth(1);
        let files = self.files.unwrap_or_default();
        match name.and_then(|name| nearest(name, files.iter().copied())) {
            Some(near) => diagnostic.with_label(format!("did you mean `files[\"{near}\"]`?")),
            None => diagnostic,
        }
    }

    fn roots(&self) -> Vec<&'static str> {
        let mut roots = vec!["site"];
        roots.extend(self.vars.map(|_| "vars"));
        roots.extend(self.files.map(|_| "files"));
        if self.instance == InstanceScope::Known {
            roots.extend(["socket", "instance"]);
        }
        roots
    }

    fn names(&self) -> Vec<&'static str> {
        let roots = self.roots();
        let names = RENDER_NAMES.iter().map(|(name, _)| *name);
        let root = |name: &str| name.split(['.', '[']).next().unwrap_or_default().to_owned();
        names
            .filter(|name| roots.contains(&root(name).as_str()))
            .collect()
    }

    /// `None`: not known before it is rendered.
    fn members(&self, root: &str) -> Option<Vec<&str>> {
        match root {
            "vars" => self.vars.map(<[&str]>::to_vec),
            "site" | "socket" | "instance" => {
                let names = RENDER_NAMES
                    .iter()
                    .filter_map(|(name, _)| name.split_once('.'));
                Some(
                    names
                        .filter(|(of, _)| *of == root)
                        .map(|(_, name)| name)
                        .collect(),
                )
            }
            _ => None,
        }
    }
}

/// The place of a part of a text, where the part can be found: TOML may have written it with
/// escapes.
pub(super) fn narrow(text: Text<'_>, part: &str) -> Place {
    let place = text.place;
    let start = place.span().start;
    match place.text().find(part) {
        Some(at) if !part.is_empty() => place.source().place(start + at..start + at + part.len()),
        Some(_) | None => place.clone(),
    }
}

/// A table of named values.
pub(super) fn table<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::from_pairs(entries)
}
