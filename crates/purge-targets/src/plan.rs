//! An order → what to ask of a target, in its own terms. No I/O.
//!
//! What a target can't name it purges wider: instead of a tag the site, instead of a site everything.
//! Stale pages are worse than cold ones.

use ::http::{HeaderName, HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use site_model::HostPattern;
use thiserror::Error;

use crate::order::{Order, What};
use crate::target::{HttpTarget, Kind, NginxTarget, Request, fill, is_json};
use crate::varnish;

/// What no request line can hold. A `%` stays: whoever wrote it has encoded already.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// One thing to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A ban's expression.
    Ban(String),
    /// A request.
    Request(Asked),
    /// A folder is to be emptied.
    Empty,
}

/// A request as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    /// The Host to name; `None`: the URL's.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
    /// 404 and 412 say that the page wasn't there, which is as good as purged.
    pub(crate) absence_is_done: bool,
}

/// Why an order can't be put to a target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Unplannable {
    /// It has no way to name what is meant, nor anything wider.
    #[error("a target of kind {kind} as it is configured can't purge {what}, nor all of a site")]
    Unsupported {
        kind: &'static str,
        what: &'static str,
    },
    /// The URL that results is none.
    #[error("{0:?} is no URL")]
    Url(String),
}

/// What to ask of a target, in this order. Nothing, where the site has no host.
pub(crate) fn plan(kind: &Kind, order: &Order) -> Result<Vec<Ask>, Unplannable> {
    let wider = match order.what {
        // All of the site is less: of its hosts, those that can't be named are left out there.
        What::Hosts => vec![order.clone(), Order::everything()],
        What::Paths(_) | What::Prefixes(_) | What::Tags(_) | What::Everything => {
            vec![order.clone(), order.widened(), Order::everything()]
        }
    };
    for order in wider {
        if let Some(asks) = exactly(kind, &order)? {
            return Ok(asks);
        }
    }
    Err(Unplannable::Unsupported {
        kind: kind.as_str(),
        what: match order.what {
            What::Paths(_) => "by path without a host of the site's own",
            What::Prefixes(_) => "by prefix",
            What::Tags(_) => "by tag",
            What::Hosts => "a host",
            What::Everything => "a site",
        },
    })
}

/// `None`: it can't name that.
fn exactly(kind: &Kind, order: &Order) -> Result<Option<Vec<Ask>>, Unplannable> {
    match kind {
        Kind::Varnish(target) => {
            let bans = varnish::bans(order, &target.tag_header);
            Ok(Some(bans.into_iter().map(Ask::Ban).collect()))
        }
        Kind::Nginx(target) => nginx(target, order),
        Kind::Http(target) => http(target, order),
        Kind::Directory(_) => Ok(Some(vec![Ask::Empty])),
    }
}

fn nginx(target: &NginxTarget, order: &Order) -> Result<Option<Vec<Ask>>, Unplannable> {
    let paths = match &order.what {
        What::Paths(paths) => paths.clone(),
        What::Prefixes(prefixes) if target.wildcard => {
            prefixes.iter().map(|prefix| format!("{prefix}*")).collect()
        }
        What::Hosts | What::Everything if target.wildcard => vec!["/*".to_owned()],
        What::Prefixes(_) | What::Tags(_) | What::Hosts | What::Everything => return Ok(None),
    };
    let hosts = match &target.host {
        Some(host) => vec![host.clone()],
        None => match exact_hosts(order) {
            Some(hosts) => hosts,
            None => return Ok(None),
        },
    };
    let base = target.url.to_string();
    let base = base.trim_end_matches('/');
    let mut asks = Vec::new();
    for host in &hosts {
        for path in &paths {
            asks.push(Ask::Request(Asked {
                method: Method::from_bytes(b"PURGE").unwrap_or(Method::DELETE),
                url: url(&format!("{base}{}", encoded(path)))?,
                host: Some(host.clone()),
                headers: vec![],
                body: String::new(),
                absence_is_done: true,
            }));
        }
    }
    Ok(Some(asks))
}

fn http(target: &HttpTarget, order: &Order) -> Result<Option<Vec<Ask>>, Unplannable> {
    let (request, name, values) = match &order.what {
        What::Paths(paths) => (&target.path, "path", paths.as_slice()),
        What::Prefixes(prefixes) => (&target.prefix, "prefix", prefixes.as_slice()),
        What::Tags(tags) => (&target.tag, "tag", tags.as_slice()),
        What::Everything if order.site.is_none() => {
            let all = target.all.as_ref();
            return all.map(|all| Ok(vec![asked(all, "", "", "")?])).transpose();
        }
        What::Hosts | What::Everything => (&target.site, "", &[String::new()][..]),
    };
    let (Some(request), Some(hosts)) = (request, exact_hosts(order)) else {
        return Ok(None);
    };
    let mut asks = Vec::new();
    for host in &hosts {
        // Host names are ASCII.
        let host = host.to_str().unwrap_or_default();
        for value in values {
            asks.push(asked(request, host, name, value)?);
        }
    }
    // An interface that takes a tag for all hosts gets it once.
    asks.dedup();
    Ok(Some(asks))
}

fn asked(request: &Request, host: &str, name: &str, value: &str) -> Result<Ask, Unplannable> {
    let value_in_url = if name == "tag" {
        utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
    } else {
        encoded(value)
    };
    let filled = |with: &str| {
        let with = with.to_owned();
        move |asked: &str| match asked {
            "host" => Some(host.to_owned()),
            asked if asked == name => Some(with.clone()),
            // The request is for something else.
            _ => Some(String::new()),
        }
    };
    let in_body = if name == "tag" { value } else { &value_in_url };
    let body = if is_json(&request.body) {
        fill(&request.body, &filled(&in_json(in_body)))
    } else {
        fill(&request.body, &filled(in_body))
    };
    Ok(Ask::Request(Asked {
        method: request.method.clone(),
        url: url(&fill(&request.url, &filled(&value_in_url)))?,
        host: None,
        headers: request.headers.clone(),
        body,
        absence_is_done: false,
    }))
}

/// A text as it stands between the quotation marks of JSON. Controls are in no name.
fn in_json(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The hosts that can be named in a request; `None` where none can, or where it takes all.
fn exact_hosts(order: &Order) -> Option<Vec<HeaderValue>> {
    order.site?;
    let is_wildcard = |host: &HostPattern| matches!(host, HostPattern::Wildcard(_));
    if order.what == What::Hosts && order.hosts.iter().any(is_wildcard) {
        return None;
    }
    let exact = order.hosts.iter().filter_map(|host| match host {
        HostPattern::Exact(host) => HeaderValue::from_str(host.as_str()).ok(),
        HostPattern::Wildcard(_) => None,
    });
    let exact: Vec<_> = exact.collect();
    (!exact.is_empty() || order.hosts.is_empty()).then_some(exact)
}

/// A path as it stands in a request line.
pub(crate) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_A_PATH).to_string()
}

fn url(text: &str) -> Result<Uri, Unplannable> {
    let error = || Unplannable::Url(text.to_owned());
    text.parse().map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use site_model::SiteId;

    use super::*;
    use crate::target::Request;

    fn order(what: What) -> Order {
        Order {
            site: Some(SiteId::new(3).unwrap()),
            hosts: ["a.example", "b.example", "*.c.example"]
                .map(|host| HostPattern::parse(host).unwrap())
                .to_vec(),
            what,
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn shown(asks: &[Ask]) -> Vec<String> {
        let one = |ask: &Ask| match ask {
            Ask::Request(asked) => {
                let host = asked.host.as_ref().map(|host| host.to_str().unwrap());
                format!(
                    "{} {} {} {}",
                    asked.method,
                    asked.url,
                    host.unwrap_or("-"),
                    asked.body
                )
            }
            other => format!("{other:?}"),
        };
        asks.iter()
            .map(|ask| one(ask).trim_end().to_owned())
            .collect()
    }

    #[test]
    fn nginx_is_asked_for_each_path_and_host() {
        let target = NginxTarget::try_new("http://127.0.0.1:81/", None, false).unwrap();
        let asks = plan(
            &Kind::Nginx(target.clone()),
            &order(What::Paths(names(&["/", "/ä b"]))),
        );
        assert_eq!(
            shown(&asks.unwrap()),
            [
                "PURGE http://127.0.0.1:81/ a.example",
                "PURGE http://127.0.0.1:81/%C3%A4%20b a.example",
                "PURGE http://127.0.0.1:81/ b.example",
                "PURGE http://127.0.0.1:81/%C3%A4%20b b.example",
            ]
        );
        let error = plan(&Kind::Nginx(target), &order(What::Tags(names(&["t"])))).unwrap_err();
        assert!(error.to_string().contains("by tag"), "{error}");
    }

    #[test]
    fn nginx_with_wildcards_purges_prefixes_and_sites() {
        let target = NginxTarget::try_new("http://127.0.0.1:81/p", Some("x"), true).unwrap();
        let kind = Kind::Nginx(target);
        for (what, url) in [
            (What::Prefixes(names(&["/blog/"])), "/blog/*"),
            (What::Tags(names(&["t"])), "/*"),
            (What::Hosts, "/*"),
            (What::Everything, "/*"),
        ] {
            let asks = plan(&kind, &order(what)).unwrap();
            assert_eq!(
                shown(&asks),
                [format!("PURGE http://127.0.0.1:81/p{url} x")]
            );
        }
    }

    #[test]
    fn an_interface_is_asked_for_what_it_can_name_and_else_for_more() {
        let request = |url, body| Some(Request::try_new("POST", url, &[], body).unwrap());
        let target = HttpTarget {
            path: request("https://api/", r#"{"files": ["https://{host}{path}"]}"#),
            tag: request("https://api/tag/{tag}", ""),
            all: request("https://api/all", ""),
            ..HttpTarget::default()
        };
        let kind = Kind::Http(Box::new(target));
        for (what, expected) in [
            (
                What::Paths(names(&["/\"x"])),
                &[
                    r#"POST https://api/ - {"files": ["https://a.example/%22x"]}"#,
                    r#"POST https://api/ - {"files": ["https://b.example/%22x"]}"#,
                ][..],
            ),
            (
                What::Tags(names(&["a/b"])),
                &["POST https://api/tag/a%2Fb -"],
            ),
            (What::Prefixes(names(&["/a"])), &["POST https://api/all -"]),
            (What::Hosts, &["POST https://api/all -"]),
            (What::Everything, &["POST https://api/all -"]),
        ] {
            assert_eq!(shown(&plan(&kind, &order(what)).unwrap()), expected);
        }
    }

    #[test]
    fn a_lost_host_that_can_t_be_named_takes_everything_along() {
        let request = |url| Some(Request::try_new("POST", url, &[], "").unwrap());
        let target = HttpTarget {
            site: request("https://api/{host}"),
            all: request("https://api/all"),
            ..HttpTarget::default()
        };
        let kind = Kind::Http(Box::new(target));
        let mut lost = order(What::Hosts);
        lost.hosts.pop();
        let named = [
            "POST https://api/a.example -",
            "POST https://api/b.example -",
        ];
        assert_eq!(shown(&plan(&kind, &lost).unwrap()), named);
        lost.hosts.push("*.a.example".parse().unwrap());
        let all = ["POST https://api/all -"];
        assert_eq!(shown(&plan(&kind, &lost).unwrap()), all);
        let nginx = Kind::Nginx(NginxTarget::try_new("http://127.0.0.1:81", None, true).unwrap());
        let error = plan(&nginx, &lost).unwrap_err();
        assert!(error.to_string().contains("a host"), "{error}");
    }

    #[test]
    fn a_site_without_a_host_has_no_page_in_front() {
        let target = NginxTarget::try_new("http://127.0.0.1:81", None, false).unwrap();
        let mut order = order(What::Paths(names(&["/"])));
        order.hosts.clear();
        assert_eq!(plan(&Kind::Nginx(target), &order).unwrap(), []);
    }
}
