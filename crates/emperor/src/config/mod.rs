//! `emperor.toml`: where it is sought, how it is read, and what is said about its mistakes.
//!
//! Overlays (`[vassal]`, `[templates.NAME]`) are cut out here and understood by `vassal-core`.

mod changes;
mod database;
mod document;
pub(crate) mod model;
mod overlay;
pub(crate) mod purge;
mod reader;
pub(crate) mod rollout;
mod secret;
mod sites;
mod source;
mod surroundings;
mod values;

use std::path::{Path, PathBuf};

use thiserror::Error;
use vassal_core::Diagnostics;

pub(crate) use model::Config;
pub(crate) use surroundings::Surroundings;
pub(crate) use values::{Listen, Network};

use reader::Context;

/// Where a configuration is sought last.
const SYSTEM_FILE: &str = "/etc/emperor/emperor.toml";
/// The variable that names one.
const VARIABLE: &str = "EMPEROR_CONFIG";

/// Why there is no configuration.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file that was named can't be read, or one that was found can't.
    #[error("could not read the configuration {}{}: {source}", path.display(), named_by(*origin))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds mistakes; each is shown at its place.
    #[error("{0}")]
    Invalid(#[from] Diagnostics),
}

/// Who named the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--config`
    Argument,
    /// `$EMPEROR_CONFIG`
    Variable,
    /// It was found at one of the places where it is sought.
    Found,
}

fn named_by(origin: Origin) -> &'static str {
    match origin {
        Origin::Argument => " (named by --config)",
        Origin::Variable => " (named by $EMPEROR_CONFIG)",
        Origin::Found => "",
    }
}

/// Finds and reads the configuration: at `path`, `$EMPEROR_CONFIG`, `./emperor.toml`,
/// `/etc/emperor/emperor.toml`, the first that there is. Where there is none, the defaults stand.
pub(crate) fn load(
    path: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Config, ConfigError> {
    match find(path, surroundings) {
        Some((file, origin)) => {
            let text = std::fs::read_to_string(&file).map_err(|source| {
                let path = file.clone();
                ConfigError::Unreadable {
                    path,
                    origin,
                    source,
                }
            })?;
            parse(&text, Some(&file), surroundings)
        }
        None => parse("", None, surroundings),
    }
}

fn find(path: Option<&Path>, surroundings: &Surroundings) -> Option<(PathBuf, Origin)> {
    let working_dir = &surroundings.working_dir;
    if let Some(path) = path {
        return Some((working_dir.join(path), Origin::Argument));
    }
    if let Some(path) = surroundings.variable(VARIABLE) {
        return Some((working_dir.join(path), Origin::Variable));
    }
    [working_dir.join("emperor.toml"), SYSTEM_FILE.into()]
        .into_iter()
        .find(|file| file.exists())
        .map(|file| (file, Origin::Found))
}

/// Reads a configuration's text.
pub(crate) fn parse(
    text: &str,
    file: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Config, ConfigError> {
    Ok(reader::read(text, Context { file, surroundings })?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use insta::assert_snapshot;

    use super::*;
    use values::{Listen, Network};

    fn surroundings(uid: u32, variables: &[(&str, &str)]) -> Surroundings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Surroundings {
            variables: variables.iter().map(owned).collect(),
            working_dir: "/home/o".into(),
            uid,
            host_name: "web1".to_owned(),
        }
    }

    fn read(text: &str) -> Result<Config, ConfigError> {
        let root = surroundings(0, &[("DATABASE_URL", "postgresql://u:p@db/sites")]);
        parse(text, Some(Path::new("/etc/emperor/emperor.toml")), &root)
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_has_a_default() {
        let config = read("").unwrap();
        assert_eq!(config.node, "web1");
        assert_eq!(config.state_dir, Path::new("/var/lib/emperor"));
        assert_eq!(config.router.listen, [Listen::Tcp("127.0.0.1:8080".into())]);
        assert!(config.database.url.is_none());
        assert!(config.database.migrate);
        assert_eq!(config.policy.uid_range, 200_000..=299_999);
        assert_eq!(config.policy.site_may_set.len(), 11);
    }

    #[test]
    fn without_a_file_a_user_gets_folders_of_the_user_s_own() {
        let check = |uid, variables: &[(&str, &str)], state: &str, runtime: &str| {
            let config = load(None, &surroundings(uid, variables)).unwrap();
            assert_eq!(config.state_dir, Path::new(state));
            assert_eq!(config.runtime_dir, Path::new(runtime));
        };
        check(0, &[], "/var/lib/emperor", "/run/emperor");
        let home = ("HOME", "/home/o");
        check(7, &[home], "/home/o/.local/state/emperor", "/tmp/emperor-7");
        check(
            7,
            &[home, ("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")],
            "/s/emperor",
            "/r/emperor",
        );
    }

    #[test]
    fn the_first_file_that_is_named_or_found_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("node = \"{name}\"")).unwrap();
            path
        };
        let (argument, variable) = (write("argument"), write("variable"));
        write("emperor.toml");
        let mut surroundings = surroundings(0, &[]);
        surroundings.working_dir = dir.path().to_owned();
        let node = |path: Option<&Path>, s: &Surroundings| load(path, s).unwrap().node;
        assert_eq!(node(None, &surroundings), "emperor.toml");
        let named = variable.to_str().unwrap().to_owned();
        surroundings.variables = BTreeMap::from([("EMPEROR_CONFIG".to_owned(), named)]);
        assert_eq!(node(None, &surroundings), "variable");
        assert_eq!(node(Some(&argument), &surroundings), "argument");

        let missing = load(Some(Path::new("/no/such")), &surroundings).unwrap_err();
        assert_snapshot!(missing, @"could not read the configuration /no/such (named by --config): No such file or directory (os error 2)");
    }

    #[test]
    fn values_are_read_in_their_units() {
        let config = read(
            r#"
            state_dir = "state"
            template_dirs = ["templates", "/usr/share/t"]
            [database]
            url = "$DATABASE_URL"
            resync_interval = "90s"
            max_removals = "20%"
            [router]
            listen = ["[::]:80", "unix:router.sock", "systemd:http"]
            trusted_proxies = ["10.0.0.0/8"]
            default_site = "portal"
            access_log = "json"
            limits.max_body = "16MiB"
            [[site]]
            slug = "portal"
            id = 1
            pool = "small"
            enabled = false
            domain = ""
            template = ""
            run_as = ""
            "#,
        )
        .unwrap();
        assert_eq!(config.state_dir, Path::new("/etc/emperor/state"));
        assert_eq!(config.template_dirs[0], Path::new("/etc/emperor/templates"));
        assert_eq!(
            config.database.url.unwrap().expose(),
            "postgresql://u:p@db/sites"
        );
        assert_eq!(config.database.resync_interval.as_secs(), 90);
        assert_eq!(config.database.max_removals_percent, 20);
        assert_eq!(
            config.router.listen[1],
            Listen::Unix("/etc/emperor/router.sock".into())
        );
        let ten = Network {
            address: [10, 0, 0, 0].into(),
            prefix: 8,
        };
        assert_eq!(config.router.trusted_proxies, [ten]);
        assert_eq!(config.router.limits.max_body_bytes, 16 << 20);
        let site = &config.sites[0];
        assert_eq!(site.id.unwrap().get(), 1);
        assert_eq!(site.pool.as_deref(), Some("small"));
        assert_eq!(site.enabled, Some(false));
        let unsaid = (&site.domain, &site.template, &site.run_as);
        assert_eq!(unsaid, (&None, &None, &None), "what is empty says nothing");
    }

    #[test]
    fn overlays_keep_their_place_and_give_up_their_two_own_keys() {
        let config = read(
            "[vassal]\ntemplate = 'gunicorn'\nrun_as = 'auto'\nlisten = 'fd'\n[templates.node]\nvars.x = '1'\n",
        )
        .unwrap();
        assert_eq!(config.default_template.unwrap().as_str(), "gunicorn");
        assert_eq!(config.vassal.text.trim(), "listen = 'fd'");
        assert_eq!(config.vassal.origin, "/etc/emperor/emperor.toml [vassal]");
        let node = &config.templates[&"node".parse().unwrap()];
        assert_eq!(node.text.lines().count(), 6);
        assert_eq!(node.text.trim(), "vars.x = '1'");
    }

    #[test]
    fn an_unknown_key_is_shown_with_the_nearest_one() {
        assert_snapshot!(refusal("[router]\nlisten = []\nthread = 2\n"), @"
        error: unknown key `thread`
         --> /etc/emperor/emperor.toml:3:1
          |
        3 | thread = 2
          | ^^^^^^ did you mean `threads`?
        ");
    }

    #[test]
    fn every_mistake_is_shown_at_once() {
        assert_snapshot!(refusal("stat_dir = 'x'\n[database]\nmigrate = 'yes'\nresync_interval = 300\n[frobnicate]\n"), @r#"
        error: unknown key `stat_dir`
         --> /etc/emperor/emperor.toml:1:1
          |
        1 | stat_dir = 'x'
          | ^^^^^^^^ did you mean `state_dir`?

        error: `database.migrate` is a text; true or false is due
         --> /etc/emperor/emperor.toml:3:11
          |
        3 | migrate = 'yes'
          |           ^^^^^

        error: `database.resync_interval` is a number without its unit
         --> /etc/emperor/emperor.toml:4:19
          |
        4 | resync_interval = 300
          |                   ^^^ did you mean "300s"?

        error: unknown table `frobnicate`
         --> /etc/emperor/emperor.toml:5:2
          |
        5 | [frobnicate]
          |  ^^^^^^^^^^
        "#);
    }

    #[test]
    fn a_secret_is_not_shown_with_its_line() {
        let text = "[database]\nurl = \"postgresql://emperor:geheim@db/sites\nmigrate = true\n";
        let refusal = refusal(text);
        assert!(!refusal.contains("geheim"), "{refusal}");
        assert_snapshot!(refusal, @r#"
        error: invalid basic string, expected `"`
         --> /etc/emperor/emperor.toml:2:44
          |
        2 | url = "postgresql://emperor:******@db/sites
          |                                            ^
        "#);
    }

    #[test]
    fn a_pool_that_can_t_be_called_so_is_refused() {
        assert_snapshot!(refusal("[[site]]\nslug = 'a'\npool = 'A'\n"), @"
        error: a slug is made of a-z, 0-9 and '-'; 'A' is none of them
         --> /etc/emperor/emperor.toml:3:8
          |
        3 | pool = 'A'
          |        ^^^
        ");
    }

    #[test]
    fn impossible_values_are_refused() {
        assert_snapshot!(refusal("[domains]\nrewrite_format = 'all.localhost'\n"), @r#"
        error: "{slug}" must stand in it, else every site would have the same host
         --> /etc/emperor/emperor.toml:2:18
          |
        2 | rewrite_format = 'all.localhost'
          |                  ^^^^^^^^^^^^^^^
        "#);
        assert_snapshot!(refusal("[database]\nurl = '$NO_SUCH'\n"), @"
        error: the environment variable NO_SUCH is not set
         --> /etc/emperor/emperor.toml:2:7
          |
        2 | url = '$NO_SUCH'
          |       ^^^^^^^^^^
        ");
        assert_snapshot!(refusal("[database]\nurl = 'a'\nurl_file = 'b'\n"), @"
        error: either `url` or `url_file`, not both
         --> /etc/emperor/emperor.toml:3:12
          |
        3 | url_file = 'b'
          |            ^^^
        ");
        assert_snapshot!(refusal("[router.limits]\nmax_body = 'much'\n"), @r#"
        error: "much" is no whole number; a size is written "64KiB", "256MiB" or "2GiB"
         --> /etc/emperor/emperor.toml:2:12
          |
        2 | max_body = 'much'
          |            ^^^^^^
        "#);
        assert_snapshot!(refusal("[[site]]\nid = 1\n[[site]]\nslug = 'A'\n"), @"
        error: `site.slug` is missing
         --> /etc/emperor/emperor.toml:1:1
          |
        1 | [[site]]
          | ^^^^^^^^

        error: a slug is made of a-z, 0-9 and '-'; 'A' is none of them
         --> /etc/emperor/emperor.toml:4:8
          |
        4 | slug = 'A'
          |        ^^^
        ");
        assert_snapshot!(refusal("[[site]]\nslug = 'a'\nid = 1\n[[site]]\nslug = 'b'\nid = 1\n"), @"
        error: site `a` has this id already
         --> /etc/emperor/emperor.toml:4:1
          |
        4 | [[site]]
          | ^^^^^^^^
        ");
        assert_snapshot!(refusal("vassal = { env = {} }\n"), @"
        error: write this as a table of its own, headed by [vassal]
         --> /etc/emperor/emperor.toml:1:1
          |
        1 | vassal = { env = {} }
          | ^^^^^^^^^^^^^^^^^^^^^
        ");
    }
}
