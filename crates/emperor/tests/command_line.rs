//! The program as a shell sees it: exit statuses, standard output, standard error.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with a configuration, and nothing that runs.
struct Folder(TempDir);

impl Folder {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("emperor.toml"), config).unwrap();
        Self(dir)
    }

    /// Without a daemon, but with all that a configuration needs.
    fn idle() -> Self {
        Self::new("state_dir = 'state'\nruntime_dir = 'run'\n")
    }

    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emperor"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .env_remove("EMPEROR_CONFIG")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Expects an exit status, and words on standard error.
    fn check(&self, arguments: &str, status: i32, words: &[&str]) {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(status),
            "emperor {arguments}: {errors}"
        );
        for word in words {
            assert!(
                errors.contains(word),
                "emperor {arguments} does not say {word:?}: {errors}"
            );
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[test]
fn an_unreachable_daemon_is_status_3_with_its_socket_and_what_to_do() {
    let folder = Folder::idle();
    let socket = folder.path().join("run/control.sock");
    for arguments in [
        "status",
        "status --json",
        "site list",
        "site add portal",
        "reload --all",
        "logs portal",
        "confirm-removals",
        "template list",
    ] {
        folder.check(arguments, 3, &[socket.to_str().unwrap(), "emperor run"]);
    }
    folder.check("db psql", 3, &[".s.PGSQL.5432", "emperor run"]);
    folder.check("db migrate", 3, &["emperor run"]);
}

#[test]
fn an_invalid_configuration_is_status_2_with_its_line() {
    let folder = Folder::new("[router]\nthread = 1\n");
    for arguments in ["status", "run", "db url"] {
        folder.check(
            arguments,
            2,
            &["emperor.toml:2:1", "did you mean `threads`?"],
        );
    }
    let output = folder.run("check");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("configuration  refused"), "{text}");
    folder.check("status --config none.toml", 2, &["none.toml", "--config"]);
}

#[test]
fn an_unknown_template_is_shown_where_the_configuration_names_it() {
    let folder = Folder::new("runtime_dir = 'run'\n[templates.gunicron]\nvars.workers = 2\n");
    let words = [
        "emperor.toml:2:12",
        "[templates.gunicron]",
        "did you mean \"gunicorn\"?",
    ];
    folder.check("run", 2, &words);
    let folder = Folder::new("runtime_dir = 'run'\n[vassal]\ntemplate = 'nowhere'\n");
    folder.check("run", 2, &["emperor.toml:3:12", "emperor template list"]);
}

#[test]
fn bad_usage_is_status_2() {
    let folder = Folder::idle();
    folder.check("statu", 2, &["'status'"]);
    folder.check("reload", 2, &["--all"]);
    folder.check("status Not_A_Slug", 2, &["a-z"]);
}

#[test]
fn a_check_starts_nothing_and_needs_nothing() {
    let folder = Folder::idle();
    let output = folder.run("check");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("nothing is wrong"), "{text}");
    assert!(
        !folder.path().join("state").exists(),
        "the check made a folder"
    );

    // One that was made may hold rows.
    std::fs::create_dir_all(folder.path().join("state/postgres")).unwrap();
    let output = folder.run("check");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in [
        "no row was checked",
        "sites          not checked",
        "1 problem",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(templates.join("mine.toml"), "comand = []\n").unwrap();
    let config = "template_dirs = ['templates']\nruntime_dir = 'run'\n";
    std::fs::write(folder.path().join("emperor.toml"), config).unwrap();
    let output = folder.run("check --json");
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = &document["problems"][0];
    assert_eq!(
        (&problem["kind"], &problem["name"]),
        (&"template".into(), &"mine".into())
    );
}

#[test]
fn the_url_of_the_database_is_told_without_a_daemon() {
    let folder = Folder::idle();
    let output = folder.run("db url");
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(
        url.starts_with("postgresql://emperor@") && url.ends_with("/sites\n"),
        "{url}"
    );
}

#[test]
fn completions_and_manual_are_printed() {
    let folder = Folder::idle();
    for (arguments, word) in [
        ("completions bash", "confirm-removals"),
        ("completions zsh", "confirm-removals"),
        ("completions fish", "confirm-removals"),
        ("man", ".TH emperor"),
        ("--help", "Exit status"),
        ("status --help", "--watch"),
    ] {
        let output = folder.run(arguments);
        assert!(output.status.success(), "{arguments}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(word), "{arguments}: {text}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = Folder::idle();
    let mut child = folder
        .command("man")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}
