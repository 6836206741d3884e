//! `[[purge.target]]`: the caches that stand in front of the router.
//!
//! Header values are secrets: they are taken from files or variables, and a mistake in one is shown at
//! the head of its table, never with its own line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::HeaderName;
use purge_targets::{
    Address, HttpTarget, Kind, NginxTarget, Request, Target, TargetError, VarnishTarget,
};

use super::document::{Section, Text};
use super::surroundings::Surroundings;

/// Longest name of a target: it is part of lines of the log, and of a key in the database.
const MAX_NAME: usize = 64;
/// `timeout`, and the longest one: a target that is so slow has to be mended.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_mins(5);

/// What a target is read with.
#[derive(Clone, Copy)]
struct Base<'a> {
    folder: &'a Path,
    surroundings: &'a Surroundings,
}

/// Reads every target.
pub(super) fn read(
    mut purge: Section<'_>,
    folder: &Path,
    surroundings: &Surroundings,
) -> Vec<Target> {
    let base = Base {
        folder,
        surroundings,
    };
    let sections = purge.sections("target");
    purge.finish();
    let mut names = BTreeSet::new();
    let mut targets = Vec::new();
    for section in sections {
        let (span, findings) = (section.span(), section.findings());
        let Some(target) = read_target(section, base) else {
            continue;
        };
        if !names.insert(target.name.clone()) {
            let second = format!("a second purge target with the name `{}`", target.name);
            findings.report(span, second);
        }
        targets.push(target);
    }
    targets
}

fn read_target(mut section: Section<'_>, base: Base<'_>) -> Option<Target> {
    let name = section.required("name", name);
    let timeout = section.duration("timeout", TIMEOUT);
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        let span = section.span();
        section.findings().report(
            span,
            "`purge.target.timeout` is more than 0s and at most 5m",
        );
    }
    let kind = match section.required("kind", KindName::parse) {
        Some(KindName::Varnish) => varnish(&mut section, base),
        Some(KindName::Nginx) => nginx(&mut section),
        Some(KindName::Http) => http(&mut section, base),
        Some(KindName::Directory) => directory(&mut section),
        // What is missing is said already; which keys belong to it, nobody knows.
        None => return None,
    };
    section.finish();
    Some(Target {
        name: name?,
        kind: kind?,
        timeout,
    })
}

#[derive(Clone, Copy)]
enum KindName {
    Varnish,
    Nginx,
    Http,
    Directory,
}

impl KindName {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "varnish" => Ok(Self::Varnish),
            "nginx" => Ok(Self::Nginx),
            "http" => Ok(Self::Http),
            "directory" => Ok(Self::Directory),
            _ => Err("a kind is \"varnish\", \"nginx\", \"http\" or \"directory\""),
        }
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(is_fine) {
        return Err("a target's name is 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.'");
    }
    Ok(text.to_owned())
}

fn varnish(section: &mut Section<'_>, base: Base<'_>) -> Option<Kind> {
    let address = section.required("address", Address::parse);
    let secret_file = section.parsed_text("secret_file", |path| match path {
        "" => Err("a path can't be empty"),
        path => Ok(base.folder.join(path)),
    });
    let surrogate_key = HeaderName::from_static("surrogate-key");
    let tag_header = section.parsed("tag_header", surrogate_key, |name| {
        HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a header"))
    });
    Some(Kind::Varnish(VarnishTarget {
        address: address?,
        secret_file,
        tag_header,
    }))
}

fn nginx(section: &mut Section<'_>) -> Option<Kind> {
    let host = section.text("host");
    let host = host.as_ref().map(|host| host.text);
    let wildcard = section.switch("wildcard", false);
    let target = section.required("url", |url| NginxTarget::try_new(url, host, wildcard));
    Some(Kind::Nginx(target?))
}

fn directory(section: &mut Section<'_>) -> Option<Kind> {
    section.required("path", |path| Kind::directory(Path::new(path)))
}

fn http(section: &mut Section<'_>, base: Base<'_>) -> Option<Kind> {
    let mut request = |name| read_request(section.section(name), base);
    let target = HttpTarget {
        path: request("path"),
        prefix: request("prefix"),
        tag: request("tag"),
        site: request("site"),
        all: request("all"),
    };
    match target.check() {
        Ok(target) => Some(Kind::Http(Box::new(target))),
        Err(error) => {
            section.findings().report(section.span(), error);
            None
        }
    }
}

fn read_request(mut section: Section<'_>, base: Base<'_>) -> Option<Request> {
    let url = section.text("url");
    let method = section.text("method");
    let body = section.text("body");
    let headers = read_headers(&mut section, base);
    let (span, findings) = (section.span(), section.findings());
    let is_there = section.is_there();
    section.finish();
    if !is_there {
        return None;
    }
    let Some(url) = url else {
        findings.report(span, "a request needs its `url`");
        return None;
    };
    let text = |text: &Option<Text<'_>>, or: &str| text.as_ref().map_or(or, |t| t.text).to_owned();
    let (method, body) = (text(&method, "POST"), text(&body, ""));
    let request: Result<Request, TargetError> =
        Request::try_new(&method, url.text, &headers?, &body);
    request.map_err(|error| findings.report(span, error)).ok()
}

/// `headers` and `headers_file`; `None`: one of them can't be had, which is reported.
fn read_headers(section: &mut Section<'_>, base: Base<'_>) -> Option<Vec<(String, String)>> {
    let (given, files) = (section.texts("headers"), section.texts("headers_file"));
    let (span, findings) = (section.span(), section.findings());
    let given = given.into_iter().map(|(name, value)| {
        let value = from_text(value.text, base.surroundings)?;
        Ok((name.text.to_owned(), value))
    });
    let files = files.into_iter().map(|(name, file)| {
        let value = from_file(&base.folder.join(file.text))?;
        Ok((name.text.to_owned(), value))
    });
    let headers: Result<Vec<_>, String> = given.chain(files).collect();
    headers.map_err(|error| findings.report(span, error)).ok()
}

fn from_text(text: &str, surroundings: &Surroundings) -> Result<String, String> {
    let Some(variable) = text.strip_prefix('$') else {
        return Ok(text.to_owned());
    };
    let value = surroundings.variable(variable).map(str::to_owned);
    value.ok_or_else(|| format!("the environment variable {variable} is not set"))
}

fn from_file(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("could not read {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        value => Ok(value.to_owned()),
    }
}

/// What of a target isn't there now, for who checks a configuration: it may come later, so the daemon
/// starts all the same.
pub(crate) fn absent(target: &Target) -> Option<String> {
    match &target.kind {
        Kind::Varnish(varnish) => {
            let file = varnish.secret_file.as_ref()?;
            let error = fs::File::open(file).err()?;
            Some(format!("could not read {}: {error}", file.display()))
        }
        Kind::Directory(folder) => match fs::symlink_metadata(folder) {
            Ok(found) if found.is_dir() => None,
            Ok(_) => Some(format!("{} is no folder", folder.display())),
            Err(error) => Some(format!("{}: {error}", folder.display())),
        },
        Kind::Nginx(_) | Kind::Http(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::config::{Config, ConfigError, parse};

    fn read(text: &str) -> Result<Config, ConfigError> {
        let mut surroundings = Surroundings::of_this_process();
        let token = ("TOKEN".to_owned(), "hunter2".to_owned());
        surroundings.variables = [token].into();
        parse(
            text,
            Some(Path::new("/etc/emperor/emperor.toml")),
            &surroundings,
        )
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn each_kind_is_read_with_its_own_keys() {
        let config = read(
            r#"
            [[purge.target]]
            name = "front"
            kind = "varnish"
            address = "127.0.0.1:6082"
            secret_file = "varnish.secret"
            timeout = "2s"
            [[purge.target]]
            name = "edge"
            kind = "nginx"
            url = "http://127.0.0.1:81"
            host = "www.example.com"
            [[purge.target]]
            name = "cdn"
            kind = "http"
            [purge.target.path]
            url = "https://api.example/{path}"
            headers = { authorization = "$TOKEN" }
            [[purge.target]]
            name = "folder"
            kind = "directory"
            path = "/var/cache/nginx/pages"
            "#,
        )
        .unwrap();
        let shown: Vec<_> = config.purge_targets.iter().collect();
        let kinds: Vec<_> = shown.iter().map(|target| target.kind.as_str()).collect();
        assert_eq!(kinds, ["varnish", "nginx", "http", "directory"]);
        assert_eq!(shown[0].timeout, Duration::from_secs(2));
        assert_eq!(shown[1].timeout, TIMEOUT);
        let Kind::Varnish(varnish) = &shown[0].kind else {
            panic!("{shown:?}")
        };
        let file = varnish.secret_file.as_deref();
        assert_eq!(file, Some(Path::new("/etc/emperor/varnish.secret")));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_wrong_target_is_shown_at_its_place() {
        assert_snapshot!(refusal("[[purge.target]]\nname = 'front'\nkind = 'varnish'\naddress = 'localhost'\nwildcard = true\n"), @r#"
        error: "localhost" is no address; write host:port
         --> /etc/emperor/emperor.toml:4:11
          |
        4 | address = 'localhost'
          |           ^^^^^^^^^^^

        error: unknown key `wildcard`
         --> /etc/emperor/emperor.toml:5:1
          |
        5 | wildcard = true
          | ^^^^^^^^
          |
          = help: known here: address, kind, name, secret_file, tag_header, timeout
        "#);
        assert_snapshot!(refusal("[[purge.target]]\nkind = 'apache'\n"), @r#"
        error: `purge.target.name` is missing
         --> /etc/emperor/emperor.toml:1:1
          |
        1 | [[purge.target]]
          | ^^^^^^^^^^^^^^^^

        error: a kind is "varnish", "nginx", "http" or "directory"
         --> /etc/emperor/emperor.toml:2:8
          |
        2 | kind = 'apache'
          |        ^^^^^^^^
        "#);
        assert_snapshot!(refusal("[[purge.target]]\nname = 'd'\nkind = 'directory'\npath = '/var/'\n"), @"
        error: /var holds more than a cache and is never emptied; name the cache's own folder
         --> /etc/emperor/emperor.toml:4:8
          |
        4 | path = '/var/'
          |        ^^^^^^^
        ");
        assert_snapshot!(refusal("[[purge.target]]\nname = 'c'\nkind = 'http'\n"), @"
        error: no request is given; one of path, prefix, tag, site and all is needed
         --> /etc/emperor/emperor.toml:1:1
          |
        1 | [[purge.target]]
          | ^^^^^^^^^^^^^^^^
        ");
        let twice =
            "[[purge.target]]\nname = 'a'\nkind = 'directory'\npath = '/srv/cache'\n".repeat(2);
        assert!(refusal(&twice).contains("a second purge target with the name `a`"));
    }

    #[test]
    fn a_header_that_can_t_be_sent_is_not_shown() {
        let refusal = refusal(
            "[[purge.target]]\nname = 'c'\nkind = 'http'\n[purge.target.all]\nurl = 'http://a/'\n\
             headers = { authorization = \"hunter2\\n\" }\n",
        );
        assert!(refusal.contains("emperor.toml:4:1"), "{refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}
