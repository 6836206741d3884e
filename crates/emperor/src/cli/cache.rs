//! `emperor purge` and `emperor cache`.

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use wire::control::{
    CachedDocument, PageDocument, PurgeDocument, PurgedDocument, ReasonDocument, SiteCacheDocument,
};

use super::args::{Cache, CacheShow, Purge};
use super::client::Client;
use super::failure::Failure;
use super::output;
use super::text::{Cell, Table, Tone, bytes, counted, duration, printable, put, put_line};

/// `emperor purge`
pub(super) async fn purge(command: &Purge, client: &Client) -> Result<(), Failure> {
    let wanted = PurgeDocument {
        site: command.site.as_ref().map(|site| site.as_str().to_owned()),
        paths: command.path.clone(),
        prefixes: command.prefix.clone(),
        tags: command.tag.clone(),
        all: command.all,
    };
    let purged: PurgedDocument = client.post("/v1/purge", &wanted).await?;
    if command.format.json {
        return Ok(output::print_json(&purged)?);
    }
    let ids: Vec<_> = purged.purges.iter().map(ToString::to_string).collect();
    let said = format!(
        "committed as {} {}; emperor status shows the targets in front\n",
        if ids.len() == 1 { "purge" } else { "purges" },
        ids.join(", ")
    );
    Ok(output::print(&said)?)
}

/// `emperor cache`
pub(super) async fn run(command: &Cache, client: &Client) -> Result<(), Failure> {
    match command {
        Cache::Show(show) => self::show(show, client).await,
    }
}

async fn show(command: &CacheShow, client: &Client) -> Result<(), Failure> {
    let mut path = format!("/v1/sites/{}/cache", command.site.as_str());
    if let Some(wanted) = &command.path {
        let encoded = utf8_percent_encode(path_of(wanted), NON_ALPHANUMERIC);
        put!(path, "?path={encoded}");
    }
    let cached: CachedDocument = client.get(&path).await?;
    if command.format.json {
        return Ok(output::print_json(&cached)?);
    }
    Ok(output::print(&sheet(&cached))?)
}

/// A whole URL is as good as its path.
fn path_of(text: &str) -> &str {
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    match text
        .find("://")
        .filter(|_| is_url && text.parse::<Uri>().is_ok())
    {
        Some(at) => {
            let rest = &text[at + 3..];
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        None => text,
    }
}

fn sheet(cached: &CachedDocument) -> String {
    let mut text = String::new();
    if cached.suspended {
        let words =
            "out of use: purges can't be heard, so workers are asked; emperor status says why";
        put_line!(text, "{}", Tone::Bad.paint(words));
    }
    match &cached.counters {
        Some(counters) => text.push_str(&figures(counters)),
        None => text.push_str("no page of this site was asked for yet, or its cache.mode is off\n"),
    }
    if !cached.pages.is_empty() {
        text.push('\n');
        text.push_str(&pages(&cached.pages));
    }
    text
}

fn figures(counters: &SiteCacheDocument) -> String {
    let mut text = format!("{}\n", ratio_words(counters));
    let held = bytes(counters.bytes);
    put_line!(
        text,
        "{}{}; {} stored, {} found unchanged, {} waited for, {} evicted, {} heard",
        counted(whole(counters.pages), "page"),
        if held.is_empty() {
            held
        } else {
            format!(" in {held}")
        },
        counters.fills,
        counters.revalidations,
        counters.waits,
        counters.evictions,
        counted(whole(counters.purges), "purge"),
    );
    for (name, reasons) in [
        ("not from the cache", &counters.bypasses),
        ("not kept", &counters.refusals),
    ] {
        if !reasons.is_empty() {
            put_line!(text, "{name}: {}", reason_words(reasons));
        }
    }
    text
}

/// `87% of 1200 requests answered from the cache`
pub(crate) fn ratio_words(counters: &SiteCacheDocument) -> String {
    let all = counters.hits + counters.stale + counters.misses;
    match percent(counters) {
        None => "no cacheable request yet".to_owned(),
        Some(percent) => {
            let requests = counted(whole(all), "request");
            format!("{percent} of {requests} answered from the cache")
        }
    }
}

/// `87%`
pub(crate) fn percent(counters: &SiteCacheDocument) -> Option<String> {
    counters
        .hit_ratio
        .map(|ratio| format!("{:.0}%", (ratio * 100.0).floor()))
}

fn reason_words(reasons: &[ReasonDocument]) -> String {
    let mut sorted: Vec<_> = reasons.iter().collect();
    sorted.sort_by_key(|one| std::cmp::Reverse(one.count));
    let words = sorted
        .iter()
        .map(|one| format!("{} {}", one.count, printable(&one.reason)));
    words.collect::<Vec<_>>().join(", ")
}

fn pages(pages: &[PageDocument]) -> String {
    let headings = [
        "HOST", "PATH", "VARIANT", "STATUS", "AGE", "EXPIRES", "SIZE", "TAGS", "WHY NOT",
    ];
    let mut table = Table::new(0, &headings);
    for page in pages {
        let expires = match page.ttl {
            None => "never".to_owned(),
            Some(ttl) if ttl < 0 => format!("{} ago", duration(-ttl)),
            Some(ttl) => format!("in {}", duration(ttl)),
        };
        let is_kept = page.refused.is_none();
        let kept = |text: String| if is_kept { text } else { String::new() };
        table.row(
            vec![
                Cell::new(&page.host),
                Cell::new(format!("{}{}", page.path, page.query)),
                Cell::new(page.variant.join(" ")),
                Cell::number(&kept(page.status.to_string())),
                Cell::new(kept(duration(i64::try_from(page.age).unwrap_or(i64::MAX)))),
                Cell::new(kept(expires)),
                Cell::number(&kept(bytes(page.bytes))),
                Cell::new(page.tags.join(" ")),
                Cell::toned(page.refused.as_deref().unwrap_or_default(), Tone::Attention),
            ],
            Vec::new(),
        );
    }
    table.render()
}

fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use insta::assert_snapshot;

    use super::*;

    fn page(path: &str) -> PageDocument {
        PageDocument {
            host: "www.example.com".into(),
            path: path.into(),
            query: "?page=2".into(),
            variant: vec![],
            status: 200,
            stored_at: "2026-01-01T00:00:00Z".into(),
            age: 90,
            ttl: None,
            bytes: 4_096,
            tags: vec!["post-1".into()],
            refused: None,
        }
    }

    #[test]
    fn what_is_stored_and_what_is_not_is_shown() {
        let refused = PageDocument {
            refused: Some("set-cookie".into()),
            tags: vec![],
            ..page("/login/")
        };
        let cached = CachedDocument {
            site: 1,
            suspended: true,
            counters: Some(SiteCacheDocument {
                hit_ratio: Some(0.999),
                hits: 999,
                misses: 1,
                pages: 1,
                bytes: 4_096,
                fills: 1,
                refusals: vec![ReasonDocument {
                    reason: "set-cookie".into(),
                    count: 3,
                }],
                ..SiteCacheDocument::default()
            }),
            pages: vec![page("/posts/1/"), refused],
        };
        assert_snapshot!(strip_str(&sheet(&cached)).to_string(), @"
        out of use: purges can't be heard, so workers are asked; emperor status says why
        99% of 1000 requests answered from the cache
        1 page in 4.0 KiB; 1 stored, 0 found unchanged, 0 waited for, 0 evicted, 0 purges heard
        not kept: 3 set-cookie

        HOST             PATH              STATUS  AGE     EXPIRES     SIZE  TAGS    WHY NOT
        www.example.com  /posts/1/?page=2     200  1m 30s  never    4.0 KiB  post-1
        www.example.com  /login/?page=2                                              set-cookie
        ");
    }

    #[test]
    fn a_url_is_as_good_as_its_path() {
        assert_eq!(path_of("/a/b"), "/a/b");
        assert_eq!(path_of("https://a.example/b/?c"), "/b/?c");
        assert_eq!(path_of("http://a.example"), "/");
    }
}
