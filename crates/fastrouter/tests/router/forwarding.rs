//! What workers are told, and what clients are told of their answers.

use wire::route::ProtocolFrame;

use crate::house::{House, backends, ready, route};
use crate::worker::{Worker, next};

/// What the worker is sent for a request with these lines.
async fn forwarded(house: &mut House, lines: &str) -> String {
    let worker = Worker::echo(house.socket("echo"));
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    let request = format!("GET /a?b=c HTTP/1.1\r\nHost: site-1.example:81\r\n{lines}\r\n");
    let reply = client.ask(request).await;
    reply.text().to_lowercase()
}

#[tokio::test]
async fn workers_are_told_who_asked_for_what() {
    let mut house = House::new().await;
    let head = forwarded(&mut house, "Cookie: a=b\r\n").await;
    for line in [
        "get /a?b=c http/1.1\r\n",
        "\r\nhost: site-1.example:81\r\n",
        "\r\ncookie: a=b\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
        "\r\nx-forwarded-proto: http\r\n",
        "\r\nx-forwarded-host: site-1.example:81\r\n",
        "\r\nx-request-id: ",
    ] {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
}

#[tokio::test]
async fn what_a_stranger_claims_and_what_belongs_to_the_hop_goes_no_further() {
    let mut house = House::new().await;
    let lines = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\n\
                 X-Request-Id: chosen\r\nProxy: evil\r\nX_Forwarded_For: 6.6.6.6\r\n\
                 Connection: keep-alive, X-Secret\r\nX-Secret: s\r\nTE: trailers\r\n\
                 Keep-Alive: 5\r\nExpect: 100-continue\r\n";
    let head = forwarded(&mut house, lines).await;
    for absent in [
        "6.6.6.6",
        "https",
        "chosen",
        "evil",
        "secret",
        "trailers",
        "keep-alive",
        "expect",
    ] {
        assert!(!head.contains(absent), "{absent} in {head}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_appended() {
    let mut house =
        House::with(|settings| settings.trusted_proxies = vec!["127.0.0.1".into()]).await;
    let lines = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Host: shop.example\r\nX-Request-Id: from-the-proxy\r\n";
    let head = forwarded(&mut house, lines).await;
    for line in [
        "\r\nx-forwarded-for: 6.6.6.6, 127.0.0.1\r\n",
        "\r\nx-forwarded-proto: https\r\n",
        "\r\nx-forwarded-host: shop.example\r\n",
        "\r\nx-request-id: from-the-proxy\r\n",
    ] {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
}

#[tokio::test]
async fn an_answer_keeps_its_headers_but_for_those_of_the_hop() {
    let mut house = House::new().await;
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        connection.head().await;
        let head = "HTTP/1.1 201 Made\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                    Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Request-Id: mine\r\n\
                    ETag: \"x\"\r\n\r\nhi";
        connection.say(head).await;
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    let reply = client.get("site-1.example", "/").await;
    assert_eq!((reply.status, reply.text()), (201, "hi"));
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(reply.header("etag"), "\"x\"");
    assert_eq!(
        reply.header("x-request-id").len(),
        32,
        "the router's own id counts"
    );
    for absent in ["x-hop", "keep-alive", "connection"] {
        assert_eq!(reply.header(absent), "", "{absent}");
    }
    assert!(
        !client.get("site-1.example", "/").await.text().is_empty(),
        "the client's connection goes on"
    );
}

#[tokio::test]
async fn a_uwsgi_worker_gets_variables_and_the_body() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
    let service = backends(ProtocolFrame::Uwsgi, &[(1, worker.socket.clone())]);
    house.publish(route(1, service)).await;
    let mut client = house.client().await;
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        client
            .say(format!(
                "POST /a%20b?c HTTP/1.1\r\nHost: site-1.example\r\n{body}"
            ))
            .await;
        let mut worker = next(&mut connections).await;
        let start = worker.exactly(4).await;
        let length = usize::from(u16::from_le_bytes([start[1], start[2]]));
        let variables = worker.exactly(length).await;
        let variables = String::from_utf8_lossy(&variables).into_owned();
        for wanted in [
            "PATH_INFO\u{4}\0/a b",
            "QUERY_STRING\u{1}\0c",
            "CONTENT_LENGTH\u{1}\u{0}5",
        ] {
            assert!(variables.contains(wanted), "no {wanted:?} in {variables:?}");
        }
        assert_eq!(&worker.exactly(5).await[..], b"hello");
        worker
            .say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nfrom uwsgi")
            .await;
        drop(worker);
        assert_eq!(client.reply().await.text(), "from uwsgi");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_that_is_too_long_for_uwsgi_gets_411() {
    let mut house = House::new().await;
    let (worker, _connections) = Worker::by_hand(house.socket("w1"));
    let service = backends(ProtocolFrame::Uwsgi, &[(1, worker.socket.clone())]);
    house.publish(route(1, service)).await;
    let mut client = house.client().await;
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let request = "POST / HTTP/1.1\r\nHost: site-1.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    client
        .say(format!("{request}{chunk}1\r\nx\r\n0\r\n\r\n"))
        .await;
    assert_eq!(client.reply().await.status, 411);
}

#[tokio::test]
async fn a_protocol_that_isn_t_spoken_yet_gets_502() {
    let mut house = House::new().await;
    let (worker, _connections) = Worker::by_hand(house.socket("w1"));
    let service = backends(ProtocolFrame::Fastcgi, &[(1, worker.socket.clone())]);
    house.publish(route(1, service)).await;
    let mut client = house.client().await;
    assert_eq!(client.get("site-1.example", "/").await.status, 502);
}
