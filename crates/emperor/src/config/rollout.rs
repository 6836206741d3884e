//! `[rollout]`: what replacements may take of the whole house.

use vassal_core::units::{UnitError, parse_bytes};

use super::document::Section;
use super::values::percentage;

/// `[rollout]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// `max_replacing`: how many instances may be there at once beside those they replace; 0: as many
    /// as there are cores.
    pub(crate) max_replacing: usize,
    /// `memory_reserve`: so much memory stays free of replacements.
    pub(crate) memory_reserve: Reserve,
}

/// Memory that is to stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// Of all the memory that the machine has.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

/// Neither a share nor a size.
#[derive(Debug, thiserror::Error)]
#[error("a share of the memory (\"10%\") or a size is due: {0}")]
struct NoReserve(#[from] UnitError);

impl Reserve {
    /// So much of a machine with that much memory.
    pub(crate) fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Percent(percent) => total_bytes / 100 * u64::from(percent),
            Self::Bytes(bytes) => bytes,
        }
    }

    fn parse(text: &str) -> Result<Self, NoReserve> {
        match percentage(text) {
            Ok(percent) => Ok(Self::Percent(percent)),
            Err(_) => Ok(Self::Bytes(parse_bytes(text)?)),
        }
    }
}

pub(super) fn read(mut section: Section<'_>) -> Rollout {
    let rollout = Rollout {
        max_replacing: section.number("max_replacing", 0, &(0..=10_000)) as usize,
        memory_reserve: section.parsed("memory_reserve", Reserve::Percent(10), Reserve::parse),
    };
    section.finish();
    rollout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_a_share_or_a_size() {
        const GIB: u64 = 1 << 30;
        let check = |text: &str, expected: u64| {
            let reserve = Reserve::parse(text).unwrap();
            assert_eq!(reserve.of(100 * GIB), expected, "{text}");
        };
        check("10%", 10 * GIB);
        check("0%", 0);
        check("0", 0);
        check("512MiB", GIB / 2);
        for wrong in ["", "101%", "10", "much"] {
            let error = Reserve::parse(wrong).unwrap_err();
            assert!(error.to_string().contains("\"10%\""), "{error}");
        }
    }
}
