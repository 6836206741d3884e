//! What keeping a page costs besides its bytes, and what lookups and purges cost: printed, not judged.
//!
//! `cargo run --release -p page-cache --example overhead -- PAGES`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement prints figures, and has nobody to report errors to"
)]

use std::fs;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use page_cache::{
    Answered, Asked, Begin, CacheRequest, Lookup, Mode, Moment, PageCache, Policy, Purge, Scheme,
    Settings,
};
use site_model::SiteId;

const BODY: usize = 4096;

fn main() {
    let pages: usize = std::env::args()
        .nth(1)
        .map_or(100_000, |text| text.parse().unwrap());
    let bench = Bench::new(pages);
    let before = resident_bytes();
    let start = CpuTime::now();
    for number in 0..pages {
        bench.fill(number);
    }
    let per_fill = start.elapsed() / u32::try_from(pages).unwrap();
    let counted = bench.cache.site(bench.site).counters().read();
    let grown = resident_bytes() - before;
    let kept = counted.bytes - counted.pages * page_cache::PAGE_OVERHEAD_BYTES;
    println!("pages stored          {}", counted.pages);
    println!("fill                  {per_fill:?}");
    println!(
        "key, head and body    {:.1} bytes a page",
        kept as f64 / counted.pages as f64
    );
    println!(
        "resident memory       {:.1} bytes a page",
        grown as f64 / counted.pages as f64
    );
    println!(
        "overhead              {:.1} bytes a page",
        (grown - kept) as f64 / counted.pages as f64
    );
    bench.look_up(pages, "hit");
    for number in 0..2000 {
        let purge = Purge::tag(&format!("nothing{number}"));
        bench.purge(&purge, (number == 1999).then_some("purge, tag"));
    }
    bench.look_up(pages, "hit after 2000 purges");
    bench.purge(&Purge::path("/7"), Some("purge, path"));
    bench.purge(&Purge::prefix("/1"), Some("purge, prefix"));
    bench.purge(&Purge::tag("even"), Some("purge, tag of half"));
    let start = CpuTime::now();
    let mut sweep = bench.cache.sweep().unwrap();
    while sweep.step(1000) {}
    println!("{:22}{:?}", "sweep", start.elapsed());
    bench.purge(&Purge::Site, Some("purge, site"));
}

struct Bench {
    cache: PageCache,
    policy: Policy,
    site: SiteId,
    now: Moment,
    answer: HeaderMap,
    odd: HeaderMap,
    none: HeaderMap,
    body: Vec<u8>,
}

impl Bench {
    fn new(pages: usize) -> Self {
        let mut answer = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
        ] {
            answer.insert(name, HeaderValue::from_static(value));
        }
        let odd = answer.clone();
        answer.insert("surrogate-key", HeaderValue::from_static("even"));
        let settings = Settings {
            mode: Mode::UntilPurged,
            ..Settings::default()
        };
        Self {
            cache: PageCache::new((pages as u64 + 1000) * 2 * BODY as u64),
            policy: Policy::compile(settings).unwrap(),
            site: SiteId::new(1).unwrap(),
            now: Moment::from_seconds(1_000_000_000),
            answer,
            odd,
            none: HeaderMap::new(),
            body: vec![b'x'; BODY],
        }
    }

    fn request<'a>(&'a self, path: &'a str) -> CacheRequest<'a> {
        let asked = Asked {
            site: self.site,
            scheme: Scheme::Http,
            host: "www.example.com",
            method: &Method::GET,
            path,
            query: None,
            headers: &self.none,
        };
        CacheRequest::read(&self.policy, asked).unwrap()
    }

    fn fill(&self, number: usize) {
        let path = format!("/{number}");
        let request = self.request(&path);
        let site = self.cache.site(self.site);
        let Lookup::Miss(ask) = self.cache.look_up(&site, &request, self.now) else {
            panic!("{path} is stored already");
        };
        let Begin::Fill(permit) = self.cache.begin(&site, ask, self.now) else {
            panic!("{path} is filled already");
        };
        let answer = if number.is_multiple_of(2) {
            &self.answer
        } else {
            &self.odd
        };
        let (cache, policy) = (&self.cache, &self.policy);
        match permit.answer(cache, policy, &request, StatusCode::OK, answer, self.now) {
            Answered::Record(recorder) => {
                let recorder = recorder.push(cache, &self.body, self.now).unwrap();
                recorder.finish(cache, self.now).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    /// Looks every page up, in an order of its own, and makes the answer of it.
    fn look_up(&self, pages: usize, what: &str) {
        let site = self.cache.site(self.site);
        let paths: Vec<String> = (0..pages)
            .map(|at| format!("/{}", at * 7919 % pages))
            .collect();
        let (start, mut hits) = (CpuTime::now(), 0_u32);
        for path in &paths {
            let request = self.request(path);
            if let Lookup::Fresh(hit) = self.cache.look_up(&site, &request, self.now) {
                let answer = hit.answer(&request);
                hits += u32::from(answer.body.len() == BODY);
            }
        }
        println!("{what:22}{:?} ({hits} hits)", start.elapsed() / hits.max(1));
    }

    fn purge(&self, purge: &Purge, what: Option<&str>) {
        let start = Instant::now();
        self.cache.purge(self.site, std::slice::from_ref(purge));
        if let Some(what) = what {
            println!("{what:22}{:?}", start.elapsed());
        }
    }
}

/// What this thread has had of a processor: on a busy machine the clock on the wall tells of others.
struct CpuTime(u64);

impl CpuTime {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Self(text.split(' ').next().unwrap().parse().unwrap())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(Self::now().0 - self.0)
    }
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
