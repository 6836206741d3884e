//! Whether an answer may be kept (RFC 9111 §3).

use http::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderValue, StatusCode};

use crate::directives::{Fields, ResponseDirectives, members};
use crate::freshness::{Freshness, Timing, is_explicit, is_heuristically_cacheable};
use crate::head;
use crate::policy::{Mode, Settings};
use crate::reason::BypassReason;
use crate::request::CacheRequest;

/// More selecting headers than this are a page for every visitor.
const MOST_SELECTING: usize = 8;

/// An answer that may be kept, without its body.
#[derive(Debug, Clone)]
pub(crate) struct Storable {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) freshness: Freshness,
    /// The selecting headers, sorted.
    pub(crate) vary: Vec<HeaderName>,
    /// Whether requests with `Authorization` may have it (§3.5).
    pub(crate) shareable: bool,
    /// Whether each request has to ask again (`no-cache`).
    pub(crate) always_validate: bool,
    /// Whether no client may accept it expired (§5.2.1.2, §5.2.2.10).
    pub(crate) strict: bool,
}

impl Storable {
    /// Decides by the heads of request and answer.
    pub(crate) fn judge(
        request: &CacheRequest<'_>,
        settings: &Settings,
        status: StatusCode,
        headers: &HeaderMap,
        timing: Timing,
    ) -> Result<Self, BypassReason> {
        let directives = ResponseDirectives::read(headers);
        let shareable = shareable(request.mode, &directives);
        if request.authorized && !shareable {
            return Err(BypassReason::Authorization);
        }
        refuse_private(status, headers, &directives)?;
        let vary = selecting(headers)?;
        let freshness = Freshness::of(request.mode, settings, status, headers, &directives, timing);
        refuse_status(request.mode, status, headers, &directives)?;
        let always_validate = directives.no_cache == Fields::All;
        if always_validate && request.mode == Mode::UntilPurged {
            return Err(BypassReason::NoCache);
        }
        if (always_validate || !freshness.is_ever_served()) && !has_validator(headers) {
            return Err(if always_validate {
                BypassReason::NoCache
            } else {
                BypassReason::NoFreshness
            });
        }
        Ok(Self {
            status,
            headers: dated(headers, &directives.no_cache, timing),
            freshness,
            vary,
            shareable,
            always_validate,
            strict: directives.forbids_stale() || directives.s_maxage.is_some(),
        })
    }
}

/// §3.5: what lets an answer to a request with `Authorization` be shared. A site that keeps pages
/// until they are purged shares none of them.
fn shareable(mode: Mode, directives: &ResponseDirectives) -> bool {
    mode == Mode::Http
        && (directives.public || directives.must_revalidate || directives.s_maxage.is_some())
}

fn refuse_private(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
) -> Result<(), BypassReason> {
    if headers.contains_key(SET_COOKIE) {
        return Err(BypassReason::SetCookie);
    }
    if directives.private != Fields::None {
        return Err(BypassReason::Private);
    }
    let understood = is_heuristically_cacheable(status) || is_redirect(status);
    if directives.must_understand && !understood {
        return Err(BypassReason::Status);
    }
    // §5.2.2.3: a status that is understood lets `no-store` be a word to caches that don't know it.
    if directives.no_store && !directives.must_understand {
        return Err(BypassReason::NoStore);
    }
    Ok(())
}

fn is_redirect(status: StatusCode) -> bool {
    [302, 303, 307].contains(&status.as_u16())
}

fn refuse_status(
    mode: Mode,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
) -> Result<(), BypassReason> {
    if status == StatusCode::PARTIAL_CONTENT {
        return Err(BypassReason::PartialContent);
    }
    let permitted = match mode {
        Mode::Off => false,
        Mode::UntilPurged => status == StatusCode::OK,
        // What is no final answer, or none on its own, is kept under no circumstances.
        Mode::Http if status.as_u16() < 200 || status == StatusCode::NOT_MODIFIED => false,
        Mode::Http => {
            let said = is_explicit(headers, directives) || directives.public;
            said || (is_heuristically_cacheable(status) && !status.is_server_error())
        }
    };
    match permitted {
        true => Ok(()),
        false if status.is_server_error() => Err(BypassReason::WorkerError),
        false => Err(BypassReason::Status),
    }
}

/// The headers that an answer was chosen by, sorted. `Cookie` is none of them: every cookie that a
/// cached request may have is in its key already.
fn selecting(headers: &HeaderMap) -> Result<Vec<HeaderName>, BypassReason> {
    let lines = headers.get_all(VARY).iter();
    let mut names = Vec::new();
    for member in lines.flat_map(|line| members(line.as_bytes())) {
        // `*` is a character that names may have.
        let name = HeaderName::from_bytes(member).map_err(|_| BypassReason::Vary)?;
        if name == "*" {
            return Err(BypassReason::Vary);
        }
        if name != http::header::COOKIE && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > MOST_SELECTING {
        return Err(BypassReason::Vary);
    }
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    Ok(names)
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// What is kept of a head. One without a date came when it came (RFC 9110 §6.6.1).
pub(crate) fn dated(headers: &HeaderMap, no_cache: &Fields, timing: Timing) -> HeaderMap {
    let mut kept = head::kept(headers, no_cache);
    if !kept.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&timing.received.to_http())
    {
        kept.insert(DATE, date);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::RequestDirectives;
    use crate::moment::Moment;

    fn judge(
        mode: Mode,
        authorized: bool,
        status: u16,
        lines: &[(&str, &str)],
    ) -> Result<Storable, BypassReason> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let now = Moment::from_seconds(1_000_000_000);
        let timing = Timing {
            asked: now,
            received: now,
        };
        let none = HeaderMap::new();
        let request = CacheRequest {
            mode,
            directives: RequestDirectives::default(),
            authorized,
            head_only: false,
            key: Vec::new(),
            headers: &none,
        };
        let status = StatusCode::from_u16(status).unwrap();
        Storable::judge(&request, &Settings::default(), status, &headers, timing)
    }

    fn check(mode: Mode, status: u16, lines: &[(&str, &str)], expected: Option<BypassReason>) {
        let refused = judge(mode, false, status, lines).err();
        assert_eq!(refused, expected, "{status} {lines:?}");
    }

    const MAX_AGE: (&str, &str) = ("cache-control", "max-age=60");

    #[test]
    fn what_belongs_to_one_visitor_is_kept_in_no_mode() {
        for mode in [Mode::Http, Mode::UntilPurged] {
            let refused =
                |line: (&str, &str), reason| check(mode, 200, &[MAX_AGE, line], Some(reason));
            refused(("set-cookie", "a=b"), BypassReason::SetCookie);
            refused(("cache-control", "private"), BypassReason::Private);
            refused(("cache-control", "private=\"x\""), BypassReason::Private);
            refused(("cache-control", "no-store"), BypassReason::NoStore);
            refused(("vary", "*"), BypassReason::Vary);
            refused(("vary", "accept, *"), BypassReason::Vary);
            refused(("vary", "a b"), BypassReason::Vary);
            check(mode, 206, &[MAX_AGE], Some(BypassReason::PartialContent));
            check(mode, 200, &[MAX_AGE], None);
        }
    }

    #[test]
    fn rfc9111_3_http_keeps_what_says_how_long_or_can_be_asked_again() {
        check(Mode::Http, 200, &[], Some(BypassReason::NoFreshness));
        check(Mode::Http, 200, &[("etag", "\"a\"")], None);
        check(Mode::Http, 302, &[], Some(BypassReason::Status));
        check(Mode::Http, 302, &[MAX_AGE], None);
        check(Mode::Http, 404, &[MAX_AGE], None);
        check(Mode::Http, 500, &[], Some(BypassReason::WorkerError));
        check(
            Mode::Http,
            501,
            &[("etag", "\"a\"")],
            Some(BypassReason::WorkerError),
        );
        check(Mode::Http, 304, &[MAX_AGE], Some(BypassReason::Status));
        check(
            Mode::Http,
            200,
            &[("cache-control", "no-cache")],
            Some(BypassReason::NoCache),
        );
        check(
            Mode::Http,
            200,
            &[("cache-control", "no-cache"), ("etag", "\"a\"")],
            None,
        );
        check(
            Mode::Http,
            200,
            &[("cache-control", "max-age=0")],
            Some(BypassReason::NoFreshness),
        );
        let stale = [("cache-control", "max-age=0, stale-if-error=9")];
        check(Mode::Http, 200, &stale, None);
    }

    #[test]
    fn rfc9111_5_2_2_3_must_understand_overrules_no_store() {
        let line = [("cache-control", "must-understand, no-store, max-age=9")];
        check(Mode::Http, 200, &line, None);
        check(Mode::Http, 299, &line, Some(BypassReason::Status));
    }

    #[test]
    fn until_purged_keeps_every_200_and_nothing_else() {
        check(Mode::UntilPurged, 200, &[], None);
        check(
            Mode::UntilPurged,
            200,
            &[("cache-control", "max-age=0")],
            None,
        );
        check(
            Mode::UntilPurged,
            404,
            &[MAX_AGE],
            Some(BypassReason::Status),
        );
        check(
            Mode::UntilPurged,
            500,
            &[MAX_AGE],
            Some(BypassReason::WorkerError),
        );
        check(
            Mode::UntilPurged,
            200,
            &[("cache-control", "no-cache")],
            Some(BypassReason::NoCache),
        );
    }

    #[test]
    fn rfc9111_3_5_authorization_needs_a_word_of_the_answer() {
        let refused = |mode, line| judge(mode, true, 200, &[("cache-control", line)]).err();
        assert_eq!(
            refused(Mode::Http, "max-age=9"),
            Some(BypassReason::Authorization)
        );
        assert_eq!(refused(Mode::Http, "max-age=9, public"), None);
        assert_eq!(refused(Mode::Http, "s-maxage=9"), None);
        assert_eq!(refused(Mode::Http, "max-age=9, must-revalidate"), None);
        assert_eq!(
            refused(Mode::UntilPurged, "public"),
            Some(BypassReason::Authorization)
        );
    }

    #[test]
    fn rfc9111_4_1_selecting_headers_are_a_sorted_set_without_cookie() {
        let vary = [
            MAX_AGE,
            ("vary", "Cookie, accept-language"),
            ("vary", "Accept, ACCEPT"),
        ];
        let storable = judge(Mode::Http, false, 200, &vary).unwrap();
        let names: Vec<_> = storable.vary.iter().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "accept-language"]);
    }

    #[test]
    fn rfc9110_6_6_1_an_answer_without_a_date_is_dated() {
        let storable = judge(Mode::Http, false, 200, &[MAX_AGE]).unwrap();
        assert_eq!(storable.headers[DATE], "Sun, 09 Sep 2001 01:46:40 GMT");
    }
}
