//! The command line's end of the control socket: requests as documents, refusals as errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;
use vassal_core::units::Humane;
use wire::control::{ErrorCode, ErrorDocument};

use crate::config::{Config, Surroundings};

/// How long the daemon may take to begin its answer. Changes of rows wait for PostgreSQL, which has
/// its own, shorter bounds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest document taken: the status of some hundred thousand sites.
const MAX_DOCUMENT_BYTES: usize = 256 << 20;

/// `runtime_dir` of a daemon that root runs.
const SYSTEM_DIR: &str = "/run/emperor";

/// A way to the daemon. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// Nobody listens at the socket, or this user may not connect.
    #[error(
        "the daemon can't be reached at {}: {source}{}",
        socket.display(),
        advice(source)
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It accepted and then said nothing.
    #[error(
        "the daemon took the request at {} and did not answer within {}; it hangs, and its log \
         may say why", socket.display(), Humane(TIMEOUT)
    )]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection ended or was no HTTP.
    #[error("the connection to {} broke: {source}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        source: hyper::Error,
    },
    /// It ended while it was listened to.
    #[error("the daemon at {} has ended", socket.display())]
    Ended {
        /// The socket.
        socket: PathBuf,
    },
    /// It refused, and said why.
    #[error("{}", document.error)]
    Refused {
        /// Its words.
        document: ErrorDocument,
    },
    /// An answer without a document, or with another one.
    #[error("the daemon's answer ({status}) can't be understood; is it of another version?")]
    Foreign {
        /// Its status.
        status: StatusCode,
    },
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; run this as the daemon's user, or as a member of the group `emperor`"
        }
        _ => {
            "; is it running? Start it with `emperor run`, or name its configuration with --config"
        }
    }
}

impl ClientError {
    /// Which refusal it is, if it is one.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { document } => Some(document.code),
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Broken { .. }
            | Self::Ended { .. }
            | Self::Foreign { .. } => None,
        }
    }
}

impl Client {
    /// A way to the daemon that runs on `runtime_dir`.
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        Self {
            socket: runtime_dir.join(crate::control::SOCKET_NAME),
        }
    }

    /// A way to the daemon that a configuration leads to. Where there is no file, the daemon may be
    /// the user's own or the machine's: the user's, if there is one.
    pub(crate) fn of(config: &Config, surroundings: &Surroundings) -> Self {
        let (own, machine) = (
            Self::new(&config.runtime_dir),
            Self::new(Path::new(SYSTEM_DIR)),
        );
        let has_choice = config.file.is_none() && !surroundings.is_root();
        if has_choice && !own.socket.exists() && machine.socket.exists() {
            return machine;
        }
        own
    }

    /// GET
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.document(Method::GET, path, &()).await
    }

    /// POST
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.document(Method::POST, path, body).await
    }

    /// PATCH
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.document(Method::PATCH, path, body).await
    }

    /// DELETE
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.open(Method::DELETE, path, &()).await.map(drop)
    }

    /// What an end means of something that has none while the daemon runs.
    pub(crate) fn gone(&self) -> ClientError {
        ClientError::Ended {
            socket: self.socket.clone(),
        }
    }

    /// GET of something that comes piece by piece, without an end perhaps.
    pub(crate) async fn stream(&self, path: &str) -> Result<Stream, ClientError> {
        self.open(Method::GET, path, &()).await
    }

    async fn document<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let stream = self.open(method, path, body).await?;
        let status = stream.response.status();
        let body = self.whole(stream).await?;
        serde_json::from_slice(&body).map_err(|_| ClientError::Foreign { status })
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Stream, ClientError> {
        let exchange = self.exchange(request(method, path, body));
        let silent = |_| ClientError::Silent {
            socket: self.socket.clone(),
        };
        let stream = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(silent)??;
        let status = stream.response.status();
        if status.is_success() {
            return Ok(stream);
        }
        let body = self.whole(stream).await?;
        match serde_json::from_slice(&body) {
            Ok(document) => Err(ClientError::Refused { document }),
            Err(_) => Err(ClientError::Foreign { status }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Stream, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            ClientError::Unreachable { socket, source }
        })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|source| self.broken(source))?;
        // Its result is the request's, told below.
        let connection = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
        let response = sender.send_request(request).await;
        Ok(Stream {
            response: response.map_err(|source| self.broken(source))?,
            socket: self.socket.clone(),
            _connection: connection,
        })
    }

    async fn whole(&self, stream: Stream) -> Result<Bytes, ClientError> {
        let status = stream.response.status();
        let body = Limited::new(stream.response.into_body(), MAX_DOCUMENT_BYTES);
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::Foreign { status }),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(source) => Err(self.broken(*source)),
                Err(_) => Err(ClientError::Foreign { status }),
            },
        }
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken {
            socket: self.socket.clone(),
            source,
        }
    }
}

/// An answer that comes piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Stream {
    response: Response<Incoming>,
    socket: PathBuf,
    _connection: AbortOnDropHandle<()>,
}

impl Stream {
    /// The next piece; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.response.frame().await {
            let frame = frame.map_err(|source| ClientError::Broken {
                socket: self.socket.clone(),
                source,
            })?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

fn request(method: Method, path: &str, body: &impl Serialize) -> Request<Full<Bytes>> {
    let json = serde_json::to_vec(body).expect("documents have text keys and finite numbers");
    let has_body = method != Method::GET && method != Method::DELETE;
    let body = if has_body {
        Bytes::from(json)
    } else {
        Bytes::new()
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "emperor")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("paths are made of slugs, names and numbers")
}
