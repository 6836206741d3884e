//! Slugs: the short name of a site, a DNS label (RFC 1035 section 2.3.1, digits first allowed as
//! in RFC 1123 section 2.1), in lower case.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;
use thiserror::Error;

/// The most bytes a DNS label may have.
const MAX_LENGTH: usize = 63;

/// Name of a site that people type: 1 to 63 of `a-z`, `0-9` and `-`, no hyphen at either end.
///
/// A short one, as nearly all are, stands where it is named and has no place of its own in memory: each site
/// has one, and there may be very many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(SmolStr);

/// Why a string is no slug.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SlugError {
    /// It has no character.
    #[error("a slug can't be empty")]
    Empty,
    /// It is longer than a DNS label.
    #[error("a slug has at most {MAX_LENGTH} characters, this one has {0}")]
    TooLong(usize),
    /// It holds a character that a slug can't have.
    #[error("a slug is made of a-z, 0-9 and '-'; {0:?} is none of them")]
    Character(char),
    /// It begins or ends with a hyphen.
    #[error("a slug can't begin or end with '-'")]
    OuterHyphen,
}

/// What a pool's name has before it: with the dot it is no site's slug.
const POOL: &str = "pool.";

impl Slug {
    /// What stands where a slug is due for the vassal of a pool: `pool.NAME`, which no site can be
    /// called. The name is itself made like a slug.
    pub fn of_pool(name: &str) -> Result<Self, SlugError> {
        let name: Self = name.parse()?;
        Ok(Self(format!("{POOL}{name}").into()))
    }

    /// The name of the pool that this stands for; `None`: it is a site's slug.
    pub fn pool(&self) -> Option<&str> {
        self.0.strip_prefix(POOL)
    }

    /// A site's slug, or what stands for a pool, as a part of Emperor wrote it down.
    pub fn of_vassal(text: &str) -> Result<Self, SlugError> {
        text.strip_prefix(POOL)
            .map_or_else(|| text.parse(), Self::of_pool)
    }

    /// The slug's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        if text.is_empty() {
            return Err(SlugError::Empty);
        }
        if let Some(wrong) = text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
        {
            return Err(SlugError::Character(wrong));
        }
        if text.len() > MAX_LENGTH {
            return Err(SlugError::TooLong(text.len()));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(SlugError::OuterHyphen);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_called_what_no_site_can_be() {
        let pool = Slug::of_pool("small").unwrap();
        assert_eq!((pool.as_str(), pool.pool()), ("pool.small", Some("small")));
        assert_eq!(
            pool.as_str().parse::<Slug>(),
            Err(SlugError::Character('.'))
        );
        assert_eq!(Slug::of_vassal(pool.as_str()), Ok(pool));
        assert_eq!(Slug::of_vassal("pool-small").unwrap().pool(), None);
        assert!(Slug::of_pool("a.b").is_err() && Slug::of_pool("").is_err());
    }

    #[test]
    fn a_slug_is_a_lower_case_dns_label() {
        for good in ["a", "site-1", "1", &"a".repeat(63)] {
            assert_eq!(good.parse::<Slug>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<Slug>(), Err(SlugError::Empty));
        assert_eq!("Site".parse::<Slug>(), Err(SlugError::Character('S')));
        assert_eq!("a.b".parse::<Slug>(), Err(SlugError::Character('.')));
        assert_eq!("-a".parse::<Slug>(), Err(SlugError::OuterHyphen));
        assert_eq!("a-".parse::<Slug>(), Err(SlugError::OuterHyphen));
        assert_eq!("a".repeat(64).parse::<Slug>(), Err(SlugError::TooLong(64)));
    }
}
