//! One visit: a connection, a request, and whether what came back is the answer to it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::time::timeout_at;

use super::Traffic;
use super::ledger::{Kind, Record, Verdict};
use crate::Client;
use crate::client::{Answer, Kept, NoAnswer, request};

/// How long the worker is to take, in turn: some requests are always in it when something happens.
const HOLDS: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::ZERO,
    Duration::from_millis(60),
    Duration::ZERO,
    LONGEST_HOLD,
];
/// The longest of them.
pub const LONGEST_HOLD: Duration = Duration::from_millis(250);

/// What all visitors share.
#[derive(Debug)]
pub(super) struct Hall {
    traffic: Traffic,
    client: Client,
    /// Connections that are open and idle. They are shared by all sites, as those of a proxy in
    /// front would be: an answer that slips from one site to another is seen.
    idle: Mutex<Vec<Kept>>,
}

/// What one visitor wants.
struct Wish {
    number: u32,
    slug: String,
    kind: Kind,
    hold: Duration,
}

impl Hall {
    pub(super) fn of(traffic: Traffic) -> Self {
        Self {
            client: Client::new(traffic.port),
            traffic,
            idle: Mutex::default(),
        }
    }

    /// Sites take turns, and so do the kinds of request within each of them.
    fn wish(&self, number: u32) -> Wish {
        let sites = self.traffic.slugs.len();
        let turn = number as usize;
        let round = turn / sites + turn;
        Wish {
            number,
            slug: self.traffic.slugs[turn % sites].clone(),
            kind: Kind::ALL[round % Kind::ALL.len()],
            hold: HOLDS[(round / Kind::ALL.len()) % HOLDS.len()],
        }
    }

    /// A connection that was used before and is still open.
    fn idle(&self) -> Option<Kept> {
        let mut idle = self.idle.lock().unwrap();
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Kept, answer: &Answer) {
        if answer.header("connection") != "close" {
            self.idle.lock().unwrap().push(connection);
        }
    }
}

/// Asks, and tells how it went.
pub(super) async fn visit(hall: Arc<Hall>, number: u32, due: Instant) -> Record {
    let wish = hall.wish(number);
    let mut record = Record {
        number,
        slug: wish.slug.clone(),
        kind: wish.kind,
        hold: wish.hold,
        due,
        sent: Instant::now(),
        ended: due,
        asked_again: false,
        verdict: Verdict::TimedOut,
        told: String::new(),
    };
    let deadline = due + hall.traffic.patience + wish.hold;
    let exchange = timeout_at(deadline.into(), ask(&hall, &wish, &mut record)).await;
    match exchange {
        Ok(Ok(answer)) => (record.verdict, record.told) = judge(&wish, &answer),
        Ok(Err(failure)) => (record.verdict, record.told) = told(&failure),
        Err(_elapsed) => {}
    }
    record.ended = Instant::now();
    record
}

async fn ask(hall: &Hall, wish: &Wish, record: &mut Record) -> Result<Answer, NoAnswer> {
    if wish.kind.keeps()
        && let Some(connection) = hall.idle()
    {
        match ask_on(hall, connection, wish).await {
            // The other side may close what is idle at any time, and a request that crosses with
            // that is asked again by every browser, where asking twice does no harm.
            Err(failure) if wish.kind.is_idempotent() && broke(&failure) => {
                record.asked_again = true;
            }
            answered => return answered,
        }
    }
    let connection = hall.client.connect().await?;
    ask_on(hall, connection, wish).await
}

async fn ask_on(hall: &Hall, mut connection: Kept, wish: &Wish) -> Result<Answer, NoAnswer> {
    let answer = connection.send(wish.request()).await?;
    if wish.kind.keeps() {
        hall.keep(connection, &answer);
    }
    Ok(answer)
}

impl Wish {
    fn request(&self) -> Request<Full<Bytes>> {
        let host = format!("{}.example", self.slug);
        let body = Full::from(self.body());
        let request = request(self.method(), &host, &self.target()).body(body);
        request.unwrap()
    }

    fn target(&self) -> String {
        format!("/{}?hold={}", self.number, self.hold.as_millis())
    }

    fn method(&self) -> Method {
        if self.kind.is_idempotent() {
            Method::GET
        } else {
            Method::POST
        }
    }

    fn body(&self) -> String {
        if self.kind.is_idempotent() {
            return String::new();
        }
        format!("of {}", self.number)
    }
}

/// Whether it is the page of this request and of this site.
fn judge(wish: &Wish, answer: &Answer) -> (Verdict, String) {
    if answer.status != StatusCode::OK {
        let page = answer.text().chars().take(200).collect();
        return (Verdict::Status(answer.status.as_u16()), page);
    }
    let page: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let right = page["slug"] == wish.slug.as_str()
        && page["target"] == wish.target()
        && page["method"] == wish.method().as_str()
        && page["body"] == wish.body();
    if right {
        (Verdict::Page, String::new())
    } else {
        (Verdict::WrongPage, answer.text())
    }
}

fn told(failure: &NoAnswer) -> (Verdict, String) {
    let verdict = match failure {
        NoAnswer::Connect(_) => Verdict::Refused,
        NoAnswer::Http(error) if error.is_parse() => Verdict::Garbled,
        NoAnswer::Http(_) => Verdict::Broken,
        NoAnswer::Timeout => Verdict::TimedOut,
    };
    (verdict, format!("{failure:?}"))
}

fn broke(failure: &NoAnswer) -> bool {
    told(failure).0 == Verdict::Broken
}
