//! Who the worker is.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use wire::exec::{ExecFailure, ExecStep, Identity};

use crate::failure::AtStep;

/// Takes on user and groups for good: real, effective and saved, so that no way leads back.
///
/// Groups go first and the user last, since the right to change groups goes with the user. From
/// here until `exec` the kernel treats the process as not dumpable, because its uid changed: no
/// other process of that user can attach to it and take the descriptors that it still holds.
pub(crate) fn become_user(identity: &Identity) -> Result<(), ExecFailure> {
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).at(ExecStep::Groups, || format!("to {:?}", identity.groups))?;
    let gid = Gid::from_raw(identity.gid);
    setresgid(gid, gid, gid).at(ExecStep::Gid, || format!("to {gid}"))?;
    let uid = Uid::from_raw(identity.uid);
    setresuid(uid, uid, uid).at(ExecStep::Uid, || format!("to {uid}"))
}

/// No program below gains a right it has not now, and none is handed on: an emperor that isn't root
/// may have been given capabilities of its own, and ambient ones survive `exec`.
pub(crate) fn give_up_privileges() -> Result<(), ExecFailure> {
    let step = ExecStep::NoNewPrivs;
    rustix::thread::clear_ambient_capability_set().at(step, || "(ambient capabilities)".into())?;
    nix::sys::prctl::set_no_new_privs().at(step, String::new)
}
