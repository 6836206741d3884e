//! Requests to many hosts, timed. One that fails ends the measurement, whose figures would mean
//! nothing.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::client::{Kept, NoAnswer};
use crate::wait::undisturbed;
use crate::{Answer, Client, PATIENCE};

/// Who asks at once while requests are counted.
const VISITORS: usize = 8;
/// Between two tries at a site that isn't there yet.
const PAUSE: Duration = Duration::from_millis(2);

/// A visitor who keeps the connection for as long as the other side does.
struct Visitor {
    client: Client,
    kept: Option<Kept>,
}

impl Visitor {
    fn new(client: Client) -> Self {
        Self { client, kept: None }
    }

    async fn ask(&mut self, host: &str) {
        let answer = self.try_ask(host).await.unwrap();
        assert!(is_page_of(&answer, host), "{host}: {}", answer.text());
    }

    async fn try_ask(&mut self, host: &str) -> Result<Answer, NoAnswer> {
        let kept = self.kept.take().filter(|kept| !kept.is_closed());
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let answer = connection.get(host, "/").await?;
        self.kept = Some(connection);
        Ok(answer)
    }
}

fn is_page_of(answer: &Answer, host: &str) -> bool {
    answer.status == StatusCode::OK && answer.json()["domain"] == host
}

/// How long a site takes for one request.
pub(super) async fn one(client: Client, host: &str) -> Duration {
    let began = Instant::now();
    Visitor::new(client).ask(host).await;
    began.elapsed()
}

/// How long it takes for each of so many, one after the other.
pub(super) async fn many(client: Client, host: &str, count: usize) -> Vec<Duration> {
    let mut visitor = Visitor::new(client);
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        visitor.ask(host).await;
        times.push(began.elapsed());
    }
    times
}

/// How long it takes until a site answers that nobody knew before.
pub(super) async fn until_it_answers(client: Client, host: &str) -> Duration {
    let began = Instant::now();
    let mut visitor = Visitor::new(client);
    loop {
        let answer = visitor.try_ask(host).await;
        if answer.is_ok_and(|answer| is_page_of(&answer, host)) {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{host} doesn't answer");
        undisturbed(PAUSE).await;
    }
}

/// Requests a second, by visitors who go from site to site and ask again at once.
pub(super) async fn rate(client: Client, hosts: &[String], span: Duration) -> f64 {
    let began = Instant::now();
    let mut visitors = JoinSet::new();
    for first in 0..VISITORS {
        let hosts = hosts.to_vec();
        visitors.spawn(async move {
            let mut visitor = Visitor::new(client);
            let mut answered = 0_u32;
            for host in hosts.iter().cycle().skip(first % hosts.len()) {
                visitor.ask(host).await;
                answered += 1;
                if began.elapsed() > span {
                    break;
                }
            }
            answered
        });
    }
    let answered: u32 = visitors.join_all().await.into_iter().sum();
    f64::from(answered) / began.elapsed().as_secs_f64()
}
