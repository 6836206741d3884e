//! SIGKILL of the emperor, and another one after a while.

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "emperor kill -9",
    bound: Bound::NothingFails,
    reason: "workers and router outlive it, and the next one takes them over as they are",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    stage.another_emperor(Signal::SIGKILL).await;
    Ok(Damage::none())
}
