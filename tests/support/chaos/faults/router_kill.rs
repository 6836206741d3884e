//! SIGKILL of the router.

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::PATIENCE;
use crate::chaos::bound::Victim;
use crate::wait::eventually;

pub(super) const FAULT: Fault = Fault {
    name: "router kill -9",
    bound: Bound::InFlight,
    reason: "connections that it had accepted die with it; those that it had not wait in the \
             listening socket, which the emperor holds, for its successor",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let router = stage.router().await;
    let mut damage = Damage::none();
    damage.killed(Victim::Router, router.killed().await);
    // The house looks at rest until the emperor has noticed.
    eventually("another router", PATIENCE, async || {
        let now = stage.router().await;
        (now != router)
            .then_some(())
            .ok_or_else(|| format!("{now:?}"))
    })
    .await;
    Ok(damage)
}
