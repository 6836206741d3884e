//! One request to a worker, in the protocol the router will use.

use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Method, header};
use http_edge::upstream::{AnswerDecoder, AnswerError, Codec, RequestHead, UnspokenProtocol};
use site_model::{Protocol, SiteId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use vassal_core::Asked;

use super::miss::ProbeMiss;

const USER_AGENT: &str = concat!("Emperor/", env!("CARGO_PKG_VERSION"));

/// How much of the page is read after its head, and how long it is waited for. The head has told
/// what was asked; the rest is taken so that the worker doesn't meet a closed connection, which some
/// servers log as an error. A page without an end must not keep an instance from being ready.
const COURTESY_BYTES: usize = 256 * 1024;
const COURTESY_TIME: Duration = Duration::from_millis(500);

/// What is asked, and which answers count.
#[derive(Debug)]
pub(super) struct Question {
    codec: Codec,
    path: String,
    host: String,
    site: Option<SiteId>,
    headers: HeaderMap,
    accepted: Vec<(u16, u16)>,
}

impl Question {
    pub(super) fn new(
        protocol: Protocol,
        path: &str,
        asked: &Asked,
        accepted: Vec<(u16, u16)>,
    ) -> Result<Self, UnspokenProtocol> {
        let headers = [
            (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
            (header::ACCEPT, HeaderValue::from_static("*/*")),
        ];
        Ok(Self {
            codec: Codec::try_from(protocol)?,
            path: path.to_owned(),
            host: asked.host.to_string(),
            site: asked.site,
            headers: headers.into_iter().collect(),
            accepted,
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Asks once.
    pub(super) async fn ask(&self, mut stream: UnixStream) -> Result<(), ProbeMiss> {
        let head = RequestHead {
            site: self.site,
            ..RequestHead::probe(&Method::GET, &self.path, &self.host, &self.headers)
        };
        let mut out = BytesMut::new();
        self.codec.encode(&head, &mut out)?;
        stream.write_all(&out).await.map_err(broken)?;
        let mut decoder = AnswerDecoder::new(self.codec, &Method::GET);
        let mut received = BytesMut::new();
        let status = read_status(&mut stream, &mut decoder, &mut received).await?;
        let rest = take_rest(&mut stream, &mut decoder, &mut received);
        // However it went: the answer is known.
        let _ = timeout(COURTESY_TIME, rest).await;
        if self
            .accepted
            .iter()
            .any(|&(low, high)| (low..=high).contains(&status))
        {
            return Ok(());
        }
        Err(ProbeMiss::Status {
            path: self.path.clone(),
            status,
        })
    }
}

async fn read_status(
    stream: &mut UnixStream,
    decoder: &mut AnswerDecoder,
    received: &mut BytesMut,
) -> Result<u16, ProbeMiss> {
    loop {
        if let Some(head) = decoder.head(received)? {
            return Ok(head.status.as_u16());
        }
        if stream.read_buf(received).await.map_err(broken)? == 0 {
            return Err(AnswerError::CutOff.into());
        }
    }
}

async fn take_rest(
    stream: &mut UnixStream,
    decoder: &mut AnswerDecoder,
    received: &mut BytesMut,
) -> Result<(), ProbeMiss> {
    let mut taken = 0;
    while !decoder.is_at_end() && taken < COURTESY_BYTES {
        while let Some(part) = decoder.body(received)? {
            taken += part.len();
        }
        if decoder.is_at_end() || stream.read_buf(received).await.map_err(broken)? == 0 {
            break;
        }
    }
    Ok(())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn broken(error: std::io::Error) -> ProbeMiss {
    ProbeMiss::Broken(error.kind())
}
