//! What processes write: read from their pipes without ever making them wait for a disk, cut into
//! lines, marked with time and instance, and kept in one log per site.
//!
//! ```text
//! worker ──FIFO──▶ capture (task per instance) ──▶ SiteLog (bounded buffer) ──▶ writer (one thread) ──▶ file
//! ```
//!
//! A disk that is slow or full stops the writer and nobody else: a site's buffer fills, further lines
//! are counted and dropped, and the log says how many once it can be written again.

mod capture;
mod file;
mod framer;
mod logbook;
mod relay;
mod tail;

pub(super) use capture::{Capture, Captured, Sink};
pub(super) use file::LogLimits;
pub(super) use logbook::{Logbook, Origin};
