//! What a target is. Whatever holds one of these values holds one that can be tried. No I/O.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, Uri};
use thiserror::Error;

/// Folders that hold more than a cache, whatever a configuration says.
const NEVER_EMPTIED: [&str; 20] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/cache",
    "/var/lib",
];

/// A cache that stands in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in logs, in status, and in the database.
    pub name: String,
    /// How it is purged.
    pub kind: Kind,
    /// How long one request or ban may take.
    pub timeout: Duration,
}

/// How a target is purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Bans over Varnish's command-line protocol.
    Varnish(VarnishTarget),
    /// `PURGE` requests, as nginx's cache-purge module takes them.
    Nginx(NginxTarget),
    /// Any other interface over HTTP.
    Http(Box<HttpTarget>),
    /// A folder that is emptied, and stays.
    Directory(PathBuf),
}

/// Why something is no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Host or port is missing.
    #[error("{0:?} is no address; write host:port")]
    Address(String),
    /// No `http://` or `https://` URL.
    #[error("{0:?} is no URL; it begins with http:// or https:// and names a host")]
    Url(String),
    /// A name in braces that isn't known.
    #[error("{{{name}}} is not known here; {known}")]
    Placeholder {
        /// What stands in the braces.
        name: String,
        /// What may.
        known: &'static str,
    },
    /// A brace that is never closed.
    #[error("a {{ is not closed in {0:?}")]
    Brace(String),
    /// A method, a header's name or its value can't be sent.
    #[error("{0:?} can't stand in a request")]
    Unsendable(String),
    /// An interface without one request.
    #[error("no request is given; one of path, prefix, tag, site and all is needed")]
    NoRequest,
    /// A relative path, or one with `..` in it.
    #[error("{0} is not absolute; name the folder from / on, without ..")]
    Relative(PathBuf),
    /// A folder that is never just a cache.
    #[error("{0} holds more than a cache and is never emptied; name the cache's own folder")]
    NeverEmptied(PathBuf),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub(crate) String);

impl Address {
    /// Parses `host:port`.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let error = || TargetError::Address(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port: u16 = port.parse().map_err(|_| error())?;
        if host.is_empty() || port == 0 {
            return Err(error());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What nobody may read in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) Vec<u8>);

impl Secret {
    /// Takes the bytes as they are: Varnish counts the line's end of its file too.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// `kind = "varnish"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VarnishTarget {
    /// Where its command line listens (`-T`).
    pub address: Address,
    /// The file behind `-S`; `None`: it runs with `-S none`.
    pub secret_file: Option<PathBuf>,
    /// The header that carries a page's tags.
    pub tag_header: HeaderName,
}

/// `kind = "nginx"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxTarget {
    /// Where to send requests.
    pub url: Uri,
    /// The Host to name; `None`: each of the site's.
    pub host: Option<HeaderValue>,
    /// Its module takes `*` at the end of a path, which that of Debian 12 doesn't.
    pub wildcard: bool,
}

impl NginxTarget {
    /// Checks a URL of scheme `http` or `https`, whose path is put before each page's.
    pub fn try_new(url: &str, host: Option<&str>, wildcard: bool) -> Result<Self, TargetError> {
        let unsendable = |text: &str| TargetError::Unsendable(text.to_owned());
        let host = host.map(|host| HeaderValue::from_str(host).map_err(|_| unsendable(host)));
        Ok(Self {
            url: parse_url(url)?,
            host: host.transpose()?,
            wildcard,
        })
    }
}

/// `kind = "http"`: a request for each thing the interface can purge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpTarget {
    /// One page.
    pub path: Option<Request>,
    /// Every page below.
    pub prefix: Option<Request>,
    /// Every page with a tag.
    pub tag: Option<Request>,
    /// Every page of a host.
    pub site: Option<Request>,
    /// Everything there is.
    pub all: Option<Request>,
}

impl HttpTarget {
    /// An interface has to have a request at least.
    pub fn check(self) -> Result<Self, TargetError> {
        let all = [&self.path, &self.prefix, &self.tag, &self.site, &self.all];
        if all.iter().all(|request| request.is_none()) {
            return Err(TargetError::NoRequest);
        }
        Ok(self)
    }
}

/// A request with names in braces: `{host}`, and `{path}`, `{prefix}` or `{tag}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
}

impl fmt::Debug for Request {
    /// Headers hold keys of interfaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Request");
        shown.field("method", &self.method).field("url", &self.url);
        shown.finish_non_exhaustive()
    }
}

impl Request {
    /// Checks a request. `names` are what its URL and body may have in braces.
    pub fn try_new(
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<Self, TargetError> {
        let unsendable = |text: &str| TargetError::Unsendable(text.to_owned());
        check_placeholders(url)?;
        if !is_json(body) {
            check_placeholders(body)?;
        }
        // What the names stand for can't make a URL of what is none without them.
        parse_url(&fill(url, &|_| Some("x".into())))?;
        let header = |(name, value): &(String, String)| {
            let mut sensitive = HeaderValue::from_str(value).map_err(|_| unsendable(name))?;
            sensitive.set_sensitive(true);
            let name = HeaderName::try_from(name.as_str()).map_err(|_| unsendable(name))?;
            Ok((name, sensitive))
        };
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| unsendable(method))?,
            url: url.to_owned(),
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
            body: body.to_owned(),
        })
    }
}

/// JSON is full of braces; in it, only the names that are known mean something.
pub(crate) fn is_json(body: &str) -> bool {
    body.trim_start().starts_with(['{', '['])
}

/// The names that requests may have in braces.
pub(crate) const NAMES: [&str; 4] = ["host", "path", "prefix", "tag"];

fn check_placeholders(text: &str) -> Result<(), TargetError> {
    let mut rest = text;
    while let Some((_, from)) = rest.split_once('{') {
        let brace = || TargetError::Brace(text.to_owned());
        let (name, after) = from.split_once('}').ok_or_else(brace)?;
        if !NAMES.contains(&name) {
            return Err(TargetError::Placeholder {
                name: name.to_owned(),
                known: "{host}, {path}, {prefix} and {tag} are",
            });
        }
        rest = after;
    }
    Ok(())
}

/// Puts values in the place of names, in one pass: what a value has in braces stays as it is.
pub(crate) fn fill(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        let known = NAMES.iter().find_map(|name| {
            let after = from.strip_prefix(name)?.strip_prefix('}')?;
            Some((value(name)?, after))
        });
        if let Some((value, after)) = known {
            filled.push_str(&value);
            rest = after;
        } else {
            filled.push('{');
            rest = from;
        }
    }
    filled.push_str(rest);
    filled
}

pub(crate) fn parse_url(text: &str) -> Result<Uri, TargetError> {
    let error = || TargetError::Url(text.to_owned());
    let url: Uri = text.parse().map_err(|_| error())?;
    match url.scheme_str() {
        Some("http" | "https") if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        Some(_) | None => Err(error()),
    }
}

impl Kind {
    /// A folder that may be emptied.
    pub fn directory(path: &Path) -> Result<Self, TargetError> {
        let has_parent = path.components().any(|part| part == Component::ParentDir);
        if !path.is_absolute() || has_parent {
            return Err(TargetError::Relative(path.to_owned()));
        }
        // Component by component: "//etc/." is /etc.
        let plain: PathBuf = path.components().collect();
        if NEVER_EMPTIED
            .iter()
            .any(|folder| Path::new(folder) == plain)
        {
            return Err(TargetError::NeverEmptied(plain));
        }
        Ok(Self::Directory(plain))
    }

    /// The kind's name in a configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Varnish(_) => "varnish",
            Self::Nginx(_) => "nginx",
            Self::Http(_) => "http",
            Self::Directory(_) => "directory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_more_than_a_cache_is_refused() {
        for refused in [
            "/",
            "//",
            "/etc",
            "/etc/",
            "/./var",
            "cache",
            "",
            "/var/cache/../lib",
        ] {
            Kind::directory(Path::new(refused)).unwrap_err();
        }
        let cache = Kind::directory(Path::new("/var/cache/nginx/pages/")).unwrap();
        assert!(
            matches!(cache, Kind::Directory(path) if path == Path::new("/var/cache/nginx/pages"))
        );
    }

    #[test]
    fn a_request_that_could_never_be_sent_is_refused() {
        let request = |method, url, body| Request::try_new(method, url, &[], body);
        assert_eq!(
            request("PURGE", "http://{host}{pth}", "")
                .unwrap_err()
                .to_string(),
            "{pth} is not known here; {host}, {path}, {prefix} and {tag} are"
        );
        for (method, url) in [
            ("PURGE", "ftp://a/"),
            ("PURGE", "/a"),
            ("PURGE", "http://{host"),
            ("PU RGE", "http://a/"),
        ] {
            request(method, url, "").unwrap_err();
        }
        request(
            "POST",
            "https://a/",
            r#"{"files": ["https://{host}{path}"]}"#,
        )
        .unwrap();
        let header = [("Bad\nname".to_owned(), "x".to_owned())];
        Request::try_new("GET", "http://a/", &header, "").unwrap_err();
    }

    #[test]
    fn what_a_value_has_in_braces_is_not_filled_in() {
        let value = |name: &str| (name == "path").then(|| "/{host}".to_owned());
        assert_eq!(
            fill("{\"a\": \"{path}\"}{tag}", &value),
            "{\"a\": \"/{host}\"}{tag}"
        );
    }

    #[test]
    fn neither_secrets_nor_headers_are_shown() {
        let header = [("authorization".to_owned(), "hunter2".to_owned())];
        let request = Request::try_new("GET", "http://a/", &header, "hunter2").unwrap();
        let shown = format!("{request:?} {:?}", Secret::new(b"hunter2".to_vec()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
