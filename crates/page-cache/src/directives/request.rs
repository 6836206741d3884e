//! What a client asks of caches: `Cache-Control` of requests (RFC 9111 §5.2.1) and `Pragma` (§5.4).

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::{Directive, MOST_SECONDS, directives};

/// The directives of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// §5.2.1.4: only what was validated just now.
    pub no_cache: bool,
    /// §5.2.1.5: the answer is not to be kept.
    pub no_store: bool,
    /// §5.2.1.7: from the cache or not at all.
    pub only_if_cached: bool,
    /// §5.2.1.1: no older than so many seconds.
    pub max_age: Option<u32>,
    /// §5.2.1.3: good for so many seconds more.
    pub min_fresh: Option<u32>,
    /// §5.2.1.2: expired for no more than so many seconds.
    pub max_stale: Option<u32>,
    /// RFC 5861 §4: after an error, an answer that expired no longer ago.
    pub stale_if_error: Option<u32>,
}

impl RequestDirectives {
    /// Reads the headers of a request. `Pragma: no-cache` counts where there is no `Cache-Control`.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for directive in directives(headers, CACHE_CONTROL) {
            read.take(&directive);
        }
        if !headers.contains_key(CACHE_CONTROL) {
            read.no_cache = directives(headers, PRAGMA).any(|directive| directive.is("no-cache"));
        }
        read
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let least =
            |known: Option<u32>, other: u32| Some(known.map_or(other, |one| one.min(other)));
        // A bound that can't be read is the strictest: the client gets a newer page than it asked for.
        let seconds = directive.seconds();
        if directive.is("no-cache") {
            self.no_cache = true;
        } else if directive.is("no-store") {
            self.no_store = true;
        } else if directive.is("only-if-cached") {
            self.only_if_cached = true;
        } else if directive.is("max-age") {
            self.max_age = least(self.max_age, seconds.unwrap_or(0));
        } else if directive.is("min-fresh") {
            let wanted = seconds.unwrap_or(MOST_SECONDS);
            self.min_fresh = Some(self.min_fresh.map_or(wanted, |known| known.max(wanted)));
        } else if directive.is("max-stale") {
            let accepted = match directive.argument {
                Some(_) => seconds.unwrap_or(0),
                None => MOST_SECONDS,
            };
            self.max_stale = least(self.max_stale, accepted);
        } else if directive.is("stale-if-error") {
            self.stale_if_error = least(self.stale_if_error, seconds.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(cache_control: &'static str) -> RequestDirectives {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
        RequestDirectives::read(&headers)
    }

    #[test]
    fn rfc9111_5_2_1_every_directive_is_read() {
        let expected = RequestDirectives {
            no_cache: true,
            no_store: true,
            only_if_cached: true,
            max_age: Some(1),
            min_fresh: Some(2),
            max_stale: Some(3),
            stale_if_error: Some(4),
        };
        let line = "No-Cache, NO-STORE, only-if-cached, max-age=\"1\", min-fresh=2, max-stale=3, stale-if-error=4, x=y";
        assert_eq!(read(line), expected);
    }

    #[test]
    fn bounds_that_cannot_be_read_are_strict() {
        assert_eq!(read("max-age=soon").max_age, Some(0));
        assert_eq!(read("max-age").max_age, Some(0));
        assert_eq!(read("max-stale=much").max_stale, Some(0));
        assert_eq!(read("max-stale").max_stale, Some(MOST_SECONDS));
        assert_eq!(read("min-fresh=x").min_fresh, Some(MOST_SECONDS));
        assert_eq!(read("max-age=9, max-age=3").max_age, Some(3));
    }

    #[test]
    fn rfc9111_5_4_pragma_counts_where_there_is_no_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("foo, No-Cache"));
        assert!(RequestDirectives::read(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        assert!(!RequestDirectives::read(&headers).no_cache);
    }
}
