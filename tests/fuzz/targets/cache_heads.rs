//! Heads of requests and answers as the page cache reads them: nothing that belongs to one visitor is
//! kept, what is served is what was stored or a part of it, and a purge of the path ends it.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use page_cache::{
    Answered, Asked, Begin, CacheRequest, Lookup, Mode, Moment, PageCache, Policy, Purge, Scheme,
    Settings,
};
use site_model::SiteId;

const BODY: &[u8] = b"0123456789";

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (target, asked, said) = (
        String::from_utf8_lossy(next()),
        headers(next()),
        headers(next()),
    );
    for mode in [Mode::Http, Mode::UntilPurged] {
        check(mode, &target, &asked, &said);
    }
});

fn check(mode: Mode, target: &str, asked: &HeaderMap, said: &HeaderMap) {
    let settings = Settings {
        mode,
        sort_query: true,
        cookies: vec!["lang".to_owned()],
        ignore_query: vec!["utm_*".to_owned()],
        ..Settings::default()
    };
    let policy = Policy::compile(settings).expect("it is valid");
    let id = SiteId::new(7).expect("it is positive");
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let asked = Asked {
        site: id,
        scheme: Scheme::Https,
        host: "a.example",
        method: &Method::GET,
        path,
        query,
        headers: asked,
    };
    let Ok(request) = CacheRequest::read(&policy, asked) else {
        return;
    };
    let now = Moment::from_seconds(1_000_000_000);
    let cache = PageCache::new(1 << 20);
    let site = cache.site(id);
    let Lookup::Miss(ask) = cache.look_up(&site, &request, now) else {
        return;
    };
    let Begin::Fill(permit) = cache.begin(&site, ask, now) else {
        panic!("nobody else asks");
    };
    let Answered::Record(recorder) =
        permit.answer(&cache, &policy, &request, StatusCode::OK, said, now)
    else {
        return;
    };
    assert!(
        !said.contains_key("set-cookie"),
        "a visitor's cookie is kept"
    );
    let recorder = recorder.push(&cache, BODY, now).expect("it is small");
    if recorder.finish(&cache, now).is_err() {
        return;
    }
    if let Lookup::Fresh(hit) = cache.look_up(&site, &request, now) {
        let answer = hit.answer(&request);
        let is_part = BODY
            .windows(answer.body.len().max(1))
            .any(|part| part == answer.body);
        assert!(is_part || answer.body.is_empty());
    }
    cache.purge(id, &[Purge::path(path)]);
    let lookup = cache.look_up(&site, &request, now);
    assert!(
        !matches!(lookup, Lookup::Fresh(_)),
        "it is served after its purge"
    );
}

/// Lines of a head, those that are none left out.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
