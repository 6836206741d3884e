//! How the fastrouter is to behave.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the fastrouter is to behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Slug of the site that answers for unknown hosts; empty: none does.
    pub default_site: String,
    /// Whose `X-Forwarded-*` headers are believed: addresses or networks in CIDR form.
    pub trusted_proxies: Vec<String>,
    /// The largest request head, in bytes (431).
    pub max_head_bytes: u32,
    /// The longest request target, in bytes (414).
    pub max_target_bytes: u32,
    /// The largest request body, in bytes (413); 0: no bound.
    pub max_body_bytes: u64,
    /// How long a request head may take to arrive (408).
    pub head_timeout_ms: u64,
    /// How long a kept-alive connection may idle between requests.
    pub keep_alive_timeout_ms: u64,
    /// How long a worker may take until the head of its answer, and between two reads of its body
    /// (504).
    pub response_timeout_ms: u64,
    /// How long connecting to a worker's socket may take.
    pub connect_timeout_ms: u64,
    /// How many client connections may be open at once, over all threads.
    pub max_connections: u32,
    /// How long requests and tunnels may take to end once the router is replaced or ends.
    pub drain_timeout_ms: u64,
    /// The access log; absent: none is written.
    pub access_log: Option<AccessLog>,
    /// How many bytes the page cache may hold; 0: there is none.
    #[serde(default)]
    pub cache_memory_bytes: u64,
    /// Whose `PURGE` requests are obeyed: addresses or networks in CIDR form.
    #[serde(default)]
    pub purge_allow: Vec<String>,
}

/// Where and how requests are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// The file; it is opened by the emperor and passed by name `access-log`, since the router's
    /// user may not write there.
    pub path: PathBuf,
    /// How a line looks.
    pub format: AccessLogFormat,
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogFormat {
    /// One JSON object.
    Json,
    /// The combined format of Apache httpd and nginx.
    Combined,
}
