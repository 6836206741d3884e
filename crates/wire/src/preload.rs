//! What the emperor and a preloader say to each other, and the emperor and a worker that was just
//! forked.
//!
//! A preloader inherits one end of a `SOCK_STREAM` socketpair as its descriptor 3, and says
//! [`PreloaderWord::Ready`] once it can be forked. With each [`PreloaderOrder::Fork`] comes one
//! descriptor: a socket of the new worker's own. On that the worker says [`WorkerWord::Here`], from
//! which the kernel tells who it is; back comes a [`ForkPlan`] with its standard output, its standard
//! error, and what the plan names. It hangs up once it has carried that out.
//!
//! A preloader is no program of Emperor's own and holds what a site's user may change: what it says is
//! parsed as anything from outside is, and believed of its own children alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a preloader is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreloaderOrder {
    /// Fork a worker, which is to speak on the socket that comes along.
    Fork,
    /// A worker has ended: let go of it, and say how. Until then its pid has to stay its own.
    Ended {
        /// Which.
        pid: i32,
    },
}

/// What a preloader says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreloaderWord {
    /// Everything is loaded.
    Ready,
    /// How a worker has ended, when asked.
    Ended {
        /// Which.
        pid: i32,
        /// How.
        exit: Exit,
    },
}

/// How a worker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself.
    Exited {
        /// With this status.
        status: i32,
    },
    /// By a signal.
    Killed {
        /// Which.
        signal: i32,
        /// It left a core file.
        core_dumped: bool,
    },
    /// It was no child of the preloader's.
    Unknown,
}

/// What a worker is to be, beyond what its preloader is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkPlan {
    /// Names of the descriptors that come with it, but for the last two, which are its standard output
    /// and standard error: as of [`ExecPlan`](crate::exec::ExecPlan).
    pub descriptors: Vec<String>,
    /// As of [`ExecPlan`](crate::exec::ExecPlan).
    pub session_nice: Option<i32>,
    /// What its environment has besides or in place of its preloader's.
    pub env: BTreeMap<String, String>,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerWord {
    /// It was forked, and leads a session of its own.
    Here,
    /// It does not run. Nothing follows.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A preloader is written in another language: this is what it has to send and to understand.
    #[test]
    fn messages_are_written_as_a_preloader_knows_them() {
        let written = |order| serde_json::to_string(&order).unwrap();
        assert_eq!(written(PreloaderOrder::Fork), r#""fork""#);
        let ended = written(PreloaderOrder::Ended { pid: 7 });
        assert_eq!(ended, r#"{"ended":{"pid":7}}"#);

        let word = |text| serde_json::from_str::<PreloaderWord>(text).unwrap();
        assert_eq!(word(r#""ready""#), PreloaderWord::Ready);
        let killed = r#"{"ended":{"pid":7,"exit":{"killed":{"signal":9,"core_dumped":false}}}}"#;
        let exit = Exit::Killed {
            signal: 9,
            core_dumped: false,
        };
        assert_eq!(word(killed), PreloaderWord::Ended { pid: 7, exit });
        let unknown = r#"{"ended":{"pid":7,"exit":"unknown"}}"#;
        let exit = Exit::Unknown;
        assert_eq!(word(unknown), PreloaderWord::Ended { pid: 7, exit });

        let word = |text| serde_json::from_str::<WorkerWord>(text).unwrap();
        assert_eq!(word(r#""here""#), WorkerWord::Here);
        let failed = WorkerWord::Failed("no".into());
        assert_eq!(word(r#"{"failed":"no"}"#), failed);
    }
}
