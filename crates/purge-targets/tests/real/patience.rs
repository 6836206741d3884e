//! Targets that are away, slow or unwilling: tried again, in order, and no burden to others.

use purge_targets::{HttpTarget, Kind, NginxTarget, Report, Request, What};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Delivering, PATIENCE, free_port, names, order, read_head};

/// Takes one connection after the other and answers requests on it with these statuses; returns the
/// request lines.
async fn interface(listener: TcpListener, statuses: Vec<u16>) -> Vec<String> {
    let mut asked = vec![];
    let mut stream: Option<TcpStream> = None;
    for status in statuses {
        let line = loop {
            let mut open = match stream.take() {
                Some(open) => open,
                None => listener.accept().await.unwrap().0,
            };
            let head = read_head(&mut open).await;
            if let Some(line) = head.lines().next() {
                stream = Some(open);
                break line.to_owned();
            }
        };
        asked.push(line);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let open = stream.as_mut().unwrap();
        open.write_all(answer.as_bytes()).await.unwrap();
    }
    asked
}

fn paths(path: &str) -> What {
    What::Paths(names(&[path]))
}

fn nginx(port: u16) -> Kind {
    let url = format!("http://127.0.0.1:{port}");
    Kind::Nginx(NginxTarget::try_new(&url, None, false).unwrap())
}

#[tokio::test]
async fn a_target_that_is_away_gets_everything_in_order_when_it_is_back() {
    let port = free_port();
    let mut delivering = Delivering::start(nginx(port));
    for path in ["/1", "/2", "/3"] {
        delivering
            .send(vec![order(&["a.example"], paths(path))])
            .await;
    }
    let mut standing = delivering.delivery.standing();
    let failing = standing
        .wait_for(|standing| standing.failing.is_some())
        .await;
    let reason = failing.unwrap().failing.clone().unwrap();
    assert!(
        reason.contains("no connection to http://127.0.0.1"),
        "{reason}"
    );
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let asked = tokio::spawn(interface(listener, vec![200, 503, 404, 200]));
    for batch in 1..=3 {
        assert_eq!(delivering.report().await, Report::Done(batch));
    }
    let asked = asked.await.unwrap();
    assert_eq!(
        asked,
        [
            "PURGE /1 HTTP/1.1",
            "PURGE /2 HTTP/1.1",
            "PURGE /2 HTTP/1.1",
            "PURGE /3 HTTP/1.1"
        ]
    );
    assert_eq!(delivering.delivery.standing().borrow().failing, None);
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn what_is_refused_again_and_again_becomes_a_dead_letter_and_the_next_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let interface = tokio::spawn(interface(listener, vec![403, 403, 403, 403, 403, 200]));
    let url = format!("http://127.0.0.1:{port}/purge?url=http://{{host}}{{path}}");
    let header = ("authorization".to_owned(), "Bearer hunter2".to_owned());
    let target = HttpTarget {
        path: Some(Request::try_new("POST", &url, &[header], "").unwrap()),
        ..HttpTarget::default()
    };
    let mut delivering = Delivering::start(Kind::Http(Box::new(target.check().unwrap())));
    let refused = order(&["a.example"], paths("/1"));
    let orders = vec![refused.clone(), order(&["a.example"], paths("/2"))];
    delivering.send(orders).await;
    let Report::Dead { order, reason } = delivering.report().await else {
        panic!("nothing was given up");
    };
    assert_eq!(order, refused);
    assert!(
        reason.contains("403") && !reason.contains("hunter2"),
        "{reason}"
    );
    assert_eq!(delivering.report().await, Report::Done(1));
    assert_eq!(delivering.delivery.standing().borrow().dead, 1);
    let asked = interface.await.unwrap();
    assert_eq!(asked[5], "POST /purge?url=http://a.example/2 HTTP/1.1");
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn a_target_that_says_nothing_takes_orders_all_the_same() {
    // Takes connections into its queue, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut slow = Delivering::start(nginx(port));
    let send = async {
        for number in 0..1_000 {
            let what = paths(&format!("/{number}"));
            slow.send(vec![order(&["a.example"], what)]).await;
        }
    };
    let taken = tokio::time::timeout(PATIENCE, send).await;
    taken.expect("orders were not taken");
    let mut standing = slow.delivery.standing();
    // Many orders of one site have become one.
    let few = |queued: usize| (1..=101).contains(&queued);
    standing
        .wait_for(|standing| few(standing.queued))
        .await
        .unwrap();
    slow.delivery.shutdown().await;
    drop(listener);
}
