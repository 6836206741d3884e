//! What Emperor's programs say to each other, and how it is written down.
//!
//! Every message is JSON: people can read it, and a program that is one version older or newer
//! than its peer still understands the fields that both know. What arrives is parsed into the
//! types of `site-model` before anything acts on it ([`route`] has the conversions), so a frame
//! can't smuggle in a host or a slug that a row could not have.
//!
//! | module | between |
//! |---|---|
//! | [`frame`] | the length-prefixed framing of the next three; `codec` fits it to tokio's streams |
//! | [`exec`] | emperor → `vassal-exec` |
//! | [`preload`] | emperor ↔ a preloader, and the workers forked from it |
//! | [`route`], [`cache`] | emperor ↔ fastrouter |
//! | [`control`] | emperor ↔ command line and other clients of `control.sock` |
//! | `log` | a program of ours → whoever keeps its log: the emperor, the journal |

pub mod cache;
#[cfg(feature = "codec")]
pub mod codec;
pub mod control;
pub mod exec;
pub mod frame;
#[cfg(feature = "log")]
pub mod log;
pub mod preload;
pub mod route;
