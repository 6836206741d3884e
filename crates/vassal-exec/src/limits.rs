//! Resource limits and the umask.

use nix::sys::resource;
use nix::sys::stat::{Mode, umask};
use wire::exec::{ExecFailure, ExecStep, Resource, Rlimit};

use crate::failure::AtStep;

/// Sets the limits of the plan, while the rights to raise one are still there.
pub(crate) fn set(limits: &[Rlimit]) -> Result<(), ExecFailure> {
    for limit in limits {
        let (resource, name) = kernel_name(limit.resource);
        resource::setrlimit(resource, limit.soft, limit.hard).at(ExecStep::Rlimit, || {
            format!("{name} to {} (at most {})", limit.soft, limit.hard)
        })?;
    }
    Ok(())
}

/// Sets the umask; it can't fail.
pub(crate) fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

fn kernel_name(resource: Resource) -> (resource::Resource, &'static str) {
    match resource {
        Resource::Nofile => (resource::Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
        Resource::Nproc => (resource::Resource::RLIMIT_NPROC, "RLIMIT_NPROC"),
        Resource::Core => (resource::Resource::RLIMIT_CORE, "RLIMIT_CORE"),
        Resource::AddressSpace => (resource::Resource::RLIMIT_AS, "RLIMIT_AS"),
    }
}
