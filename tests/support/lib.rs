//! What the end-to-end tests share: real parts, started in a private folder and gone afterwards.
//!
//! | module | what it starts or speaks to |
//! |---|---|
//! | [`house`] | everything together: the way most tests begin |
//! | [`place`] | a private folder, free ports, the fixtures |
//! | [`postgres`] | a PostgreSQL server of the test's own, and what can happen to it |
//! | [`emperor`] | the daemon and its command line |
//! | [`client`] | HTTP towards the router |
//! | [`django`] | Django projects, and what a person does in their admin |
//! | [`desk`] | a Django project that the emperor reads its sites from |
//! | [`browser`] | a person at a browser |
//! | [`density`] | many sites of one Django project, under several supervisors |
//! | [`paper`] | a site whose pages are rows of a watched table |
//! | [`machine`] | a machine that a real systemd runs |
//! | [`load`] | requests that go on while something happens |
//! | [`open_loop`] | requests that come at a fixed rate, each of which is recorded |
//! | [`chaos`] | faults, one after the other under such a load, and the bound that each must meet |
//! | [`scenario`] | what happens in great numbers, for tests and for measurements |
//! | [`processes`] | who runs on this machine, and what of it belongs to a test |
//! | [`wait`] | awaiting a condition |
//!
//! Nothing here knows Emperor's crates: what a test sees is what an operator or a visitor sees.
//! A function that can't do its work panics, since that is a test's failure.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a support function's failure is its test's failure"
)]

pub mod browser;
pub mod chaos;
pub mod client;
pub mod density;
pub mod desk;
pub mod django;
pub mod emperor;
pub mod house;
pub mod load;
pub mod machine;
pub mod open_loop;
pub mod paper;
pub mod place;
pub mod postgres;
pub mod processes;
pub mod program;
pub mod scenario;
pub mod wait;

pub use browser::Browser;
pub use client::{Answer, Client};
pub use desk::Desk;
pub use emperor::{Emperor, Outcome};
pub use house::{House, Row};
pub use load::Load;
pub use machine::Machine;
pub use open_loop::{OpenLoop, Traffic};
pub use paper::Paper;
pub use place::Place;
pub use postgres::Postgres;
pub use wait::{PATIENCE, eventually};
