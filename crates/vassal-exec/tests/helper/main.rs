//! Drives the real program: sends a plan over a socketpair, and looks at what became of the process
//! or at what was reported. Where the tests run as root, identities are changed for real.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test program: a failure is a panic, and it starts the helper itself"
)]

mod plan;
mod support;
mod walls;
