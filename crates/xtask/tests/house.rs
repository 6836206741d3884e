//! The house rules that a compiler doesn't know: which crate may import which, what lies at the
//! top, and how every source file begins. The reasons are in `docs/ARCHITECTURE.md`.
#![expect(
    clippy::unwrap_used,
    reason = "every function here serves a test alone"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

const PROGRAMS: [&str; 3] = ["emperor", "fastrouter", "vassal-exec"];

/// Crates without I/O: bytes and values go in, decisions come out.
const PURE: [&str; 5] = [
    "site-model",
    "vassal-core",
    "http-edge",
    "page-cache",
    "wire",
];

/// Every allowed arrow. A crate that isn't here has no place in the house yet: give it one, and a
/// reason in `docs/ARCHITECTURE.md`.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let arrows: [(&str, &[&str]); 12] = [
        ("site-model", &[]),
        ("vassal-core", &["site-model"]),
        ("http-edge", &["site-model"]),
        ("page-cache", &["site-model"]),
        ("wire", &["site-model"]),
        ("site-registry", &["site-model", "vassal-core"]),
        ("purge-targets", &["site-model"]),
        ("vassal-exec", &["site-model", "wire"]),
        (
            "fastrouter",
            &["site-model", "http-edge", "page-cache", "wire"],
        ),
        (
            "emperor",
            &[
                "site-model",
                "vassal-core",
                "http-edge",
                "wire",
                "site-registry",
                "purge-targets",
            ],
        ),
        ("xtask", &["wire"]),
        ("end-to-end", &[]),
    ];
    let sets = arrows.map(|(from, to)| (from, to.iter().copied().collect()));
    sets.into()
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.exec().unwrap()
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// The workspace crates that a package imports, those of its tests too.
fn imports(package: &Package, members: &BTreeSet<&str>) -> BTreeSet<String> {
    let names = package.dependencies.iter().map(|to| to.name.clone());
    names
        .filter(|name| members.contains(name.as_str()))
        .collect()
}

#[test]
fn crates_import_only_what_the_architecture_lets_them() {
    let metadata = metadata();
    let members = metadata.workspace_packages();
    let names: BTreeSet<_> = members
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let allowed = allowed();
    for package in &members {
        let Some(arrows) = allowed.get(package.name.as_str()) else {
            panic!("{} has no place in the architecture", package.name);
        };
        for to in imports(package, &names) {
            assert!(
                arrows.contains(to.as_str()) || to == *package.name,
                "{} must not import {to}",
                package.name
            );
        }
    }
    let absent: Vec<_> = allowed
        .keys()
        .filter(|name| !names.contains(*name))
        .collect();
    assert!(absent.is_empty(), "{absent:?} are gone: update the table");
}

#[test]
fn no_arrow_leads_to_a_program() {
    for package in metadata().workspace_packages() {
        for to in &package.dependencies {
            assert!(
                !PROGRAMS.contains(&to.name.as_str()),
                "{} imports the program {}",
                package.name,
                to.name
            );
        }
    }
}

#[test]
fn pure_crates_have_no_runtime_and_no_socket() {
    let forbidden = [
        "tokio",
        "hyper",
        "socket2",
        "nix",
        "rustix",
        "libc",
        "tokio-postgres",
    ];
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        if !PURE.contains(&package.name.as_str()) {
            continue;
        }
        for dependency in &package.dependencies {
            let runtime = dependency.kind == DependencyKind::Normal
                && forbidden.contains(&dependency.name.as_str());
            assert!(!runtime, "{} imports {}", package.name, dependency.name);
        }
    }
}

#[test]
fn unsafe_is_forbidden_everywhere_but_in_vassal_exec() {
    let root_manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(root_manifest.contains("unsafe_code = \"forbid\""));
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let inherits = manifest.contains("[lints]\nworkspace = true");
        let fenced = *package.name == "vassal-exec";
        assert_ne!(inherits, fenced, "lints of {}", package.name);
    }
}

#[test]
fn the_top_level_holds_what_the_architecture_names_and_nothing_else() {
    let known = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "crates",
        "docs",
        "target",
        "tests",
        "vassal-templates",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.starts_with('.') || known.contains(&name.as_str()),
            "{name} has no place at the top level"
        );
    }
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    for file in source_files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{}", file.display());
    }
}

#[test]
fn no_source_file_has_more_than_400_lines_before_its_tests() {
    // One protocol, which is easier to read in one piece.
    let excepted = ["crates/wire/src/route.rs"];
    for file in source_files() {
        if is_test(&file) || excepted.iter().any(|end| file.ends_with(end)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code.lines().count();
        assert!(lines <= 400, "{}: {lines} lines", file.display());
    }
}

/// Whether all of a file is tests: then it is as long as its cases are many.
fn is_test(file: &Path) -> bool {
    let relative = file.strip_prefix(root()).unwrap();
    let mut parts = relative.components().skip(1);
    parts.any(|part| {
        ["tests", "tests.rs", "end_to_end"].contains(&part.as_os_str().to_str().unwrap())
    })
}

fn source_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["target", "corpus", "artifacts"].contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(
        found.len() > 20,
        "only {} source files were found",
        found.len()
    );
    found
}
