//! Pages that are kept: who is answered without the worker, and who never.

use http::Method;
use wire::cache::{CacheModeFrame, PurgeFrame};
use wire::route::{FromRouter, RouteFrame, ServiceFrame, Settings, ToRouter};

use crate::house::ready;
use crate::place::{HOST, MINUTE, Place, cached, get, said, says};

#[tokio::test]
async fn a_page_is_answered_from_the_cache_until_a_purge_names_it() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let first = place.fill(&get("/a?x=1", ""), &says(MINUTE, "one")).await;
    assert_eq!(said(&first), (200, "one", "emperor; fwd=uri-miss; stored"));
    let second = place.hit(&get("/a?x=1", "")).await;
    assert_eq!((second.status, second.text()), (200, "one"));
    assert!(
        second
            .header("cache-status")
            .starts_with("emperor; hit; ttl=")
    );
    assert!(!second.header("age").is_empty());
    assert!(!second.header("x-request-id").is_empty());
    place.purge(7, vec![PurgeFrame::Path("/a".into())]).await;
    let third = place.fill(&get("/a?x=1", ""), &says(MINUTE, "two")).await;
    assert_eq!(said(&third), (200, "two", "emperor; fwd=uri-miss; stored"));
}

#[tokio::test]
async fn head_conditions_and_parts_are_answered_from_the_whole() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let first = place
        .fill(&get("/a", ""), &says(MINUTE, "0123456789"))
        .await;
    assert_eq!(first.text(), "0123456789");
    let mut client = place.house.client().await;
    client.say(get("/a", "").replace("GET", "HEAD")).await;
    let head = client.reply_to(&Method::HEAD).await;
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    let etag = head.header("etag").to_owned();
    assert!(!etag.is_empty(), "a strong one is made");
    let lines = format!("If-None-Match: {etag}\r\n");
    let unchanged = place.hit(&get("/a", &lines)).await;
    assert_eq!((unchanged.status, unchanged.text()), (304, ""));
    let part = place.hit(&get("/a", "Range: bytes=2-4\r\n")).await;
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
}

#[tokio::test]
async fn those_who_come_meanwhile_wait_for_the_first_one_s_answer() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let mut first = place.house.client().await;
    first.say(get("/a", "")).await;
    let (mut worker, _) = place.asked().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut client = place.house.client().await;
        client.say(get("/a", "")).await;
        others.push(client);
    }
    place
        .house
        .emperor
        .stats_until(|stats| stats.cache.sites.iter().any(|site| site.waits == 5))
        .await;
    worker.say(says(MINUTE, "once")).await;
    assert_eq!(first.reply().await.text(), "once");
    for client in &mut others {
        let reply = client.reply().await;
        let collapsed = "emperor; fwd=uri-miss; stored; collapsed";
        assert_eq!(said(&reply), (200, "once", collapsed));
    }
    place.is_unasked();
}

#[tokio::test]
async fn those_who_wait_ask_for_themselves_when_the_answer_can_t_be_shared() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let mut first = place.house.client().await;
    first.say(get("/a", "")).await;
    let (mut worker, _) = place.asked().await;
    let mut second = place.house.client().await;
    second.say(get("/a", "")).await;
    place
        .house
        .emperor
        .stats_until(|stats| stats.cache.sites.iter().any(|site| site.waits == 1))
        .await;
    let lines = format!("{MINUTE}Set-Cookie: session=1\r\n");
    worker.say(says(&lines, "first's own")).await;
    assert_eq!(first.reply().await.text(), "first's own");
    drop(worker);
    let (mut worker, _) = place.asked().await;
    worker.say(says(&lines, "second's own")).await;
    assert_eq!(second.reply().await.text(), "second's own");
}

#[tokio::test]
async fn what_is_one_visitor_s_is_never_another_s() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    for (request, answer, why) in [
        ("Cookie: session=1\r\n", "", "request-cookie"),
        ("Authorization: Basic x\r\n", "", "authorization"),
        ("", "Set-Cookie: a=b\r\n", "set-cookie"),
        ("", "Cache-Control: private\r\n", "private"),
    ] {
        let own = place
            .fill(&get("/mine", request), &says(answer, "mine"))
            .await;
        let status = own.header("cache-status");
        let told = status.ends_with(&format!("; detail={why}"));
        assert!(told && !status.contains("stored"), "{status}");
    }
    let admin = place.fill(&get("/admin/", ""), &says(MINUTE, "x")).await;
    let bypass = "emperor; fwd=bypass; detail=ignored";
    assert_eq!(said(&admin), (200, "x", bypass));
    let body = "Content-Length: 1\r\n";
    let fat = place
        .fill(&format!("{}x", get("/mine", body)), &says(MINUTE, "fat"))
        .await;
    let bypass = "emperor; fwd=bypass; detail=request-body";
    assert_eq!(said(&fat), (200, "fat", bypass));
}

#[tokio::test]
async fn variants_hosts_and_listed_cookies_are_pages_of_their_own() {
    let change = |route: &mut RouteFrame| {
        route.cache.as_mut().unwrap().cookies = vec!["language".into()];
    };
    let mut place = Place::with(CacheModeFrame::Http, change, |_| {}).await;
    let vary = format!("{MINUTE}Vary: Accept-Language\r\n");
    for language in ["de", "en"] {
        let request = get("/a", &format!("Accept-Language: {language}\r\n"));
        place.fill(&request, &says(&vary, language)).await;
        assert_eq!(place.hit(&request).await.text(), language);
    }
    for language in ["de", "en"] {
        let request = get("/b", &format!("Cookie: language={language}\r\n"));
        place.fill(&request, &says(MINUTE, language)).await;
        assert_eq!(place.hit(&request).await.text(), language);
    }
    // Applications write the port into their links.
    place.fill(&get("/c", ""), &says(MINUTE, "plain")).await;
    let other = get("/c", "").replace(HOST, "site-1.example:81");
    place.fill(&other, &says(MINUTE, "with a port")).await;
    assert_eq!(place.hit(&get("/c", "")).await.text(), "plain");
}

#[tokio::test]
async fn a_cookie_that_nobody_reads_is_no_matter_to_the_cache_and_not_told_to_the_worker() {
    let change = |route: &mut RouteFrame| {
        let cache = route.cache.as_mut().unwrap();
        cache.cookies = vec!["language".into()];
        cache.ignore_cookies = vec!["_ga*".into()];
    };
    let mut place = Place::with(CacheModeFrame::Http, change, |_| {}).await;
    let mut client = place.house.client().await;
    client.say(get("/", "Cookie: _ga=1; language=de\r\n")).await;
    let (mut worker, head) = place.asked().await;
    assert!(head.contains("language=de"), "{head}");
    assert!(!head.contains("_ga"), "{head}");
    worker.say(says(MINUTE, "kept")).await;
    drop(worker);
    assert_eq!(client.reply().await.text(), "kept");
    let another = get("/", "Cookie: language=de; _gat=2; _ga_X=3\r\n");
    assert_eq!(place.hit(&another).await.text(), "kept");
    // What goes past the cache goes as it is.
    let mine = get("/", "Cookie: _ga=1; sessionid=2\r\n");
    client.say(mine).await;
    let (mut worker, head) = place.asked().await;
    assert!(head.contains("_ga=1; sessionid=2"), "{head}");
    worker.say(says("", "mine")).await;
    assert_eq!(client.reply().await.text(), "mine");
}

#[tokio::test]
async fn a_fill_that_a_purge_overtakes_is_passed_on_and_not_kept() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    let mut client = place.house.client().await;
    client.say(get("/a", "")).await;
    let (mut worker, _) = place.asked().await;
    place.purge(1, vec![PurgeFrame::Prefix("/a".into())]).await;
    worker.say(says("", "old")).await;
    assert_eq!(client.reply().await.text(), "old");
    drop(worker);
    let next = place
        .fill(&get("/a", ""), &says("Cache-Tag: t\r\n", "new"))
        .await;
    assert_eq!(next.text(), "new");
    assert_eq!(place.hit(&get("/a", "")).await.text(), "new");
    place.purge(2, vec![PurgeFrame::Tag("t".into())]).await;
    place.fill(&get("/a", ""), &says("", "newer")).await;
    place.purge(3, vec![PurgeFrame::Site]).await;
    place.fill(&get("/a", ""), &says("", "newest")).await;
    assert_eq!(place.hit(&get("/a", "")).await.text(), "newest");
}

#[tokio::test]
async fn an_expired_page_is_asked_about_and_served_while_workers_fail() {
    let change = |route: &mut RouteFrame| {
        route.cache.as_mut().unwrap().stale_if_error_ms = 60_000;
    };
    let mut place = Place::with(CacheModeFrame::Http, change, |_| {}).await;
    let lines = "Cache-Control: max-age=0\r\nETag: \"1\"\r\n";
    place.fill(&get("/a", ""), &says(lines, "page")).await;
    let mut client = place.house.client().await;
    client.say(get("/a", "")).await;
    let (mut worker, head) = place.asked().await;
    assert!(head.contains("if-none-match: \"1\""), "{head}");
    worker
        .say("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=0\r\n\r\n")
        .await;
    let validated = client.reply().await;
    let status = "emperor; fwd=stale; fwd-status=304; stored";
    assert_eq!(said(&validated), (200, "page", status));
    drop(worker);
    let error = "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops";
    let rescued = place.fill(&get("/a", ""), error).await;
    assert_eq!((rescued.status, rescued.text()), (200, "page"));
    place
        .house
        .publish(cached_with(&change, ServiceFrame::Failed))
        .await;
    let dead = place.hit(&get("/a", "")).await;
    assert_eq!((dead.status, dead.text()), (200, "page"));
    let missing = place.hit(&get("/b", "")).await;
    assert_eq!(missing.status, 503);
}

fn cached_with(change: &impl Fn(&mut RouteFrame), service: ServiceFrame) -> RouteFrame {
    let mut route = cached(CacheModeFrame::Http, service);
    change(&mut route);
    route
}

#[tokio::test]
async fn the_errors_of_a_dying_worker_and_cut_off_answers_are_not_kept() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    let error = "HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\noops";
    let broken = place.fill(&get("/a", ""), error).await;
    assert_eq!((broken.status, broken.text()), (502, "oops"));
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhalf";
    let half = place.fill(&get("/a", ""), until_close).await;
    assert_eq!(half.text(), "half");
    assert!(half.header("cache-status").ends_with("detail=no-length"));
    let whole = place.fill(&get("/a", ""), &says("", "whole")).await;
    assert_eq!(whole.text(), "whole");
    assert_eq!(place.hit(&get("/a", "")).await.text(), "whole");
}

#[tokio::test]
async fn a_site_that_sleeps_answers_from_the_cache_and_sleeps_on() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    place.fill(&get("/a", ""), &says(MINUTE, "kept")).await;
    let expired = "Cache-Control: max-age=0, stale-if-error=60\r\n";
    place.fill(&get("/c", ""), &says(expired, "expired")).await;
    let asleep = ServiceFrame::Asleep;
    let route = cached(CacheModeFrame::Http, asleep);
    place.house.publish(route).await;
    assert_eq!(place.hit(&get("/a", "")).await.text(), "kept");
    assert_eq!(place.hit(&get("/c", "")).await.text(), "expired");
    // A wish to wake it would be heard in place of the figures.
    place.house.emperor.router_has_looked().await;
    let mut client = place.house.client().await;
    client.say(get("/b", "")).await;
    let wake = FromRouter::Wake { site_id: 1 };
    assert_eq!(place.house.emperor.hear().await, wake);
}

#[tokio::test]
async fn a_purge_of_a_client_is_obeyed_from_where_it_may_come() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    place.fill(&get("/a?x", ""), &says(MINUTE, "old")).await;
    let purge = get("/a", "").replace("GET", "PURGE");
    let through_a_proxy = get("/a", "X-Forwarded-For: 192.0.2.1\r\n").replace("GET", "PURGE");
    let refused = place.hit(&through_a_proxy).await;
    assert_eq!(refused.status, 403, "nobody knows who asked that proxy");
    assert_eq!(place.hit(&get("/a?x", "")).await.text(), "old");
    assert_eq!(place.hit(&purge).await.status, 200);
    place.fill(&get("/a?x", ""), &says(MINUTE, "new")).await;
    let behind = |settings: &mut Settings| {
        settings.trusted_proxies = vec!["127.0.0.0/8".into()];
        settings.purge_allow = vec!["192.0.2.0/24".into()];
    };
    let mut place = Place::with(CacheModeFrame::Http, |_| {}, behind).await;
    assert_eq!(place.hit(&through_a_proxy).await.status, 200);
    let another = through_a_proxy.replace("192.0.2.1", "198.51.100.1");
    assert_eq!(place.hit(&another).await.status, 403);
    assert_eq!(place.hit(&purge).await.status, 403, "the proxy itself");
    let nobody = |settings: &mut Settings| settings.purge_allow = vec!["192.0.2.1".into()];
    let mut place = Place::with(CacheModeFrame::Http, |_| {}, nobody).await;
    assert_eq!(place.hit(&purge).await.status, 403);
}

#[tokio::test]
async fn an_unsafe_request_purges_its_path() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    place.fill(&get("/a", ""), &says("", "old")).await;
    let post = get("/a", "Content-Length: 0\r\n").replace("GET", "POST");
    let posted = place.fill(&post, &says("", "done")).await;
    assert_eq!(posted.text(), "done");
    let new = place.fill(&get("/a", ""), &says("", "new")).await;
    assert_eq!(new.text(), "new");
}

#[tokio::test]
async fn nothing_is_served_while_purges_can_t_be_heard() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    place.fill(&get("/a", ""), &says(MINUTE, "kept")).await;
    place.house.emperor.say(&ToRouter::SuspendCache).await;
    place.house.emperor.router_has_looked().await;
    let away = place.fill(&get("/a", ""), &says(MINUTE, "asked")).await;
    let bypass = "emperor; fwd=bypass; detail=invalidation-away";
    assert_eq!(said(&away), (200, "asked", bypass));
    place.house.emperor.say(&ToRouter::ResumeCache).await;
    place.house.emperor.router_has_looked().await;
    assert_eq!(place.hit(&get("/a", "")).await.text(), "kept");
    let purge = ToRouter::PurgeAll { sequence: 9 };
    place.house.emperor.say(&purge).await;
    let purged = FromRouter::Purged { sequence: 9 };
    assert_eq!(place.house.emperor.hear().await, purged);
    place.house.next_emperor().await;
    assert_eq!(place.house.emperor.purged, Some(9));
    let away = place.fill(&get("/a", ""), &says(MINUTE, "asked")).await;
    assert_eq!(said(&away), (200, "asked", bypass));
}

#[tokio::test]
async fn what_is_stored_is_shown_and_counted() {
    let mut place = Place::new(CacheModeFrame::Http).await;
    let tagged = format!("{MINUTE}Surrogate-Key: a b\r\n");
    place.fill(&get("/a?x", ""), &says(&tagged, "page")).await;
    place.hit(&get("/a?x", "")).await;
    let pages = place.shown("/a").await;
    let shown: Vec<_> = pages
        .iter()
        .map(|page| (page.path.as_str(), page.query.as_str(), page.tags.join(" ")))
        .collect();
    assert_eq!(shown, [("/a", "?x", "a b".to_owned())]);
    let cookie = says("Set-Cookie: a=b\r\n", "mine");
    place.fill(&get("/mine", ""), &cookie).await;
    let refused = place.shown("/mine").await;
    assert_eq!(refused[0].refused.as_deref(), Some("set-cookie"));
    let stats = place.house.emperor.stats().await.cache;
    assert_eq!((stats.entries, stats.away), (2, false));
    let site = &stats.sites[0];
    assert_eq!(
        (site.hits, site.misses, site.fills, site.pages),
        (1, 2, 1, 1)
    );
    assert_eq!(site.refusals, [("set-cookie".to_owned(), 1)]);
}

#[tokio::test]
async fn memory_bounds_what_is_kept() {
    let few = |settings: &mut Settings| settings.cache_memory_bytes = 64 << 10;
    let mut place = Place::with(CacheModeFrame::UntilPurged, |_| {}, few).await;
    let text = "x".repeat(500);
    for page in 0..400 {
        place
            .fill(&get(&format!("/{page}"), ""), &says("", &text))
            .await;
    }
    let stats = place.house.emperor.stats().await.cache;
    assert!(stats.bytes <= 64 << 10, "{stats:?}");
    assert!(stats.sites[0].evictions > 0, "{stats:?}");
}

#[tokio::test]
async fn a_site_without_a_cache_is_as_it_was() {
    let mut place = Place::with(CacheModeFrame::Off, |_| {}, |_| {}).await;
    for _ in 0..2 {
        let reply = place.fill(&get("/a", ""), &says(MINUTE, "asked")).await;
        assert_eq!(said(&reply), (200, "asked", ""));
    }
    let purge = get("/a", "").replace("GET", "PURGE");
    let reply = place.fill(&purge, &says("", "the application's")).await;
    assert_eq!(reply.text(), "the application's");
}

#[tokio::test]
async fn another_policy_forgets_what_was_kept_by_the_one_before() {
    let mut place = Place::new(CacheModeFrame::UntilPurged).await;
    place.fill(&get("/a", ""), &says(MINUTE, "old")).await;
    let service = ready(&[(1, place.house.socket("w1"))]);
    place
        .house
        .publish(cached(CacheModeFrame::Http, service))
        .await;
    let reply = place.fill(&get("/a", ""), &says(MINUTE, "new")).await;
    assert_eq!(said(&reply), (200, "new", "emperor; fwd=uri-miss; stored"));
}
