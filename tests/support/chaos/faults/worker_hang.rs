//! SIGSTOP of workers that nobody lets go on, one after the other.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::chaos::bound::Victim;

pub(super) const FAULT: Fault = Fault {
    name: "worker SIGSTOP",
    bound: Bound::WithinTheHung,
    reason: "it can't be told from one that is busy before its requests are late, and those have \
             reached it; then it is replaced, and whoever comes afterwards is served",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let mut damage = Damage::none();
    for slug in stage.slugs().into_iter().take(stage.form.hangs()) {
        let worker = stage.workers().await[&slug];
        let from = Instant::now();
        worker.signal(Signal::SIGSTOP);
        stage
            .replaced(&BTreeMap::from([(slug.clone(), worker)]))
            .await;
        damage.killed(Victim::WorkerOf(slug), (from, Instant::now()));
    }
    Ok(damage)
}
