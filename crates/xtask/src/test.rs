//! `cargo xtask test`: every test of the workspace, with the real programs that some speak to.

use std::time::Instant;

use clap::Args;

use crate::progress::{finished, say};
use crate::workspace::{Profile, Workspace};
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Handed on to `cargo test`, as in `cargo xtask test -p wire` or `cargo xtask test -- NAME`
    #[arg(
        value_name = "ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    cargo_test: Vec<String>,
}

/// Everything, as CI has it.
pub(crate) fn run_all(workspace: &Workspace) -> Result<(), TaskError> {
    run(workspace, &Arguments { cargo_test: vec![] })
}

/// Installs what the tests need, builds all programs, and runs `cargo test`.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    let fixtures = provision::for_tests(workspace)?;
    say("Building every program and test");
    let began = Instant::now();
    // The end-to-end tests start the programs from beside their own, where cargo wouldn't put
    // those of other packages by itself.
    workspace.build_all(Profile::Dev)?;
    finished("Build", began.elapsed());
    let mut test = workspace.cargo("test");
    if !names_a_package(&arguments.cargo_test) {
        // All that fails is told by one run, not by as many runs as there are packages.
        test.args(["--workspace", "--no-fail-fast"]);
    }
    test.args(&arguments.cargo_test);
    test.env(provision::PYTHON_VARIABLE, &fixtures.python);
    test.env(provision::DJANGO_4_2_VARIABLE, &fixtures.django_4_2);
    test.env(provision::NODE_VARIABLE, &fixtures.node);
    Ok(shell::run(&mut test)?)
}

fn names_a_package(arguments: &[String]) -> bool {
    let of_cargo = arguments.iter().take_while(|argument| *argument != "--");
    of_cargo
        .into_iter()
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_package_is_tested_alone() {
        let check = |arguments: &[&str], expected: bool| {
            let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
            assert_eq!(names_a_package(&arguments), expected, "{arguments:?}");
        };
        check(&[], false);
        check(&["-p", "wire"], true);
        check(&["--package=wire"], true);
        check(&["--", "-p"], false);
    }
}
