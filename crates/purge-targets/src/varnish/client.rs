//! The connection to a Varnish. Opened when there is something to ban, kept while there is more.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::protocol::{self, AUTHENTICATE, HEAD, OK, ProtocolError};
use crate::failure::Failure;
use crate::target::{Secret, VarnishTarget};

/// A connection, if there is one.
#[derive(Debug, Default)]
pub(crate) struct VarnishClient {
    stream: Option<TcpStream>,
}

impl VarnishClient {
    /// Bans what an expression matches. Not cancel safe: after that, [`hang_up`](Self::hang_up).
    pub(crate) async fn ban(&mut self, target: &VarnishTarget, ban: &str) -> Result<(), Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(target).await?,
        };
        let command = format!("ban {ban}\n");
        let sent = stream.write_all(command.as_bytes()).await;
        sent.map_err(|error| Failure::away(format!("the connection ended: {error}")))?;
        let (status, body) = answer(&mut stream).await?;
        // Whatever it says, it is the whole answer to this command.
        self.stream = Some(stream);
        if status == OK {
            return Ok(());
        }
        Err(refused("the ban", status, &body))
    }

    /// Lets go of the connection.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }
}

async fn connect(target: &VarnishTarget) -> Result<TcpStream, Failure> {
    let address = &target.address;
    let opened = TcpStream::connect(&address.0).await;
    let mut stream =
        opened.map_err(|error| Failure::away(format!("no connection to {address}: {error}")))?;
    let (status, body) = answer(&mut stream).await?;
    match status {
        OK => return Ok(stream),
        AUTHENTICATE => {}
        other => return Err(refused("the connection", other, &body)),
    }
    let Some(file) = &target.secret_file else {
        return Err(Failure::refused(
            "it asks for a secret: name the file behind its -S as secret_file".into(),
        ));
    };
    let secret = read_secret(file).await?;
    let mut command = protocol::authenticate(&body, &secret.0).map_err(|error| spoken(&error))?;
    command.push('\n');
    let sent = stream.write_all(command.as_bytes()).await;
    sent.map_err(|error| Failure::away(format!("the connection ended: {error}")))?;
    match answer(&mut stream).await {
        Ok((OK, _)) => Ok(stream),
        // It hangs up on who doesn't know the secret.
        Ok(_) | Err(Failure { .. }) => Err(Failure::refused(format!(
            "it doesn't take the secret in {}",
            file.display()
        ))),
    }
}

/// Read at each connection, so that a new secret needs no restart.
async fn read_secret(file: &Path) -> Result<Secret, Failure> {
    let read = tokio::fs::read(file).await;
    read.map(Secret::new)
        .map_err(|error| Failure::away(format!("secret_file {}: {error}", file.display())))
}

async fn answer(stream: &mut TcpStream) -> Result<(u16, Vec<u8>), Failure> {
    let ended = |error| Failure::away(format!("the connection ended: {error}"));
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await.map_err(ended)?;
    let (status, length) = protocol::head(head).map_err(|error| spoken(&error))?;
    // With the line's end that follows.
    let mut body = vec![0; length + 1];
    stream.read_exact(&mut body).await.map_err(ended)?;
    body.pop();
    Ok((status, body))
}

fn spoken(error: &ProtocolError) -> Failure {
    Failure::refused(error.to_string())
}

fn refused(what: &str, status: u16, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(200).collect();
    Failure::refused(format!("it refused {what} with {status}: {text}"))
}
