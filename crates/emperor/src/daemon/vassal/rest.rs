//! A vassal at rest: asleep, disabled, or unable to run. It is told of once, and then costs no task.

use tracing::debug;
use vassal_core::Lifecycle;

use super::House;

/// Tells of a vassal that begins at rest.
pub(in crate::daemon) fn rest<S>(life: &Lifecycle, house: &House<S>) {
    let status = life.status();
    match life.route() {
        Some(route) => drop(house.routes.publish(&route)),
        None => drop(house.routes.withdraw(status.id)),
    }
    // One line for each of a hundred thousand would say nothing.
    debug!(site = %status.id, state = %status.state, "a site is at rest");
    house.statuses.report(status);
}
