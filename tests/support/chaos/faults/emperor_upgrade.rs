//! The emperor leaves everything to the next one, as at an upgrade of its program.

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "emperor upgrade",
    bound: Bound::NothingFails,
    reason: "it is the same path as its death, taken on purpose",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    stage.house.place.renew_program("emperor");
    stage.another_emperor(Signal::SIGUSR2).await;
    Ok(Damage::none())
}
