//! `cargo xtask ci`: one command here equals CI.

use std::process::Command;
use std::time::Instant;

use crate::progress::{finished, say};
use crate::workspace::Workspace;
use crate::{TaskError, provision, shell, test};

type Step = (&'static str, fn(&Workspace) -> Result<(), TaskError>);

/// In the order of their price, so that the cheap ones fail first.
const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("clippy", clippy),
    ("doc", doc),
    ("deny", deny),
    ("test", test::run_all),
    ("model", model),
];

/// Runs every step, and tells what each took.
pub(crate) fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        say(name);
        let began = Instant::now();
        step(workspace)?;
        times.push((name, began.elapsed()));
    }
    for (name, took) in times {
        finished(name, took);
    }
    Ok(())
}

fn fmt(workspace: &Workspace) -> Result<(), TaskError> {
    checked(workspace.cargo("fmt").args(["--all", "--check"]))?;
    let mut of_fuzz_targets = workspace.cargo("fmt");
    of_fuzz_targets.args(["--manifest-path", "tests/fuzz/Cargo.toml", "--check"]);
    checked(&mut of_fuzz_targets)
}

fn clippy(workspace: &Workspace) -> Result<(), TaskError> {
    let mut clippy = workspace.cargo("clippy");
    clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    checked(&mut clippy)
}

fn doc(workspace: &Workspace) -> Result<(), TaskError> {
    let mut doc = workspace.cargo("doc");
    doc.args(["--workspace", "--no-deps", "--document-private-items"]);
    checked(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny(workspace: &Workspace) -> Result<(), TaskError> {
    provision::for_deny()?;
    let deny = |arguments: &[&str]| {
        let mut deny = workspace.cargo("deny");
        deny.args(["--all-features"]).args(arguments);
        deny
    };
    checked(deny(&["check"]).args(["bans", "licenses", "sources"]))?;
    // The advisories come from a git repository that not every builder may reach. Without them
    // the rest still counts; with them a vulnerable dependency fails the build.
    if !shell::succeeds(&mut deny(&["fetch", "db"])) {
        say("deny: the advisory database can't be fetched from here; advisories are NOT checked");
        return Ok(());
    }
    checked(deny(&["check", "--disable-fetch"]).arg("advisories"))
}

/// What threads share in the router, through every order of their steps.
fn model(workspace: &Workspace) -> Result<(), TaskError> {
    let mut model = workspace.cargo("test");
    model.args([
        "-p",
        "fastrouter",
        "--features",
        "model",
        "--bin",
        "fastrouter",
        "model::",
    ]);
    checked(&mut model)
}

fn checked(command: &mut Command) -> Result<(), TaskError> {
    Ok(shell::run(command)?)
}
