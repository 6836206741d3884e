//! Asking whether a stored page is still good, and what other answers say about it: 304 (RFC 9111
//! §4.3.4), HEAD (§4.3.5), unsafe methods (§4.4).

use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use http::{Method, StatusCode};

use crate::conditional::EntityTag;
use crate::page::Page;
use crate::purge::Purge;
use crate::request::Asked;

/// Makes of a client's headers those of a fill: the whole is asked for, on the cache's own conditions
/// (§4.3.1).
pub(crate) fn prepare(headers: &mut HeaderMap, previous: Option<&Page>) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        headers.remove(name);
    }
    let Some(page) = previous else {
        return;
    };
    let mut copy = |from: HeaderName, to: HeaderName| {
        let value = page.header(&from).map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            headers.insert(to, value);
        }
    };
    if !page.marks().own_etag {
        copy(ETAG, IF_NONE_MATCH);
    }
    copy(LAST_MODIFIED, IF_MODIFIED_SINCE);
}

/// Whether a 304 means this page (§4.3.4). One without a validator answers the only question that
/// was asked.
pub(crate) fn confirms(page: &Page, not_modified: &HeaderMap) -> bool {
    if let Some(tag) = not_modified.get(ETAG) {
        let (newer, stored) = (EntityTag::parse(tag.as_bytes()), page.header(&ETAG));
        let both = newer.zip(stored.and_then(EntityTag::parse));
        return both.is_some_and(|(newer, stored)| newer.matches_weakly(stored));
    }
    match not_modified.get(LAST_MODIFIED) {
        Some(changed) => page.header(&LAST_MODIFIED) == Some(changed.as_bytes()),
        None => true,
    }
}

/// Whether the head that HEAD was answered with is of the stored page (§4.3.5).
pub(crate) fn is_head_of(page: &Page, head: &HeaderMap) -> bool {
    let same = |name: &HeaderName| match head.get(name) {
        Some(value) => page.header(name) == Some(value.as_bytes()),
        None => true,
    };
    let tag = page.marks().own_etag || same(&ETAG);
    let length = head.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let length_is_same =
        length.is_none_or(|text| text == page.body_length().to_string().as_bytes());
    tag && same(&LAST_MODIFIED) && length_is_same
}

/// What an answer to an unsafe method says is no longer true (§4.4): its target, and what it names on
/// the same origin. Nothing where it failed.
pub(crate) fn invalidated(asked: Asked<'_>, status: StatusCode, headers: &HeaderMap) -> Vec<Purge> {
    let is_safe =
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(asked.method);
    if is_safe || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut purges = vec![Purge::path(asked.path)];
    for name in [LOCATION, CONTENT_LOCATION] {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        let path = value.and_then(|reference| same_origin_path(reference, asked.path, asked.host));
        purges.extend(path.map(|path| Purge::path(&path)));
    }
    purges.dedup();
    purges
}

/// The path of a reference (RFC 3986 §4.2), where it stays on the host.
fn same_origin_path(reference: &str, base: &str, host: &str) -> Option<String> {
    let has_authority = reference.starts_with("//") || reference.contains("://");
    if has_authority {
        let (_, rest) = reference.split_once("//")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority: http::uri::Authority = rest[..end].parse().ok()?;
        let path = rest[end..].strip_prefix('/').map_or("/", |_| &rest[end..]);
        return authority
            .host()
            .eq_ignore_ascii_case(host)
            .then(|| path.to_owned());
    }
    if reference.starts_with('/') {
        return Some(reference.to_owned());
    }
    if reference.is_empty() || reference.starts_with(['?', '#']) {
        return Some(base.to_owned());
    }
    let folder = base.rfind('/').map_or("/", |slash| &base[..=slash]);
    Some(format!("{folder}{reference}"))
}

#[cfg(test)]
mod tests {
    use site_model::SiteId;

    use super::*;
    use crate::key::Scheme;

    fn check(method: &Method, status: u16, lines: &[(HeaderName, &str)], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let none = HeaderMap::new();
        let asked = Asked {
            site: SiteId::new(1).unwrap(),
            scheme: Scheme::Http,
            host: "a.example",
            method,
            path: "/posts/new",
            query: Some("draft=1"),
            headers: &none,
        };
        let status = StatusCode::from_u16(status).unwrap();
        let found = invalidated(asked, status, &headers);
        let expected: Vec<_> = expected.iter().map(|path| Purge::path(path)).collect();
        assert_eq!(found, expected, "{method} {status} {lines:?}");
    }

    #[test]
    fn rfc9111_4_4_unsafe_methods_invalidate_what_they_name_on_their_own_origin() {
        check(&Method::POST, 200, &[], &["/posts/new"]);
        check(
            &Method::PUT,
            303,
            &[(LOCATION, "/posts/1")],
            &["/posts/new", "/posts/1"],
        );
        check(
            &Method::POST,
            201,
            &[(CONTENT_LOCATION, "1?x")],
            &["/posts/new", "/posts/1"],
        );
        check(
            &Method::DELETE,
            204,
            &[
                (LOCATION, "https://A.example:8443/x"),
                (CONTENT_LOCATION, "//a.example"),
            ],
            &["/posts/new", "/x", "/"],
        );
        check(
            &Method::POST,
            200,
            &[(LOCATION, "https://b.example/x")],
            &["/posts/new"],
        );
        check(
            &Method::POST,
            200,
            &[(LOCATION, "?page=2")],
            &["/posts/new"],
        );
    }

    #[test]
    fn rfc9111_4_4_safe_methods_and_errors_invalidate_nothing() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            check(&method, 200, &[(LOCATION, "/x")], &[]);
        }
        check(&Method::POST, 404, &[], &[]);
        check(&Method::POST, 500, &[], &[]);
    }
}
