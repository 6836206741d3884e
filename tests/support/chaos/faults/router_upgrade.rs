//! The program of the router is replaced by another file, and the emperor is told to read again.

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::PATIENCE;
use crate::wait::eventually;

pub(super) const FAULT: Fault = Fault {
    name: "router upgrade",
    bound: Bound::ConnectionsMove,
    reason: "the successor accepts before the predecessor stops to; what the predecessor has it \
             answers, and then it closes its connections",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let before = stage.router().await;
    stage.house.place.renew_program("fastrouter");
    stage.house.emperor.signal(Signal::SIGHUP);
    eventually("another router alone", PATIENCE, async || {
        let now = stage.router().await;
        let alone = now != before && !before.is_alive();
        alone
            .then_some(())
            .ok_or_else(|| format!("{before:?}, {now:?}"))
    })
    .await;
    Ok(Damage::none())
}
