//! SIGSTOP of a worker, and SIGCONT after a moment: what a machine that swaps does to it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bound, Damage, Fault, NotHere, Stage};
use crate::wait::undisturbed;

pub(super) const FAULT: Fault = Fault {
    name: "worker SIGSTOP, SIGCONT",
    bound: Bound::NothingFails,
    reason: "a worker that says nothing for a moment may be busy: who waits for it is served when it \
             goes on, and it is not replaced",
    inject: |stage| Box::pin(inject(stage)),
};

/// Longer than any request takes, shorter than anybody's patience.
const PAUSE: Duration = Duration::from_secs(2);
/// A busy machine may let a pause last until the worker is given up, after 3 s: that was no moment.
const MOMENT: Duration = Duration::from_millis(2_800);
const TRIES: usize = 10;

async fn inject(stage: &mut Stage) -> Result<Damage, NotHere> {
    for _ in 0..TRIES {
        let worker = stage.workers().await["site-3"];
        let began = Instant::now();
        worker.signal(Signal::SIGSTOP);
        undisturbed(PAUSE).await;
        worker.signal(Signal::SIGCONT);
        let paused = began.elapsed();
        stage.recovered().await;
        if paused < MOMENT {
            assert_eq!(stage.workers().await["site-3"], worker);
            return Ok(Damage::none());
        }
    }
    panic!("each of {TRIES} pauses of {PAUSE:?} took longer than {MOMENT:?}");
}
