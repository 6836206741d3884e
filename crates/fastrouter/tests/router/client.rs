//! A client that says exactly the bytes it is told to.

use std::net::SocketAddr;

use bytes::BytesMut;
use http::Method;
use http_edge::upstream::{AnswerDecoder, Codec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: BytesMut,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the router says that it is the last one of the connection.
    pub(crate) is_last: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap())
    }

    /// A client on a connection of its own making.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let written = self.stream.write_all(bytes.as_ref());
        timeout(PATIENCE, written)
            .await
            .expect("nobody reads")
            .unwrap();
    }

    /// Says this and reads the answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.say(request).await;
        self.reply().await
    }

    pub(crate) async fn get(&mut self, host: &str, target: &str) -> Reply {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        self.reply_to(&Method::GET).await
    }

    /// Reads a whole answer. Bytes behind it stay for the next one.
    pub(crate) async fn reply_to(&mut self, method: &Method) -> Reply {
        let mut decoder = AnswerDecoder::new(Codec::Http, method);
        let (head, is_last) = loop {
            // The decoder keeps to itself what is for one hop alone.
            let is_last = says_close(&self.received);
            if let Some(head) = decoder.head(&mut self.received).unwrap() {
                break (head, is_last);
            }
            assert!(
                self.read().await > 0,
                "a closed connection without an answer"
            );
        };
        let mut body = Vec::new();
        while !decoder.is_at_end() {
            if let Some(part) = decoder.body(&mut self.received).unwrap() {
                body.extend_from_slice(&part);
            } else if !decoder.is_at_end() && self.read().await == 0 {
                decoder.closed().expect("an answer that breaks off");
            }
        }
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            is_last,
        }
    }

    /// Says nothing more, and goes on listening.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads some bytes, whatever they mean; none at the end.
    pub(crate) async fn bytes(&mut self) -> BytesMut {
        if self.received.is_empty() {
            self.read().await;
        }
        self.received.split()
    }

    /// Reads until this stands at the end of what was read, and returns all.
    pub(crate) async fn until(&mut self, end: &[u8]) -> BytesMut {
        while !self.received.ends_with(end) {
            assert!(self.read().await > 0, "the connection ended early");
        }
        self.received.split()
    }

    /// Reads until exactly so many bytes have come.
    pub(crate) async fn exactly(&mut self, count: usize) -> BytesMut {
        while self.received.len() < count {
            assert!(self.read().await > 0, "the connection ended early");
        }
        self.received.split_to(count)
    }

    /// Collects bytes; whether the connection has ended, in whichever way.
    pub(crate) async fn is_ended_with(&mut self, all: &mut Vec<u8>) -> bool {
        let part = self.bytes().await;
        all.extend_from_slice(&part);
        part.is_empty()
    }

    /// Whether the router ends the connection without another byte.
    pub(crate) async fn is_ended(&mut self) -> bool {
        self.received.is_empty() && self.read().await == 0
    }

    async fn read(&mut self) -> usize {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
        read.expect("no answer comes").unwrap_or(0)
    }
}

fn says_close(received: &[u8]) -> bool {
    let head = String::from_utf8_lossy(received).to_lowercase();
    let (head, _) = head.split_once("\r\n\r\n").unwrap_or_default();
    head.contains("\r\nconnection: close")
}
