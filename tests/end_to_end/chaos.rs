//! Whatever happens to a house, its visitors don't notice: the short form of `cargo xtask chaos`.

use support::chaos::{Form, Stage, faults, report, try_fault};

/// A light load: other tests run beside this one.
const PER_SECOND: u32 = 100;

#[tokio::test]
async fn no_fault_costs_a_request_that_it_may_not_cost() {
    let mut stage = Stage::open(Form::Short, PER_SECOND).await;
    let mut trials = Vec::new();
    for fault in faults::ALL {
        trials.push(try_fault(&mut stage, fault).await);
    }
    let broken = report::broken_requests(&trials);
    let table = report::table(&trials);
    assert!(broken.is_empty(), "{table}\n{broken}");
}
