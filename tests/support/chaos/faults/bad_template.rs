//! A template is changed to something that never gets ready, and back.

use std::fs;

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};

pub(super) const FAULT: Fault = Fault {
    name: "bad template change",
    bound: Bound::NothingFails,
    reason: "a template is part of every revision made from it: what fails is not put in force",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    let before = stage.workers().await;
    let file = stage.house.place.fixture("templates").join("steady.toml");
    let good = fs::read_to_string(&file).unwrap();
    // It runs, and answers no probe.
    let bad = good.replace("[\"{{ vars.program }}\"]", "[\"/bin/sleep\", \"1000\"]");
    assert_ne!(good, bad);
    fs::write(&file, format!("{bad}\n[ready]\ntimeout = \"500ms\"\n")).unwrap();
    stage.house.emperor.signal(Signal::SIGHUP);
    stage.all_complain().await;
    fs::write(&file, good).unwrap();
    stage.house.emperor.signal(Signal::SIGHUP);
    stage.recovered().await;
    assert_eq!(before, stage.workers().await, "what served goes on");
    Ok(Damage::none())
}
