//! Sessions: opening one, the pair the registry works with, and a bound on every wait.
//!
//! A server that takes a connection and says nothing costs its bound and no more: each host, each
//! statement and the farewell have one.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::error::{Doing, LinkError};
use super::inbox::Inbox;
use super::payload::{CHANNEL, PURGES, Payload};
use super::target::{DatabaseTarget, HostTarget};
use super::tls;

/// For a statement that touches a few rows.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the farewell to the server may take; it closes the session anyway when it notices.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A notification to oneself takes a millisecond. After this long it went to somebody else.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open session and the task that moves its bytes.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    driver: AbortOnDropHandle<Result<(), tokio_postgres::Error>>,
    /// Why it ended, once that is known: the driver can be asked only once.
    end: Option<LinkError>,
}

/// Both sessions, at one and the same server.
#[derive(Debug)]
pub(crate) struct Link {
    /// Holds the `LISTEN` and is otherwise left alone.
    pub(crate) listen: Session,
    /// For everything else.
    pub(crate) query: Session,
    /// Where notifications go.
    pub(crate) inbox: Arc<Inbox>,
}

impl Session {
    /// Opens a session at the first host that takes writes.
    pub(crate) async fn open(target: &DatabaseTarget) -> Result<Self, LinkError> {
        first_host(target, |host, tls| async move {
            connect(&host, tls.as_ref(), None).await
        })
        .await
    }

    /// Opens a session at the first host that takes writes, whose notifications go to an inbox.
    pub(crate) async fn open_with(
        target: &DatabaseTarget,
        inbox: &Arc<Inbox>,
    ) -> Result<Self, LinkError> {
        first_host(target, |host, tls| {
            let inbox = Some(Arc::clone(inbox));
            async move { connect(&host, tls.as_ref(), inbox).await }
        })
        .await
    }

    /// Waits for the end of the session, which nobody asked for. Cancel safe.
    pub(crate) async fn ended(&mut self, doing: Doing) -> LinkError {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let end = match (&mut self.driver).await {
            Ok(Err(error)) => LinkError::from_postgres(&error, doing),
            Ok(Ok(())) | Err(_) => LinkError::SessionEnded {
                doing,
                message: "connection closed".into(),
            },
        };
        self.end.insert(end).clone()
    }

    /// Says farewell, so that the server's log has no broken connection in it.
    pub(crate) async fn close(self) {
        let Self {
            client,
            driver,
            end,
        } = self;
        drop(client);
        if end.is_some() {
            return;
        }
        // Past the bound, or after an error, dropping the driver closes the socket all the same.
        let _closed = tokio::time::timeout(CLOSE_TIMEOUT, driver).await;
    }
}

impl Link {
    /// Opens both sessions at the first host that takes writes, and subscribes, which is checked:
    /// after this, no change can be missed.
    pub(crate) async fn open(target: &DatabaseTarget) -> Result<Self, LinkError> {
        let link = first_host(target, |host, tls| async move {
            let inbox = Arc::new(Inbox::default());
            let listen = connect(&host, tls.as_ref(), Some(Arc::clone(&inbox))).await?;
            let query = connect(&host, tls.as_ref(), None).await?;
            Ok(Self {
                listen,
                query,
                inbox,
            })
        })
        .await?;
        link.subscribe().await?;
        Ok(link)
    }

    /// `LISTEN`, and a notification to oneself through the other session. A proxy that pools
    /// transactions takes both statements with a smile and delivers nothing.
    async fn subscribe(&self) -> Result<(), LinkError> {
        let nonce = fastrand::u64(..);
        let listen = format!("LISTEN {CHANNEL}");
        let notify = format!("NOTIFY {CHANNEL}, '{}'", Payload::probe(nonce));
        bounded(Doing::Listening, self.listen.client.batch_execute(&listen)).await?;
        bounded(Doing::Listening, self.query.client.batch_execute(&notify)).await?;
        tokio::time::timeout(PROBE_TIMEOUT, self.inbox.probe(nonce))
            .await
            .map_err(|_| LinkError::Pooled)
    }

    /// Makes sure that the server still has the subscription.
    pub(crate) async fn check_subscription(&self) -> Result<(), LinkError> {
        let question = "SELECT EXISTS (SELECT FROM pg_listening_channels() c WHERE c = $1)";
        let answer = self.listen.client.query_one(question, &[&CHANNEL]);
        let row = bounded(Doing::Listening, answer).await?;
        if row.get(0) {
            Ok(())
        } else {
            Err(LinkError::Pooled)
        }
    }

    /// Why a session ended of which a statement said that it has.
    pub(crate) async fn cause_of_end(&mut self) -> Option<LinkError> {
        tokio::time::timeout(CLOSE_TIMEOUT, self.ended()).await.ok()
    }

    /// Waits for the end of either session. Cancel safe.
    pub(crate) async fn ended(&mut self) -> LinkError {
        tokio::select! {
            error = self.listen.ended(Doing::Listening) => error,
            error = self.query.ended(Doing::Reading) => error,
        }
    }

    /// Says farewell on both.
    pub(crate) async fn close(self) {
        tokio::join!(self.listen.close(), self.query.close());
    }
}

/// Awaits a statement's answer no longer than [`STATEMENT_TIMEOUT`].
pub(crate) async fn bounded<T>(
    doing: Doing,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, LinkError> {
    bounded_by(STATEMENT_TIMEOUT, doing, answer).await
}

/// Awaits a statement's answer no longer than `after`.
pub(crate) async fn bounded_by<T>(
    after: Duration,
    doing: Doing,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, LinkError> {
    match tokio::time::timeout(after, answer).await {
        Ok(answer) => answer.map_err(|error| LinkError::from_postgres(&error, doing)),
        Err(_) => Err(LinkError::TimedOut { doing, after }),
    }
}

/// Tries the hosts in their order. With several, the error names each.
async fn first_host<T, F>(
    target: &DatabaseTarget,
    attempt: impl Fn(HostTarget, Option<MakeRustlsConnect>) -> F,
) -> Result<T, LinkError>
where
    F: Future<Output = Result<T, LinkError>>,
{
    let policy = target.tls.clone();
    let needs_tls = target.hosts.iter().any(|host| !host.is_unix);
    let tls = if needs_tls {
        let made = tokio::task::spawn_blocking(move || tls::connector(&policy)).await;
        made.map_err(|error| LinkError::Tls(error.to_string()))??
    } else {
        None
    };
    let mut errors = Vec::new();
    for host in &target.hosts {
        match attempt(host.clone(), tls.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(error) => errors.push((&host.label, error)),
        }
    }
    if errors.len() == 1 {
        let (_, error) = errors.remove(0);
        return Err(error);
    }
    let texts: Vec<_> = errors
        .iter()
        .map(|(host, e)| format!("{host}: {e}"))
        .collect();
    Err(LinkError::Unreachable(texts.join("; ")))
}

async fn connect(
    host: &HostTarget,
    tls: Option<&MakeRustlsConnect>,
    inbox: Option<Arc<Inbox>>,
) -> Result<Session, LinkError> {
    match tls {
        Some(tls) if !host.is_unix => {
            let opened = host.config.connect(tls.clone());
            let (client, connection) = bounded_by(host.timeout, Doing::Connecting, opened).await?;
            Ok(Session::new(client, connection, inbox))
        }
        Some(_) | None => {
            let opened = host.config.connect(NoTls);
            let (client, connection) = bounded_by(host.timeout, Doing::Connecting, opened).await?;
            Ok(Session::new(client, connection, inbox))
        }
    }
}

impl Session {
    fn new<S, T>(client: Client, connection: Connection<S, T>, inbox: Option<Arc<Inbox>>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let driver = tokio::spawn(drive(connection, inbox));
        Self {
            client,
            driver: AbortOnDropHandle::new(driver),
            end: None,
        }
    }
}

/// Moves a session's bytes until it ends, and notes what notifications say. Owned by its
/// [`Session`].
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    inbox: Option<Arc<Inbox>>,
) -> Result<(), tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        if let (AsyncMessage::Notification(said), Some(inbox)) = (message?, &inbox) {
            match said.channel() {
                CHANNEL => inbox.note(Payload::parse(said.payload())),
                PURGES => inbox.note(Payload::Purges),
                // The channel that the configuration names: who notifies there need not know of ids.
                _ => inbox.note(Payload::Everything),
            }
        }
    }
    Ok(())
}
