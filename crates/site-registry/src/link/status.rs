//! What there is to say about the link to PostgreSQL.

use std::time::SystemTime;

use super::LinkError;

/// A notification queue fuller than this is worth a warning: at 1, `COMMIT` fails on the server.
pub(crate) const QUEUE_WARNING: f64 = 0.5;

/// The link, as `emperor status` tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionStatus {
    /// Its state.
    pub state: ConnectionState,
    /// Where, without user and password.
    pub target: String,
    /// How full the server's notification queue was at the last full reading, 0 to 1.
    pub notification_queue_usage: f64,
    /// When all rows were last read.
    pub last_read_at: Option<SystemTime>,
}

/// State of the link.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionState {
    /// The first connection is being made.
    Connecting,
    /// Both sessions are open, and every change is heard of.
    Connected,
    /// There is none; what was known stays in force, and it is tried again.
    Lost(LinkError),
}

impl ConnectionStatus {
    pub(crate) fn new(target: String) -> Self {
        Self {
            state: ConnectionState::Connecting,
            target,
            notification_queue_usage: 0.0,
            last_read_at: None,
        }
    }

    /// Why it is not connected and what to do, or what to look at although it is; else empty.
    pub fn detail(&self) -> String {
        match &self.state {
            ConnectionState::Connected if self.notification_queue_usage > QUEUE_WARNING => {
                format!(
                    "the server's notification queue is {:.0}% full: some session that listens \
                     stays in one transaction (see pg_stat_activity)",
                    self.notification_queue_usage * 100.0
                )
            }
            ConnectionState::Connecting | ConnectionState::Connected => String::new(),
            ConnectionState::Lost(error) if error.hint().is_empty() => error.to_string(),
            ConnectionState::Lost(error) => format!("{error}; {}", error.hint()),
        }
    }

    /// The same for the log, where a private cluster tells its causes itself.
    pub(crate) fn brief(&self) -> String {
        match &self.state {
            ConnectionState::Lost(LinkError::Cluster(_)) => {
                "the private PostgreSQL doesn't run".to_owned()
            }
            ConnectionState::Connecting | ConnectionState::Connected | ConnectionState::Lost(_) => {
                self.detail()
            }
        }
    }
}

impl ConnectionState {
    /// Whether this loss was told already. A private cluster tells its causes itself.
    pub(crate) fn is_lost_like(&self, cause: &LinkError) -> bool {
        match (self, cause) {
            (Self::Lost(LinkError::Cluster(_)), LinkError::Cluster(_)) => true,
            (Self::Lost(known), cause) => known == cause,
            (Self::Connecting | Self::Connected, _) => false,
        }
    }

    /// The word for it in `emperor status`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Lost(_) => "lost",
        }
    }
}
