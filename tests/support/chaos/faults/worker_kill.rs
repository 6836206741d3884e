//! SIGKILL of workers, one after the other.

use std::collections::BTreeMap;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::chaos::bound::Victim;

pub(super) const FAULT: Fault = Fault {
    name: "worker SIGKILL",
    bound: Bound::PostsInFlight,
    reason: "what the dead worker had begun and may not be done twice gets 502; all else waits in \
             the queue for its successor, or is asked again",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let mut damage = Damage::none();
    let sites = stage.slugs().into_iter().cycle();
    for slug in sites.take(stage.form.kills()) {
        let worker = stage.workers().await[&slug];
        let victim = Victim::WorkerOf(slug.clone());
        damage.killed(victim, worker.killed().await);
        // Not only a house at rest: it still looks so until the emperor has noticed.
        stage.replaced(&BTreeMap::from([(slug, worker)])).await;
    }
    Ok(damage)
}
