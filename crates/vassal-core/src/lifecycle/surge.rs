//! How many more instances there may be while they are replaced, and for how long each of these has
//! its place in the house.
//!
//! Whoever takes the place of one that serves waits for a turn of another kind than one that
//! visitors wait for, so that a rollout over a whole house delays nobody's start. Its place is held
//! until no more processes are there than are wanted: until its predecessor is gone, or it is gone
//! itself. So the places of a house bound its memory, and not only how much is started at once.

use super::Lifecycle;
use super::event::{Effect, Ticket, Turn};
use super::goal::Goal;
use super::instance::{Instance, Phase, Role};

/// How many instances are in the way of another one that is to come.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// In the route and well, or on their way without waiting to replace another. What is fallen back
    /// on counts once it is there: visitors are not made to wait for one of two.
    pub(super) covered: usize,
    /// Above those that serve: on their way, not known to the whole router yet, or on their way out.
    pub(super) above: usize,
}

impl Lifecycle {
    pub(super) fn room(&self) -> Room {
        let (wanted, _) = self.goal.rollouts();
        let wanted = wanted.map(|rollout| rollout.number);
        let mut room = Room::default();
        for instance in &self.instances {
            match instance.role() {
                Role::Coming => {
                    let is_new = Some(instance.rollout) == wanted;
                    room.covered += usize::from(is_new && !instance.waits_to_replace());
                    room.above += 1;
                }
                Role::Serving => {
                    room.covered += usize::from(!instance.is_unwell());
                    room.above += usize::from(!instance.is_ready());
                }
                Role::Ending => room.above += 1,
            }
        }
        room
    }

    /// Which turn another instance has to wait for, of which there are to be so many.
    pub(super) fn turn(&self, wanted: usize) -> Turn {
        if self.room().covered < wanted {
            self.start_turn()
        } else {
            Turn::Replacement
        }
    }

    /// Which turn a start waits for that takes nobody's place.
    pub(super) fn start_turn(&self) -> Turn {
        if self.visitors_wait() {
            Turn::Awaited
        } else {
            Turn::Start
        }
    }

    /// Lets those start like any other that wait to replace one that is gone, or unwell, meanwhile, and
    /// those before others that a visitor has come for.
    pub(super) fn hurry(&mut self, wanted: usize, out: &mut Vec<Effect>) {
        let mut lacking = wanted.saturating_sub(self.room().covered);
        for index in 0..self.instances.len() {
            let Phase::Queued { ticket, turn } = self.instances[index].phase else {
                continue;
            };
            let sooner = match turn {
                Turn::Replacement if lacking > 0 => {
                    lacking -= 1;
                    self.start_turn()
                }
                Turn::Start => self.start_turn(),
                // Who has come so far keeps its place, though its visitors may have gone.
                Turn::Awaited | Turn::Replacement => turn,
            };
            if sooner != turn {
                out.push(Effect::ReturnPermit(ticket));
                self.instances[index].phase = self.ask(sooner, out);
            }
        }
    }

    /// Takes back the wish to replace another where there is no more room for that: what served fell out
    /// while it waited, and others were started instead. It is asked for again once these have ended.
    pub(super) fn make_room(&mut self, out: &mut Vec<Effect>) {
        let (Some(wanted), _) = self.goal.rollouts() else {
            return;
        };
        let mut too_many = self.room().above.saturating_sub(wanted.max_surge());
        self.instances.retain(|instance| match &instance.phase {
            Phase::Queued {
                ticket,
                turn: Turn::Replacement,
            } if too_many > 0 => {
                too_many -= 1;
                out.push(Effect::ReturnPermit(*ticket));
                false
            }
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => true,
        });
    }

    /// Nothing of what takes over is on its way yet.
    pub(super) fn waits_to_replace(&self) -> bool {
        let mut coming = self.instances.iter().filter(|i| i.role() == Role::Coming);
        coming.clone().next().is_some() && coming.all(Instance::waits_to_replace)
    }

    /// Queues for a turn.
    pub(super) fn ask(&mut self, turn: Turn, out: &mut Vec<Effect>) -> Phase {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        out.push(Effect::AskPermit { ticket, turn });
        Phase::Queued { ticket, turn }
    }

    /// Gives back the places of those that are gone.
    pub(super) fn return_places(&mut self, out: &mut Vec<Effect>) {
        let kept = self.surplus();
        while self.places.len() > kept {
            out.push(Effect::ReturnPermit(self.places.remove(0)));
        }
    }

    /// How many processes there are above the number that is wanted.
    fn surplus(&self) -> usize {
        let wanted = match &self.goal {
            Goal::Run { rollout, .. }
            | Goal::Rejected {
                fallback: Some(rollout),
                ..
            } => rollout.instances_wanted(&self.scale),
            Goal::Rejected { fallback: None, .. }
            | Goal::Disabled(_)
            | Goal::Pooled(_)
            | Goal::Removed
            | Goal::Shutdown { .. } => 0,
        };
        let processes = self.instances.iter().filter_map(Instance::incarnation);
        processes.count().saturating_sub(wanted)
    }
}
