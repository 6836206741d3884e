//! How much is measured.

/// How often and how long each contender is under how much load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) times: u32,
    pub(super) seconds: u32,
    pub(super) connections: u32,
}
