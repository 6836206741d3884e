//! `emperor reload --all`.

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "reload",
    bound: Bound::NothingFails,
    reason: "the successor is ready and routed before the predecessor is drained",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let before = stage.workers().await;
    let outcome = stage.house.emperor.run(&["reload", "--all"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    stage.replaced(&before).await;
    Ok(Damage::none())
}
