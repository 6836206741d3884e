//! SIGSTOP of workers that nobody lets go on, one after the other.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "worker SIGSTOP",
    bound: Bound::NothingFails,
    reason: "the kernel tells of the stop: after 3 s the worker is replaced, and let go on to answer \
             what it has, long before that is late",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    for slug in stage.slugs().into_iter().take(stage.form.hangs()) {
        let worker = stage.workers().await[&slug];
        worker.signal(Signal::SIGSTOP);
        stage.replaced(&BTreeMap::from([(slug, worker)])).await;
    }
    Ok(Damage::none())
}
