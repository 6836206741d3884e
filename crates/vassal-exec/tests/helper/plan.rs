//! The steps of a plan.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::BytesMut;
use wire::exec::{ExecStep, Identity, Resource, Rlimit};

use crate::support::{
    PATH, SOMEBODY, as_somebody, carry_out, check_failure, check_output, copy_program, is_root,
    open_folder, plan, read_reports, send, shell, start,
};

#[test]
fn without_a_socket_as_standard_input_it_refuses_to_run() {
    let output = Command::new(env!("CARGO_BIN_EXE_vassal-exec"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by emperor"));
}

#[test]
fn a_plan_that_breaks_off_starts_nothing() {
    let (mut link, mut child) = start();
    link.write_all(&[0, 0, 1, 0, b'{']).unwrap();
    link.shutdown(std::net::Shutdown::Write).unwrap();
    let mut report = Vec::new();
    link.read_to_end(&mut report).unwrap();
    let (failure, _) = read_reports(&mut BytesMut::from(&report[..]));
    let failure = failure.expect("a report");
    assert_eq!(failure.step, ExecStep::Plan);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_worker_has_the_plans_environment_and_nothing_else() {
    let mut plan = plan(&["env"]);
    plan.env.push(("SITE_ID".into(), "7".into()));
    check_output(&plan, &format!("PATH={PATH}\nSITE_ID=7"));
}

#[test]
fn the_worker_leads_a_session_of_its_own_in_the_same_process() {
    let (mut link, child) = start();
    let script = "read -r _ _ _ _ group session _ < /proc/self/stat; echo $$ $group $session";
    send(&mut link, &shell(script), &[]);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end(),
        format!("{pid} {pid} {pid}")
    );
}

#[test]
fn descriptors_arrive_in_order_and_no_other_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["listen", "access-log"];
    let files = names.map(|name| OwnedFd::from(File::create(folder.path().join(name)).unwrap()));
    let mut plan = shell(
        "echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID == $$))
        for n in 0 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$n; done; true",
    );
    plan.descriptors = names.map(str::to_owned).into();
    let outcome = carry_out(&plan, &files);
    assert_eq!(outcome.failure, None);
    let at = |name| folder.path().join(name).display().to_string();
    assert_eq!(
        outcome.stdout.lines().collect::<Vec<_>>(),
        [
            "2 listen:access-log 1",
            "/dev/null",
            &at("listen"),
            &at("access-log"),
        ]
    );
}

#[test]
fn who_is_told_of_its_socket_by_an_argument_is_not_told_by_the_environment_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let socket = || {
        [OwnedFd::from(
            File::create(folder.path().join("s")).unwrap(),
        )]
    };
    let script = "echo $LISTEN_FDS $LISTEN_FDNAMES ${LISTEN_PID:+set}";
    for (argument, told) in [
        ("fd://3", "1 listen"),
        ("--bind=fd://3", "1 listen"),
        ("fd://4", "1 listen set"),
        ("fd://30", "1 listen set"),
        ("", "1 listen set"),
    ] {
        let mut plan = plan(&["sh", "-c", script, "sh", argument]);
        plan.descriptors = vec!["listen".into()];
        let outcome = carry_out(&plan, &socket());
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.stdout.trim_end(), told, "{argument}");
    }
}

#[test]
fn a_descriptor_that_was_inherited_by_accident_is_closed() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // The shell hands the pipe on as number 9, without close-on-exec.
    let child = Command::new("sh")
        .args(["-c", "exec 9>&1 >/dev/null; exec \"$0\""])
        .arg(env!("CARGO_BIN_EXE_vassal-exec"))
        .stdin(OwnedFd::from(theirs))
        .stdout(writer)
        .spawn();
    let (mut ours, mut child) = (ours, child.unwrap());
    send(&mut ours, &plan(&["sleep", "3600"]), &[]);
    // The end of the pipe comes with the exec, while the worker lives.
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn fewer_descriptors_than_announced_are_refused() {
    let mut plan = shell("true");
    plan.descriptors = vec!["listen".into()];
    let step = ExecStep::Descriptors;
    check_failure(
        &plan,
        step,
        nix::errno::Errno::EBADF,
        "(1 announced, 0 came)",
    );
}

#[test]
fn limits_umask_and_no_new_privs_are_in_force() {
    let mut plan =
        shell("ulimit -Sn; ulimit -Hn; ulimit -c; umask; grep NoNewPrivs /proc/self/status");
    let limit = |resource, soft, hard| Rlimit {
        resource,
        soft,
        hard,
    };
    plan.rlimits = vec![
        limit(Resource::Nofile, 123, 456),
        limit(Resource::Core, 0, 0),
    ];
    check_output(&plan, "123\n456\n0\n0027\nNoNewPrivs:\t1");
}

#[test]
fn a_limit_above_the_hard_one_is_reported() {
    let mut plan = shell("true");
    plan.rlimits = vec![Rlimit {
        resource: Resource::Nofile,
        soft: 2,
        hard: 1,
    }];
    let subject = "RLIMIT_NOFILE to 2 (at most 1)";
    check_failure(&plan, ExecStep::Rlimit, nix::errno::Errno::EINVAL, subject);
}

#[test]
fn signals_have_their_default_effect_and_none_is_blocked() {
    // 32 and 33 belong to the C library, which lets nobody change them.
    let own = !(0b11_u64 << 31);
    let outcome = carry_out(&shell("grep -E '^Sig(Blk|Ign)' /proc/self/status"), &[]);
    let masks: Vec<u64> = outcome
        .stdout
        .lines()
        .map(|line| u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap() & own)
        .collect();
    assert_eq!(masks, [0, 0], "{}", outcome.stdout);
}

#[test]
fn user_and_groups_are_changed_for_good() {
    if !is_root() {
        // Only root may become somebody else; the refusal is what there is to see.
        let mut plan = shell("true");
        plan.identity = Some(SOMEBODY);
        let failure = carry_out(&plan, &[]).failure.expect("a report");
        assert_eq!(failure.step, ExecStep::Groups);
        return;
    }
    let mut plan = plan(&[
        "grep",
        "-E",
        "^(Uid|Gid|Groups|CapEff|CapPrm|CapAmb)",
        "/proc/self/status",
    ]);
    plan.identity = Some(Identity {
        groups: vec![31_415, 31_416],
        ..SOMEBODY
    });
    let none = "0000000000000000";
    let (uid, gid) = ("\t271828".repeat(4), "\t271829".repeat(4));
    check_output(
        &plan,
        &format!(
            "Uid:{uid}\nGid:{gid}\nGroups:\t31415 31416 \nCapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}"
        ),
    );
}

#[test]
fn the_working_folder_is_entered_and_otherwise_the_root() {
    check_output(&shell("pwd"), "/");
    let mut plan = shell("pwd");
    plan.working_dir = Some("/usr".into());
    check_output(&plan, "/usr");
}

#[test]
fn a_working_folder_that_is_missing_is_named() {
    let mut plan = shell("true");
    plan.working_dir = Some("/nowhere/at/all".into());
    let step = ExecStep::WorkingDir;
    check_failure(&plan, step, nix::errno::Errno::ENOENT, "/nowhere/at/all");
}

#[test]
fn a_program_that_is_missing_is_named_with_where_it_was_sought() {
    let subject = format!("\"no-such-program\" (sought in {PATH})");
    for (name, subject) in [
        ("no-such-program", subject.as_str()),
        ("/no/such/program", "/no/such/program"),
        ("/dev/null/program", "/dev/null/program"),
    ] {
        let errno = nix::errno::Errno::ENOENT;
        check_failure(&plan(&[name]), ExecStep::Exec, errno, subject);
    }
}

/// A file with these rights in a folder with those.
fn program_in(folder: &Path, text: &str, mode: u32) -> String {
    let path = folder.join("program");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn a_script_is_never_given_to_a_shell() {
    let folder = open_folder();
    let program = program_in(folder.path(), "echo ran anyway\n", 0o755);
    let subject = format!("{program} (it is no binary of this machine, and names no interpreter)");
    let errno = nix::errno::Errno::ENOEXEC;
    check_failure(&plan(&[&program]), ExecStep::Exec, errno, &subject);
}

#[test]
fn a_missing_interpreter_is_told_from_a_missing_program() {
    let folder = open_folder();
    let program = program_in(folder.path(), "#!/no/such/python\n", 0o755);
    let subject = format!("{program} (the file is there, but its interpreter is not)");
    let errno = nix::errno::Errno::ENOENT;
    check_failure(&plan(&[&program]), ExecStep::Exec, errno, &subject);
}

#[test]
fn a_file_that_may_not_be_executed_is_told_with_the_user() {
    let folder = open_folder();
    let program = program_in(folder.path(), "#!/bin/sh\n", 0o644);
    let user = if is_root() {
        SOMEBODY.uid
    } else {
        nix::unistd::geteuid().as_raw()
    };
    let subject = format!("{program} (user {user} may not execute it)");
    let errno = nix::errno::Errno::EACCES;
    check_failure(
        &as_somebody(plan(&[&program])),
        ExecStep::Exec,
        errno,
        &subject,
    );
}

#[test]
fn a_program_behind_a_closed_folder_is_told_with_that_folder() {
    let outer = open_folder();
    let closed = outer.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let program = program_in(&closed, "#!/bin/sh\n", 0o755);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let user = if is_root() {
        SOMEBODY.uid
    } else {
        nix::unistd::geteuid().as_raw()
    };
    let hint = format!("(user {user} may not enter {})", closed.display());
    let errno = nix::errno::Errno::EACCES;
    let subject = format!("{program} {hint}");
    check_failure(
        &as_somebody(plan(&[&program])),
        ExecStep::Exec,
        errno,
        &subject,
    );

    let mut elsewhere = as_somebody(shell("true"));
    elsewhere.working_dir = Some(closed.join("app"));
    let subject = format!("{} {hint}", closed.join("app").display());
    check_failure(&elsewhere, ExecStep::WorkingDir, errno, &subject);
}

#[test]
fn a_program_opened_ahead_runs_from_a_folder_its_user_can_t_enter() {
    let outer = open_folder();
    let closed = outer.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let program = closed.join("true");
    copy_program("/bin/true", &program);
    let mode = if is_root() { 0o700 } else { 0o755 };
    fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();

    let mut plan = as_somebody(plan(&[program.to_str().unwrap()]));
    plan.open_before_identity = true;
    check_output(&plan, "");

    plan.argv = vec![closed.join("false").display().to_string()];
    let subject = plan.argv[0].clone();
    let errno = nix::errno::Errno::ENOENT;
    check_failure(&plan, ExecStep::OpenProgram, errno, &subject);
}

#[test]
fn a_value_with_a_nul_byte_is_refused_by_name_alone() {
    let mut plan = shell("true");
    plan.env.push(("SECRET".into(), "pass\0word".into()));
    let subject = "with a NUL byte in \"SECRET\"";
    check_failure(&plan, ExecStep::Exec, nix::errno::Errno::EINVAL, subject);
}
