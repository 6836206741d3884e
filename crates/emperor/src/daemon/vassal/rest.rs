//! A vassal at rest: asleep, disabled, or unable to run. It is told of once, and then costs no task.

use site_model::SiteState;
use tracing::debug;
use vassal_core::Lifecycle;

use super::House;
use super::actor::log_change;

/// Tells of a vassal that begins at rest.
pub(in crate::daemon) fn rest<S>(life: &Lifecycle, house: &House<S>) {
    let status = life.status();
    match life.route() {
        Some(route) => drop(house.routes.publish(&route)),
        None => drop(house.routes.withdraw(status.id)),
    }
    match status.state {
        // One line for each of a hundred thousand would say nothing.
        SiteState::Sleeping => debug!(site = %status.id, "a site begins asleep"),
        SiteState::Starting
        | SiteState::Ready
        | SiteState::Reloading
        | SiteState::Waking
        | SiteState::BackingOff
        | SiteState::Failed
        | SiteState::Rejected
        | SiteState::Disabled
        | SiteState::Stopping => log_change(&status, None),
    }
    house.statuses.report(status);
}
