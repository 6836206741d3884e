//! PostgreSQL accepts connections and answers nothing.

use serde_json::Value;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::wait::undisturbed;

pub(super) const FAULT: Fault = Fault {
    name: "PostgreSQL hang",
    bound: Bound::NothingFails,
    reason: "requests never ask the database, and the emperor does its other work while it waits",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    stage.house.postgres.freeze();
    let before = stage.house.page("site-1.example").await;
    undisturbed(stage.form.outage()).await;
    // What the rows wanted last goes on being wanted: a reload needs no row.
    let outcome = stage.house.emperor.run(&["reload", "site-1"]).await;
    assert!(outcome.out.contains("being replaced"), "{outcome:?}");
    let replaced = |page: &Value| page["pid"] != before["pid"];
    stage.house.page_where("site-1.example", replaced).await;
    stage.house.postgres.thaw();
    stage.an_edit_is_honoured("after a hang").await;
    Ok(Damage::none())
}
