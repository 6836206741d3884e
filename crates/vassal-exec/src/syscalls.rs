//! System calls that administer the machine, or look into other processes, are refused: no service
//! has use for them, and most holes of the kernel were found behind them.
//!
//! They are refused with EPERM, as to anybody who lacks the right, so that a program that tries one
//! and can do without goes on. `clone3` is refused with ENOSYS: a filter can't see its flags, and
//! the C library then falls back to `clone`, whose flags it can.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};
use wire::exec::{ExecFailure, ExecStep};

use crate::walls::Obstacle;

/// Refused whatever their arguments are.
const REFUSED: &[c_long] = &[
    // The machine: its clock, its kernel, its name, its swap, its end.
    libc::SYS_acct,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    // Mounts, and ways round them.
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    // Other processes: sites that share a user stay apart.
    libc::SYS_kcmp,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // Large parts of the kernel that few programs need, and none without another way.
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];

/// Refused with one of these flags in their first argument: namespaces, in which a user is root.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// The same calls have a second number with this bit on kernels that run x32 programs.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Filters this process's system calls for good. The last step before `exec`.
pub(crate) fn filter() -> Result<(), Obstacle> {
    let refuse = |rules, errno: Errno| {
        let action = SeccompAction::Errno(errno as u32);
        program(rules, action).and_then(|program| apply_filter(&program))
    };
    let installed = refuse(clone3(), Errno::ENOSYS).and_then(|()| refuse(refused()?, Errno::EPERM));
    installed.map_err(|error| Obstacle::from(failure(&error)))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn clone3() -> Rules {
    numbers(libc::SYS_clone3)
        .map(|number| (number, Vec::new()))
        .collect()
}

fn refused() -> Result<Rules, Error> {
    let whole = REFUSED.iter().flat_map(|call| numbers(*call));
    let mut rules: Rules = whole.map(|number| (number, Vec::new())).collect();
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        for number in numbers(call) {
            let with_flags = NAMESPACES.iter().map(|flag| with_flag(*flag));
            rules.insert(number, with_flags.collect::<Result<_, _>>()?);
        }
    }
    Ok(rules)
}

fn with_flag(flag: libc::c_int) -> Result<SeccompRule, Error> {
    let flag = u64::from(flag.cast_unsigned());
    let is_set = SeccompCmpOp::MaskedEq(flag);
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, is_set, flag)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn numbers(call: c_long) -> impl Iterator<Item = i64> {
    #[cfg(target_arch = "x86_64")]
    let numbers = [call, call | X32];
    #[cfg(not(target_arch = "x86_64"))]
    let numbers = [call];
    numbers.into_iter()
}

fn program(rules: Rules, refusal: SeccompAction) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch)?;
    Ok(filter.try_into()?)
}

fn failure(error: &Error) -> ExecFailure {
    let errno = match error {
        Error::Seccomp(error) | Error::Prctl(error) => error.raw_os_error(),
        // No filter could be made for this machine.
        _ => None,
    };
    ExecFailure {
        step: ExecStep::Syscalls,
        subject: format!("({error})"),
        errno: errno.unwrap_or(Errno::ENOSYS as i32),
    }
}
