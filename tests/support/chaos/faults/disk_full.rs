//! The disk of the `state_dir` is full.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::wait::undisturbed;

pub(super) const FAULT: Fault = Fault {
    name: "disk full",
    bound: Bound::NothingFails,
    reason: "what is on disk serves the next start; this one has it in memory",
    inject: |stage| Box::pin(inject(stage)),
};

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    if !stage.small_disk {
        return Err(NotHere("this process may not mount"));
    }
    let filler = stage.house.emperor.state_dir().join("filler");
    fill(&filler);
    // Reading everything again writes the snapshot, and a replacement takes a number.
    stage.house.emperor.signal(Signal::SIGHUP);
    stage.an_edit_is_honoured("on a full disk").await;
    undisturbed(stage.form.calm()).await;
    fs::remove_file(filler).unwrap();
    stage.an_edit_is_honoured("with room again").await;
    Ok(Damage::none())
}

fn fill(filler: &Path) {
    let mut file = File::create(filler).unwrap();
    let block = [0; 4096];
    // Blocks first, then what is left of the last one.
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..1]).is_ok() {}
}
