//! What a machine must have for each command, installed where it is missing.
//!
//! Everything here is idempotent, and quick where all is present: a few looks at the file system.
//! What can't be installed is named in one line that says how to get it.

mod apt;
mod cargo_tool;
mod error;
mod needs;
mod python;

use std::path::PathBuf;

use crate::workspace::Workspace;

pub(crate) use error::ProvisionError;
pub(crate) use needs::Need;

/// The Python of the test environment, as the tests find it.
pub(crate) const PYTHON_VARIABLE: &str = "EMPEROR_TEST_PYTHON";
/// The Python that has Django 4.2, as the tests find it.
pub(crate) const DJANGO_4_2_VARIABLE: &str = "EMPEROR_TEST_PYTHON_DJANGO_4_2";
/// The node program, as the tests find it.
pub(crate) const NODE_VARIABLE: &str = "EMPEROR_TEST_NODE";

/// The programs that tests speak to.
#[derive(Debug)]
pub(crate) struct Fixtures {
    /// A Python with gunicorn, uWSGI, uvicorn, granian and Django.
    pub(crate) python: PathBuf,
    /// A Python with gunicorn and Django 4.2.
    pub(crate) django_4_2: PathBuf,
    /// node.
    pub(crate) node: PathBuf,
}

/// For the private cluster and the demo sites.
pub(crate) fn for_quickstart() -> Result<(), ProvisionError> {
    apt::require(&[Need::PostgreSql, Need::Python])
}

/// For every test of the workspace.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<Fixtures, ProvisionError> {
    apt::require(&[
        Need::PostgreSql,
        Need::Python,
        Need::PythonVenv,
        Need::PythonHeaders,
        Need::CCompiler,
        Need::Node,
        Need::PgBouncer,
        Need::OpenSsl,
        Need::Systemd,
        Need::NginxPurge,
        Need::Varnish,
        Need::Chromium,
    ])?;
    for_packages()?;
    Ok(Fixtures {
        python: python::environment(workspace, python::NEWEST)?,
        django_4_2: python::environment(workspace, python::DJANGO_4_2)?,
        node: needs::on_system_path("node").expect("it was required above"),
    })
}

/// For many sites of one Django project under several supervisors. Returns the Python that has it.
pub(crate) fn for_density(workspace: &Workspace) -> Result<PathBuf, ProvisionError> {
    apt::require(&[
        Need::PostgreSql,
        Need::Python,
        Need::PythonVenv,
        Need::PythonHeaders,
        Need::CCompiler,
        Need::UwsgiEmperor,
    ])?;
    python::environment(workspace, python::NEWEST)
}

/// For `cargo deny`.
pub(crate) fn for_deny() -> Result<(), ProvisionError> {
    cargo_tool::require("deny", "cargo-deny")
}

/// For `cargo fuzz`.
pub(crate) fn for_fuzz() -> Result<(), ProvisionError> {
    apt::require(&[Need::CxxCompiler])?;
    cargo_tool::require("fuzz", "cargo-fuzz")
}

/// For `cargo deb`. What it strips programs with comes with the C compiler that Rust links by.
pub(crate) fn for_packages() -> Result<(), ProvisionError> {
    cargo_tool::require("deb", "cargo-deb")
}

/// For measurements against other servers.
pub(crate) fn for_measurements(needs: &[Need]) -> Result<(), ProvisionError> {
    apt::require(needs)
}
