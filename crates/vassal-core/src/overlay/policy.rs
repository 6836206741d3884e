//! What rows may do on this machine.

use crate::template::SiteTables;

/// `[policy]`, as far as it concerns what a row becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `site_may_set`
    pub site_may_set: SiteTables,
    /// `allow_root`
    pub allow_root: bool,
}
