//! Why PostgreSQL can't be had, in words for an operator.
//!
//! Every text here is made from parts that hold no secret: the target without user and password,
//! and what the server itself said. A statement's parameters and the rows it failed on (`DETAIL`
//! of a check) are left out, because `extra_config` may hold a site's secrets.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::SqlState;

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Opening a session.
    Connecting,
    /// Subscribing to notifications.
    Listening,
    /// Creating or upgrading the schema.
    Migrating,
    /// Writing the `[[site]]` rows of the configuration.
    Configuring,
    /// Reading rows.
    Reading,
    /// Running `database.query`.
    Querying,
    /// Writing `emperor.site_status`.
    Reporting,
    /// Carrying out an operator's change.
    Editing,
    /// Following purges.
    Purging,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connecting => "opening a session",
            Self::Listening => "subscribing to notifications",
            Self::Migrating => "bringing the schema up to date",
            Self::Configuring => "writing the [[site]] rows",
            Self::Reading => "reading the rows",
            Self::Querying => "running database.query",
            Self::Reporting => "writing emperor.site_status",
            Self::Editing => "changing rows",
            Self::Purging => "following purges",
        })
    }
}

/// Why there is no working link to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LinkError {
    /// No connection came about.
    #[error("could not connect: {0}")]
    Unreachable(String),
    /// The server took the connection or the statement, and then said nothing.
    #[error("no answer within {}s while {doing}", after.as_secs())]
    TimedOut {
        /// What was waited for.
        doing: Doing,
        /// How long.
        after: Duration,
    },
    /// The server doesn't let this user in.
    #[error("the server refused the log-in: {0}")]
    LoginRefused(String),
    /// The database doesn't exist.
    #[error("{0}")]
    NoDatabase(String),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The certificates to verify against can't be had.
    #[error("sslrootcert {path}: {detail}")]
    RootCertificates {
        /// The file, or `system`.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// `LISTEN` doesn't last: between the emperor and PostgreSQL stands a pooler that gives each
    /// transaction another session.
    #[error("notifications don't arrive: a proxy that pools transactions is in between")]
    Pooled,
    /// The server is a standby, or its sessions may not write.
    #[error("the server takes no writes: {0}")]
    ReadOnly(String),
    /// The server is older than 13.
    #[error("the server is PostgreSQL {0}; 13 or newer is needed")]
    ServerTooOld(String),
    /// There is no schema, and `database.migrate` is off.
    #[error("there is no schema \"emperor\" in this database")]
    NoSchema,
    /// The schema is older than this program needs, and `database.migrate` is off.
    #[error("schema \"emperor\" has version {found}, this program needs {needed}")]
    OldSchema {
        /// The version found.
        found: i32,
        /// The version needed.
        needed: i32,
    },
    /// The schema was made by a newer program.
    #[error("schema \"emperor\" has version {found}, this program knows {known}")]
    NewerSchema {
        /// The version found.
        found: i32,
        /// The newest version this program knows.
        known: i32,
    },
    /// Django's sites are to be read, and there are none.
    #[error("there is no table django_site in schema {0:?}")]
    NoDjango(String),
    /// A right is missing.
    #[error("{doing}: {message}")]
    Rights {
        /// What it is needed for.
        doing: Doing,
        /// What the server said.
        message: String,
    },
    /// A statement failed.
    #[error("{doing}: {message}")]
    Statement {
        /// What it was for.
        doing: Doing,
        /// What the server said.
        message: String,
    },
    /// The session ended under way.
    #[error("the session ended while {doing}: {message}")]
    SessionEnded {
        /// What was being done.
        doing: Doing,
        /// What is known about why.
        message: String,
    },
    /// The private cluster doesn't run.
    #[error("the private PostgreSQL doesn't run: {0}")]
    Cluster(String),
    /// No session was opened yet.
    #[error("the first connection is still being made")]
    NotYet,
}

impl LinkError {
    /// What is wrong is the schema, and not the way to it.
    pub(crate) const fn is_of_the_schema(&self) -> bool {
        matches!(self, Self::NoSchema | Self::OldSchema { .. })
    }

    /// What to do about it; empty where the error says all.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "check database.url and that the server runs; retried forever",
            Self::TimedOut { .. } | Self::SessionEnded { .. } | Self::NotYet => "retried forever",
            Self::Cluster(_) => "it is tried again by itself, with pauses of up to a minute",
            Self::LoginRefused(_) => "check user and password in database.url and pg_hba.conf",
            Self::NoDatabase(_) => "create it with createdb, or correct database.url",
            Self::Tls(_) => "check sslmode and sslrootcert in database.url",
            Self::RootCertificates { .. } => "correct sslrootcert in database.url",
            Self::Pooled => {
                "use the server's own address in database.url, or a PgBouncer database with \
                 pool_mode=session"
            }
            Self::ReadOnly(_) => {
                "name the primary in database.url, or all servers: host1,host2 are tried until \
                 one takes writes"
            }
            Self::ServerTooOld(_) => "upgrade the server",
            Self::NoSchema | Self::OldSchema { .. } => {
                "run `emperor db migrate` with a role that owns the schema, or set \
                 database.migrate = true"
            }
            Self::NoDjango(_) => {
                "run `manage.py migrate` with django.contrib.sites in INSTALLED_APPS, or correct \
                 database.url or database.django_schema"
            }
            Self::NewerSchema { .. } => "upgrade emperor on this machine",
            Self::Rights { doing, .. } => match doing {
                Doing::Migrating => {
                    "grant CREATE on the database to this role, or migrate with another one and \
                     set database.migrate = false"
                }
                Doing::Querying => {
                    "give this role SELECT on the tables of database.query, and on emperor.reloads"
                }
                Doing::Connecting
                | Doing::Listening
                | Doing::Configuring
                | Doing::Reading
                | Doing::Reporting
                | Doing::Editing
                | Doing::Purging => "grant this role the rights of a daemon, see docs/SQL.md",
            },
            Self::Statement { .. } => "",
        }
    }

    /// What an error of the client library means, given what was being done.
    pub(crate) fn from_postgres(error: &tokio_postgres::Error, doing: Doing) -> Self {
        let Some(server) = error.as_db_error() else {
            return Self::from_transport(error, doing);
        };
        let (code, message) = (server.code(), server.message().to_owned());
        match *code {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                Self::LoginRefused(message)
            }
            SqlState::INVALID_CATALOG_NAME => Self::NoDatabase(message),
            // A query that writes is at fault itself.
            SqlState::READ_ONLY_SQL_TRANSACTION if doing != Doing::Querying => {
                Self::ReadOnly(message)
            }
            SqlState::INSUFFICIENT_PRIVILEGE => Self::Rights { doing, message },
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::DATABASE_DROPPED => Self::SessionEnded { doing, message },
            _ => Self::Statement { doing, message },
        }
    }

    /// An error that the server had no word in.
    fn from_transport(error: &tokio_postgres::Error, doing: Doing) -> Self {
        let message = chain(error);
        let kind = error.to_string();
        // The client library tells the kinds of its errors apart by their texts alone.
        if kind.contains("TLS") {
            return Self::Tls(causes(error));
        }
        if kind.contains("authentication") || kind.contains("configuration") {
            return Self::LoginRefused(causes(error));
        }
        match doing {
            Doing::Connecting if message.contains("does not allow writes") => {
                Self::ReadOnly(causes(error))
            }
            Doing::Connecting => Self::Unreachable(causes(error)),
            Doing::Listening
            | Doing::Migrating
            | Doing::Configuring
            | Doing::Reading
            | Doing::Querying
            | Doing::Reporting
            | Doing::Editing
            | Doing::Purging => Self::SessionEnded { doing, message },
        }
    }
}

/// An error with its sources, outermost first.
fn chain(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(_) => format!("{error}: {}", causes(error)),
        None => error.to_string(),
    }
}

/// The sources alone; the error itself where it has none.
fn causes(error: &tokio_postgres::Error) -> String {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    // An I/O error repeats the text of the error it wraps.
    texts.dedup();
    if texts.is_empty() {
        error.to_string()
    } else {
        texts.join(": ")
    }
}
