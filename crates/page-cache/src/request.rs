//! A request as the cache sees it, or the reason why the cache has no part in it.

use http::Method;
use http::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE,
};
use site_model::SiteId;

use crate::cookies;
use crate::directives::RequestDirectives;
use crate::key::{self, MAX_KEY_BYTES, Scheme};
use crate::policy::{Mode, Policy};
use crate::reason::BypassReason;

/// A request's head, as far as the cache looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The site that the router found.
    pub site: SiteId,
    /// With or without TLS.
    pub scheme: Scheme,
    /// The host as the router compared it: lower case, without a port.
    pub host: &'a str,
    /// What is to be done.
    pub method: &'a Method,
    /// The path as the client wrote it.
    pub path: &'a str,
    /// What follows the `?`, if there is one.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// A request that may be answered from the cache.
#[derive(Debug, Clone)]
pub struct CacheRequest<'a> {
    /// How pages of its path are kept.
    pub mode: Mode,
    /// What the client asks of caches.
    pub directives: RequestDirectives,
    /// Whether it says who the client is.
    pub authorized: bool,
    /// Whether only the head is wanted.
    pub head_only: bool,
    pub(crate) key: Vec<u8>,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> CacheRequest<'a> {
    /// Reads a request's head.
    ///
    /// # Errors
    /// The reason why it goes to the worker, and its answer to nobody else.
    pub fn read(policy: &Policy, asked: Asked<'a>) -> Result<Self, BypassReason> {
        if policy.settings().mode == Mode::Off && policy.settings().paths.is_empty() {
            return Err(BypassReason::Off);
        }
        let path = key::normal_path(asked.path);
        let mode = policy.mode(&path);
        if mode == Mode::Off {
            return Err(BypassReason::Off);
        }
        if policy.ignores(&path) {
            return Err(BypassReason::Ignored);
        }
        if *asked.method != Method::GET && *asked.method != Method::HEAD {
            return Err(BypassReason::Method);
        }
        let directives = RequestDirectives::read(asked.headers);
        bypass_by_header(asked.headers, &directives)?;
        let lines = asked
            .headers
            .get_all(COOKIE)
            .iter()
            .map(HeaderValue::as_bytes);
        let cookies = cookies::that_tell_apart(policy, lines)?;
        let query = asked
            .query
            .and_then(|query| key::normal_query(policy, query));
        let key = key::Primary {
            site: asked.site,
            scheme: asked.scheme,
            host: asked.host,
            path: &path,
            query: query.as_deref(),
            cookies: &cookies,
        };
        let key = key.to_key();
        if key.len() > MAX_KEY_BYTES {
            return Err(BypassReason::KeyTooLong);
        }
        Ok(Self {
            mode,
            directives,
            authorized: asked.headers.contains_key(AUTHORIZATION),
            head_only: *asked.method == Method::HEAD,
            key,
            headers: asked.headers,
        })
    }
}

fn bypass_by_header(
    headers: &HeaderMap,
    directives: &RequestDirectives,
) -> Result<(), BypassReason> {
    if headers.contains_key(UPGRADE) {
        return Err(BypassReason::Upgrade);
    }
    if directives.no_store {
        return Err(BypassReason::RequestNoStore);
    }
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(BypassReason::Precondition);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::HeaderValue;

    use super::*;
    use crate::policy::Settings;

    fn key(method: &Method, target: &str, lines: &[(&str, &str)]) -> Result<Vec<u8>, BypassReason> {
        let policy = Policy::compile(Settings {
            cookies: vec!["lang".into(), "theme".into()],
            ..Settings::default()
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let asked = Asked {
            site: SiteId::new(1).unwrap(),
            scheme: Scheme::Http,
            host: "a.example",
            method,
            path,
            query,
            headers: &headers,
        };
        CacheRequest::read(&policy.unwrap(), asked).map(|request| request.key)
    }

    #[test]
    fn head_is_answered_from_the_page_that_get_stored() {
        assert_eq!(key(&Method::HEAD, "/", &[]), key(&Method::GET, "/", &[]));
    }

    #[test]
    fn requests_that_are_one_visitors_go_to_the_worker() {
        let get = |lines: &[(&str, &str)]| key(&Method::GET, "/", lines).err();
        assert_eq!(get(&[]), None);
        assert_eq!(
            get(&[("cookie", "sessionid=1")]),
            Some(BypassReason::RequestCookie)
        );
        assert_eq!(
            get(&[("cookie", "lang=de; x")]),
            Some(BypassReason::RequestCookie)
        );
        assert_eq!(
            get(&[("cookie", "lang=de"), ("cookie", "a=b")]),
            Some(BypassReason::RequestCookie)
        );
        assert_eq!(get(&[("cookie", "lang=de;; theme=dark")]), None);
        assert_eq!(
            get(&[("cache-control", "no-store")]),
            Some(BypassReason::RequestNoStore)
        );
        assert_eq!(get(&[("if-match", "*")]), Some(BypassReason::Precondition));
        assert_eq!(
            get(&[("upgrade", "websocket")]),
            Some(BypassReason::Upgrade)
        );
        assert_eq!(key(&Method::POST, "/", &[]), Err(BypassReason::Method));
        assert_eq!(
            key(&Method::GET, "/admin/", &[]),
            Err(BypassReason::Ignored)
        );
        assert_eq!(
            key(&Method::GET, "/%61dmin/", &[]),
            Err(BypassReason::Ignored)
        );
        let long = format!("/{}", "a".repeat(MAX_KEY_BYTES));
        assert_eq!(key(&Method::GET, &long, &[]), Err(BypassReason::KeyTooLong));
    }
}
