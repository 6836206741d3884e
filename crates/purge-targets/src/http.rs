//! Requests to a target, over one connection that is kept while there are more.

use std::sync::{Arc, OnceLock};

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use ::http::{HeaderValue, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::failure::Failure;
use crate::plan::Asked;
use crate::target::is_json;

/// More of an answer is not read; the connection ends instead.
const MAX_ANSWER: usize = 64 * 1024;

/// A connection, if there is one.
#[derive(Debug, Default)]
pub(crate) struct HttpClient {
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    /// Scheme, host and port: what it may be used for.
    authority: String,
    sender: SendRequest<Full<Bytes>>,
    /// Moves its bytes; ends with it.
    _driver: AbortOnDropHandle<()>,
}

impl HttpClient {
    /// Sends a request and judges its answer. Not cancel safe: after that,
    /// [`hang_up`](Self::hang_up).
    pub(crate) async fn ask(&mut self, asked: &Asked) -> Result<(), Failure> {
        let request = request(asked)?;
        let mut connection = self.connection(&asked.url).await?;
        let answer = connection.sender.send_request(request).await;
        let answer =
            answer.map_err(|error| Failure::away(format!("{}: {error}", connection.authority)))?;
        let verdict = judge(&answer, asked);
        if drained(answer).await {
            self.connection = Some(connection);
        }
        verdict
    }

    /// Lets go of the connection.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }

    async fn connection(&mut self, url: &Uri) -> Result<Connection, Failure> {
        let (host, port, is_tls) = endpoint(url);
        let authority = format!(
            "{}{host}:{port}",
            if is_tls { "https://" } else { "http://" }
        );
        if let Some(mut kept) = self.connection.take()
            && kept.authority == authority
            // A server that closed it in the meantime is asked anew.
            && kept.sender.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream
            .map_err(|error| Failure::away(format!("no connection to {authority}: {error}")))?;
        let opened = if is_tls {
            let name = ServerName::try_from(host)
                .map_err(|error| Failure::refused(format!("{authority}: {error}")))?;
            let secured = TlsConnector::from(tls()?).connect(name, stream).await;
            let secured =
                secured.map_err(|error| Failure::away(format!("{authority}: TLS: {error}")))?;
            open(secured).await
        } else {
            open(stream).await
        };
        let (sender, driver) =
            opened.map_err(|error| Failure::away(format!("{authority}: {error}")))?;
        Ok(Connection {
            authority,
            sender,
            _driver: driver,
        })
    }
}

/// Host, port, and whether TLS is spoken. The URL was checked to have a host.
fn endpoint(url: &Uri) -> (String, u16, bool) {
    let is_tls = url.scheme_str() == Some("https");
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    (bare.to_owned(), port, is_tls)
}

async fn open<S>(
    stream: S,
) -> Result<(SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer hears of it.
        let _ended = connection.await;
    });
    Ok((sender, AbortOnDropHandle::new(driver)))
}

/// The certificates of the system, read once.
fn tls() -> Result<Arc<ClientConfig>, Failure> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Failure::away(
            "no certificates to verify it with; install the package ca-certificates".into(),
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::refused(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

fn request(asked: &Asked) -> Result<Request<Full<Bytes>>, Failure> {
    let unsendable = |error: ::http::Error| Failure::refused(format!("the request: {error}"));
    let path = asked.url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(asked.method.clone())
        .uri(path)
        .body(Full::new(Bytes::from(asked.body.clone())))
        .map_err(unsendable)?;
    let headers = request.headers_mut();
    let own = asked
        .url
        .authority()
        .map_or("", |authority| authority.as_str());
    let host = match &asked.host {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(own).map_err(|error| unsendable(error.into()))?,
    };
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("emperor"));
    if is_json(&asked.body) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(asked.body.len()));
    for (name, value) in &asked.headers {
        headers.insert(name.clone(), value.clone());
    }
    Ok(request)
}

fn judge(answer: &Response<Incoming>, asked: &Asked) -> Result<(), Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let absent = [StatusCode::NOT_FOUND, StatusCode::PRECONDITION_FAILED].contains(&status);
    if absent && asked.absence_is_done {
        return Ok(());
    }
    let later = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    let host = asked.url.host().unwrap_or_default();
    let reason = format!("{host} answered {} with {status}", asked.method);
    if status.is_server_error() || later.contains(&status) {
        return Err(Failure::away(reason));
    }
    Err(Failure::refused(reason))
}

/// Reads the answer to its end, so that its connection can be used again.
async fn drained(answer: Response<Incoming>) -> bool {
    Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await
        .is_ok()
}
