//! Where the rows of sites are.

use crate::django::DjangoTables;
use crate::queried::QuerySource;

/// Which tables the rows are in: `database.source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowSource {
    /// `emperor.sites` and `emperor.domains`.
    Emperor,
    /// Django's.
    Django(DjangoTables),
    /// Whatever a query yields.
    Query(QuerySource),
}
