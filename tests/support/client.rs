//! HTTP towards the router: hyper's client for what is well-formed, raw bytes for what isn't.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take, a site's start included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// A visitor of the router's port.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    port: u16,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A connection that is kept for several requests.
#[derive(Debug)]
pub struct Kept(SendRequest<Full<Bytes>>);

/// Why there was no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nobody listens.
    Connect(std::io::Error),
    /// The connection broke, or what came was no HTTP.
    Http(hyper::Error),
    /// It took too long.
    Timeout,
}

impl Client {
    /// For a router on 127.0.0.1.
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// Asks for a path of a host on a connection of its own.
    pub async fn get(&self, host: &str, path: &str) -> Answer {
        self.try_get(host, path).await.unwrap()
    }

    /// As [`get`](Self::get), where no answer is an answer too.
    pub async fn try_get(&self, host: &str, path: &str) -> Result<Answer, NoAnswer> {
        self.connect().await?.get(host, path).await
    }

    /// Sends a whole request on a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let mut connection = self.connect().await.unwrap();
        connection.send(request).await.unwrap()
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Kept, NoAnswer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        let stream = TokioIo::new(stream.map_err(NoAnswer::Connect)?);
        let (sender, connection) = handshake(stream).await.map_err(NoAnswer::Http)?;
        // It ends with its sender; what breaks it is seen by the sender too.
        tokio::spawn(connection);
        Ok(Kept(sender))
    }

    /// Writes bytes and reads the head of the answer.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.stream().await;
        stream.write_all(request).await.unwrap();
        timeout(ANSWER_TIMEOUT, read_head(&mut stream))
            .await
            .unwrap()
    }

    /// Changes a connection into a WebSocket, says something, and returns what is said back.
    pub async fn websocket_echo(&self, host: &str, text: &str) -> String {
        let mut stream = self.websocket(host).await;
        let exchange = async {
            stream.write_all(&masked_frame(text)).await.unwrap();
            read_frame(&mut stream).await
        };
        timeout(ANSWER_TIMEOUT, exchange).await.unwrap()
    }

    /// Changes a connection into a WebSocket, which is open until it is dropped.
    pub async fn websocket(&self, host: &str) -> TcpStream {
        let mut stream = self.stream().await;
        let head = format!(
            "GET /socket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let head = timeout(ANSWER_TIMEOUT, read_head(&mut stream))
            .await
            .unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        stream
    }

    async fn stream(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }
}

impl Kept {
    /// Whether the other side has closed it.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Asks for a path of a host.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Answer, NoAnswer> {
        self.send(
            request(Method::GET, host, path)
                .body(Full::default())
                .unwrap(),
        )
        .await
    }

    /// Sends a whole request.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let exchange = async {
            self.0.ready().await?;
            let (head, body) = self.0.send_request(request).await?.into_parts();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        let answer = timeout(ANSWER_TIMEOUT, exchange).await;
        answer
            .map_err(|_| NoAnswer::Timeout)?
            .map_err(NoAnswer::Http)
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// What a browser would send back as its `Cookie`.
    pub fn cookies(&self) -> String {
        let cookies = self.headers.get_all("set-cookie").into_iter();
        let pairs = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// A request for a path of a host.
pub fn request(method: Method, host: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
}

/// A form that a browser submits.
pub fn form(host: &str, path: &str, cookies: &str, fields: &str) -> Request<Full<Bytes>> {
    request(Method::POST, host, path)
        .header(COOKIE, cookies)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("referer", format!("http://{host}{path}"))
        .body(Full::from(fields.to_owned()))
        .unwrap()
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// One text frame of RFC 6455, masked with zeros.
fn masked_frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126, "this frame has one byte for its length");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

async fn read_frame(stream: &mut TcpStream) -> String {
    let kind = stream.read_u8().await.unwrap();
    assert_eq!(kind, 0x81, "not a whole text frame");
    let length = stream.read_u8().await.unwrap();
    let mut text = vec![0; length.into()];
    stream.read_exact(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}
