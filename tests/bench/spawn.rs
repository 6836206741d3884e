//! How long a row takes to become a process: from sending the INSERT to the first moment of the
//! worker's own `main`. One row after the other, since that is what an editor waits for.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails has nothing better to do than to panic, and it prints"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::House;

const DEFAULT_ROWS: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rows = std::env::args().nth(1);
    let rows = rows.map_or(DEFAULT_ROWS, |text| text.parse().unwrap());
    if let Some(text) = std::env::args().nth(2) {
        let limit = text.parse().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let house = House::open().await;
    let client = house.postgres.client().await;
    let statement = "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
                     VALUES ($1, $2, 'tiny', $3)";
    let statement = client.prepare(statement).await.unwrap();
    let (mut started, mut answered) = (Vec::new(), Vec::new());
    for number in 0..rows {
        let (slug, host) = (format!("site-{number}"), format!("site-{number}.example"));
        let config = house.tiny_vars("");
        let began = since_epoch();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&slug, &host, &config];
        client.execute(&statement, &values).await.unwrap();
        let page = house.page(&host).await;
        answered.push(since_epoch().saturating_sub(began));
        let ran = Duration::from_nanos(page["began_ns"].as_u64().unwrap());
        started.push(ran.saturating_sub(began));
    }
    println!("{rows} rows, one after the other; milliseconds from sending the INSERT");
    println!("RLIMIT_NOFILE: {limit}");
    println!("{:<28}{:>8}{:>8}{:>8}", "until", "p50", "p99", "max");
    print_line("the worker runs", started);
    print_line("the first answer", answered);
}

/// The clock that the worker reads too.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn print_line(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |permille: usize| {
        let index = (times.len() * permille / 1000).min(times.len() - 1);
        times[index].as_secs_f64() * 1000.0
    };
    println!(
        "{name:<28}{:>8.1}{:>8.1}{:>8.1}",
        at(500),
        at(990),
        at(1000)
    );
}
