//! Asking a worker for a page that is kept: what becomes of it without the client that asked first, and
//! when nothing may be kept.

use tokio::net::TcpSocket;
use wire::cache::CacheModeFrame;
use wire::route::ToRouter;

use crate::client::Client;
use crate::house::ready;
use crate::log::lines_at_the_end;
use crate::place::{MINUTE, Place, cached, get, said, says};

/// A site where one client has asked for `/a`, and another waits for what that one gets.
async fn two_wait(place: &mut Place, first: &mut Client) -> (crate::worker::Connection, Client) {
    first.say(get("/a", "")).await;
    let (worker, _) = place.asked().await;
    let mut second = place.house.client().await;
    second.say(get("/a", "")).await;
    let emperor = &mut place.house.emperor;
    emperor
        .stats_until(|stats| stats.cache.sites.iter().any(|site| site.waits == 1))
        .await;
    (worker, second)
}

#[tokio::test]
async fn a_fill_goes_on_without_the_client_that_began_it() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let mut first = place.house.client().await;
    let (mut worker, mut second) = two_wait(&mut place, &mut first).await;
    drop(first);
    let emperor = &mut place.house.emperor;
    emperor.stats_until(|stats| stats.connections == 1).await;
    worker.say(says(MINUTE, "once")).await;
    assert_eq!(second.reply().await.text(), "once");
    place.is_unasked();
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_no_other() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut first = Client::on(socket.connect(place.house.address).await.unwrap());
    let (mut worker, mut second) = two_wait(&mut place, &mut first).await;
    // Far more than lies in the sockets' buffers, and in hyper's.
    let text = "x".repeat(900 * 1024);
    worker.say(says(MINUTE, &text)).await;
    assert_eq!(second.reply().await.text().len(), text.len());
    assert_eq!(first.reply().await.text().len(), text.len());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_kept_and_who_waits_begins_again() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let mut first = place.house.client().await;
    let (mut worker, mut second) = two_wait(&mut place, &mut first).await;
    worker
        .say(says(MINUTE, "whole").replace("whole", "ha"))
        .await;
    drop(worker);
    let mut half = Vec::new();
    while !first.is_ended_with(&mut half).await {}
    assert!(half.ends_with(b"ha"), "{}", half.escape_ascii());
    let (mut worker, _) = place.asked().await;
    worker.say(says(MINUTE, "whole")).await;
    assert_eq!(second.reply().await.text(), "whole");
}

#[tokio::test]
async fn an_expired_page_is_served_while_it_is_refreshed_beside_that() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let lines = "Cache-Control: max-age=0, stale-while-revalidate=60\r\nETag: \"1\"\r\n";
    place.fill(&get("/a", ""), &says(lines, "old")).await;
    let stale = place.house.client().await.ask(get("/a", "")).await;
    assert_eq!(stale.text(), "old");
    assert!(
        stale
            .header("cache-status")
            .starts_with("emperor; hit; ttl=")
    );
    let (mut worker, head) = place.asked().await;
    assert!(head.contains("if-none-match: \"1\""), "{head}");
    // One refreshes; nobody waits for it, and nobody else begins.
    assert_eq!(place.hit(&get("/a", "")).await.text(), "old");
    worker.say(says(MINUTE, "new")).await;
    let emperor = &mut place.house.emperor;
    emperor
        .stats_until(|stats| stats.cache.sites.iter().any(|site| site.fills == 2))
        .await;
    assert_eq!(place.hit(&get("/a", "")).await.text(), "new");
}

#[tokio::test]
async fn a_new_router_keeps_nothing_until_it_is_told_that_purges_are_heard() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    place.fill(&get("/a", ""), &says(MINUTE, "before")).await;
    let service = ready(&[(1, place.house.socket("w1"))]);
    let table = vec![cached(CacheModeFrame::Http, service)];
    let (before, _link) = place.house.next_router(table).await;
    drop(before);
    assert_eq!(place.house.emperor.purged, Some(0));
    let bypass = "emperor; fwd=bypass; detail=invalidation-away";
    for _ in 0..2 {
        let away = place.fill(&get("/a", ""), &says(MINUTE, "asked")).await;
        assert_eq!(said(&away), (200, "asked", bypass));
    }
    place.house.emperor.say(&ToRouter::ResumeCache).await;
    place.house.emperor.router_has_looked().await;
    let first = place.fill(&get("/a", ""), &says(MINUTE, "kept")).await;
    assert_eq!(said(&first), (200, "kept", "emperor; fwd=uri-miss; stored"));
    assert_eq!(place.hit(&get("/a", "")).await.text(), "kept");
}

#[tokio::test]
async fn a_websocket_passes_the_cache_by() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    place.fill(&get("/a", ""), &says("", "page")).await;
    let mut client = place.house.client().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    client.say(get("/a", upgrade)).await;
    let (mut worker, _) = place.asked().await;
    worker
        .say(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        )
        .await;
    client.until(b"\r\n\r\n").await;
    worker.say("frame").await;
    assert_eq!(client.exactly(5).await, "frame");
    assert_eq!(place.hit(&get("/a", "")).await.text(), "page");
}

#[tokio::test]
async fn a_check_is_the_worker_s_to_answer() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    for text in ["well", "still well"] {
        let reply = place.fill(&get("/health", ""), &says("", text)).await;
        assert_eq!(said(&reply), (200, text, ""));
    }
}

#[tokio::test]
async fn the_access_log_tells_what_the_cache_did() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    place.fill(&get("/a", ""), &says(MINUTE, "page")).await;
    place.hit(&get("/a", "")).await;
    let told = lines_at_the_end(place.house).await;
    let mut told: Vec<_> = told
        .iter()
        .filter_map(|line| line["cache"].as_str())
        .collect();
    // Each thread writes its own lines.
    told.sort_unstable();
    assert_eq!(told[0], "fwd=uri-miss; stored");
    assert!(told[1].starts_with("hit; ttl="), "{told:?}");
}
