//! Identifiers and counters: each its own type, so that none can stand where another is due.

use std::fmt;
use std::num::{NonZeroI64, NonZeroU32};
use std::str::FromStr;

use thiserror::Error;

/// A number that should have been positive was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is not a positive whole number")]
pub struct NotPositive(pub i64);

/// Identity of a site: the primary key of its row, handed to the worker as `SITE_ID`.
///
/// A pool of sites, which shares one vassal, has an identity of the same kind below zero, where no row
/// has one: whatever is kept of a vassal is kept of a pool's in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(NonZeroI64);

impl SiteId {
    /// Takes the value of a `bigint` key, which is positive in a valid row.
    pub const fn new(value: i64) -> Result<Self, NotPositive> {
        match NonZeroI64::new(value) {
            Some(id) if id.is_positive() => Ok(Self(id)),
            Some(_) | None => Err(NotPositive(value)),
        }
    }

    /// The identity of the pool with this number.
    pub fn of_pool(number: NonZeroU32) -> Self {
        Self(-NonZeroI64::from(number))
    }

    /// Takes the identity of a vassal as a part of Emperor wrote it down: of a site, or of a pool.
    pub const fn of_vassal(value: i64) -> Result<Self, NotPositive> {
        match NonZeroI64::new(value) {
            Some(id) => Ok(Self(id)),
            None => Err(NotPositive(value)),
        }
    }

    /// Whether it is a pool's, and no row has it.
    pub const fn is_pool(self) -> bool {
        self.0.is_negative()
    }

    /// The key as PostgreSQL holds it.
    pub const fn get(self) -> i64 {
        self.0.get()
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SiteId {
    type Err = NotPositive;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Digits alone: `+7` and `007` are no ids, so that a slug of digits has one reading.
        match text.parse::<i64>() {
            Ok(value) if value.to_string() == text => Self::new(value),
            Ok(value) => Err(NotPositive(value)),
            Err(_) => Err(NotPositive(0)),
        }
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a value that was counted elsewhere.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The plain number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// One spawn of an instance. Counts up for as long as a state directory lives and is never
    /// reused, so that an event of a process that is gone can't be taken for its successor's,
    /// whatever pid the kernel gave either.
    Incarnation(u64)
}

counter! {
    /// Version of the published route table.
    Generation(u64)
}

counter! {
    /// Place of an instance among those of its vassal, from 1. A replacement takes the next
    /// number that is free while its predecessor still runs.
    InstanceNumber(u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_an_identity_that_no_row_can_have() {
        let pool = SiteId::of_pool(NonZeroU32::MAX);
        assert!(pool.is_pool() && pool.to_string().parse::<SiteId>().is_err());
        assert_eq!(SiteId::of_vassal(pool.get()), Ok(pool));
        assert_eq!(SiteId::new(pool.get()), Err(NotPositive(pool.get())));
        assert!(SiteId::of_vassal(7).is_ok_and(|site| !site.is_pool()));
        assert!(SiteId::of_vassal(0).is_err());
    }

    #[test]
    fn site_ids_are_positive_decimal_numbers_in_one_spelling() {
        assert_eq!("42".parse::<SiteId>().map(SiteId::get), Ok(42));
        for wrong in ["0", "-1", "+7", "007", "", "x", "9223372036854775808"] {
            assert!(
                wrong.parse::<SiteId>().is_err(),
                "{wrong:?} was taken for an id"
            );
        }
    }
}
