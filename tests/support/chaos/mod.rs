//! Faults, one after the other, while visitors come at a fixed rate; and whether each kept its bound.
//!
//! | module | what it is |
//! |---|---|
//! | [`faults`] | what can happen: one file each, with its bound and the reason for it |
//! | [`stage`] | the house of twenty sites that it happens to |
//! | [`bound`] | which requests a fault may cost |
//! | [`report`] | the table, and the file of the requests that should not have failed |
//!
//! `cargo xtask chaos` runs the long form, the end-to-end tests the short one.

pub mod bound;
pub mod faults;
pub mod report;
pub mod stage;

use std::time::{Duration, Instant};

pub use bound::{Bound, Damage, Sentence};
pub use faults::{Fault, NotHere};
pub use stage::{Form, Stage};

use crate::open_loop::{Ledger, OpenLoop};
use crate::wait::undisturbed;

/// A fault that was tried.
#[derive(Debug)]
pub struct Trial {
    /// Which.
    pub fault: &'static Fault,
    /// What came of it.
    pub course: Result<Course, NotHere>,
}

/// How it went where it could be tried.
#[derive(Debug)]
pub struct Course {
    /// What was killed with requests in it.
    pub damage: Damage,
    /// From the fault until everything was as before.
    pub took: Duration,
    /// What the visitors met.
    pub ledger: Ledger,
}

/// Lets one fault happen under load.
pub async fn try_fault(stage: &mut Stage, fault: &'static Fault) -> Trial {
    stage.recovered().await;
    let load = OpenLoop::start(stage.traffic());
    undisturbed(stage.form.calm()).await;
    let began = Instant::now();
    let damage = (fault.inject)(stage).await;
    stage.recovered().await;
    let took = began.elapsed();
    undisturbed(stage.form.calm()).await;
    let ledger = load.stop().await;
    let course = damage.map(|damage| Course {
        damage,
        took,
        ledger,
    });
    Trial { fault, course }
}
