//! Why a page is not taken from the cache, or not kept there.

use std::fmt;

/// Why the cache had no part in a request, or didn't keep its answer.
///
/// One enum for both, since operators ask one question: why is this page not cached?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BypassReason {
    /// The mode is `off` for this site or path.
    Off,
    /// The path matches `ignore`.
    Ignored,
    /// Nobody listens for purges at the moment.
    InvalidationAway,
    /// Neither GET nor HEAD.
    Method,
    /// `Authorization` in the request, and nothing in the answer permits sharing it.
    Authorization,
    /// A cookie in the request that is not on the site's list.
    RequestCookie,
    /// `no-store` in the request.
    RequestNoStore,
    /// A part was asked for, and the whole is not stored.
    Range,
    /// `If-Match` or `If-Unmodified-Since`: for the application alone to answer.
    Precondition,
    /// The connection is to become another protocol's.
    Upgrade,
    /// The target is too long to be a key.
    KeyTooLong,
    /// The request has a body, which no key tells of.
    RequestBody,
    /// The answer sets a cookie.
    SetCookie,
    /// `no-store` in the answer.
    NoStore,
    /// `private` in the answer.
    Private,
    /// `no-cache` in the answer, where nothing could be asked again.
    NoCache,
    /// `Vary: *`, or a `Vary` that can't be read.
    Vary,
    /// A status that is not kept in this mode.
    Status,
    /// The answer of a worker that is failing.
    WorkerError,
    /// A part of a page.
    PartialContent,
    /// Nothing says how long the answer is good, or it is good for no time and can't be asked again.
    NoFreshness,
    /// The body is larger than a page may be.
    TooLarge,
    /// The body ended before its end, or nobody was left to take it.
    Incomplete,
    /// The body ends with its connection, so nobody can tell whether it is whole.
    NoLength,
    /// A purge named the page while it was on its way.
    PurgedMeanwhile,
}

impl BypassReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Off,
        Self::Ignored,
        Self::InvalidationAway,
        Self::Method,
        Self::Authorization,
        Self::RequestCookie,
        Self::RequestNoStore,
        Self::Range,
        Self::Precondition,
        Self::Upgrade,
        Self::KeyTooLong,
        Self::RequestBody,
        Self::SetCookie,
        Self::NoStore,
        Self::Private,
        Self::NoCache,
        Self::Vary,
        Self::Status,
        Self::WorkerError,
        Self::PartialContent,
        Self::NoFreshness,
        Self::TooLarge,
        Self::Incomplete,
        Self::NoLength,
        Self::PurgedMeanwhile,
    ];

    /// Its name in `Cache-Status`, status and metrics: it stays the same.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ignored => "ignored",
            Self::InvalidationAway => "invalidation-away",
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::RequestCookie => "request-cookie",
            Self::RequestNoStore => "request-no-store",
            Self::Range => "range",
            Self::Precondition => "precondition",
            Self::Upgrade => "upgrade",
            Self::KeyTooLong => "key-too-long",
            Self::RequestBody => "request-body",
            Self::SetCookie => "set-cookie",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::Vary => "vary",
            Self::Status => "status",
            Self::WorkerError => "worker-error",
            Self::PartialContent => "partial-content",
            Self::NoFreshness => "no-freshness",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
            Self::NoLength => "no-length",
            Self::PurgedMeanwhile => "purged-meanwhile",
        }
    }

    /// A sentence for the operator: what it was, and what would change it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Off => "cache.mode is \"off\" for this path",
            Self::Ignored => "the path matches a pattern of cache.ignore",
            Self::InvalidationAway => {
                "purges can't be heard while the emperor or the database is away, so the worker is asked"
            }
            Self::Method => "only answers to GET are kept, for GET and HEAD",
            Self::Authorization => {
                "the request has an Authorization header; an answer with \"public\" or \"s-maxage\" would be shared"
            }
            Self::RequestCookie => {
                "the request has a cookie that is named neither in cache.cookies nor in cache.ignore_cookies, so the page may be one person's"
            }
            Self::RequestNoStore => "the request says Cache-Control: no-store",
            Self::Range => {
                "a part was asked for before the whole was stored; a request without Range stores it"
            }
            Self::Precondition => {
                "If-Match and If-Unmodified-Since are for the application to answer"
            }
            Self::Upgrade => "the request asks for another protocol on its connection",
            Self::KeyTooLong => "the target and its headers are too long to be a key",
            Self::RequestBody => "the request has a body, and the page may depend on it",
            Self::SetCookie => "the answer sets a cookie, which belongs to one visitor",
            Self::NoStore => "the answer says Cache-Control: no-store",
            Self::Private => "the answer says Cache-Control: private",
            Self::NoCache => {
                "the answer says Cache-Control: no-cache, and it would never be asked again in this mode, or could not be"
            }
            Self::Vary => "the answer depends on more than a key can hold (Vary)",
            Self::Status => "answers with this status are not kept in this mode",
            Self::WorkerError => "the answer is a worker's failure",
            Self::PartialContent => "the answer is a part of a page",
            Self::NoFreshness => {
                "the answer doesn't say how long it is good: it needs max-age, Expires or a validator"
            }
            Self::TooLarge => "the page is larger than cache.max_page",
            Self::Incomplete => "the answer was cut off, or nobody was left to take it",
            Self::NoLength => {
                "the answer ends with its connection, so a cut-off one would look whole; Content-Length or chunks would tell"
            }
            Self::PurgedMeanwhile => "a purge named the page while the worker still answered",
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for BypassReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_tokens_and_each_is_one_reason() {
        let names: BTreeSet<_> = BypassReason::ALL.map(BypassReason::name).into();
        assert_eq!(names.len(), BypassReason::ALL.len());
        for (index, reason) in BypassReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            let name = reason.name();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{name}"
            );
            assert!(reason.sentence().len() > name.len());
        }
    }
}
