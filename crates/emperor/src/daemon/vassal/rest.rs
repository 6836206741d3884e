//! A vassal at rest: asleep, disabled, or unable to run. It is told of once, and then costs no task.

use site_model::Slug;
use vassal_core::Lifecycle;

use super::{House, witness};
use crate::daemon::statuses::Cause;

/// Tells of a vassal that begins at rest.
pub(in crate::daemon) fn rest<S>(life: &Lifecycle, slug: Option<&Slug>, house: &House<S>) {
    let status = life.status();
    match life.route() {
        Some(route) => drop(house.routes.publish(route)),
        None => drop(house.routes.withdraw(status.id)),
    }
    witness::tell_of_rest(&status, slug);
    house.statuses.report(status, Cause::of(witness::BEGUN));
}
