//! `Cache-Status` (RFC 9211): what the cache did with a request, for whoever reads the answer.

use std::fmt::Write as _;

use crate::reason::BypassReason;

/// What most members fit into.
const TYPICAL_LENGTH: usize = 48;

/// Why a request went on to the worker (§2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// The cache had no part in it.
    Bypass(BypassReason),
    /// Nothing was stored for the target.
    UriMiss,
    /// Something was stored, but for other selecting headers.
    VaryMiss,
    /// What was stored had expired.
    Stale,
    /// The client asked for a newer page than what was stored.
    Request,
    /// Nobody waited: the last answer could not be kept.
    Uncacheable(BypassReason),
}

/// One member of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Answered from the store, good for so many seconds more; negative since when it isn't.
    Hit {
        /// Seconds to its end.
        ttl: i64,
    },
    /// The worker was asked.
    Forward {
        /// Why.
        why: Forwarded,
        /// The status of its answer, where it was validated: the client may get another.
        status: Option<u16>,
        /// Whether its answer is kept.
        stored: bool,
        /// Whether the request waited for another's fill and was answered by it.
        collapsed: bool,
        /// Why its answer is not kept.
        refused: Option<BypassReason>,
    },
}

impl CacheStatus {
    /// A request that the cache had no part in.
    pub const fn bypass(reason: BypassReason) -> Self {
        Self::forward(Forwarded::Bypass(reason))
    }

    /// A request that went on, and nothing known of its answer.
    pub const fn forward(why: Forwarded) -> Self {
        Self::Forward {
            why,
            status: None,
            stored: false,
            collapsed: false,
            refused: None,
        }
    }

    /// The member, with this cache's name.
    pub fn to_header(self, cache: &str) -> String {
        let mut text = String::with_capacity(TYPICAL_LENGTH);
        text.push_str(cache);
        match self {
            Self::Hit { ttl } => {
                text.push_str("; hit");
                // Without an end there is nothing to say, and no integer of the form to say it with.
                if ttl.unsigned_abs() < 1_000_000_000_000 {
                    text.push_str("; ttl=");
                    text.push_str(itoa::Buffer::new().format(ttl));
                }
            }
            Self::Forward {
                why,
                status,
                stored,
                collapsed,
                refused,
            } => {
                push(&mut text, format_args!("; fwd={}", why.name()));
                if let Some(status) = status {
                    push(&mut text, format_args!("; fwd-status={status}"));
                }
                if stored {
                    text.push_str("; stored");
                }
                if collapsed {
                    text.push_str("; collapsed");
                }
                if let Some(reason) = refused.or(why.reason()) {
                    push(&mut text, format_args!("; detail={reason}"));
                }
            }
        }
        text
    }
}

/// Writing to a string can't fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok());
}

impl Forwarded {
    /// The token of §2.2.
    const fn name(self) -> &'static str {
        match self {
            Self::Bypass(BypassReason::Method) => "method",
            Self::Bypass(_) => "bypass",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Uncacheable(_) => "miss",
        }
    }

    const fn reason(self) -> Option<BypassReason> {
        match self {
            Self::Bypass(reason) | Self::Uncacheable(reason) => Some(reason),
            Self::UriMiss | Self::VaryMiss | Self::Stale | Self::Request => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9211_2_each_decision_has_its_form() {
        let check = |status: CacheStatus, expected: &str| {
            assert_eq!(status.to_header("emperor"), format!("emperor; {expected}"));
        };
        check(CacheStatus::Hit { ttl: 60 }, "hit; ttl=60");
        check(CacheStatus::Hit { ttl: -5 }, "hit; ttl=-5");
        check(CacheStatus::Hit { ttl: i64::MAX }, "hit");
        check(
            CacheStatus::bypass(BypassReason::RequestCookie),
            "fwd=bypass; detail=request-cookie",
        );
        check(
            CacheStatus::bypass(BypassReason::Method),
            "fwd=method; detail=method",
        );
        let forward = |why, stored, refused| CacheStatus::Forward {
            why,
            status: None,
            stored,
            collapsed: false,
            refused,
        };
        check(
            forward(Forwarded::UriMiss, true, None),
            "fwd=uri-miss; stored",
        );
        check(
            forward(Forwarded::VaryMiss, false, Some(BypassReason::SetCookie)),
            "fwd=vary-miss; detail=set-cookie",
        );
        check(
            CacheStatus::Forward {
                why: Forwarded::Stale,
                status: Some(304),
                stored: true,
                collapsed: true,
                refused: None,
            },
            "fwd=stale; fwd-status=304; stored; collapsed",
        );
        check(
            CacheStatus::forward(Forwarded::Uncacheable(BypassReason::Private)),
            "fwd=miss; detail=private",
        );
    }
}
