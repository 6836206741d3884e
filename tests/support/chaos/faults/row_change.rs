//! One UPDATE of every row.

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "row change",
    bound: Bound::NothingFails,
    reason: "a changed row replaces its worker as a reload does, however many rows a statement has",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let before = stage.workers().await;
    stage.set_all(&stage.vars("changed")).await;
    stage.replaced(&before).await;
    let page = stage.house.page("site-1.example").await;
    assert_eq!(page["marker"], "changed");
    Ok(Damage::none())
}
