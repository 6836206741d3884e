//! The grammar of `import`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Format;

const UWSGI_EXAMPLES: &str = "\
Examples:
  emperor import uwsgi /etc/uwsgi/vassals                          look at what it would be
  emperor import uwsgi /etc/uwsgi/vassals | emperor db psql        insert it
  emperor import uwsgi wiki.ini --disabled | emperor db psql       and let it run later

Exit status: 0 all is carried over, but for what the emperor does itself; 1 a file became no row, or
a line that matters is in none. The other rows are printed all the same.";

/// `emperor import`
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Turn the ini files of uWSGI's vassals into SQL, and tell what could not be carried over
    ///
    /// The SQL on standard output inserts rows for the template `uwsgi`, in one transaction; a site whose
    /// slug is there already is left alone. Standard error tells, by file and line, what isn't in the rows.
    /// No daemon and no database is asked, and nothing is executed.
    #[command(after_help = UWSGI_EXAMPLES)]
    Uwsgi(ImportUwsgi),
}

/// `emperor import uwsgi`
#[derive(Debug, Args)]
pub(crate) struct ImportUwsgi {
    /// A vassal's ini file, or a folder with such files
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Insert the sites disabled, to be enabled one by one
    #[arg(long)]
    pub(crate) disabled: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}
