//! Cookies of a request: those that tell pages apart, those that nobody reads, and all others, which make
//! a page its visitor's own.

use http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::policy::Policy;
use crate::reason::BypassReason;

/// The cookies that tell pages apart, sorted by name, out of the lines that are `Cookie`'s.
///
/// # Errors
/// There is another, which the application may read.
pub(crate) fn that_tell_apart<'a>(
    policy: &Policy,
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<(&'a str, &'a str)>, BypassReason> {
    let mut cookies = Vec::new();
    for line in lines {
        let line = std::str::from_utf8(line)
            .ok()
            .filter(|line| line.is_ascii());
        let line = line.ok_or(BypassReason::RequestCookie)?;
        for pair in pairs(line) {
            let (name, value) = named(pair);
            if policy.lists_cookie(name) {
                cookies.push((name, value));
            } else if !policy.ignores_cookie(name) {
                return Err(BypassReason::RequestCookie);
            }
        }
    }
    // Stable: of two cookies with one name, applications differ in which they believe.
    cookies.sort_by_key(|(name, _)| *name);
    Ok(cookies)
}

/// Leaves out what the application doesn't read. Whatever it makes of the rest can't be about the
/// visitor whom the ignored ones name, and others may have it.
pub(crate) fn leave_out_ignored(policy: &Policy, headers: &mut HeaderMap) {
    if !policy.ignores_cookies() || !headers.contains_key(COOKIE) {
        return;
    }
    let lines = headers.get_all(COOKIE).iter();
    let kept: Vec<_> = lines.filter_map(|line| read_part(policy, line)).collect();
    headers.remove(COOKIE);
    for line in kept {
        headers.append(COOKIE, line);
    }
}

/// What of a line the application reads; `None`: nothing.
fn read_part(policy: &Policy, line: &HeaderValue) -> Option<HeaderValue> {
    let text = line.to_str().ok()?;
    let read = pairs(text).filter(|pair| !policy.ignores_cookie(named(pair).0));
    let read = read.collect::<Vec<_>>().join("; ");
    (!read.is_empty()).then(|| HeaderValue::from_str(&read).ok())?
}

fn pairs(line: &str) -> impl Iterator<Item = &str> {
    let pairs = line.split(';').map(str::trim);
    pairs.filter(|pair| !pair.is_empty())
}

/// Name and value; a cookie without `=` has none.
fn named(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Settings;

    fn policy() -> Policy {
        let settings = Settings {
            cookies: vec!["lang".into(), "theme".into(), "_gallery".into()],
            ignore_cookies: vec!["_ga*".into(), "consent".into()],
            ..Settings::default()
        };
        Policy::compile(settings).unwrap()
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|line| (COOKIE, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    fn check(lines: &[&str], expected: Result<&[(&str, &str)], BypassReason>) {
        let headers = headers(lines);
        let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let found = that_tell_apart(&policy(), lines);
        assert_eq!(found.as_deref().map_err(|reason| *reason), expected);
    }

    #[test]
    fn listed_cookies_tell_pages_apart_in_any_order() {
        check(&[], Ok(&[]));
        for lines in [&["lang=de; theme=dark"][..], &["theme=dark;;", "lang=de"]] {
            check(lines, Ok(&[("lang", "de"), ("theme", "dark")]));
        }
    }

    #[test]
    fn another_cookie_makes_the_page_its_visitors_own_unless_nobody_reads_it() {
        for line in ["sessionid=1", "lang=de; x", "consented=1"] {
            check(&[line], Err(BypassReason::RequestCookie));
        }
        check(&["_ga=1; _ga_X=2; consent=all"], Ok(&[]));
        check(&["_gallery=3; _gat=1"], Ok(&[("_gallery", "3")]));
    }

    #[test]
    fn what_nobody_reads_is_left_out_of_what_the_worker_gets() {
        let left = |lines: &[&str]| {
            let mut headers = headers(lines);
            leave_out_ignored(&policy(), &mut headers);
            let left = headers.get_all(COOKIE).iter();
            left.map(|line| line.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(left(&["_ga=1; lang=de; _gid=2"]), ["lang=de; _gid=2"]);
        assert_eq!(left(&["_ga=1", "_gallery=3;consent=x"]), ["_gallery=3"]);
        assert_eq!(left(&["_ga=1; consent"]), Vec::<String>::new());
    }
}
