//! One text of a template or a row.

use crate::diagnostic::Place;

/// A text to render, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) place: &'a Place,
}

/// What is rendered and how much of it is taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// An argument or a variable of the environment: the kernel takes 128 KiB with the final NUL.
    Argument,
    /// A file.
    File,
}

impl Bound {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Argument => 128 * 1024 - 1,
            Self::File => 1024 * 1024,
        }
    }
}
