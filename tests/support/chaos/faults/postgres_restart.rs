//! PostgreSQL is stopped in an orderly way and started again.

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "PostgreSQL restart",
    bound: Bound::NothingFails,
    reason: "requests never ask the database",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    stage.house.postgres.stop();
    stage.house.postgres.start_again().await;
    stage.an_edit_is_honoured("after a restart").await;
    Ok(Damage::none())
}
