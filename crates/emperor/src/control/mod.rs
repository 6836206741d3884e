//! The control API: HTTP + JSON on `<runtime_dir>/control.sock`, described by the OpenAPI document
//! that it serves at `/openapi.json`.
//!
//! | module | what it is |
//! |---|---|
//! | `daemon` | what the API asks of the daemon, as a trait; `adapter` is the real one |
//! | `socket` | the socket: who may connect, and who had it before |
//! | `api` | what every handler has, and how it answers |
//! | `routes`, `logs`, `changes`, `purging` | resources and methods |
//! | `rows` | rows as documents, documents as values |
//! | `story`, `caches`, `rollout` | what happened to a site, cached pages and replacements as documents |
//! | `refusal` | every refusal, as status and document |
//! | `rendering`, `pools` | what runs for a site; who is in a pool |
//! | `tail` | reading a log that grows and is rotated |
//!
//! Whoever may open the socket may do everything: the kernel's check of the socket's mode is the
//! only one. Bodies are bounded; answers are made from levels, so that none waits for a vassal.

mod adapter;
mod api;
mod caches;
mod changes;
mod daemon;
mod logs;
mod pools;
mod purging;
mod refusal;
mod rendering;
mod rollout;
mod routes;
mod rows;
mod socket;
mod story;
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use daemon::Daemon;
pub(crate) use socket::{ControlSocket, NAME as SOCKET_NAME, SocketError};

use tokio_util::sync::CancellationToken;

/// Answers requests until `shutdown`; then those under way are ended, followed logs at once.
pub(crate) async fn serve<D: Daemon>(
    socket: ControlSocket,
    daemon: D,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = routes::router(daemon, shutdown.clone());
    let ended = shutdown.cancelled_owned();
    axum::serve(socket.into_listener(), router)
        .with_graceful_shutdown(ended)
        .await
}
