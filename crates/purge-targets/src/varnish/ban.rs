//! An order → ban expressions. No I/O.
//!
//! They look at nothing but `obj`, so Varnish's ban lurker can test them in its own time, and old bans
//! don't pile up. What a page's host and URL were, its VCL has to keep in `x-host` and `x-url`.

use ::http::HeaderName;
use site_model::HostPattern;

use crate::order::{Order, What};
use crate::plan::encoded;

/// Varnish reads a command into a buffer of 8 KiB; two lists of this size and their quoting fit.
const MAX_LIST: usize = 1_500;

/// The expressions that ban what an order names; none, where a site has no host.
pub(crate) fn bans(order: &Order, tag_header: &HeaderName) -> Vec<String> {
    let pages = match &order.what {
        What::Paths(paths) => lists(paths.iter().map(|path| literal(&encoded(path))))
            .map(|list| matching("x-url", &format!("^(?:{list})(?:\\?|$)")))
            .collect(),
        What::Prefixes(prefixes) => lists(prefixes.iter().map(|path| literal(&encoded(path))))
            .map(|list| matching("x-url", &format!("^(?:{list})")))
            .collect(),
        What::Tags(tags) => lists(tags.iter().map(|tag| literal(tag)))
            .map(|list| {
                matching(
                    tag_header.as_str(),
                    &format!("(?:^|[\\s,])(?:{list})(?:[\\s,]|$)"),
                )
            })
            .collect(),
        What::Hosts | What::Everything => vec![],
    };
    if order.site.is_none() {
        return if pages.is_empty() {
            vec!["obj.status != 0".to_owned()]
        } else {
            pages
        };
    }
    let hosts = lists(order.hosts.iter().map(host));
    let hosts = hosts.map(|list| matching("x-host", &format!("^(?:{list})$")));
    hosts
        .flat_map(|host| match pages.as_slice() {
            [] => vec![host],
            pages => pages
                .iter()
                .map(|page| format!("{host} && {page}"))
                .collect(),
        })
        .collect()
}

/// Alternatives, in lists that are not too long.
fn lists(alternatives: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut lists: Vec<String> = Vec::new();
    for alternative in alternatives {
        match lists.last_mut() {
            Some(list) if list.len() + alternative.len() < MAX_LIST => {
                list.push('|');
                list.push_str(&alternative);
            }
            Some(_) | None => lists.push(alternative),
        }
    }
    lists.into_iter()
}

fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(host) => literal(host.as_str()),
        HostPattern::Wildcard(parent) => format!(".+\\.{}", literal(parent.as_str())),
    }
}

/// A pattern that matches a text and nothing else.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(
            character,
            '\\' | '.'
                | '+'
                | '*'
                | '?'
                | '('
                | ')'
                | '|'
                | '['
                | ']'
                | '{'
                | '}'
                | '^'
                | '$'
                | '#'
        ) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// One condition, its pattern as one word of the command line.
fn matching(header: &str, pattern: &str) -> String {
    let quoted = pattern.replace('\\', "\\\\").replace('"', "\\\"");
    format!("obj.http.{header} ~ \"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use site_model::SiteId;

    use super::*;

    const TAGS: HeaderName = HeaderName::from_static("surrogate-key");

    fn check(site: Option<i64>, hosts: &[&str], what: What, expected: &[&str]) {
        let order = Order {
            site: site.map(|id| SiteId::new(id).unwrap()),
            hosts: hosts
                .iter()
                .map(|h| HostPattern::parse(h).unwrap())
                .collect(),
            what,
        };
        assert_eq!(bans(&order, &TAGS), expected);
    }

    #[test]
    fn bans_are_anchored_and_escaped_and_look_at_objects_alone() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        check(
            Some(1),
            &["a.example", "*.b.example"],
            What::Paths(names(&["/", "/a.b/ü"])),
            &[
                "obj.http.x-host ~ \"^(?:a\\\\.example|.+\\\\.b\\\\.example)$\" \
               && obj.http.x-url ~ \"^(?:/|/a\\\\.b/%C3%BC)(?:\\\\?|$)\"",
            ],
        );
        check(
            Some(1),
            &["a"],
            What::Tags(names(&["x.1"])),
            &["obj.http.x-host ~ \"^(?:a)$\" \
               && obj.http.surrogate-key ~ \"(?:^|[\\\\s,])(?:x\\\\.1)(?:[\\\\s,]|$)\""],
        );
        check(
            None,
            &[],
            What::Prefixes(names(&["/blog/"])),
            &["obj.http.x-url ~ \"^(?:/blog/)\""],
        );
        check(
            Some(1),
            &["a"],
            What::Everything,
            &["obj.http.x-host ~ \"^(?:a)$\""],
        );
        check(
            Some(1),
            &["*.b"],
            What::Hosts,
            &["obj.http.x-host ~ \"^(?:.+\\\\.b)$\""],
        );
        check(Some(1), &[], What::Everything, &[]);
        check(None, &[], What::Everything, &["obj.status != 0"]);
    }

    #[test]
    fn long_lists_are_cut_into_commands_that_varnish_can_read() {
        let paths: Vec<_> = (0..1_000)
            .map(|n| format!("/a/rather/long/path/{n}"))
            .collect();
        let order = Order {
            site: Some(SiteId::new(1).unwrap()),
            hosts: vec![HostPattern::parse("a").unwrap()],
            what: What::Paths(paths.clone()),
        };
        let bans = bans(&order, &TAGS);
        assert!(bans.iter().all(|ban| ban.len() < 4_000));
        let named = |path: &String| bans.iter().any(|ban| ban.contains(path.as_str()));
        assert!(paths.iter().all(named));
    }

    proptest! {
        #[test]
        fn whatever_a_path_holds_stays_one_word(path in "/\\PC{0,40}") {
            let order = Order {
                site: None,
                hosts: vec![],
                what: What::Paths(vec![path]),
            };
            for ban in bans(&order, &TAGS) {
                prop_assert!(ban.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
                let inner = ban.strip_prefix("obj.http.x-url ~ \"").unwrap();
                let inner = inner.strip_suffix('"').unwrap().replace("\\\\", "");
                prop_assert!(!inner.contains(['"', ' ']), "{}", inner);
            }
        }
    }
}
