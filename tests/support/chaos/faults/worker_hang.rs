//! Workers that answer nothing any more and go on running, one after the other.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::chaos::bound::Victim;

pub(super) const FAULT: Fault = Fault {
    name: "worker hangs",
    bound: Bound::WithinTheHung,
    reason: "it can't be told from one that is busy before its requests are late, and those have \
             reached it; then it is replaced, and whoever comes afterwards is served",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let mut damage = Damage::none();
    for slug in stage.slugs().into_iter().take(stage.form.hangs()) {
        let hung = BTreeMap::from([(slug.clone(), stage.workers().await[&slug])]);
        let host = format!("{slug}.example");
        let from = Instant::now();
        let (answer, ()) = tokio::join!(
            stage.house.client.try_get(&host, "/?hang"),
            stage.replaced(&hung)
        );
        assert!(!answer.is_ok_and(|answer| answer.status.is_success()));
        damage.killed(Victim::WorkerOf(slug), (from, Instant::now()));
    }
    Ok(damage)
}
