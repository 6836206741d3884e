//! A client on one kept-alive connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::backend::BODY_BYTES;
use super::request::ANONYMOUS;

/// One that never logged in.
pub(super) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Asks for a page, and returns the head of the answer.
    pub(super) fn ask(&mut self, target: &str) -> io::Result<String> {
        let lines = ANONYMOUS.join("\r\n");
        let request = format!("GET {target} HTTP/1.1\r\n{lines}\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        self.received.clear();
        let mut buffer = [0; 8192];
        loop {
            if let Some(end) = self
                .received
                .windows(4)
                .position(|part| part == b"\r\n\r\n")
                && self.received.len() >= end + 4 + BODY_BYTES
            {
                return Ok(String::from_utf8_lossy(&self.received[..end]).into_owned());
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}
