//! Pages that are at hand: the same answers, counters and lines, whether hyper saw the request or not.

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::timeout;
use wire::cache::{CacheModeFrame, PurgeFrame};
use wire::route::{RouterStats, Settings, ToRouter};

use crate::PATIENCE;
use crate::client::Client;
use crate::house::settings;
use crate::log::lines_at_the_end;
use crate::place::{MINUTE, Place, get, says};

/// More than the kernel takes for a client that doesn't read, and less than is kept of one page.
const LARGE_BYTES: usize = 7 << 20;
/// A header that asks for nothing, and that the short way leaves to the other.
const ROUNDABOUT: &str = "Pragma: x\r\n";

/// All of an answer, down to its bytes, but for what differs from one to the next.
async fn bytes(client: &mut Client, request: &str, body: &str) -> String {
    client.say(request).await;
    let body = if request.starts_with("HEAD") {
        ""
    } else {
        body
    };
    let answer = client.until(format!("\r\n\r\n{body}").as_bytes()).await;
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.split("\r\n").map(without_what_differs).collect();
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

fn without_what_differs(line: &str) -> String {
    let (name, value) = line.split_once(": ").unwrap_or((line, ""));
    match name {
        "x-request-id" => format!("{name}: {} characters", value.len()),
        "age" => format!("{name}: {}", value.parse::<u64>().unwrap() / 60),
        "cache-status" => {
            let (hit, ttl) = value.rsplit_once('=').unwrap();
            format!("{name}: {hit}={}", ttl.parse::<u64>().unwrap().div_ceil(60))
        }
        _ => line.to_owned(),
    }
}

#[tokio::test]
async fn a_page_at_hand_is_the_same_answer_byte_by_byte() {
    let proxied = |settings: &mut Settings| settings.trusted_proxies = vec!["127.0.0.0/8".into()];
    for change in [|_: &mut Settings| {}, proxied] {
        let mut place = Place::with(CacheModeFrame::Http, |_| {}, change).await;
        let long = "x".repeat(300_000);
        let error = format!("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n{MINUTE}\r\nnone");
        let odd = format!("HTTP/1.1 299 Odd\r\nContent-Length: 3\r\n{MINUTE}\r\nodd");
        let lines = format!(
            "{MINUTE}Link: </a>\r\nX-Request-Id: its own\r\nX-B: 1\r\nLink: </b>\r\nDate: Mon\r\n"
        );
        let varied = format!("{MINUTE}Vary: Accept-Encoding, X-None\r\n");
        for (target, answer, body) in [
            ("/small", says(MINUTE, "small"), "small"),
            ("/empty?a=%e9", says(MINUTE, ""), ""),
            ("/long", says(MINUTE, &long), &long),
            ("/lines", says(&lines, "lines"), "lines"),
            ("/varied", says(&varied, "varied"), "varied"),
            ("/error", error, "none"),
            ("/odd", odd, "odd"),
        ] {
            let forwarded = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: Other.example\r\n\
                             X-Request-Id: of-a-proxy\r\nX-Forwarded-For: 192.0.2.7\r\n";
            for lines in ["Accept-Encoding: br, gzip\r\nReferer: /\r\n", forwarded] {
                let request = get(target, lines);
                place.fill(&request, &answer).await;
                let mut client = place.house.client().await;
                for method in ["GET", "HEAD"] {
                    let request = request.replacen("GET", method, 1);
                    let roundabout = get(target, &format!("{lines}{ROUNDABOUT}"));
                    let roundabout = roundabout.replacen("GET", method, 1);
                    let short = bytes(&mut client, &request, body).await;
                    let other = bytes(&mut client, &roundabout, body).await;
                    assert_eq!(short, other, "{request}");
                    assert!(
                        short.contains("cache-status: emperor; hit; ttl="),
                        "{short}"
                    );
                }
                place.purge(1, vec![PurgeFrame::Site]).await;
            }
        }
        place.is_unasked();
        let stats = place.house.emperor.stats().await;
        assert_eq!(stats.cache.sites[0].hits, 7 * 2 * 4);
        let lines = lines_at_the_end(place.house).await;
        let mut hits: Vec<_> = lines
            .iter()
            .filter(|line| line["cache"] != "fwd=uri-miss; stored")
            .map(|line| comparable(line).to_string())
            .collect();
        assert_eq!(hits.len(), 7 * 2 * 4);
        // Each thread writes its own lines, and two of a kind need not stand together.
        hits.sort_unstable();
        for pair in hits.chunks(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}

/// A line of the log without times, which differ, and ids that are new.
fn comparable(line: &Value) -> Value {
    let mut line = line.clone();
    for field in ["time", "duration_us"] {
        assert!(
            line.as_object_mut().unwrap().remove(field).is_some(),
            "{field}"
        );
    }
    let cache = line["cache"].as_str().unwrap().to_owned();
    line["cache"] = cache.split_once("ttl=").unwrap().0.into();
    if line["request_id"] != "of-a-proxy" {
        line["request_id"] = line["request_id"].as_str().unwrap().len().into();
    }
    line
}

#[tokio::test]
async fn answers_keep_the_order_of_their_requests() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    for target in ["/a", "/b"] {
        place.fill(&get(target, ""), &says(MINUTE, target)).await;
    }
    let mut client = place.house.client().await;
    // One after the other, all at once, and with one between that nobody has answered yet.
    assert_eq!(client.ask(get("/a", "")).await.text(), "/a");
    assert_eq!(client.ask(get("/b", "")).await.text(), "/b");
    client
        .say([get("/a", ""), get("/b", ""), get("/a", "")].concat())
        .await;
    for expected in ["/a", "/b", "/a"] {
        assert_eq!(client.reply().await.text(), expected);
    }
    client.say(get("/missing", "")).await;
    let (mut worker, _) = place.asked().await;
    client.say(get("/a", "")).await;
    worker.say(says(MINUTE, "found")).await;
    for expected in ["found", "/a"] {
        assert_eq!(client.reply().await.text(), expected);
    }
    let halves = get("/b", "");
    let (one, other) = halves.split_at(20);
    client.say(one).await;
    place.house.emperor.router_has_looked().await;
    client.say(other).await;
    assert_eq!(client.reply().await.text(), "/b");
    assert_eq!(
        client.ask(get("/a", "Connection: close\r\n")).await.text(),
        "/a"
    );
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn who_reads_slowly_gets_it_all_from_a_router_that_ends_too() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let text = "x".repeat(LARGE_BYTES);
    place.fill(&get("/a", ""), &says(MINUTE, &text)).await;
    place.fill(&get("/b", ""), &says(MINUTE, "next")).await;
    let mut client = place.house.client().await;
    client.say(get("/a", "")).await;
    client.say(get("/b", "")).await;
    let all = client.reply().await;
    assert!(
        all.text() == text && !all.is_last,
        "{} bytes",
        all.body.len()
    );
    assert_eq!(client.reply().await.text(), "next");
    client.say(get("/a", "")).await;
    let hits = |count| move |stats: &RouterStats| stats.cache.sites[0].hits == count;
    place.house.emperor.stats_until(hits(3)).await;
    let mut idle = place.house.idle_client(1).await;
    place.house.signal(Signal::SIGTERM);
    assert!(idle.is_ended().await, "it ends");
    let all = client.reply().await;
    assert!(all.text() == text, "{} bytes", all.body.len());
    assert!(client.is_ended().await);
    let ended = timeout(PATIENCE, place.house.router.wait()).await.unwrap();
    assert!(ended.unwrap().success());
}

#[tokio::test]
async fn who_reads_nothing_and_who_asks_nothing_more_is_let_go_in_time() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let text = "x".repeat(LARGE_BYTES);
    place.fill(&get("/a", ""), &says(MINUTE, &text)).await;
    place.fill(&get("/b", ""), &says(MINUTE, "small")).await;
    let soon = Settings {
        keep_alive_timeout_ms: 50,
        ..settings()
    };
    place.house.emperor.say(&ToRouter::Settings(soon)).await;
    place.house.emperor.router_has_looked().await;
    let mut silent = place.house.client_saying(get("/b", "")).await;
    assert_eq!(silent.reply().await.text(), "small");
    assert!(silent.is_ended().await);
    let mut deaf = place.house.client_saying(get("/a", "")).await;
    // Who isn't accepted yet is no connection either.
    let answered = |stats: &RouterStats| stats.cache.sites[0].hits == 2;
    place.house.emperor.stats_until(answered).await;
    let gone = |stats: &RouterStats| stats.connections == 0;
    place.house.emperor.stats_until(gone).await;
    let mut all = Vec::new();
    while !deaf.is_ended_with(&mut all).await {}
    assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n") && all.len() < LARGE_BYTES);
}

#[tokio::test]
async fn what_was_purged_or_moved_is_not_at_hand_on_a_connection_that_had_it() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    place.fill(&get("/a", ""), &says("", "old")).await;
    place.fill(&get("/health", ""), &says("", "checked")).await;
    let mut client = place.house.client().await;
    assert_eq!(client.ask(get("/a", "")).await.text(), "old");
    client.say(get("/health", "")).await;
    let (mut worker, _) = place.asked().await;
    worker.say(says("", "checked again")).await;
    assert_eq!(client.reply().await.text(), "checked again");
    place.purge(1, vec![PurgeFrame::Path("/a".into())]).await;
    client.say(get("/a", "")).await;
    worker.head().await.unwrap();
    worker.say(says("", "new")).await;
    assert_eq!(client.reply().await.text(), "new");
    assert_eq!(client.ask(get("/a", "")).await.text(), "new");
    let generation = place.house.emperor.generation + 1;
    place.house.emperor.whole_table(generation, vec![]).await;
    assert_eq!(client.ask(get("/a", "")).await.status, 404);
}
