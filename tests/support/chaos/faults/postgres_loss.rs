//! PostgreSQL dies, and is away for a while.

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::wait::undisturbed;

pub(super) const FAULT: Fault = Fault {
    name: "PostgreSQL loss",
    bound: Bound::NothingFails,
    reason: "a database that can't be read keeps the last reading, and never means that no site is \
             wanted",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    stage.house.postgres.crash();
    undisturbed(stage.form.outage()).await;
    stage.house.postgres.start_again().await;
    stage.an_edit_is_honoured("after a loss").await;
    Ok(Damage::none())
}
