//! How old a page is, and how old it may become (RFC 9111 §4.2).

use http::header::{AGE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};
use http::{HeaderName, StatusCode};

use crate::directives::{MOST_SECONDS, ResponseDirectives, seconds};
use crate::moment::Moment;
use crate::policy::{Mode, Settings};

/// A lifetime without an end: until a purge.
pub(crate) const FOREVER: u32 = u32::MAX;

/// The longest that a page is good because of nothing but its `Last-Modified`.
const LONGEST_GUESS: u64 = 24 * 3600;

/// When an answer was asked for, and when its head came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// When the request was sent.
    pub asked: Moment,
    /// When the head of its answer was there.
    pub received: Moment,
}

/// The times of one kept answer, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When it came.
    pub received: Moment,
    /// How old it already was (`corrected_initial_age`).
    pub initial_age: u32,
    /// How old it may become; [`FOREVER`] without an end.
    pub lifetime: u32,
    /// How long after that it may be served while it is refreshed.
    pub while_revalidate: u32,
    /// How long after that it may be served while workers fail.
    pub if_error: u32,
}

impl Freshness {
    /// The times of an answer.
    pub fn of(
        mode: Mode,
        settings: &Settings,
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        timing: Timing,
    ) -> Self {
        let lifetime = match mode {
            Mode::Off | Mode::Http => lifetime(status, headers, directives, timing),
            Mode::UntilPurged => ceiling(settings, directives),
        };
        let strict = directives.forbids_stale();
        let or_default = |said: Option<u32>, default: std::time::Duration| match said {
            _ if strict => 0,
            Some(seconds) => seconds,
            // `s-maxage` asks for validation by shared caches (§5.2.2.10); only the answer itself
            // may say otherwise.
            None if directives.s_maxage.is_some() => 0,
            None => whole_seconds(default),
        };
        Self {
            received: timing.received,
            initial_age: match mode {
                Mode::Off | Mode::Http => initial_age(headers, timing),
                Mode::UntilPurged => 0,
            },
            lifetime,
            while_revalidate: or_default(
                directives.stale_while_revalidate,
                settings.stale_while_revalidate,
            ),
            if_error: or_default(directives.stale_if_error, settings.stale_if_error),
        }
    }

    /// Whether there is a time when it may be served without having been asked about.
    pub(crate) fn is_ever_served(&self) -> bool {
        self.lifetime > 0 || self.while_revalidate > 0 || self.if_error > 0
    }

    /// §4.2.3: `current_age`.
    pub fn age(&self, now: Moment) -> u64 {
        u64::from(self.initial_age) + now.seconds_since(self.received)
    }

    /// Seconds until it expires; negative since when it is.
    pub fn ttl(&self, now: Moment) -> i64 {
        if self.lifetime == FOREVER {
            return i64::MAX;
        }
        let age = i64::try_from(self.age(now)).unwrap_or(i64::MAX);
        i64::from(self.lifetime).saturating_sub(age)
    }

    /// §4.2: fresh as long as its age hasn't reached its lifetime.
    pub fn is_fresh(&self, now: Moment) -> bool {
        self.ttl(now) > 0
    }

    /// Whether it expired no longer than so many seconds ago.
    pub fn is_within(&self, seconds: u32, now: Moment) -> bool {
        self.ttl(now).saturating_add(i64::from(seconds)) > 0
    }
}

/// `until-purged`: what was said to shared caches alone is a ceiling as `max_age` is.
fn ceiling(settings: &Settings, directives: &ResponseDirectives) -> u32 {
    let targeted = directives.max_age.filter(|_| directives.targeted);
    let said = directives.s_maxage.or(targeted);
    let configured = settings.max_age.map(whole_seconds);
    said.into_iter().chain(configured).min().unwrap_or(FOREVER)
}

/// §4.2.1: the first of these that is there.
fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    timing: Timing,
) -> u32 {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return seconds;
    }
    if is_explicit(headers, directives) {
        return until_expires(headers, timing);
    }
    let may_guess = is_heuristically_cacheable(status) || directives.public;
    if may_guess { guess(headers, timing) } else { 0 }
}

/// Whether an answer says how long it is good.
pub(crate) fn is_explicit(headers: &HeaderMap, directives: &ResponseDirectives) -> bool {
    let expires = headers.contains_key(EXPIRES) && !directives.targeted;
    expires || directives.s_maxage.is_some() || directives.max_age.is_some()
}

/// §5.3: a date that can't be read lies in the past; of several the first expires.
fn until_expires(headers: &HeaderMap, timing: Timing) -> u32 {
    let lines = headers.get_all(EXPIRES).iter();
    let expires: Option<Vec<Moment>> = lines.map(|line| Moment::parse(line.as_bytes())).collect();
    let first = expires.and_then(|moments| moments.into_iter().min());
    let date = date(headers, DATE).unwrap_or(timing.received);
    first.map_or(0, |expires| as_seconds(expires.seconds_since(date)))
}

/// §4.2.2: a tenth of the time since it was last changed.
fn guess(headers: &HeaderMap, timing: Timing) -> u32 {
    let date = date(headers, DATE).unwrap_or(timing.received);
    let changed = self::date(headers, LAST_MODIFIED);
    changed.map_or(0, |changed| {
        as_seconds((date.seconds_since(changed) / 10).min(LONGEST_GUESS))
    })
}

/// §4.2.3: `corrected_initial_age`.
fn initial_age(headers: &HeaderMap, timing: Timing) -> u32 {
    let date = date(headers, DATE).unwrap_or(timing.received);
    let apparent = timing.received.seconds_since(date);
    let delay = timing.received.seconds_since(timing.asked);
    let age = u64::from(age_value(headers));
    as_seconds(apparent.max(age + delay))
}

/// §5.1. An age that isn't one number would have to be ignored, or its first member believed; to whoever
/// asks for freshness it is a page of unknown age, and so as old as can be.
fn age_value(headers: &HeaderMap) -> u32 {
    let mut lines = headers.get_all(AGE).iter();
    match (lines.next(), lines.next()) {
        (None, _) => 0,
        (Some(line), None) => seconds(line.as_bytes().trim_ascii()).unwrap_or(MOST_SECONDS),
        (Some(_), Some(_)) => MOST_SECONDS,
    }
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<Moment> {
    Moment::parse(headers.get(name)?.as_bytes())
}

fn as_seconds(seconds: u64) -> u32 {
    u32::try_from(seconds).map_or(MOST_SECONDS, |seconds| seconds.min(MOST_SECONDS))
}

fn whole_seconds(time: std::time::Duration) -> u32 {
    as_seconds(time.as_secs())
}

/// RFC 9110 §15.1: statuses whose answers may be kept though nothing says for how long. 206 isn't
/// among them here, since no parts are kept.
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status.as_u16())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_cache_semantics::{CacheOptions, CachePolicy};
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const NOW: Moment = Moment::from_seconds(1_000_000_000);

    fn headers(pairs: &[(&str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn at(offset: i64) -> String {
        let seconds = 1_000_000_000_u64.checked_add_signed(offset).unwrap();
        Moment::from_seconds(seconds).to_http()
    }

    fn of_status(status: u16, mode: Mode, pairs: &[(&str, String)]) -> Freshness {
        let headers = headers(pairs);
        let directives = ResponseDirectives::read(&headers);
        let timing = Timing {
            asked: NOW,
            received: NOW,
        };
        let status = StatusCode::from_u16(status).unwrap();
        let settings = Settings {
            stale_if_error: Duration::from_secs(30),
            ..Settings::default()
        };
        Freshness::of(mode, &settings, status, &headers, &directives, timing)
    }

    fn lifetime_of(pairs: &[(&str, String)]) -> u32 {
        of_status(200, Mode::Http, pairs).lifetime
    }

    #[test]
    fn rfc9111_4_2_1_the_first_lifetime_of_four_counts() {
        let max_age = ("cache-control", "max-age=5".to_owned());
        let s_maxage = ("cache-control", "s-maxage=7".to_owned());
        let expires = ("expires", at(100));
        let changed = ("last-modified", at(-1000));
        let all = [max_age, s_maxage, expires, changed];
        assert_eq!(lifetime_of(&all), 7);
        assert_eq!(lifetime_of(&[all[0].clone(), all[2].clone()]), 5);
        assert_eq!(lifetime_of(&all[2..]), 100);
        assert_eq!(lifetime_of(&all[3..]), 100, "a tenth of 1000");
        assert_eq!(lifetime_of(&[]), 0);
    }

    #[test]
    fn rfc9111_5_3_bad_dates_are_in_the_past() {
        assert_eq!(lifetime_of(&[("expires", "0".into())]), 0);
        assert_eq!(
            lifetime_of(&[("expires", at(60)), ("expires", "x".into())]),
            0
        );
        assert_eq!(lifetime_of(&[("expires", at(60)), ("date", at(-30))]), 90);
        assert_eq!(
            lifetime_of(&[("expires", at(60)), ("date", "x".into())]),
            60
        );
        assert_eq!(lifetime_of(&[("expires", at(-60))]), 0);
    }

    #[test]
    fn rfc9111_4_2_2_only_some_statuses_are_guessed_about() {
        let changed = [("last-modified", at(-1000))];
        assert_eq!(of_status(404, Mode::Http, &changed).lifetime, 100);
        assert_eq!(of_status(302, Mode::Http, &changed).lifetime, 0);
        assert_eq!(of_status(500, Mode::Http, &changed).lifetime, 0);
        let public = [changed[0].clone(), ("cache-control", "public".into())];
        assert_eq!(of_status(302, Mode::Http, &public).lifetime, 100);
        let old = [("last-modified", at(-900_000_000))];
        assert_eq!(lifetime_of(&old), 24 * 3600);
    }

    #[test]
    fn rfc9111_4_2_3_age_is_the_larger_of_what_it_says_and_what_its_date_shows() {
        let age = |pairs: &[(&str, String)]| {
            of_status(200, Mode::Http, pairs).age(NOW.after(Duration::from_millis(2_999)))
        };
        assert_eq!(age(&[]), 2);
        assert_eq!(age(&[("date", at(-10))]), 12);
        assert_eq!(age(&[("date", at(-10)), ("age", "20".into())]), 22);
        for unknown in ["20, 500", "0, 0", "-20", "20.5", "20;x", ""] {
            let age = age(&[("age", unknown.into())]);
            assert!(age >= u64::from(MOST_SECONDS), "{unknown:?}: {age}");
        }
        assert_eq!(age(&[("date", at(500))]), 2);
    }

    #[test]
    fn rfc9111_4_2_4_what_must_be_validated_is_never_served_expired() {
        let stale = |line: &str| {
            let freshness = of_status(200, Mode::Http, &[("cache-control", line.into())]);
            (freshness.while_revalidate, freshness.if_error)
        };
        assert_eq!(stale("max-age=1"), (0, 30));
        assert_eq!(stale("max-age=1, stale-while-revalidate=9"), (9, 30));
        assert_eq!(
            stale("max-age=1, stale-while-revalidate=9, must-revalidate"),
            (0, 0)
        );
        assert_eq!(stale("s-maxage=1"), (0, 0));
        assert_eq!(stale("s-maxage=1, stale-if-error=5"), (0, 5));
    }

    #[test]
    fn until_purged_has_no_end_but_a_ceiling() {
        let lifetime = |pairs: &[(&str, String)]| of_status(200, Mode::UntilPurged, pairs).lifetime;
        assert_eq!(lifetime(&[]), FOREVER);
        assert_eq!(lifetime(&[("cache-control", "max-age=5".into())]), FOREVER);
        assert_eq!(lifetime(&[("cache-control", "s-maxage=5".into())]), 5);
        assert_eq!(lifetime(&[("cdn-cache-control", "max-age=5".into())]), 5);
        assert!(of_status(200, Mode::UntilPurged, &[]).is_fresh(Moment::from_millis(u64::MAX)));
    }

    fn cache_control() -> impl Strategy<Value = Option<String>> {
        let directive = prop::sample::select(vec![
            "max-age=10",
            "max-age=60",
            "s-maxage=30",
            "public",
            "max-age=0",
            "foo=bar",
        ]);
        prop::option::of(prop::collection::vec(directive, 1..3).prop_map(|all| all.join(", ")))
    }

    proptest! {
        /// The same as another implementation of RFC 9111 says, where both follow its letter.
        #[test]
        fn rfc9111_4_2_as_another_implementation_has_it(
            cache_control in cache_control(),
            expires in prop::option::of(-100i64..100),
            date in prop::option::of(-50i64..1),
            age in prop::option::of(0u32..50),
            later in 0u64..120,
        ) {
            let mut pairs = Vec::new();
            pairs.extend(cache_control.map(|line| ("cache-control", line)));
            pairs.extend(expires.map(|offset| ("expires", at(offset))));
            pairs.extend(date.map(|offset| ("date", at(offset))));
            pairs.extend(age.map(|age| ("age", age.to_string())));
            let ours = of_status(200, Mode::Http, &pairs);
            let mut answer = http::Response::new(());
            *answer.headers_mut() = headers(&pairs);
            let received = UNIX_EPOCH + Duration::from_millis(NOW.millis());
            let theirs = CachePolicy::new_options(
                &http::Request::new(()),
                &answer,
                received,
                CacheOptions::default(),
            );
            let (now, then) = (
                NOW.after(Duration::from_secs(later)),
                received + Duration::from_secs(later),
            );
            // A lifetime said twice is the shorter here, and the other's own choice there.
            let doubled = pairs.iter().any(|(_, line)| line.matches("max-age").count() > 1);
            // The other one doesn't count what `Date` shows of an answer's age.
            let dated_age = date.map_or(0, i64::unsigned_abs);
            if !doubled && dated_age <= u64::from(age.unwrap_or(0)) {
                prop_assert_eq!(ours.is_fresh(now), !theirs.is_stale(then), "{:?}", pairs);
                prop_assert_eq!(ours.age(now), theirs.age(then).as_secs());
            }
        }
    }
}
