//! How soon a commit is a purge, whether anybody ever sees an older page, and what it costs the
//! database.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails has nothing better to do than to panic, and it prints"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use support::Paper;
use support::client::Kept;
use support::paper::HOST;
use tokio::task::{JoinSet, LocalSet};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writers commit and ask for their page 10 ms later, others ask all the time
    Race {
        #[arg(long, default_value_t = 8)]
        writers: usize,
        /// Commits in all
        #[arg(long, default_value_t = 10_000)]
        commits: usize,
        /// Commits per second, of all writers together; left out: as fast as they can
        #[arg(long)]
        rate: Option<u32>,
        /// Who asks for pages all the time, so that they are cached
        #[arg(long, default_value_t = 4)]
        visitors: usize,
        /// How long a visitor waits before he asks again, in milliseconds
        #[arg(long, default_value_t = 0)]
        pause: u64,
    },
    /// Commits per second, of tables that are watched and that aren't
    Cost {
        /// For each figure
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let measured = async {
        match Arguments::parse().what {
            What::Race {
                writers,
                commits,
                rate,
                visitors,
                pause,
            } => {
                let every = rate.map(|rate| Duration::from_secs(writers as u64) / rate);
                let pause = Duration::from_millis(pause);
                race(writers, commits, every, visitors, pause).await;
            }
            What::Cost { seconds } => cost(Duration::from_secs(seconds)).await,
        }
    };
    LocalSet::new().run_until(measured).await;
}

/// Pages of one writer.
const PAGES_EACH: usize = 8;
/// How long after its commit a writer asks.
const ASKS_AFTER: Duration = Duration::from_millis(10);
/// Every so many commits it asks at once instead, and until it has the page.
const SAMPLE: usize = 4;

/// What is known of a page.
#[derive(Debug, Default)]
struct Known {
    /// The last version that was committed and purged, as its writer was told.
    purged: AtomicI64,
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    answers: AtomicU64,
    hits: AtomicU64,
    /// Answers older than the last purge that was known to be carried out when they were asked for.
    older: AtomicU64,
    /// Writers who asked for what they had committed.
    asked: AtomicU64,
    /// Those who did not see it.
    unseen: AtomicU64,
}

async fn race(
    writers: usize,
    commits: usize,
    every: Option<Duration>,
    visitors: usize,
    pause: Duration,
) {
    let pages = writers * PAGES_EACH;
    let paper = Arc::new(Paper::open(i32::try_from(pages).unwrap(), "").await);
    paper.watch().await;
    let known: Arc<Vec<Known>> = Arc::new((0..=pages).map(|_| Known::default()).collect());
    let counts = Arc::new(Counts::default());
    let mut readers = JoinSet::new();
    for _ in 0..visitors {
        let (paper, known, counts) = (paper.clone(), known.clone(), counts.clone());
        readers.spawn_local(async move { read(&paper, &known, &counts, pause).await });
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (paper, known, counts) = (paper.clone(), known.clone(), counts.clone());
        let first = writer * PAGES_EACH + 1;
        let each = commits / writers;
        let pace = every.map(|every| Pace {
            // They take turns.
            first: began + every * u32::try_from(writer).unwrap() / u32::try_from(writers).unwrap(),
            every,
        });
        tasks.spawn_local(async move { write(&paper, &known, &counts, first, each, pace).await });
    }
    let mut purged_after = Vec::new();
    while let Some(done) = tasks.join_next().await {
        purged_after.extend(done.unwrap());
    }
    readers.shutdown().await;
    let rate = f64::from(u32::try_from(commits).unwrap()) / began.elapsed().as_secs_f64();
    println!("{:<46}{rate:>12.0}", "commits per second");
    report(&counts, &mut purged_after);
}

fn report(counts: &Counts, purged_after: &mut [Duration]) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let asked = count(&counts.asked);
    let seen = format!("{} of {asked}", asked - count(&counts.unseen));
    println!("{:<46}{seen:>18}", "their own commit seen 10 ms after it");
    println!(
        "{:<46}{:>12}",
        "answers to everybody",
        count(&counts.answers)
    );
    println!(
        "{:<46}{:>12}",
        "of them from the cache",
        count(&counts.hits)
    );
    println!(
        "{:<46}{:>12}",
        "older than their last delivered purge",
        count(&counts.older)
    );
    purged_after.sort();
    println!("{:<46}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p99", "max");
    let at = |share: usize| {
        let place = (purged_after.len() * share / 100).min(purged_after.len() - 1);
        purged_after[place].as_secs_f64() * 1000.0
    };
    println!(
        "{:<46}{:>9.2}{:>9.2}{:>9.2}",
        "from the commit's acknowledgement to the purge",
        at(50),
        at(99),
        at(100)
    );
}

/// When a writer commits.
struct Pace {
    first: Instant,
    every: Duration,
}

/// Commits, asks, and finds out how long the old page was served.
async fn write(
    paper: &Paper,
    known: &[Known],
    counts: &Counts,
    first: usize,
    commits: usize,
    timed: Option<Pace>,
) -> Vec<Duration> {
    let database = paper.writer().await;
    let update = "UPDATE page SET version = version + 1 WHERE path = $1 RETURNING version";
    let update = database.prepare(update).await.unwrap();
    let superuser = paper.house.postgres.client().await;
    let mut visitor = paper.house.client.connect().await.unwrap();
    let mut purged_after = Vec::new();
    for commit in 0..commits {
        let page = first + commit % PAGES_EACH;
        let path = format!("/{page}");
        while !ask(&mut visitor, &path, counts).await.1 {}
        if let Some(timed) = &timed {
            let due = timed.first + timed.every * u32::try_from(commit).unwrap();
            tokio::time::sleep_until(due.into()).await;
        }
        let version: i64 = database.query_one(&update, &[&path]).await.unwrap().get(0);
        let committed = Instant::now();
        if commit % SAMPLE == 0 {
            // The last request that got the old page began before the purge.
            let mut asked = committed;
            while ask(&mut visitor, &path, counts).await.0 < version {
                asked = Instant::now();
            }
            purged_after.push(asked - committed);
        } else {
            tokio::time::sleep_until((committed + ASKS_AFTER).into()).await;
            counts.asked.fetch_add(1, Ordering::Relaxed);
            if ask(&mut visitor, &path, counts).await.0 < version {
                counts.unseen.fetch_add(1, Ordering::Relaxed);
            }
        }
        if commit % 16 == 0 {
            let wait = "SELECT emperor.purge_wait(NULL)";
            assert!(
                superuser
                    .query_one(wait, &[])
                    .await
                    .unwrap()
                    .get::<_, bool>(0)
            );
            known[page].purged.fetch_max(version, Ordering::Release);
        }
    }
    purged_after
}

async fn read(paper: &Paper, known: &[Known], counts: &Counts, pause: Duration) {
    let mut visitor = paper.house.client.connect().await.unwrap();
    for round in 0_usize.. {
        let page = 1 + round % (known.len() - 1);
        let least = known[page].purged.load(Ordering::Acquire);
        let (version, _) = ask(&mut visitor, &format!("/{page}"), counts).await;
        if version < least {
            counts.older.fetch_add(1, Ordering::Relaxed);
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// The version of a page, and whether it came from the cache.
async fn ask(visitor: &mut Kept, path: &str, counts: &Counts) -> (i64, bool) {
    let answer = visitor.get(HOST, path).await.unwrap();
    let hit = answer.header("cache-status").contains("; hit");
    counts.answers.fetch_add(1, Ordering::Relaxed);
    counts.hits.fetch_add(u64::from(hit), Ordering::Relaxed);
    (answer.json()["version"].as_i64().unwrap(), hit)
}

/// Sessions that commit at once.
const SESSIONS: [usize; 3] = [1, 8, 32];

async fn cost(span: Duration) {
    let paper = Arc::new(Paper::open(64, "").await);
    paper.followed().await;
    println!("commits of one row each per second, fsync off");
    println!(
        "{:<46}{:>9}{:>9}{:>9}",
        "sessions", SESSIONS[0], SESSIONS[1], SESSIONS[2]
    );
    rates(&paper, "not watched", span).await;
    let watch = "SELECT emperor.purge_on_change('page', 'row.site_id', 'VALUES (row.path)', \
                 columns => ARRAY['site_id'])";
    paper.house.sql(watch, &[]).await;
    rates(&paper, "watched, in a column that stays", span).await;
    paper.house.sql("SELECT emperor.unwatch('page')", &[]).await;
    paper.watch().await;
    rates(&paper, "watched", span).await;
}

async fn rates(paper: &Arc<Paper>, name: &str, span: Duration) {
    let mut figures = String::new();
    for sessions in SESSIONS {
        let rate = rate(paper, sessions, span).await;
        let _ = write!(figures, "{rate:>9.0}");
    }
    println!("{name:<46}{figures}");
}

/// Commits per second of so many sessions, each on a row of its own, as the rows themselves tell.
async fn rate(paper: &Arc<Paper>, sessions: usize, span: Duration) -> f64 {
    let before = versions(paper).await;
    let mut writers = Vec::new();
    for _ in 0..sessions {
        let database = paper.writer().await;
        let update = "UPDATE page SET version = version + 1 WHERE path = $1";
        let update = database.prepare(update).await.unwrap();
        writers.push((database, update));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (session, (database, update)) in (1..).zip(writers) {
        tasks.spawn_local(async move {
            let path = format!("/{session}");
            let mut commits = 0;
            while began.elapsed() < span {
                // A transaction of its own each time, and the next one only after its end.
                assert_eq!(database.execute(&update, &[&path]).await.unwrap(), 1);
                commits += 1;
            }
            commits
        });
    }
    let commits: i64 = tasks.join_all().await.into_iter().sum();
    let took = began.elapsed().as_secs_f64();
    assert_eq!(
        versions(paper).await - before,
        commits,
        "what was committed"
    );
    f64::from(i32::try_from(commits).unwrap()) / took
}

/// How often all pages were written.
async fn versions(paper: &Paper) -> i64 {
    let client = paper.house.postgres.client().await;
    let sum = "SELECT sum(version)::bigint FROM page";
    client.query_one(sum, &[]).await.unwrap().get(0)
}
