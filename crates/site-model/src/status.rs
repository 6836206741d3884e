//! What is to be told about a site: its state, and its instances'.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use thiserror::Error;

use crate::{HostPattern, Incarnation, InstanceNumber, Revision, SiteId};

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no state")]
pub struct UnknownState(pub String);

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every state, in the order of a life.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word for it in `emperor status`, in JSON and in `emperor.site_status`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|state| state.as_str() == text)
                    .ok_or_else(|| UnknownState(text.to_owned()))
            }
        }
    };
}

states! {
    /// State of a site.
    SiteState {
        /// Its first instance is on its way.
        Starting = "starting",
        /// It answers.
        Ready = "ready",
        /// It answers, and a replacement is on its way.
        Reloading = "reloading",
        /// Stopped for want of requests; the next one wakes it.
        Sleeping = "sleeping",
        /// A request woke it, and it is not ready yet.
        Waking = "waking",
        /// Its worker ended; the next try has a time.
        BackingOff = "backing-off",
        /// It clearly won't start; still tried, slowly.
        Failed = "failed",
        /// Its row, template or user is wrong; nothing is tried before one of them changes.
        Rejected = "rejected",
        /// Its row says `enabled = false`.
        Disabled = "disabled",
        /// Its row is gone or disabled, and its last instance is ending.
        Stopping = "stopping",
    }
}

states! {
    /// State of one instance.
    InstanceState {
        /// It waits for its turn to start.
        Queued = "queued",
        /// Its process is being made, or runs and was not found ready yet.
        Starting = "starting",
        /// It takes requests.
        Ready = "ready",
        /// It takes no new requests and ends those it has.
        Draining = "draining",
        /// It was told to end.
        Stopping = "stopping",
    }
}

/// What is told about one site on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteStatus {
    /// Which site.
    pub id: SiteId,
    /// Its state.
    pub state: SiteState,
    /// Why it is in that state, in words for its operator; empty where the state says all.
    pub detail: String,
    /// The hosts it answers to here, the canonical one first.
    pub hosts: Vec<HostPattern>,
    /// The revision that serves; `None` while none does.
    pub revision: Option<Revision>,
    /// The revision that is wanted; `None` where it is not to run.
    pub wanted: Option<Revision>,
    /// How often an instance ended without having been told to, since the emperor started.
    pub restarts: u64,
    /// Its instances, by number.
    pub instances: Vec<InstanceStatus>,
}

/// What is told about one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStatus {
    /// Its place among the site's instances.
    pub number: InstanceNumber,
    /// Which spawn it is.
    pub incarnation: Incarnation,
    /// Its revision.
    pub revision: Revision,
    /// Its state.
    pub state: InstanceState,
    /// Its process, once there is one; also its process group and session.
    pub pid: Option<u32>,
    /// Where it listens.
    pub socket: PathBuf,
    /// When its process began.
    pub started_at: Option<SystemTime>,
}
