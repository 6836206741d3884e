//! The keys of `emperor.toml`: their names, their types, their defaults, table by table.
//! `docs/CONFIGURATION.md` lists the same keys; a test here compares the two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use site_model::{RunAs, TemplateName};
use site_registry::{DatabaseTarget, RowSource};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vassal_core::diagnostic::Place;
use vassal_core::overlay::SiteTables;
use vassal_core::{Diagnostic, Diagnostics, Source};

use super::document::{Findings, Section};
use super::model::{
    AccessLog, Config, Database, Domains, Logs, OverlaySource, Policy, RequestLimits, Router, Spawn,
};
use super::surroundings::Surroundings;
use super::values::Listen;
use super::{overlay, purge, rollout, secret, sites, source, values};
use crate::socket_path::MAX_SOCKET_PATH;

/// Longest name below `runtime_dir` that every installation has.
const SOCKET_NAME: &str = "/fastrouter.sock";

/// What a document is read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The file; `None`: there is none, and every default stands.
    pub(super) file: Option<&'a Path>,
    /// Environment, user and host.
    pub(super) surroundings: &'a Surroundings,
}

/// Reads a whole document.
pub(super) fn read(text: &str, context: Context<'_>) -> Result<Config, Diagnostics> {
    let origin = context.file.unwrap_or(Path::new("emperor.toml"));
    let source = Source::new(origin.to_string_lossy(), text);
    let document = DeTable::parse(text).map_err(|error| Diagnostic::from_toml(&source, &error))?;
    let findings = Findings::new(source);
    let config = read_root(&document, context, &findings);
    findings.or_else_ok(config)
}

fn read_root(document: &Spanned<DeTable<'_>>, context: Context<'_>, findings: &Findings) -> Config {
    let mut root = Section::root(document.get_ref(), findings);
    let surroundings = context.surroundings;
    let base = context.base();
    let (state_dir, runtime_dir) = context.default_dirs();
    let mut mentions = BTreeMap::new();
    let (vassal, default_template, default_run_as) = read_vassal(&mut root, &mut mentions);
    let config = Config {
        file: context.file.map(Path::to_owned),
        node: root.parsed("node", surroundings.host_name.clone(), node),
        state_dir: root.parsed("state_dir", state_dir, |path| context.path(path)),
        runtime_dir: root.parsed("runtime_dir", runtime_dir, |path| context.runtime_dir(path)),
        template_dirs: root
            .list("template_dirs", |path| context.path(path))
            .unwrap_or_else(default_template_dirs),
        database: read_database(root.section("database"), &base, surroundings),
        router: read_router(root.section("router"), context),
        domains: read_domains(root.section("domains")),
        vassal,
        templates: read_templates(&mut root, &mut mentions),
        default_template,
        mentions,
        default_run_as,
        policy: read_policy(root.section("policy")),
        spawn: read_spawn(root.section("spawn")),
        rollout: rollout::read(root.section("rollout")),
        reload_settle: read_reload(root.section("reload")),
        logs: read_logs(root.section("logs")),
        purge_targets: purge::read(root.section("purge"), &base, surroundings),
        sites: sites::read(root.sections("site")),
    };
    root.finish();
    config
}

impl Context<'_> {
    /// The folder that relative paths begin at.
    fn base(self) -> PathBuf {
        let working_dir = &self.surroundings.working_dir;
        let folder = self.file.and_then(Path::parent);
        folder.map_or_else(|| working_dir.clone(), |folder| working_dir.join(folder))
    }

    fn default_dirs(self) -> (PathBuf, PathBuf) {
        if self.file.is_some() {
            // Whoever wrote a file means the system's folders, whoever reads it: the operator's
            // `emperor status` has to look where the daemon is.
            return ("/var/lib/emperor".into(), "/run/emperor".into());
        }
        let own = self.surroundings;
        (own.own_state_dir(), own.own_runtime_dir())
    }

    fn path(self, text: &str) -> Result<PathBuf, String> {
        match text {
            "" => Err("a path can't be empty".to_owned()),
            text => Ok(self.base().join(text)),
        }
    }

    fn runtime_dir(self, text: &str) -> Result<PathBuf, String> {
        let path = self.path(text)?;
        let longest = MAX_SOCKET_PATH - SOCKET_NAME.len();
        let bytes = path.as_os_str().len();
        if bytes > longest {
            return Err(format!(
                "{} has {bytes} bytes; with more than {longest} its sockets' paths would be longer \
                 than the kernel permits",
                path.display()
            ));
        }
        Ok(path)
    }
}

fn node(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a node's name can't be empty and has no control characters");
    }
    Ok(text.to_owned())
}

fn default_template_dirs() -> Vec<PathBuf> {
    vec![
        "/etc/emperor/vassal-templates".into(),
        "/usr/share/emperor/vassal-templates".into(),
    ]
}

fn read_database(mut section: Section<'_>, base: &Path, surroundings: &Surroundings) -> Database {
    let (source, poll) = source::read(&mut section);
    let resync_interval = section.duration("resync_interval", Duration::from_mins(5));
    let database = Database {
        // Nobody tells of what a query yields, so it is read as often as it is polled.
        resync_interval: match source {
            RowSource::Query(_) => poll,
            RowSource::Emperor | RowSource::Django(_) => resync_interval,
        },
        source,
        url: secret::read(
            &mut section,
            ("url", "url_file"),
            base,
            surroundings,
            DatabaseTarget::parse,
        ),
        migrate: section.switch("migrate", true),
        max_removals_percent: section.parsed("max_removals", 50, values::percentage),
    };
    section.finish();
    database
}

fn read_router(mut section: Section<'_>, context: Context<'_>) -> Router {
    let listen = |text: &str| values::listen(text, &context.base());
    let router = Router {
        listen: section
            .list("listen", listen)
            .unwrap_or_else(|| vec![Listen::Tcp("127.0.0.1:8080".to_owned())]),
        threads: section.number("threads", 0, &(0..=1024)) as usize,
        default_site: section.parsed("default_site", None, values::optional_slug),
        trusted_proxies: section
            .list("trusted_proxies", values::network)
            .unwrap_or_default(),
        run_as: section.parsed_text("run_as", RunAs::parse),
        access_log: section.parsed("access_log", AccessLog::Off, access_log),
        drain_timeout: section.duration("drain_timeout", Duration::from_secs(30)),
        limits: read_limits(section.section("limits")),
        purge_allow: section
            .list("purge_allow", values::network)
            .unwrap_or_else(values::loopback),
        cache_memory_bytes: read_cache(section.section("cache")),
    };
    section.finish();
    router
}

fn access_log(text: &str) -> Result<AccessLog, &'static str> {
    match text {
        "off" => Ok(AccessLog::Off),
        "json" => Ok(AccessLog::Json),
        "combined" => Ok(AccessLog::Combined),
        _ => Err("an access log is \"off\", \"json\" or \"combined\""),
    }
}

fn read_limits(mut section: Section<'_>) -> RequestLimits {
    let bytes = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let limits = RequestLimits {
        max_head_bytes: bytes(section.size("max_head", 64 << 10)),
        max_target_bytes: bytes(section.size("max_target", 8 << 10)),
        max_body_bytes: section.size("max_body", 0),
        head_timeout: section.duration("head_timeout", Duration::from_secs(15)),
        keep_alive_timeout: section.duration("keep_alive_timeout", Duration::from_mins(1)),
        response_timeout: section.duration("response_timeout", Duration::from_mins(1)),
        connect_timeout: section.duration("connect_timeout", Duration::from_secs(5)),
        max_connections: section.number("max_connections", 10_000, &(1..=10_000_000)),
    };
    section.finish();
    limits
}

fn read_cache(mut section: Section<'_>) -> u64 {
    let memory_bytes = section.size("memory", 256 << 20);
    section.finish();
    memory_bytes
}

fn read_domains(mut section: Section<'_>) -> Domains {
    let domains = Domains {
        rewrite: section.switch("rewrite", false),
        rewrite_format: section.parsed(
            "rewrite_format",
            "{slug}.localhost".to_owned(),
            values::rewrite_format,
        ),
    };
    section.finish();
    domains
}

/// Where the file names templates.
type Mentions = BTreeMap<TemplateName, Place>;

/// `[vassal]` is an overlay with two keys more; the overlay itself is checked by `vassal-core`.
fn read_vassal(
    root: &mut Section<'_>,
    mentions: &mut Mentions,
) -> (OverlaySource, Option<TemplateName>, Option<RunAs>) {
    let findings = root.findings();
    let overlay = read_overlay(&["vassal"], findings);
    let mut section = root.section("vassal");
    let template: Option<TemplateName> = section.parsed_text("template", str::parse);
    if let (Some(name), Some(value)) = (&template, section.value("template")) {
        mentions.insert(name.clone(), findings.source().place(value.span()));
    }
    let run_as = section.parsed_text("run_as", RunAs::parse);
    (overlay, template, run_as)
}

fn read_templates(
    root: &mut Section<'_>,
    mentions: &mut Mentions,
) -> BTreeMap<TemplateName, OverlaySource> {
    let findings = root.findings();
    let Some(value) = root.value("templates") else {
        return BTreeMap::new();
    };
    let DeValue::Table(templates) = value.get_ref() else {
        findings.report(
            value.span(),
            "`templates` holds tables: [templates.gunicorn]",
        );
        return BTreeMap::new();
    };
    let mut overlays = BTreeMap::new();
    for (key, _) in templates {
        match key.get_ref().parse::<TemplateName>() {
            Ok(name) => {
                let path = ["templates", name.as_str()];
                let overlay = read_overlay(&path, findings);
                mentions.insert(name.clone(), findings.source().place(key.span()));
                overlays.insert(name, overlay);
            }
            Err(error) => findings.report(key.span(), error),
        }
    }
    overlays
}

fn read_overlay(path: &[&str], findings: &Findings) -> OverlaySource {
    let own_keys: &[&str] = match path {
        ["vassal"] => &["template", "run_as"],
        _ => &[],
    };
    let source = findings.source();
    match overlay::cut_out(source.text(), path, own_keys) {
        Ok(cut) if cut.trim().is_empty() => OverlaySource::default(),
        Ok(text) => OverlaySource {
            text,
            origin: format!("{} [{}]", source.origin(), path.join(".")),
        },
        Err(error) => {
            findings.report(error.span(), &error);
            OverlaySource::default()
        }
    }
}

fn read_policy(mut section: Section<'_>) -> Policy {
    let policy = Policy {
        site_may_set: section.list("site_may_set", settable).unwrap_or_else(|| {
            SiteTables::DEFAULT
                .iter()
                .map(ToString::to_string)
                .collect()
        }),
        uid_range: section.parsed("uid_range", 200_000..=299_999, values::uid_range),
        allow_root: section.switch("allow_root", false),
    };
    section.finish();
    policy
}

fn settable(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("the name of a template's table or key is due");
    }
    Ok(text.to_owned())
}

fn read_spawn(mut section: Section<'_>) -> Spawn {
    let spawn = Spawn {
        max_starting: section.number("max_starting", 0, &(0..=10_000)) as usize,
        nice: section.number("nice", 10, &(0..=19)).cast_signed(),
    };
    section.finish();
    spawn
}

fn read_reload(mut section: Section<'_>) -> Duration {
    let settle = section.duration("settle", Duration::from_millis(500));
    section.finish();
    settle
}

fn read_logs(mut section: Section<'_>) -> Logs {
    let logs = Logs {
        max_size_bytes: section.size("max_size", 10 << 20),
        keep: section.number("keep", 3, &(0..=1_000)) as usize,
    };
    section.finish();
    logs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    const DOCUMENTATION: &str = include_str!("../../../../docs/CONFIGURATION.md");

    fn known_keys() -> BTreeSet<String> {
        let text = "[[site]]\nslug = 'a'\n[templates]\n\
            [[purge.target]]\nkind = 'varnish'\n[[purge.target]]\nkind = 'nginx'\n\
            [[purge.target]]\nkind = 'http'\n[[purge.target]]\nkind = 'directory'\n";
        let surroundings = Surroundings::of_this_process();
        let context = Context {
            file: None,
            surroundings: &surroundings,
        };
        let document = DeTable::parse(text).unwrap();
        let findings = Findings::new(Source::new("emperor.toml", text));
        read_root(&document, context, &findings);
        findings.into_keys()
    }

    fn is_table(key: &str, keys: &BTreeSet<String>) -> bool {
        let below = format!("{key}.");
        key == "templates" || keys.iter().any(|other| other.starts_with(&below))
    }

    #[test]
    fn the_documentation_has_every_key_and_no_other() {
        let all = known_keys();
        let known: BTreeSet<_> = all.iter().filter(|key| !is_table(key, &all)).collect();
        let rows = DOCUMENTATION
            .lines()
            .take_while(|line| *line != "## Environment");
        let keys = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let documented: BTreeSet<_> = keys.map(str::to_owned).collect();
        assert_eq!(documented.iter().collect::<BTreeSet<_>>(), known);
        for table in all.iter().filter(|key| is_table(key, &all)) {
            let headed = [
                format!("`[{table}]`"),
                format!("`[[{table}]]`"),
                format!("`[{table}.NAME]`"),
            ];
            let headings = || DOCUMENTATION.lines().filter(|line| line.starts_with("## "));
            assert!(
                headings().any(|line| headed.iter().any(|name| line.contains(name))),
                "[{table}] has no heading"
            );
        }
    }

    #[test]
    fn the_documentation_s_examples_are_valid() {
        let surroundings = Surroundings::of_this_process();
        let blocks = DOCUMENTATION.split("```toml\n").skip(1);
        let examples: Vec<_> = blocks
            .filter_map(|block| block.split("```").next())
            .collect();
        assert!(examples.len() > 5);
        for example in examples {
            let context = Context {
                file: Some(Path::new("/etc/emperor/emperor.toml")),
                surroundings: &surroundings,
            };
            if let Err(problems) = read(example, context) {
                panic!("{problems}");
            }
        }
    }

    #[test]
    fn the_documented_defaults_are_the_reader_s() {
        let rows = DOCUMENTATION.lines().filter(|line| line.starts_with("| `"));
        let mut stated = String::new();
        for row in rows {
            let columns: Vec<_> = row.split(" | ").collect();
            let (Some(key), Some(default)) = (columns[0].split('`').nth(1), columns.get(2)) else {
                continue;
            };
            // Defaults in code marks are TOML; the others are described in words.
            let inner = default
                .strip_prefix('`')
                .and_then(|rest| rest.strip_suffix('`'));
            if let Some(value) = inner.filter(|inner| !inner.contains(['`', '/'])) {
                writeln!(stated, "{key} = {value}").unwrap();
            }
        }
        let surroundings = Surroundings::of_this_process();
        let context = Context {
            file: None,
            surroundings: &surroundings,
        };
        let shown = |text: &str| format!("{:?}", read(text, context).unwrap());
        assert_eq!(shown(&stated), shown(""));
    }
}
