//! Keys: everything that tells one page from another, written out in full.
//!
//! A key is never a hash: a hit on a wrong page would show one site's visitors another site's bytes.
//! Fields end with a NUL, which can stand in none of them, so two different requests never write the
//! same key. What is percent-encoded is brought to one spelling as RFC 3986 §6.2.2 has it, for
//! requests and for purges by the same function.

use std::borrow::Cow;

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE};
use site_model::SiteId;

use crate::policy::Policy;

/// Longer keys are not kept: their bytes count as the page's own.
pub(crate) const MAX_KEY_BYTES: usize = 16 << 10;

/// How the page was asked for. The two are different pages, since applications write absolute links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS, by the router or by a proxy that is believed.
    Https,
}

/// A path in one spelling: without query and fragment, percent-encoded alike.
pub(crate) fn normal_path(path: &str) -> Cow<'_, str> {
    let is_end = |byte: u8| byte == b'?' || byte == b'#';
    let end = path.bytes().position(is_end).unwrap_or(path.len());
    normal(&path[..end])
}

/// What is known of a key before an answer is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Primary<'a> {
    pub(crate) site: SiteId,
    pub(crate) scheme: Scheme,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// Those that tell pages apart.
    pub(crate) cookies: &'a [(&'a str, &'a str)],
}

impl Primary<'_> {
    /// The key.
    pub(crate) fn to_key(self) -> Vec<u8> {
        let query_length = self.query.map_or(0, str::len);
        let mut key = Vec::with_capacity(16 + self.host.len() + self.path.len() + query_length);
        self.push_to(&mut key);
        key
    }

    /// The same into a buffer.
    pub(crate) fn push_to(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.site.get().to_be_bytes());
        key.push(match self.scheme {
            Scheme::Http => b'h',
            Scheme::Https => b's',
        });
        key.extend_from_slice(self.host.as_bytes());
        key.push(0);
        key.extend_from_slice(self.path.as_bytes());
        key.push(0);
        if let Some(query) = self.query {
            key.push(b'?');
            key.extend_from_slice(query.as_bytes());
        }
        key.push(0);
        for (name, value) in self.cookies {
            key.extend_from_slice(name.as_bytes());
            key.push(b'=');
            key.extend_from_slice(value.as_bytes());
            key.push(b';');
        }
        key.push(0);
    }
}

/// The path within a key.
pub(crate) fn path_of(key: &[u8]) -> &[u8] {
    fields(key).nth(1).unwrap_or_default()
}

/// The host within a key.
pub(crate) fn host_of(key: &[u8]) -> &[u8] {
    fields(key).next().unwrap_or_default()
}

/// The query within a key, with its `?`.
pub(crate) fn query_of(key: &[u8]) -> &[u8] {
    fields(key).nth(2).unwrap_or_default()
}

/// What an answer's `Vary` added to a key.
pub(crate) fn variant_of(key: &[u8]) -> Vec<&[u8]> {
    fields(key)
        .skip(4)
        .filter(|field| !field.is_empty())
        .collect()
}

/// A key without what an answer's `Vary` added to it.
pub(crate) fn primary_of(key: &[u8]) -> &[u8] {
    let ends = (0..key.len()).skip(9).filter(|at| key[*at] == 0);
    let end = ends.take(4).last();
    end.map_or(key, |end| &key[..=end])
}

fn fields(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.get(9..).unwrap_or_default().split(|byte| *byte == 0)
}

/// A primary key with what [`push_variant`] adds.
pub(crate) fn secondary<'n, 'l, L: Iterator<Item = (&'l [u8], &'l [u8])>>(
    primary: &[u8],
    names: impl Iterator<Item = &'n [u8]>,
    lines: impl Fn() -> L,
) -> Vec<u8> {
    let mut key = primary.to_vec();
    push_variant(&mut key, names, lines);
    key
}

/// Adds the values of the headers that an answer's `Vary` names (RFC 9111 §4.1), out of the lines of a
/// request.
pub(crate) fn push_variant<'n, 'l, L: Iterator<Item = (&'l [u8], &'l [u8])>>(
    key: &mut Vec<u8>,
    names: impl Iterator<Item = &'n [u8]>,
    lines: impl Fn() -> L,
) {
    for name in names {
        let values = lines().filter(|(line, _)| line.eq_ignore_ascii_case(name));
        let mut values = values.map(|(_, value)| value).peekable();
        key.extend_from_slice(name);
        if values.peek().is_some() {
            key.push(b':');
            push_selecting(name, values, key);
        }
        key.push(0);
    }
}

/// A header's values in one spelling. Lists of codings mean the same in any order and case, unless
/// they carry weights: then their order is kept.
fn push_selecting<'l>(name: &[u8], lines: impl Iterator<Item = &'l [u8]>, key: &mut Vec<u8>) {
    let members = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let mut members: Vec<Cow<'_, [u8]>> =
        members.map(|member| member.trim_ascii().into()).collect();
    let is_of_codings = name == ACCEPT_ENCODING.as_str().as_bytes();
    // Their members are names without case (RFC 9110 §8.4.1, §8.5.1). In what order languages are named
    // matters to many applications.
    if is_of_codings || name == ACCEPT_LANGUAGE.as_str().as_bytes() {
        for member in &mut members {
            if member.iter().any(u8::is_ascii_uppercase) {
                member.to_mut().make_ascii_lowercase();
            }
        }
    }
    let has_weights = members.iter().any(|member| member.contains(&b';'));
    if is_of_codings && !has_weights {
        members.sort_unstable();
    }
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            key.push(b',');
        }
        key.extend_from_slice(member);
    }
}

/// The query of a key, or `None` where nothing of it tells pages apart.
pub(crate) fn normal_query<'q>(policy: &Policy, query: &'q str) -> Option<Cow<'q, str>> {
    let settings = policy.settings();
    if settings.ignore_query.is_empty() && !settings.sort_query {
        return Some(normal(query));
    }
    let name_of = |pair: &&str| {
        pair.split_once('=')
            .map_or(*pair, |(name, _)| name)
            .to_owned()
    };
    let all = query.split('&');
    let mut kept: Vec<&str> = all
        .filter(|pair| !policy.ignores_parameter(&name_of(pair)))
        .collect();
    if kept.is_empty() {
        return None;
    }
    if settings.sort_query {
        // By name alone, and stable: the order of one parameter's values has a meaning.
        kept.sort_by_key(name_of);
    }
    Some(normal(&kept.join("&")).into_owned().into())
}

/// A text in one spelling; most are in it.
fn normal(text: &str) -> Cow<'_, str> {
    let is_normal = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    // Every byte is looked at, so that many are at once.
    if text
        .bytes()
        .fold(true, |so_far, byte| so_far & is_normal(byte))
    {
        return text.into();
    }
    let mut spelled = String::with_capacity(text.len() + 8);
    push_normal(text, &mut spelled);
    spelled.into()
}

/// Writes `%2f` as `%2F`, `%7E` as `~`, and what is not ASCII percent-encoded.
fn push_normal(text: &str, normal: &mut String) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let encoded = (*byte == b'%').then(|| hex_pair(bytes, at + 1)).flatten();
        match encoded {
            Some(decoded) if is_unreserved(decoded) => normal.push(char::from(decoded)),
            Some(decoded) => push_encoded(decoded, normal),
            None if byte.is_ascii_graphic() && *byte != b'%' => normal.push(char::from(*byte)),
            None => push_encoded(*byte, normal),
        }
        at += if encoded.is_some() { 3 } else { 1 };
    }
}

fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (high, low) = (digit(bytes.get(at)?)?, digit(bytes.get(at + 1)?)?);
    u8::try_from(high << 4 | low).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn push_encoded(byte: u8, normal: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        normal.push(char::from(DIGITS[usize::from(digit)]));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Settings;

    fn site(id: i64) -> SiteId {
        SiteId::new(id).unwrap()
    }

    #[test]
    fn rfc3986_6_2_2_spellings_of_one_path_are_one_path() {
        let check = |path: &str, expected: &str| assert_eq!(normal_path(path), expected);
        check("/caf%c3%a9/", "/caf%C3%A9/");
        check("/café/", "/caf%C3%A9/");
        check("/%7euser/%2D", "/~user/-");
        check("/a%2fb", "/a%2Fb");
        check("/a?b=1#c", "/a");
        check("/100%", "/100%25");
        check("/a b", "/a%20b");
    }

    #[test]
    fn a_lone_percent_sign_is_its_own_encoding() {
        assert_eq!(normal_path("/100%25"), "/100%25");
        assert_eq!(normal_path("/%zz"), "/%25zz");
    }

    fn query(text: &str, ignore: &[&str], sort_query: bool) -> Option<String> {
        let policy = Policy::compile(Settings {
            ignore_query: ignore.iter().map(|name| (*name).to_owned()).collect(),
            sort_query,
            ..Settings::default()
        });
        normal_query(&policy.unwrap(), text).map(Cow::into_owned)
    }

    #[test]
    fn queries_lose_what_is_ignored_and_are_sorted_where_asked() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(query("b=2&a=1", &[], false), some("b=2&a=1"));
        assert_eq!(query("b=2&a=1&a=0", &[], true), some("a=1&a=0&b=2"));
        assert_eq!(
            query("utm_source=x&page=2", &["utm_*"], false),
            some("page=2")
        );
        assert_eq!(query("utm_source=x", &["utm_*"], false), None);
        assert_eq!(query("fbclid=x&f=1", &["fbclid"], false), some("f=1"));
        assert_eq!(query("anything", &["*"], false), None);
        assert_eq!(query("", &[], false), some(""));
    }

    #[test]
    fn rfc9111_4_1_selecting_headers_are_compared_after_their_form_is_normalised() {
        let key = |name: &HeaderName, lines: &[&'static str]| {
            let name = name.as_str().as_bytes();
            let lines = || lines.iter().map(|line| (name, line.as_bytes()));
            secondary(b"", std::iter::once(name), lines)
        };
        let same = |name, one: &[&'static str], other: &[&'static str]| {
            assert_eq!(key(name, one), key(name, other));
        };
        same(&ACCEPT_ENCODING, &["gzip, BR"], &["br", "gzip"]);
        same(&ACCEPT_LANGUAGE, &["de,  en"], &["de", "en"]);
        let other = |name, one: &[&'static str], other: &[&'static str]| {
            assert_ne!(key(name, one), key(name, other));
        };
        other(&ACCEPT_LANGUAGE, &["de, en"], &["en, de"]);
        other(&ACCEPT_ENCODING, &["gzip;q=0, br"], &["gzip, br"]);
        other(&ACCEPT_LANGUAGE, &[], &[""]);
    }

    #[test]
    fn a_key_gives_back_its_parts() {
        let primary = Primary {
            site: site(258),
            scheme: Scheme::Https,
            host: "a.example",
            path: "/p",
            query: Some("q=1"),
            cookies: &[],
        };
        let primary = primary.to_key();
        let key = primary.clone();
        assert_eq!(path_of(&key), b"/p");
        assert_eq!(host_of(&key), b"a.example");
        assert_eq!(query_of(&key), b"?q=1");
        assert!(variant_of(&key).is_empty());
        let line = (&b"Accept-Language"[..], &b"de"[..]);
        let key = secondary(&key, [&b"accept-language"[..]].into_iter(), || {
            [line].into_iter()
        });
        assert_eq!(path_of(&key), b"/p");
        assert_eq!(variant_of(&key), [b"accept-language:de"]);
        assert_eq!(primary_of(&key), primary);
        assert_eq!(primary_of(&primary), primary);
    }

    fn text() -> impl Strategy<Value = String> {
        "[a/?&;=:%]{0,4}"
    }

    proptest! {
        #[test]
        fn different_requests_never_write_one_key(
            one in (1i64..3, text(), text(), prop::option::of(text()), prop::option::of(text())),
            other in (1i64..3, text(), text(), prop::option::of(text()), prop::option::of(text())),
        ) {
            let key = |(id, host, path, query, cookie): &(i64, String, String, Option<String>, Option<String>)| {
                let cookies: Vec<_> = cookie.iter().map(|value| ("c", value.as_str())).collect();
                let primary = Primary {
                    site: site(*id),
                    scheme: Scheme::Http,
                    host,
                    path,
                    query: query.as_deref(),
                    cookies: &cookies,
                };
                primary.to_key()
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }

        #[test]
        fn a_normal_path_stays_as_it_is(path in "/[a-z%é2F0-9~ ]{0,12}") {
            let normal = normal_path(&path);
            prop_assert_eq!(normal_path(&normal), &*normal);
        }
    }
}
