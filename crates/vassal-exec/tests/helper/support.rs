//! A helper, its plan, and what becomes of it.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::BytesMut;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use wire::exec::{ExecFailure, ExecPlan, ExecReport, ExecStep, Identity, Walls};
use wire::frame;

pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What became of a plan.
pub(crate) struct Outcome {
    pub(crate) failure: Option<ExecFailure>,
    /// Walls that the kernel can't give.
    pub(crate) missing: Vec<ExecFailure>,
    pub(crate) stdout: String,
}

pub(crate) fn plan(argv: &[&str]) -> ExecPlan {
    ExecPlan {
        descriptors: Vec::new(),
        rlimits: Vec::new(),
        session_nice: None,
        umask: 0o027,
        open_before_identity: false,
        identity: None,
        walls: Walls::default(),
        no_new_privs: true,
        working_dir: None,
        env: vec![("PATH".into(), PATH.into())],
        argv: argv.iter().map(|&a| a.to_owned()).collect(),
    }
}

pub(crate) fn shell(script: &str) -> ExecPlan {
    plan(&["sh", "-c", script])
}

pub(crate) fn start() -> (UnixStream, Child) {
    start_as(&mut Command::new(env!("CARGO_BIN_EXE_vassal-exec")))
}

pub(crate) fn start_as(helper: &mut Command) -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = helper
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    (ours, child)
}

pub(crate) fn send(link: &mut UnixStream, plan: &ExecPlan, descriptors: &[OwnedFd]) {
    let mut bytes = BytesMut::new();
    frame::encode(plan, &mut bytes).unwrap();
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    let sent = sendmsg(
        &*link,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::empty(),
    )
    .unwrap();
    link.write_all(&bytes[sent..]).unwrap();
}

pub(crate) fn read_reports(bytes: &mut BytesMut) -> (Option<ExecFailure>, Vec<ExecFailure>) {
    let mut missing = Vec::new();
    loop {
        match frame::decode(bytes).unwrap() {
            Some(ExecReport::Missing(failure)) => missing.push(failure),
            Some(ExecReport::Failed(failure)) => return (Some(failure), missing),
            None => return (None, missing),
        }
    }
}

pub(crate) fn carry_out(plan: &ExecPlan, descriptors: &[OwnedFd]) -> Outcome {
    carry_out_by(start(), plan, descriptors)
}

/// By a helper that was started already.
pub(crate) fn carry_out_by(
    (mut link, mut child): (UnixStream, Child),
    plan: &ExecPlan,
    descriptors: &[OwnedFd],
) -> Outcome {
    send(&mut link, plan, descriptors);
    let mut report = Vec::new();
    link.read_to_end(&mut report).unwrap();
    let (failure, missing) = read_reports(&mut BytesMut::from(&report[..]));
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        status.success(),
        failure.is_none(),
        "{status}, reported: {failure:?}"
    );
    Outcome {
        failure,
        missing,
        stdout,
    }
}

#[track_caller]
pub(crate) fn check_output(plan: &ExecPlan, expected: &str) {
    let outcome = carry_out(plan, &[]);
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.stdout.trim_end(), expected);
}

#[track_caller]
pub(crate) fn check_failure(
    plan: &ExecPlan,
    step: ExecStep,
    errno: nix::errno::Errno,
    subject: &str,
) {
    let failure = carry_out(plan, &[]).failure.expect("a report");
    assert_eq!((failure.step, failure.errno), (step, errno as i32));
    assert_eq!(failure.subject, subject);
}

/// Copies a program by a process of its own: a file that this one writes to is open as well in whatever
/// another test's thread is about to start, and until that is on its way the kernel runs no such file.
pub(crate) fn copy_program(from: &str, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{from}: {copied}");
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) const SOMEBODY: Identity = Identity {
    uid: 271_828,
    gid: 271_829,
    groups: Vec::new(),
};

pub(crate) fn as_somebody(mut plan: ExecPlan) -> ExecPlan {
    plan.identity = is_root().then_some(SOMEBODY);
    plan
}

pub(crate) fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir();
    folder.unwrap()
}
