//! A vassal at rest: asleep, disabled, or unable to run. It is told of once, and then costs no task.

use std::sync::Arc;

use vassal_core::Resting;

use super::{House, witness};
use crate::daemon::statuses::Cause;

/// Tells of a vassal that begins at rest.
pub(in crate::daemon) fn rest<S>(resting: &Arc<Resting>, house: &House<S>) {
    witness::tell_of_rest(&resting.status(), resting.want.slug());
    keep_rest(resting, house);
}

/// Keeps of what was told of a vassal only that it rests.
pub(in crate::daemon) fn keep_rest<S>(resting: &Arc<Resting>, house: &House<S>) {
    house.routes.publish(Arc::clone(resting));
    let cause = Cause::of(witness::BEGUN);
    house.statuses.report(Arc::clone(resting), cause);
}
