//! Every row is changed to something that doesn't start, and back.

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::house::vars;

pub(super) const FAULT: Fault = Fault {
    name: "bad row change",
    bound: Bound::NothingFails,
    reason: "a new revision that fails leaves the old one serving",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let good = stage.vars("good");
    stage.set_all(&good).await;
    stage.all_have("good").await;
    let before = stage.workers().await;
    // A program that ends at once, and one that isn't there.
    for program in ["/bin/false", "/nonexistent/worker"] {
        stage.set_all(&vars(&[("program", program)])).await;
        stage.all_complain().await;
    }
    stage.set_all(&good).await;
    stage.recovered().await;
    assert_eq!(before, stage.workers().await, "what served goes on");
    Ok(Damage::none())
}
