//! The grammar of the command line, as clap derives it: names, help texts, examples. It parses and
//! knows nothing of what the commands do.

mod caches;
mod common;
mod imports;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use site_model::{HostPattern, SiteId, Slug, TemplateName};

use caches::PURGE_EXAMPLES;
pub(crate) use caches::{Cache, CacheShow, Purge, Watches};
pub(crate) use common::{Format, SiteRef};
pub(crate) use imports::{Import, ImportUwsgi};

const EXAMPLES: &str = "\
Examples:
  emperor quickstart                       a database, a router and three demo sites, here and now
  emperor status                           what runs, and what doesn't and why
  emperor site add portal --template gunicorn --domain www.example.com
  emperor logs portal --follow

Exit status: 0 done; 1 it failed; 2 bad usage or invalid configuration; 3 the daemon can't be
reached; 4 no such site.";

const STATUS_EXAMPLES: &str = "\
Examples:
  emperor status                  every site, problems first
  emperor status portal           one site: its instances, hosts, last error, last lines
  emperor status pool.small       one pool: its worker, and the sites that share it
  emperor status --watch          drawn at every change, until ctrl-C
  emperor status --json | jq '.sites[] | select(.state != \"ready\")'";

const SITE_EXAMPLES: &str = "\
Examples:
  emperor site list
  emperor site add portal --template gunicorn --domain www.example.com --extra-config portal.toml
  emperor site set portal --alias '*.example.com' --redirect example.com
  emperor site disable portal";

const CHECK_EXAMPLES: &str = "\
Exit status: 0 all is well; 1 a template or a row is wrong, or the database can't be read;
2 the configuration is invalid.";

const DB_EXAMPLES: &str = "\
Examples:
  emperor db psql
  emperor db psql -- -c 'SELECT slug, state FROM emperor.sites JOIN emperor.site_status ON id = site_id'
  psql \"$(emperor db url)\"";

/// Supervisor for machines that host many sites: rows of a table become running, routed sites.
#[derive(Debug, Parser)]
#[command(name = "emperor", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help = "Configuration file [default: $EMPEROR_CONFIG, ./emperor.toml, /etc/emperor/emperor.toml]"
    )]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon, in the foreground
    Run(Run),
    /// Run a private PostgreSQL and three demo sites, in the foreground
    Quickstart(Quickstart),
    /// Check configuration, templates and every row; start nothing
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Show what runs, and what doesn't and why
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// List, show and change the rows of sites
    #[command(subcommand, after_help = SITE_EXAMPLES)]
    Site(Site),
    /// Replace instances without losing a request
    Reload(Reload),
    /// Have the daemon read configuration, templates and rows again, and wait until it has
    ///
    /// What is wrong in a file is said, and then nothing has changed. Only sites that became something
    /// else are replaced. SIGHUP does the same without an answer.
    Reread,
    /// Have caches drop pages, here and in front, and tell the purge's id
    #[command(after_help = PURGE_EXAMPLES)]
    Purge(Purge),
    /// Show what is stored of a site's pages, and why others are not
    #[command(subcommand)]
    Cache(Cache),
    /// Show what a site's workers wrote
    Logs(Logs),
    /// Believe that the sites that are held really are gone
    ///
    /// When more sites vanish in one reading than `database.max_removals` permits, they keep running
    /// and `emperor status` names them. This stops them.
    ConfirmRemovals,
    /// List and show templates, and what they make of a site
    #[command(subcommand)]
    Template(Template),
    /// Lead into the database
    #[command(subcommand, after_help = DB_EXAMPLES)]
    Db(Db),
    /// Turn what another supervisor runs into rows
    #[command(subcommand)]
    Import(Import),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

/// `emperor run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// How the daemon's own log is written.
#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// How the log on standard error is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// Formats of the daemon's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Coloured on a terminal, with priorities under systemd, compact otherwise
    #[default]
    Auto,
    /// One line a record
    Compact,
    /// One JSON object a record
    Json,
}

/// `emperor quickstart`
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Folder that keeps everything; run it again on the same one and it goes on
    #[arg(long, value_name = "DIR", default_value = "./.emperor", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Where the router accepts requests
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// `emperor check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `emperor status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// One site alone: its slug or id; or one pool: pool.NAME
    pub(crate) site: Option<SiteRef>,
    #[command(flatten)]
    pub(crate) format: Format,
    /// Draw it at every change, until ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
}

/// `emperor site`
#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// List the rows
    List(Format),
    /// Show one row
    Show {
        /// Its slug or id
        site: SiteRef,
        #[command(flatten)]
        format: Format,
    },
    /// Insert a row
    Add(SiteAdd),
    /// Change a row
    Set(SiteSet),
    /// Let a site run
    Enable {
        /// Its slug or id
        site: SiteRef,
    },
    /// Stop a site and keep its row
    Disable {
        /// Its slug or id
        site: SiteRef,
    },
    /// Stop a site and delete its row
    Remove {
        /// Its slug or id
        site: SiteRef,
    },
}

/// `emperor site add`
#[derive(Debug, Args)]
pub(crate) struct SiteAdd {
    /// Its short name: 1 to 63 of a-z, 0-9 and '-'
    pub(crate) slug: Slug,
    #[arg(
        long,
        help = "Its id, the worker's SITE_ID [default: the next that is free]"
    )]
    pub(crate) id: Option<SiteId>,
    /// Keep it stopped for now
    #[arg(long)]
    pub(crate) disabled: bool,
    #[command(flatten)]
    pub(crate) columns: Columns,
}

/// `emperor site set`
#[derive(Debug, Args)]
pub(crate) struct SiteSet {
    /// Its slug or id
    pub(crate) site: SiteRef,
    /// A new short name
    #[arg(long)]
    pub(crate) slug: Option<Slug>,
    /// A host that is no longer its own
    #[arg(long, value_name = "HOST")]
    pub(crate) remove_alias: Vec<HostPattern>,
    #[command(flatten)]
    pub(crate) columns: Columns,
}

/// Columns that `site add` and `site set` have in common.
#[derive(Debug, Args)]
pub(crate) struct Columns {
    /// Its domain; '': made from the slug
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Its template; '': the one of `[vassal]`
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// File with its own settings, in TOML; '-': standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) extra_config: Option<PathBuf>,
    /// The user it runs as: an account, or 'auto'; '': the default
    #[arg(long, value_name = "USER")]
    pub(crate) run_as: Option<String>,
    /// The pool it shares a worker with; '': a worker of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
    /// A further host that serves the site; may begin with '*.'
    #[arg(long, value_name = "HOST")]
    pub(crate) alias: Vec<HostPattern>,
    /// A further host that is redirected to the canonical one
    #[arg(long, value_name = "HOST")]
    pub(crate) redirect: Vec<HostPattern>,
}

/// `emperor reload`
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Reload {
    /// Slugs or ids; pool.NAME stands for all sites of a pool
    #[arg(value_name = "SITE")]
    pub(crate) sites: Vec<SiteRef>,
    /// Every site
    #[arg(long)]
    pub(crate) all: bool,
}

/// `emperor logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Its slug or id, or pool.NAME; of a site in a pool, the pool's lines
    pub(crate) site: SiteRef,
    /// Go on with what comes, until ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last lines
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
    pub(crate) lines: u32,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `emperor template`
#[derive(Debug, Subcommand)]
pub(crate) enum Template {
    /// List the templates there are
    List(Format),
    /// Print a template's file
    Show {
        /// Its name
        name: TemplateName,
        #[command(flatten)]
        format: Format,
    },
    /// Print exactly what would run for a site, and where each value came from
    Render {
        /// Its slug or id, or pool.NAME
        site: SiteRef,
        #[command(flatten)]
        format: Format,
    },
}

/// `emperor db`
#[derive(Debug, Subcommand)]
pub(crate) enum Db {
    /// Print the database's URL
    Url(Format),
    /// Become psql, connected to the database
    Psql {
        /// Arguments for psql
        #[arg(last = true, value_name = "ARG")]
        arguments: Vec<String>,
    },
    /// Create or upgrade the schema
    Migrate,
    /// Show the database's version, schema and link
    Status(Format),
    /// Show every row of `database.source`, and what would run of it
    CheckSource(Format),
    /// List the tables whose changes purge or reload, and what a row's change would do
    Watches(Watches),
    /// Write the domain that `[domains]` makes of each site into its row
    RewriteDomains(RewriteDomains),
}

/// `emperor db rewrite-domains`
#[derive(Debug, Args)]
pub(crate) struct RewriteDomains {
    /// Only show what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `emperor completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    pub(crate) shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_contract_lists_is_understood() {
        for line in [
            "emperor run --config /etc/emperor/emperor.toml",
            "emperor quickstart --dir /tmp/x --listen 127.0.0.1:8081",
            "emperor check --config e.toml --json",
            "emperor status",
            "emperor status portal --json",
            "emperor status 42 --watch",
            "emperor status pool.small --json",
            "emperor logs pool.small --follow",
            "emperor reload pool.small portal",
            "emperor template render pool.small",
            "emperor site list --json",
            "emperor site show portal --json",
            "emperor site add portal --id 3 --domain www.example.com --alias *.example.com",
            "emperor site set portal --slug gate --redirect example.com --extra-config -",
            "emperor site enable portal",
            "emperor site disable 1",
            "emperor site remove portal",
            "emperor reload a b c",
            "emperor reload --all",
            "emperor purge portal --path / --prefix /a/ --tag t",
            "emperor purge portal --all --json",
            "emperor purge --all",
            "emperor cache show portal --path / --json",
            "emperor db watches --json",
            "emperor db watches blog_post --explain {\"id\":7}",
            "emperor reread --config /etc/emperor/emperor.toml",
            "emperor logs portal --follow --lines 5",
            "emperor confirm-removals",
            "emperor template list --json",
            "emperor template show gunicorn",
            "emperor template render portal --json",
            "emperor db url",
            "emperor db psql -- -c SELECT",
            "emperor db migrate",
            "emperor db status --json",
            "emperor db check-source --json",
            "emperor db rewrite-domains --dry-run --json",
            "emperor import uwsgi /etc/uwsgi/vassals a.ini --disabled --json",
            "emperor completions bash",
            "emperor man",
        ] {
            assert!(
                Cli::try_parse_from(line.split(' ')).is_ok(),
                "{line} was refused"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_bad_usage() {
        for line in [
            "emperor",
            "emperor reload",
            "emperor reload --all portal",
            "emperor purge portal",
            "emperor purge --path /",
            "emperor purge portal --all --path /",
            "emperor db watches --explain {}",
            "emperor db watches t --explain 7",
            "emperor status --json --watch",
            "emperor status Not_A_Slug",
            "emperor status pool.",
            "emperor site add pool.small",
            "emperor site add portal --id 0",
            "emperor site add -",
            "emperor import uwsgi",
            "emperor logs portal --lines many",
        ] {
            let refused = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{line}");
        }
    }
}
