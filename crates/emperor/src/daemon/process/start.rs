//! One start of an instance, step by step, with how long each step took.
//!
//! Whoever is at a step notes it: the actor, the launcher, the prober. Whoever wants to know reads it
//! at any time, so a start that hangs shows where. It knows nothing of sites or of what follows from
//! a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use site_model::Incarnation;
use tokio::time::Instant;

/// What is being done. A step that a start doesn't need is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Waiting for a start permit.
    Turn,
    /// Finding out whom it runs as.
    User,
    /// Waiting for its preloader, and forking it.
    Preload,
    /// Making its folder.
    Folder,
    /// Binding its socket, or making the place where it binds one.
    Socket,
    /// Rendering its command, and writing its files.
    Files,
    /// Starting `vassal-exec`, with its pipes and its cgroup.
    Spawn,
    /// Letting `vassal-exec` put up the walls, change the user and become the program.
    Exec,
    /// Waiting until it says that it is ready.
    Notify,
    /// Waiting until its socket takes a connection.
    Connect,
    /// Waiting until it gives an answer that counts.
    Answer,
    /// Asking it for what is to be warm.
    Warm,
    /// Putting it into the route table.
    Publish,
    /// Waiting until every thread of the router knows.
    Acknowledge,
}

impl Step {
    /// Its name in JSON, in the log and in `emperor status`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::User => "user",
            Self::Preload => "preload",
            Self::Folder => "folder",
            Self::Socket => "socket",
            Self::Files => "files",
            Self::Spawn => "spawn",
            Self::Exec => "exec",
            Self::Notify => "notify",
            Self::Connect => "connect",
            Self::Answer => "answer",
            Self::Warm => "warm",
            Self::Publish => "publish",
            Self::Acknowledge => "acknowledge",
        }
    }
}

/// How a step, or a start as a whole, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on.
    Going,
    /// It is done.
    Done,
    /// It failed, for this reason.
    Failed(String),
    /// It was broken off since nobody wants it any more.
    BrokenOff(String),
}

/// A step, and how long it took; how long it has taken, where it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepTaken {
    /// Which.
    pub(crate) step: Step,
    /// How long.
    pub(crate) took: Duration,
}

/// What is to be told of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartTold {
    /// Which spawn it is.
    pub(crate) incarnation: Incarnation,
    /// When it began to wait for its turn.
    pub(crate) began_at: SystemTime,
    /// The steps so far. The outcome is that of the last one; those before are done.
    pub(crate) steps: Vec<StepTaken>,
    /// How it is.
    pub(crate) outcome: Outcome,
}

/// A start that goes on, or has ended. Clones are the same start.
#[derive(Debug, Clone)]
pub(crate) struct Start(Arc<Mutex<Course>>);

#[derive(Debug)]
struct Course {
    incarnation: Incarnation,
    began_at: SystemTime,
    /// Each at most once.
    taken: Vec<StepTaken>,
    current: Step,
    since: Instant,
    outcome: Outcome,
}

impl Start {
    /// One that has waited for its turn since then, and has it now.
    pub(crate) fn begin(incarnation: Incarnation, waited: Duration) -> Self {
        let now = SystemTime::now();
        Self(Arc::new(Mutex::new(Course {
            incarnation,
            began_at: now.checked_sub(waited).unwrap_or(now),
            taken: vec![StepTaken {
                step: Step::Turn,
                took: waited,
            }],
            current: Step::User,
            since: Instant::now(),
            outcome: Outcome::Going,
        })))
    }

    /// The step before is done, and this one begins. What was begun before, or comes after the end,
    /// changes nothing.
    pub(crate) fn enter(&self, step: Step) {
        let mut course = self.lock();
        let was_taken = course.taken.iter().any(|taken| taken.step == step);
        if course.outcome != Outcome::Going || course.current == step || was_taken {
            return;
        }
        course.end_step();
        course.current = step;
    }

    /// As [`enter`](Self::enter), where the step before is this one.
    pub(crate) fn pass(&self, before: Step, step: Step) {
        if self.lock().current == before {
            self.enter(step);
        }
    }

    /// It has come to its end. The first end counts.
    pub(crate) fn end(&self, outcome: Outcome) {
        let mut course = self.lock();
        if course.outcome == Outcome::Going {
            course.end_step();
            course.outcome = outcome;
        }
    }

    /// How it is now.
    pub(crate) fn told(&self) -> StartTold {
        let course = self.lock();
        let mut steps = course.taken.clone();
        if course.outcome == Outcome::Going {
            steps.push(course.current_step());
        }
        StartTold {
            incarnation: course.incarnation,
            began_at: course.began_at,
            steps,
            outcome: course.outcome.clone(),
        }
    }

    /// Each change is whole before the lock goes, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Course> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn current_step(&self) -> StepTaken {
        StepTaken {
            step: self.current,
            took: self.since.elapsed(),
        }
    }

    fn end_step(&mut self) {
        let taken = self.current_step();
        self.taken.push(taken);
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(start: &Start) -> Vec<(&'static str, u128)> {
        let steps = start.told().steps;
        let steps = steps.iter();
        steps
            .map(|taken| (taken.step.as_str(), taken.took.as_millis()))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_has_its_time_and_a_failure_stays_with_the_step_it_met() {
        let start = Start::begin(Incarnation::new(7), Duration::from_millis(30));
        tokio::time::advance(Duration::from_millis(5)).await;
        start.enter(Step::Folder);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(steps(&start), [("turn", 30), ("user", 5), ("folder", 10)]);
        assert_eq!(start.told().outcome, Outcome::Going);

        start.enter(Step::User);
        start.pass(Step::Socket, Step::Files);
        start.end(Outcome::Failed("the disk is full".into()));
        tokio::time::advance(Duration::from_millis(99)).await;
        start.end(Outcome::Done);
        start.enter(Step::Socket);
        assert_eq!(steps(&start), [("turn", 30), ("user", 5), ("folder", 10)]);
        let failed = Outcome::Failed("the disk is full".into());
        assert_eq!(start.told().outcome, failed);
    }
}
