//! Walls around a program. Where the kernel gives one it has to hold; where it doesn't, that has to
//! be told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::errno::Errno;
use tempfile::TempDir;
use wire::exec::{ExecPlan, ExecStep, Mounts, PathRules, Walls};

use crate::support::{
    Outcome, SOMEBODY, as_somebody, carry_out, carry_out_by, check_failure, copy_program, is_root,
    open_folder, plan, shell, start_as,
};

/// What `sh` and what it calls need.
const SYSTEM: [&str; 7] = ["/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/usr"];

/// Runs it. What it writes is as expected where the wall stands; where the kernel can't give it,
/// that is told with its step, and a plan that requires it fails with the same. Returns whether it
/// stands.
#[track_caller]
fn check(plan: &ExecPlan, step: ExecStep, expected: &str) -> bool {
    let Outcome {
        failure,
        missing,
        stdout,
    } = carry_out(plan, &[]);
    assert_eq!(failure, None);
    if missing.is_empty() {
        assert_eq!(stdout.trim_end(), expected);
        return true;
    }
    for found in &missing {
        assert!(found.is_refusal() && found.step == step, "{found}");
    }
    let mut required = plan.clone();
    required.walls.required = true;
    assert_eq!(carry_out(&required, &[]).failure, missing.first().cloned());
    false
}

fn mounts(mounts: Mounts) -> Walls {
    Walls {
        mounts: Some(mounts),
        ..Walls::default()
    }
}

/// The step that a wall of mounts is missing at where this user may make none.
const MOUNTS: ExecStep = ExecStep::MountNamespace;

/// Two folders of everybody's, each with a file.
fn two_folders() -> (TempDir, [PathBuf; 2]) {
    let outer = open_folder();
    let folders = ["one", "two"].map(|name| outer.path().join(name));
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        let file = folder.join("file");
        fs::write(&file, "text\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    (outer, folders)
}

fn system() -> Vec<PathBuf> {
    let there = SYSTEM.iter().map(PathBuf::from);
    there.filter(|path| path.exists()).collect()
}

/// Tries to read and to write the file of each folder.
fn tries(folders: &[PathBuf; 2]) -> ExecPlan {
    let [one, two] = folders.each_ref().map(|folder| folder.display());
    as_somebody(shell(&format!(
        "exec 2> /dev/null; for f in {one} {two}; do
            cat $f/file > /dev/null && echo read || echo unread
            {{ echo x >> $f/file; }} && echo written || echo unwritten
        done"
    )))
}

#[test]
fn only_paths_that_are_writable_are_written_to() {
    let (_outer, folders) = two_folders();
    let mut plan = tries(&folders);
    plan.walls.paths = Some(PathRules {
        readable: None,
        writable: Some(vec![folders[0].clone(), "/dev".into()]),
    });
    let expected = "read\nwritten\nread\nunwritten";
    check(&plan, ExecStep::Paths, expected);
}

#[test]
fn only_paths_that_are_readable_are_read() {
    let (_outer, folders) = two_folders();
    let mut plan = tries(&folders);
    // A file stands for itself alone.
    let readable = system().into_iter().chain([folders[1].join("file")]);
    plan.walls.paths = Some(PathRules {
        readable: Some(readable.collect()),
        writable: None,
    });
    let expected = "unread\nwritten\nread\nwritten";
    check(&plan, ExecStep::Paths, expected);
}

#[test]
fn a_path_that_is_missing_is_named() {
    let mut plan = shell("true");
    plan.walls.paths = Some(PathRules {
        readable: None,
        writable: Some(vec!["/nowhere/at/all".into()]),
    });
    let subject = "to /nowhere/at/all";
    check_failure(&plan, ExecStep::Paths, Errno::ENOENT, subject);
}

/// Prints what `ptrace`, a user namespace, a thread and a process come to: 0 or the error.
const CALLS: &str = "
import ctypes, errno, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    result = getattr(libc, name)(*args)
    print(name, errno.errorcode[ctypes.get_errno()] if result < 0 else 'done')
thread = threading.Thread(target=print, args=('thread', 'done'))
thread.start()
thread.join()
print('process', 'done' if subprocess.run(['true']).returncode == 0 else 'failed')
sys.stdout.flush()
call('unshare', 0x400)
call('ptrace', 0, 0, 0, 0)
call('unshare', 0x10000000)
";

#[test]
fn system_calls_that_no_service_needs_are_refused() {
    let mut plan = as_somebody(plan(&["python3", "-c", CALLS]));
    let free = carry_out(&plan, &[]);
    assert!(free.stdout.contains("ptrace done"), "{}", free.stdout);
    plan.walls.filter_syscalls = true;
    let expected = "thread done\nprocess done\nunshare done\nptrace EPERM\nunshare EPERM";
    check(&plan, ExecStep::Syscalls, expected);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn they_are_refused_by_their_second_number_too() {
    let program = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(ctypes.c_long(0x40000000 | 101), 0, 0, 0, 0), ctypes.get_errno())
";
    let mut plan = as_somebody(plan(&["python3", "-c", program]));
    plan.walls.filter_syscalls = true;
    check(&plan, ExecStep::Syscalls, "-1 1");
}

fn capabilities(kept: u64) -> ExecPlan {
    let mut plan = as_somebody(plan(&[
        "grep",
        "-E",
        "^Cap(Eff|Bnd|Amb)",
        "/proc/self/status",
    ]));
    plan.walls.capabilities = Some(kept);
    plan
}

#[test]
fn no_capability_is_left_or_can_be_gained() {
    let outcome = carry_out(&capabilities(0), &[]);
    assert_eq!((outcome.failure, outcome.missing), (None, Vec::new()));
    let none = "0000000000000000";
    let held = format!("CapEff:\t{none}\n");
    assert!(outcome.stdout.starts_with(&held), "{}", outcome.stdout);
    if is_root() {
        let bounded = format!("CapBnd:\t{none}\n");
        assert!(outcome.stdout.contains(&bounded), "{}", outcome.stdout);
    }
}

#[test]
fn a_capability_that_is_named_is_held_by_another_user_too() {
    // CAP_NET_BIND_SERVICE
    let plan = capabilities(1 << 10);
    let one = "0000000000000400";
    let expected = format!("CapEff:\t{one}\nCapBnd:\t{one}\nCapAmb:\t{one}");
    check(&plan, ExecStep::Capabilities, &expected);
}

#[test]
fn a_private_tmp_is_empty_bounded_and_still_has_what_is_kept() {
    let (outer, [kept, _]) = two_folders();
    let name = outer.path().file_name().unwrap().to_str().unwrap();
    let script = format!(
        "exec 2> /dev/null; stat -c '%a %U' /tmp; find /tmp /var/tmp -type f; umask
        echo x > /tmp/own.{name} && cat /var/tmp/own.{name}
        head -c 200000 /dev/zero >> /tmp/own.{name} || echo full"
    );
    let mut plan = as_somebody(shell(&script));
    plan.walls = mounts(Mounts {
        private_tmp: Some(65536),
        kept: vec![kept.clone(), kept.join("file"), kept.clone()],
        ..Mounts::default()
    });
    let file = kept.join("file");
    let file = if file.starts_with("/tmp") {
        format!("{}\n", file.display())
    } else {
        String::new()
    };
    let stands = check(&plan, MOUNTS, &format!("1777 root\n{file}0027\nx\nfull"));
    let left = fs::remove_file(format!("/tmp/own.{name}")).is_ok();
    assert_ne!(stands, left, "what was written to /tmp is seen outside");
}

#[test]
fn a_read_only_system_can_be_written_to_in_few_places() {
    let (_outer, folders) = two_folders();
    let mut plan = tries(&folders);
    // Also for root, whom no file mode stops.
    plan.identity = None;
    plan.walls = mounts(Mounts {
        read_only_but: Some(vec![folders[1].clone(), "/dev".into()]),
        ..Mounts::default()
    });
    check(&plan, MOUNTS, "read\nunwritten\nread\nwritten");
    let outside = fs::read_to_string(folders[0].join("file")).unwrap();
    assert!(!is_root() || outside == "text\n", "{outside:?}");
}

#[test]
fn what_is_hidden_is_closed_also_to_root() {
    let (_outer, folders) = two_folders();
    let hidden = [folders[0].clone(), folders[1].join("file")];
    let script = format!(
        "exec 2> /dev/null; ls -A {0} || echo closed; cat {1} || echo closed; ls {2}",
        hidden[0].display(),
        hidden[1].display(),
        folders[1].display()
    );
    let mut plan = shell(&script);
    plan.walls = mounts(Mounts {
        inaccessible: hidden.into(),
        ..Mounts::default()
    });
    plan.walls.capabilities = Some(0);
    check(&plan, MOUNTS, "closed\nclosed\nfile");
}

#[test]
fn a_hidden_path_that_is_missing_is_named() {
    if !is_root() {
        // Nobody else gets as far; that is told, as the tests above have it.
        return;
    }
    let mut plan = shell("true");
    plan.walls = mounts(Mounts {
        inaccessible: vec!["/nowhere/at/all".into()],
        ..Mounts::default()
    });
    let subject = "/nowhere/at/all";
    check_failure(&plan, ExecStep::Inaccessible, Errno::ENOENT, subject);
}

#[test]
fn a_wall_that_can_t_be_had_is_told_and_where_it_is_required_nothing_runs() {
    // Somebody who may not make mounts, with the helper where it can be reached.
    let folder = open_folder();
    let helper = folder.path().join("vassal-exec");
    copy_program(env!("CARGO_BIN_EXE_vassal-exec"), &helper);
    let start = || {
        let mut command = Command::new(&helper);
        if is_root() {
            command.uid(SOMEBODY.uid).gid(SOMEBODY.gid);
        }
        start_as(&mut command)
    };
    let mut plan = shell("echo ran");
    plan.walls = mounts(Mounts {
        private_tmp: Some(0),
        ..Mounts::default()
    });
    let outcome = carry_out_by(start(), &plan, &[]);
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.stdout, "ran\n");
    let missing = outcome.missing.first().expect("a report");
    assert_eq!((missing.step, missing.errno), (MOUNTS, Errno::EPERM as i32));

    plan.walls.required = true;
    let outcome = carry_out_by(start(), &plan, &[]);
    assert_eq!(outcome.failure.as_ref(), Some(missing));
    assert_eq!(outcome.stdout, "");
}
