//! Rows, templates and configuration against what becomes of them, through the public interface.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as the tests themselves do"
)]

mod config;
mod docs;
mod hostile;
mod hosts;
mod layers;
mod pools;
mod rejections;
mod rendering;
mod revision;
mod shipped;
mod support;
