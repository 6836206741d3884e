//! Revisions: which version of a site's resolved specification something belongs to.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Version of a site's resolved specification (row, template and configuration together).
///
/// Made from the content, so two specifications are the same exactly when their revisions are,
/// whatever clock wrote the row. Compared within one site only: it is no identity of a site.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision([u8; 16]);

/// A text that is no revision.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a revision is written as 32 hexadecimal digits")]
pub struct RevisionError;

impl Revision {
    /// Takes the first 128 bits of a cryptographic hash of the specification.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The first twelve digits: enough for a person to tell two revisions of one site apart.
    pub fn short(self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({self})")
    }
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, RevisionError> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(value) if digits => Ok(Self(value.to_be_bytes())),
            Ok(_) | Err(_) => Err(RevisionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_survives_being_written_and_read() {
        let revision = Revision::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(revision.to_string().parse(), Ok(revision));
        assert_eq!(revision.short(), "000102030405");
        assert_eq!("".parse::<Revision>(), Err(RevisionError));
        assert_eq!("+".repeat(32).parse::<Revision>(), Err(RevisionError));
    }
}
