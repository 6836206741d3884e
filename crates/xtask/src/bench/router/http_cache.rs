//! `cargo xtask bench http-cache`: the public test-suite of HTTP caches against the real fastrouter, beside
//! the results that the suite publishes of others, all judged alike.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;

use super::contender::listening_socket;
use super::document;
use super::emperor::{self, Kept};
use super::error::{RouterBenchError, file};
use super::process::{Process, pinned_with_socket};
use super::stage::usable_cores;
use crate::progress::say;
use crate::provision::{self, Need};
use crate::shell;
use crate::workspace::{Profile, Workspace};

/// The suite, in the version that the figures are of.
const PACKAGE: &str = "http-cache-tests";
const VERSION: &str = "0.4.5";
const DOCUMENT: &str = "docs/CACHE.md";
const SECTION: &str = "bench http-cache";
const JUDGE: &str = include_str!("http_cache.mjs");
/// Whose published results are told beside ours, by the names of their files.
const OTHERS: [(&str, &str); 5] = [
    ("apache", "Apache httpd"),
    ("nginx", "nginx"),
    ("squid", "Squid"),
    ("trafficserver", "Traffic Server"),
    ("varnish", "Varnish"),
];

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write the table into docs/CACHE.md
    #[arg(long)]
    write: bool,
}

/// What one cache passed.
#[derive(Debug, Deserialize)]
struct Judged {
    name: String,
    counts: BTreeMap<String, Count>,
    missed: Vec<Missed>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Count {
    passed: u64,
    all: u64,
}

#[derive(Debug, Deserialize)]
struct Missed {
    id: String,
    kind: String,
    verdict: String,
}

/// Runs the suite, prints the table and, if asked to, writes it down.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), RouterBenchError> {
    provision::for_measurements(&[Need::Node])?;
    let suite = install(workspace)?;
    say("Building the fastrouter");
    shell::run(workspace.cargo("build").args(["-p", "fastrouter"]))?;
    let program = workspace.programs(Profile::Dev).join("fastrouter");
    let folder = tempfile::tempdir().map_err(file(&std::env::temp_dir()))?;
    let results = folder.path().join("emperor.json");
    let said = test(&suite, &program, folder.path())?;
    fs::write(&results, said).map_err(file(&results))?;
    let report = report(&judge(&suite, folder.path(), &results)?);
    let printed = io::stdout().write_all(report.as_bytes());
    printed.map_err(file(Path::new("/dev/stdout")))?;
    if arguments.write {
        document::replace_section(&workspace.path(DOCUMENT), SECTION, &report)?;
    }
    Ok(())
}

/// Has npm fetch the suite, once.
fn install(workspace: &Workspace) -> Result<PathBuf, RouterBenchError> {
    let folder = workspace.target.join(format!("{PACKAGE}-{VERSION}"));
    let suite = folder.join("node_modules").join(PACKAGE);
    if !suite.join("cli.mjs").is_file() {
        say("Installing the suite");
        fs::create_dir_all(&folder).map_err(file(&folder))?;
        let mut npm = shell::command("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]);
        npm.arg(&folder).arg(format!("{PACKAGE}@{VERSION}"));
        shell::run(&mut npm)?;
    }
    Ok(suite)
}

/// Runs the suite's own server behind a fastrouter and its client in front of it; what the client says.
fn test(suite: &Path, program: &Path, folder: &Path) -> Result<String, RouterBenchError> {
    let backend = folder.join("worker.sock");
    let _server = serve(suite, folder, &backend)?;
    let (address, _router, _link) = start(program, folder, &backend)?;
    say("Running the suite");
    let mut client = node(suite, "cli.mjs");
    client.env("npm_config_base", format!("http://{address}"));
    // Without an id it runs all of its tests.
    client.env("npm_config_id", "");
    client.env("npm_package_config_id", "");
    Ok(shell::output(&mut client)?)
}

fn serve(suite: &Path, folder: &Path, socket: &Path) -> Result<Process, RouterBenchError> {
    let mut command = node(suite, "server/server.mjs");
    command.env("npm_config_protocol", "http");
    command.env("npm_config_port", socket);
    command.env("npm_config_pidfile", folder.join("pid"));
    command.stdout(Stdio::piped());
    let mut server = Process::start(&mut command)?;
    // It says one line once it listens.
    let mut line = String::new();
    if let Some(said) = server.child().stdout.take() {
        let read = BufReader::new(said).read_line(&mut line);
        read.map_err(file(socket))?;
    }
    Ok(server)
}

fn start(
    program: &Path,
    folder: &Path,
    backend: &Path,
) -> Result<(SocketAddr, Process, UnixStream), RouterBenchError> {
    let socket = listening_socket()?;
    let address = socket.local_addr().map_err(file(Path::new("127.0.0.1")))?;
    let path = folder.join("link.sock");
    let listener = UnixListener::bind(&path).map_err(file(&path))?;
    let core = usable_cores()?.first().copied().unwrap_or_default();
    let mut command = pinned_with_socket(core, socket, program);
    command.arg("--link").arg(&path).args(["--threads", "1"]);
    let router = Process::start(&mut command)?;
    let link = emperor::serve(&listener, backend, Some(Kept::of_any_host("http")));
    Ok((address, router, link.map_err(file(&path))?))
}

fn node(suite: &Path, script: &str) -> Command {
    let mut command = shell::command("node");
    command.arg("--no-warnings").arg(script).current_dir(suite);
    command
}

fn judge(suite: &Path, folder: &Path, ours: &Path) -> Result<Vec<Judged>, RouterBenchError> {
    let script = folder.join("judge.mjs");
    fs::write(&script, JUDGE).map_err(file(&script))?;
    let mut command = shell::command("node");
    command.arg(&script).arg(suite).arg(ours);
    for (name, _) in OTHERS {
        command.arg(suite.join("results").join(format!("{name}.json")));
    }
    let said = shell::output(&mut command)?;
    serde_json::from_str(&said).map_err(|error| RouterBenchError::NoGoodAnswer {
        contender: PACKAGE.to_owned(),
        detail: error.to_string(),
        said,
    })
}

fn report(judged: &[Judged]) -> String {
    let mut text = format!(
        "`{PACKAGE}` {VERSION}, without its tests of browsers and of `Surrogate-Control`; the others as the suite \
         publishes them.\n\n| | required | optimal |\n|---|---|---|\n"
    );
    for one in judged {
        let known = OTHERS.iter().find(|(file, _)| *file == one.name);
        let name = known.map_or("**fastrouter**", |(_, name)| name);
        let count = |kind: &str| match one.counts.get(kind) {
            Some(Count { passed, all }) => format!("{passed} of {all}"),
            None => "–".to_owned(),
        };
        line(
            &mut text,
            &format!("| {name} | {} | {} |", count("required"), count("optimal")),
        );
    }
    for kind in ["required", "optimal"] {
        let ours = judged
            .first()
            .map(|ours| &ours.missed)
            .into_iter()
            .flatten();
        let missed = ours.filter(|missed| missed.kind == kind);
        let missed: Vec<_> = missed
            .map(|missed| match missed.verdict.as_str() {
                "dependency" => format!("(`{}`)", missed.id),
                _ => format!("`{}`", missed.id),
            })
            .collect();
        line(
            &mut text,
            &format!("\nNot passed, {kind}: {}", missed.join(" ")),
        );
    }
    text.push_str("\nIn parentheses: what it builds on isn't passed, so it was not judged.\n");
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_named_by_kind() {
        let said = r#"[{"name":"emperor","counts":{"required":{"passed":1,"all":3}},"missed":[
            {"id":"a","kind":"required","verdict":"fail"},
            {"id":"b","kind":"required","verdict":"dependency"}]},
            {"name":"nginx","counts":{"optimal":{"passed":2,"all":2}},"missed":[]}]"#;
        let judged: Vec<Judged> = serde_json::from_str(said).unwrap();
        let text = report(&judged);
        assert!(text.contains("| **fastrouter** | 1 of 3 | – |"), "{text}");
        assert!(text.contains("| nginx | – | 2 of 2 |"), "{text}");
        assert!(text.contains("Not passed, required: `a` (`b`)"), "{text}");
    }
}
