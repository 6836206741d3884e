//! `docs/TEMPLATES.md` says what the schema says.

use std::fs;
use std::path::PathBuf;

use vassal_core::overlay::SiteTables;
use vassal_core::resolve::RENDER_NAMES;
use vassal_core::template::RESERVED_ENV;
use vassal_core::template::schema::{KEYS, Key, MAPS};

use crate::shipped::shipped;
use crate::support::{launch, resolve};

fn document() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/TEMPLATES.md");
    fs::read_to_string(path).unwrap()
}

fn check(row: &str) {
    let known = document().lines().any(|line| line == row);
    assert!(known, "docs/TEMPLATES.md lacks this line:\n{row}");
}

fn key_row(key: &Key) -> String {
    let default = match key.default() {
        "" => "–".to_owned(),
        default => format!("`{default}`"),
    };
    let (path, value, meaning) = (key.path(), key.value(), key.meaning());
    format!("| `{path}` | {value} | {default} | {meaning} |")
}

#[test]
fn every_key_is_listed_with_its_values_its_default_and_its_meaning() {
    for key in KEYS {
        check(&key_row(key));
    }
    let listed = document()
        .lines()
        .filter(|line| line.starts_with("| `"))
        .count();
    let shipped_variables: usize = shipped().templates().map(|info| info.variables.len()).sum();
    let expected = KEYS.len() + MAPS.len() + RENDER_NAMES.len() + shipped_variables;
    assert_eq!(listed, expected, "rows that nothing stands for");
}

#[test]
fn every_table_of_names_every_name_and_every_bound_of_a_row_is_listed() {
    for (name, meaning) in MAPS {
        check(&format!("| `[{name}]` | {meaning} |"));
    }
    for (name, meaning) in RENDER_NAMES {
        check(&format!("| `{name}` | {meaning} |"));
    }
    let quoted = |names: &[&str]| format!("`{}`", names.join("`, `"));
    let text = document().replace('\n', " ");
    assert!(
        text.contains(&quoted(RESERVED_ENV)),
        "{}",
        quoted(RESERVED_ENV)
    );
    assert!(
        text.contains(&quoted(SiteTables::DEFAULT)),
        "{}",
        quoted(SiteTables::DEFAULT)
    );
}

#[test]
fn the_first_example_resolves() {
    let text = document();
    let between = |start, end| text.split(start).nth(1).unwrap().split(end).next().unwrap();
    let (template, row) = (between("```toml", "```"), between("$$", "$$"));
    let launch = launch(template, row);
    assert_eq!(launch.argv[4..], ["4", "app:create_app()"]);
    assert_eq!(launch.env, [("SECRET_KEY".to_owned(), "s3same".to_owned())]);
    assert!(resolve(template, "").is_err());
}

#[test]
fn every_variable_of_a_shipped_template_is_listed() {
    let text = document();
    for info in shipped().templates() {
        let heading = format!("### {}\n", info.name);
        let section = text.split(&heading).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section {}", info.name));
        let section = section.split("\n#").next().unwrap();
        for variable in info.variables {
            let default = variable
                .default
                .map_or_else(|| "required".to_owned(), |default| format!("`{default}`"));
            let (name, help) = (variable.name, variable.help);
            let row = format!("| `{name}` | {default} | {help} |");
            assert!(
                section.contains(&row),
                "{} lacks this line:\n{row}",
                info.name
            );
        }
    }
}
