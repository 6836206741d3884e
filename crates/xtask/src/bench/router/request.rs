//! What is asked of every contender.

/// The host of the one site.
pub(super) const HOST: &str = "bench.example";
/// What is asked for.
pub(super) const TARGET: &str = "/articles/2026/a-page/?from=home";
/// Headers such as a browser sends, so that reading and handing on a head counts.
pub(super) const HEADERS: [&str; 6] = [
    ANONYMOUS[0],
    ANONYMOUS[1],
    ANONYMOUS[2],
    ANONYMOUS[3],
    ANONYMOUS[4],
    "Cookie: sessionid=4f1c7d0b9a6e4f58b1c2; csrftoken=Zk3vT0pQm8",
];
/// The same from one who never logged in: what caches may answer.
pub(super) const ANONYMOUS: [&str; 5] = [
    "Host: bench.example",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_asked_for_is_that_of_the_site() {
        assert_eq!(HEADERS[0], format!("Host: {HOST}"));
    }
}
