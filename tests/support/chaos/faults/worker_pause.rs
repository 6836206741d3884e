//! SIGSTOP of a worker, and SIGCONT after a moment: what a machine that swaps does to it.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::wait::undisturbed;

pub(super) const FAULT: Fault = Fault {
    name: "worker SIGSTOP, SIGCONT",
    bound: Bound::NothingFails,
    reason: "a worker that says nothing for a moment may be busy: who waits for it is served when it \
             goes on, and it is not replaced",
    inject: |stage| Box::pin(inject(stage)),
};

/// Longer than any request takes, shorter than anybody's patience.
const PAUSE: Duration = Duration::from_secs(2);

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let worker = stage.workers().await["site-3"];
    worker.signal(Signal::SIGSTOP);
    undisturbed(PAUSE).await;
    worker.signal(Signal::SIGCONT);
    stage.recovered().await;
    assert_eq!(stage.workers().await["site-3"], worker);
    Ok(Damage::none())
}
