//! Answers as workers give them, good and bad, cut at every place.

use proptest::prelude::*;

use super::*;

/// An answer as a client would get it: status, body, and whether the connection is reusable.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    status: u16,
    body: Vec<u8>,
    reusable: bool,
}

fn read(decoder: &mut AnswerDecoder, sent: &[u8], cut: usize) -> Result<Read, AnswerError> {
    let (mut received, mut head, mut body) = (BytesMut::new(), None, Vec::new());
    for part in sent.chunks(cut) {
        received.extend_from_slice(part);
        if head.is_none() {
            head = decoder.head(&mut received)?;
        }
        while let Some(data) = decoder.body(&mut received)? {
            body.extend_from_slice(&data);
        }
    }
    if !decoder.is_at_end() {
        decoder.closed()?;
    }
    Ok(Read {
        status: head.ok_or(AnswerError::CutOff)?.status.as_u16(),
        body,
        reusable: decoder.is_reusable() && received.is_empty(),
    })
}

fn check_with(
    make: impl Fn() -> AnswerDecoder,
    sent: &str,
    expected: Result<(u16, &str, bool), AnswerError>,
) {
    for cut in [1, 7, usize::MAX] {
        let got = read(&mut make(), sent.as_bytes(), cut);
        let expected = expected.map(|(status, body, reusable)| Read {
            status,
            body: body.as_bytes().to_vec(),
            reusable,
        });
        assert_eq!(got, expected, "{sent:?} cut at {cut}");
    }
}

fn check(sent: &str, expected: Result<(u16, &str, bool), AnswerError>) {
    check_with(
        || AnswerDecoder::new(Codec::Http, &Method::GET),
        sent,
        expected,
    );
}

fn check_uwsgi(sent: &str, expected: Result<(u16, &str, bool), AnswerError>) {
    check_with(
        || AnswerDecoder::new(Codec::Uwsgi, &Method::GET),
        sent,
        expected,
    );
}

#[test]
fn the_head_tells_where_the_body_ends() {
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        Ok((200, "hi", true)),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Ok((200, "", true)),
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        Ok((200, "hi", true)),
    );
    check(
        "HTTP/1.1 200 OK\r\n\r\nto the end",
        Ok((200, "to the end", false)),
    );
    check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "", true)));
    check(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        Ok((304, "", true)),
    );
}

#[test]
fn only_a_worker_that_keeps_alive_gets_another_request() {
    check(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        Ok((200, "", false)),
    );
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        Ok((200, "", false)),
    );
    check(
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        Ok((200, "", true)),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, more than was said",
        Ok((200, "hi", false)),
    );
}

#[test]
fn an_answer_to_head_has_no_body_whatever_it_says() {
    let make = || AnswerDecoder::new(Codec::Http, &Method::HEAD);
    check_with(
        make,
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        Ok((200, "", true)),
    );
    check_with(
        make,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Ok((200, "", true)),
    );
}

#[test]
fn interim_answers_are_skipped() {
    check(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        Ok((204, "", true)),
    );
}

#[test]
fn a_switch_of_protocols_has_to_be_asked_for() {
    let sent = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    check(sent, Err(AnswerError::Unasked));
    check_with(
        || AnswerDecoder::of_upgrade(Codec::Http),
        sent,
        Ok((101, "", false)),
    );
}

#[test]
fn an_answer_that_contradicts_itself_is_none() {
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err(AnswerError::Framing),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        Err(AnswerError::Framing),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
        Err(AnswerError::Framing),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        Err(AnswerError::Framing),
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
        Err(AnswerError::TransferCoding),
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi",
        Err(AnswerError::Chunk(BadChunk::Size)),
    );
}

#[test]
fn an_answer_that_was_cut_off_is_told_from_a_whole_one() {
    check("", Err(AnswerError::CutOff));
    check("HTTP/1.1 200", Err(AnswerError::CutOff));
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        Err(AnswerError::CutOff),
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        Err(AnswerError::CutOff),
    );
}

#[test]
fn what_is_no_answer_is_refused() {
    check(
        "SSH-2.0-OpenSSH\r\n\r\n",
        Err(AnswerError::Head(httparse::Error::Version)),
    );
    let endless = format!(
        "HTTP/1.1 200 OK\r\nX: {}",
        "x".repeat(MAX_ANSWER_HEAD_BYTES)
    );
    check(&endless, Err(AnswerError::HeadTooLong));
}

#[test]
fn a_uwsgi_worker_answers_as_a_server_or_as_a_cgi_program() {
    check_uwsgi(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhi",
        Ok((200, "hi", false)),
    );
    check_uwsgi(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        Ok((200, "hi", false)),
    );
    check_uwsgi(
        "Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno",
        Ok((404, "no", false)),
    );
    check_uwsgi("Content-Type: text/plain\r\n\r\nhi", Ok((200, "hi", false)));
    check_uwsgi("Status: x\r\n\r\n", Err(AnswerError::Status));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_the_cut_changes_no_body(
        bytes in prop::collection::vec(prop::sample::select(b"HTP/1.02 \r\n:Content-Length".to_vec()), 0..200),
        cut in 1usize..50,
    ) {
        let whole = read(&mut AnswerDecoder::new(Codec::Uwsgi, &Method::GET), &bytes, usize::MAX);
        let parts = read(&mut AnswerDecoder::new(Codec::Uwsgi, &Method::GET), &bytes, cut);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn any_body_comes_out_as_it_went_in(body in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        let mut sent = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        sent.extend_from_slice(&body);
        let got = read(&mut AnswerDecoder::new(Codec::Http, &Method::GET), &sent, cut);
        prop_assert_eq!(got, Ok(Read { status: 200, body, reusable: true }));
    }
}
