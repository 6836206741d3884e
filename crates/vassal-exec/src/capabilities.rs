//! What the worker may hold of root's rights, now and ever.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities,
};
use wire::exec::ExecStep;

use crate::failure::AtStep;
use crate::walls::Obstacle;

const STEP: ExecStep = ExecStep::Capabilities;

/// Takes out of the bounding set what is not to be kept, so that not even a program that root runs
/// gains it, and lets the rest survive the change of user.
pub(crate) fn bound(kept: u64) -> Result<(), Obstacle> {
    let held = capabilities(None).at(STEP, || "(those it has)".to_owned())?;
    if held.permitted.is_empty() {
        // Nothing to lose, and `no_new_privs` keeps it from gaining any.
        return Ok(());
    }
    for one in known() {
        if one.bits() & kept == 0 {
            remove_capability_from_bounding_set(one).at(STEP, || format!("{one:?}"))?;
        }
    }
    set_keep_capabilities(kept != 0).at(STEP, || "(to be kept)".to_owned())?;
    Ok(())
}

/// Holds those that are to be kept, and hands them on to the worker; all others are let go.
///
/// After the change of user and of `no_new_privs`.
pub(crate) fn keep(kept: u64) -> Result<(), Obstacle> {
    let held = capabilities(None).at(STEP, || "(those it has)".to_owned())?;
    // All that there are stands for those that this process has.
    let kept = match kept {
        u64::MAX => held.permitted,
        some => CapabilitySet::from_bits_retain(some),
    };
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    set_capabilities(None, sets).at(STEP, || format!("to {kept:?}"))?;
    for one in kept.iter() {
        configure_capability_in_ambient_set(one, true).at(STEP, || format!("{one:?}"))?;
    }
    Ok(())
}

/// Those that this kernel knows: their numbers have no gap.
fn known() -> impl Iterator<Item = CapabilitySet> {
    let all = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    all.take_while(|one| capability_is_in_bounding_set(*one).is_ok())
}
