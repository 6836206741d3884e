//! Debian packages: installed in one call, without a question, as root or through `sudo -n`.

use std::path::Path;
use std::process::Command;

use super::{Need, ProvisionError};
use crate::progress::say;
use crate::shell;

/// Files that exist while packages are installed, so that Debian starts nothing by itself: no
/// cluster of its own as soon as PostgreSQL is there, no pgbouncer, no nginx. What runs, and on
/// which port, is for the commands here to say.
const QUIET: [(&str, &str); 2] = [
    (
        "/etc/postgresql-common/createcluster.d/emperor-no-main-cluster.conf",
        "create_main_cluster = false",
    ),
    ("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101"),
];

/// Installs what is missing of all this.
pub(super) fn require(needs: &[Need]) -> Result<(), ProvisionError> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages(&missing);
    let rights = Rights::find(&missing, &packages)?;
    say(&format!("Installing {} (apt-get)", packages.join(" ")));
    // The lists may be absent (a container) or old; where they are good this costs seconds.
    shell::run(rights.command("apt-get").args(["-q", "update"]))?;
    let quiet = Quiet::begin(rights)?;
    let installed = install(rights, &packages);
    quiet.end()?;
    installed?;
    let still = self::missing(&missing);
    if still.is_empty() {
        return Ok(());
    }
    Err(ProvisionError::StillMissing {
        what: names(&still),
        packages: packages.join(" "),
    })
}

fn install(rights: Rights, packages: &[&str]) -> Result<(), ProvisionError> {
    let mut install = rights.command("env");
    install
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"])
        .args(["--no-install-recommends", "install"])
        .args(packages);
    Ok(shell::run(&mut install)?)
}

/// The files of [`QUIET`] that were not there before.
#[derive(Debug)]
struct Quiet {
    rights: Rights,
    written: Vec<&'static str>,
}

impl Quiet {
    fn begin(rights: Rights) -> Result<Self, ProvisionError> {
        let mut written = Vec::new();
        for (file, text) in QUIET.iter().filter(|(file, _)| !Path::new(file).exists()) {
            let script =
                "mkdir -p \"${1%/*}\" && printf '%b\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
            shell::run(rights.command("sh").args(["-c", script, "sh", file, text]))?;
            written.push(*file);
        }
        Ok(Self { rights, written })
    }

    fn end(self) -> Result<(), ProvisionError> {
        let mut remove = self.rights.command("rm");
        Ok(shell::run(remove.arg("-f").args(self.written))?)
    }
}

/// How packages can be installed here.
#[derive(Debug, Clone, Copy)]
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    fn find(missing: &[Need], packages: &[&str]) -> Result<Self, ProvisionError> {
        let what = names(missing);
        let packages = packages.join(" ");
        if !Path::new("/usr/bin/apt-get").exists() {
            return Err(ProvisionError::NoApt { what, packages });
        }
        if super::python::is_root()? {
            return Ok(Self::Root);
        }
        if shell::succeeds(shell::command("sudo").args(["-n", "true"])) {
            return Ok(Self::Sudo);
        }
        let command = format!("sudo apt-get install {packages}");
        Err(ProvisionError::NoRights { what, command })
    }

    fn command(self, program: &str) -> Command {
        match self {
            Self::Root => shell::command(program),
            Self::Sudo => {
                let mut sudo = shell::command("sudo");
                sudo.args(["-n", program]);
                sudo
            }
        }
    }
}

fn missing(needs: &[Need]) -> Vec<Need> {
    let unmet = needs.iter().copied().filter(|need| !need.is_met());
    unmet.collect()
}

fn packages(needs: &[Need]) -> Vec<&'static str> {
    needs
        .iter()
        .flat_map(|need| need.packages())
        .copied()
        .collect()
}

fn names(needs: &[Need]) -> String {
    let names: Vec<_> = needs.iter().map(ToString::to_string).collect();
    format!(
        "{} {}",
        names.join(", "),
        if names.len() == 1 { "is" } else { "are" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_packages() {
        let needs = [Need::PythonVenv, Need::CCompiler];
        assert_eq!(names(&needs), "python3's venv module, a C compiler are");
        assert_eq!(packages(&needs), ["python3-venv", "gcc", "libc6-dev"]);
    }
}
