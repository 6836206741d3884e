//! `CDN-Cache-Control` (RFC 9213): the directives for shared caches, as a structured dictionary.

use std::convert::Infallible;

use http::HeaderMap;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::{MOST_SECONDS, ResponseDirectives};

const CDN_CACHE_CONTROL: &str = "cdn-cache-control";

/// The directives, or `None` where the header is absent, empty or no dictionary: then it is as if it
/// weren't there (§2.1).
pub(super) fn read(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let lines: Vec<&[u8]> = headers
        .get_all(CDN_CACHE_CONTROL)
        .iter()
        .map(http::HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let text = lines.join(&b", "[..]);
    let dictionary = Dictionary::default();
    let read = Parser::new(&text)
        .parse_dictionary_with_visitor(dictionary)
        .ok()?;
    (read.members > 0).then_some(read.directives)
}

#[derive(Debug, Default)]
struct Dictionary {
    members: usize,
    directives: ResponseDirectives,
}

impl<'de> DictionaryVisitor<'de> for Dictionary {
    type Out = Self;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        self.members += 1;
        Ok(Member {
            key,
            directives: &mut self.directives,
        })
    }

    fn finish(mut self) -> Result<Self, Infallible> {
        self.directives.targeted = true;
        Ok(self)
    }
}

struct Member<'a, 'de> {
    key: &'de KeyRef,
    directives: &'a mut ResponseDirectives,
}

impl<'de> EntryVisitor<'de> for Member<'_, 'de> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Member<'_, 'de> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl sfv::visitor::ParameterVisitor<'de, Out = ()>, Infallible> {
        match item {
            BareItemFromInput::Integer(number) => {
                // A dictionary's last word counts, and a negative lifetime is none.
                let most = i64::from(MOST_SECONDS);
                let seconds = i64::from(number).clamp(0, most);
                let seconds = u32::try_from(seconds).unwrap_or(MOST_SECONDS);
                set_seconds(self.directives, self.key.as_str(), seconds);
            }
            BareItemFromInput::Boolean(true) => self.directives.set(self.key.as_str().as_bytes()),
            // `no-cache="etag"`: a list of headers in a string; the whole answer is the safe reading.
            BareItemFromInput::String(_)
                if ["no-cache", "private"].contains(&self.key.as_str()) =>
            {
                self.directives.set(self.key.as_str().as_bytes());
            }
            // §2.1: a value of another type is ignored with its key.
            _ => {}
        }
        Ok(Ignored)
    }
}

fn set_seconds(directives: &mut ResponseDirectives, name: &str, seconds: u32) {
    let place = match name {
        "max-age" => &mut directives.max_age,
        "s-maxage" => &mut directives.s_maxage,
        "stale-while-revalidate" => &mut directives.stale_while_revalidate,
        "stale-if-error" => &mut directives.stale_if_error,
        _ => return,
    };
    *place = Some(seconds);
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CACHE_CONTROL;

    use super::*;

    fn read_both(cdn: &'static str) -> ResponseDirectives {
        let mut headers = HeaderMap::new();
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("no-store, max-age=1"),
        );
        headers.insert(CDN_CACHE_CONTROL, HeaderValue::from_static(cdn));
        ResponseDirectives::read(&headers)
    }

    #[test]
    fn rfc9213_2_2_the_targeted_header_takes_the_place_of_cache_control() {
        let read = read_both("max-age=600;foo=bar, must-revalidate, unknown=(1 2)");
        assert!(read.targeted && read.must_revalidate && !read.no_store);
        assert_eq!(read.max_age, Some(600));
    }

    #[test]
    fn rfc9213_2_1_what_is_no_dictionary_is_ignored() {
        for wrong in [
            "",
            "max-age=",
            "max-age=600,",
            "&",
            "Max-Age=600",
            "max-age 600",
            "max-age = 1",
        ] {
            let read = read_both(wrong);
            assert!(!read.targeted && read.no_store, "{wrong:?}");
        }
    }

    #[test]
    fn rfc9213_2_1_values_of_another_type_are_ignored() {
        for wrong in ["max-age=\"600\"", "max-age=6.5", "max-age=soon", "max-age"] {
            let read = read_both(wrong);
            assert!(read.targeted && read.max_age.is_none(), "{wrong:?}");
        }
        assert_eq!(read_both("max-age=9, max-age=-3").max_age, Some(0));
        assert!(!read_both("no-store=?0").no_store);
    }
}
