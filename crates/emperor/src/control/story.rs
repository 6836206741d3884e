//! What happened to a site, as documents: its transitions, its last start, its last exit.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use site_model::Incarnation;
use vassal_core::ExitReason;
use wire::control::{EventDocument, ExitDocument, FailedStepDocument, StartDocument, StepDocument};

use crate::daemon::process::{Outcome, StartTold, StepTaken};
use crate::daemon::{Exit, Happened};

pub(super) fn event(happened: &Happened) -> EventDocument {
    EventDocument {
        at: rfc3339(happened.at),
        from: happened.from.map(|state| state.to_string()),
        to: happened.to.to_string(),
        reason: happened.cause.reason.to_owned(),
        incarnation: happened.cause.incarnation.map(Incarnation::get),
        detail: happened.detail.clone(),
    }
}

pub(super) fn start(told: &StartTold) -> StartDocument {
    let (before, last) = match told.steps.split_last() {
        Some((last, before)) => (before, Some(last)),
        None => (&[][..], None),
    };
    let (outcome, reason) = match &told.outcome {
        Outcome::Going => ("going", None),
        Outcome::Done => ("done", None),
        Outcome::Failed(reason) => ("failed", Some(reason)),
        Outcome::BrokenOff(reason) => ("broken-off", Some(reason)),
    };
    let failed = reason.zip(last).map(|(reason, last)| FailedStepDocument {
        step: last.step.as_str().to_owned(),
        reason: reason.clone(),
    });
    StartDocument {
        incarnation: told.incarnation.get(),
        began_at: rfc3339(told.began_at),
        outcome: outcome.to_owned(),
        ms: milliseconds(told.steps.iter().map(|taken| taken.took).sum()),
        steps: before
            .iter()
            .map(|taken| step(taken, "done"))
            .chain(last.map(|taken| step(taken, outcome)))
            .collect(),
        failed,
    }
}

fn step(taken: &StepTaken, outcome: &str) -> StepDocument {
    StepDocument {
        step: taken.step.as_str().to_owned(),
        ms: milliseconds(taken.took),
        outcome: outcome.to_owned(),
    }
}

pub(super) fn exit(exit: &Exit) -> ExitDocument {
    let (code, signal) = match exit.reason {
        ExitReason::Exited { status } => (Some(status), None),
        ExitReason::Killed { signal, .. } => (None, Some(signal)),
        ExitReason::OutOfMemory { .. } => (None, Some(SIGKILL)),
        ExitReason::Unknown => (None, None),
    };
    ExitDocument {
        at: rfc3339(exit.at),
        incarnation: exit.incarnation.get(),
        code,
        signal,
        reason: exit.reason.to_string(),
        asked: exit.was_asked,
        stderr: exit.stderr.clone(),
    }
}

/// What the kernel sends for want of memory.
const SIGKILL: i32 = 9;

pub(super) fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::process::Step;

    fn told(outcome: Outcome) -> StartTold {
        let taken = |step, millis| StepTaken {
            step,
            took: Duration::from_millis(millis),
        };
        StartTold {
            incarnation: Incarnation::new(7),
            began_at: SystemTime::UNIX_EPOCH,
            steps: vec![taken(Step::Turn, 1), taken(Step::Exec, 4)],
            outcome,
        }
    }

    #[test]
    fn a_start_that_failed_names_the_step_and_what_each_took() {
        let document = start(&told(Outcome::Failed("no such program".into())));
        let steps = document.steps.iter();
        let steps: Vec<_> = steps
            .map(|s| (s.step.as_str(), s.ms, s.outcome.as_str()))
            .collect();
        assert_eq!(steps, [("turn", 1, "done"), ("exec", 4, "failed")]);
        let failed = document.failed.unwrap();
        assert_eq!(
            (failed.step, failed.reason),
            ("exec".into(), "no such program".into())
        );
        assert_eq!(document.ms, 5);
    }

    #[test]
    fn a_start_that_went_well_has_no_failed_step() {
        let document = start(&told(Outcome::Done));
        assert_eq!((document.failed, document.outcome), (None, "done".into()));
        assert!(document.steps.iter().all(|step| step.outcome == "done"));
    }
}
