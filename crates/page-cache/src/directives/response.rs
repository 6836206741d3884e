//! What an answer permits: `Cache-Control` of responses (RFC 9111 §5.2.2), the stale extensions of
//! RFC 5861, and the targeted form that takes their place (RFC 9213).

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName};

use super::{Directive, directives, members, targeted};

/// `no-cache` and `private` may stand for the whole answer or for some of its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fields {
    /// The directive is absent.
    #[default]
    None,
    /// It names these headers.
    Named(Vec<HeaderName>),
    /// It stands for the whole answer.
    All,
}

/// The directives of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, present or not"
)]
pub struct ResponseDirectives {
    /// §5.2.2.5
    pub no_store: bool,
    /// §5.2.2.4
    pub no_cache: Fields,
    /// §5.2.2.7
    pub private: Fields,
    /// §5.2.2.9
    pub public: bool,
    /// §5.2.2.2
    pub must_revalidate: bool,
    /// §5.2.2.8
    pub proxy_revalidate: bool,
    /// §5.2.2.3
    pub must_understand: bool,
    /// §5.2.2.1; a value that can't be read is 0.
    pub max_age: Option<u32>,
    /// §5.2.2.10; a value that can't be read is 0.
    pub s_maxage: Option<u32>,
    /// RFC 5861 §3
    pub stale_while_revalidate: Option<u32>,
    /// RFC 5861 §4
    pub stale_if_error: Option<u32>,
    /// Whether they were read from `CDN-Cache-Control`: then `Expires` and `Pragma` don't count
    /// (RFC 9213 §2.2).
    pub targeted: bool,
}

impl ResponseDirectives {
    /// Reads the headers of an answer.
    pub fn read(headers: &HeaderMap) -> Self {
        targeted::read(headers).unwrap_or_else(|| {
            let mut read = Self::default();
            for directive in directives(headers, CACHE_CONTROL) {
                read.take(&directive);
            }
            read
        })
    }

    fn take(&mut self, directive: &Directive<'_>) {
        // §4.2.1: of two lifetimes the first, or the answer counts as stale; the shorter is both.
        let shorter = |known: Option<u32>| {
            let seconds = directive.seconds().unwrap_or(0);
            Some(known.map_or(seconds, |one| one.min(seconds)))
        };
        if directive.is("max-age") {
            self.max_age = shorter(self.max_age);
        } else if directive.is("s-maxage") {
            self.s_maxage = shorter(self.s_maxage);
        } else if directive.is("stale-while-revalidate") {
            self.stale_while_revalidate = shorter(self.stale_while_revalidate);
        } else if directive.is("stale-if-error") {
            self.stale_if_error = shorter(self.stale_if_error);
        } else if directive.is("no-cache") {
            self.no_cache.add(directive);
        } else if directive.is("private") {
            self.private.add(directive);
        } else {
            self.set(directive.name);
        }
    }

    /// Sets what has no value. Whether one was written all the same doesn't matter: each of these
    /// restricts, but for `public`, and `public=x` is no harm either.
    pub(super) fn set(&mut self, name: &[u8]) {
        match name.to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = Fields::All,
            b"private" => self.private = Fields::All,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            _ => {}
        }
    }

    /// Whether an expired answer may not be used without asking (§4.2.4). `s-maxage` says so too
    /// (§5.2.2.10), as far as the answer doesn't permit otherwise by a directive of RFC 5861.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache == Fields::All
    }
}

impl Fields {
    fn add(&mut self, directive: &Directive<'_>) {
        let Some(argument) = directive.argument else {
            *self = Self::All;
            return;
        };
        let names = members(argument.text()).map(HeaderName::from_bytes);
        let Ok(mut names) = names.collect::<Result<Vec<_>, _>>() else {
            // Which headers are meant can't be told, so all of them are.
            *self = Self::All;
            return;
        };
        match self {
            Self::All => {}
            Self::Named(known) => known.append(&mut names),
            Self::None if names.is_empty() => *self = Self::All,
            Self::None => *self = Self::Named(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{AGE, ETAG};

    use super::*;

    fn read(cache_control: &'static str) -> ResponseDirectives {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
        ResponseDirectives::read(&headers)
    }

    #[test]
    fn rfc9111_5_2_2_every_directive_is_read() {
        let expected = ResponseDirectives {
            no_store: true,
            no_cache: Fields::All,
            private: Fields::All,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            max_age: Some(1),
            s_maxage: Some(2),
            stale_while_revalidate: Some(3),
            stale_if_error: Some(4),
            targeted: false,
        };
        let line = "NO-store, no-cache, private, Public, must-revalidate, proxy-revalidate, \
                    must-understand, max-age=1, S-maxage=\"2\", stale-while-revalidate=3, \
                    stale-if-error=4, community=\"UCI, x\"";
        assert_eq!(read(line), expected);
    }

    #[test]
    fn rfc9111_4_2_1_lifetimes_that_cannot_be_read_or_differ_are_short() {
        for line in [
            "max-age=x",
            "max-age=-1",
            "max-age=1.5",
            "max-age",
            "max-age=",
            "max-age= 1",
        ] {
            assert_eq!(read(line).max_age, Some(0), "{line}");
        }
        assert_eq!(read("max-age=100, max-age=5").max_age, Some(5));
        assert_eq!(read("max-age=5, max-age=100").max_age, Some(5));
        assert_eq!(read("a=\"max-age=100\"").max_age, None);
    }

    #[test]
    fn rfc9111_5_2_2_4_no_cache_may_name_headers() {
        assert_eq!(
            read("no-cache=\"ETag, age\"").no_cache,
            Fields::Named(vec![ETAG, AGE])
        );
        assert_eq!(read("no-cache=etag").no_cache, Fields::Named(vec![ETAG]));
        for line in [
            "no-cache=\"\"",
            "no-cache=\"a b\"",
            "no-cache=etag, no-cache",
            "no-cache, no-cache=etag",
        ] {
            assert_eq!(read(line).no_cache, Fields::All, "{line}");
        }
    }
}
