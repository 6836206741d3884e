//! Targets of kind `http`: a real server behind them, and targets that come and go while the emperor runs.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use support::paper::HOST;
use support::processes::Process;
use support::wait::{PATIENCE, eventually};
use support::{Paper, Place};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const TOKEN: &str = "Bearer of-this-test";

/// A server with an interface to purge pages by.
struct Interface {
    port: u16,
    notes: Arc<Notes>,
    /// Ends with it.
    _server: JoinSet<()>,
}

/// What it was asked, and how it is to answer.
#[derive(Default)]
struct Notes {
    asked: Mutex<Vec<Asked>>,
    /// How the next requests are answered; all others with 200.
    answers: Mutex<VecDeque<u16>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Asked {
    line: String,
    authorization: String,
    kind: String,
    body: String,
}

impl Interface {
    async fn open(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let notes = Arc::new(Notes {
            answers: Mutex::new(answers.iter().copied().collect()),
            ..Notes::default()
        });
        let shared = Arc::clone(&notes);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let notes = Arc::clone(&shared);
                clients.spawn(async move { notes.serve(client).await });
            }
        });
        Self {
            port,
            notes,
            _server: server,
        }
    }

    /// A target that leads here, with its secret in a file.
    fn target(&self, place: &Place) -> String {
        let token = place.folder("interface").join("token");
        fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let (port, token) = (self.port, token.display());
        format!(
            "[[purge.target]]\n\
             name = \"edge\"\n\
             kind = \"http\"\n\
             [purge.target.path]\n\
             method = \"PUT\"\n\
             url = \"http://127.0.0.1:{port}/purge/{{host}}{{path}}\"\n\
             headers = {{ x-kind = \"page\" }}\n\
             headers_file = {{ authorization = \"{token}\" }}\n\
             body = '{{\"files\": [\"https://{{host}}{{path}}\"]}}'\n"
        )
    }

    fn asked(&self) -> Vec<Asked> {
        self.notes.asked.lock().unwrap().clone()
    }

    async fn until_asked(&self, count: usize) -> Vec<Asked> {
        eventually("requests to the interface", PATIENCE, async || {
            let asked = self.asked();
            (asked.len() >= count)
                .then(|| asked.clone())
                .ok_or_else(|| format!("{asked:?}"))
        })
        .await
    }
}

impl Notes {
    async fn serve(&self, client: TcpStream) {
        let mut client = BufReader::new(client);
        while let Some(asked) = read(&mut client).await {
            self.asked.lock().unwrap().push(asked);
            let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
            let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
            client.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// The next request of a connection; `None`: it was closed.
async fn read(client: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut asked = Asked::default();
    client.read_line(&mut asked.line).await.ok()?;
    asked.line = asked.line.trim_end().to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = value.to_owned(),
            "x-kind" => asked.kind = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    asked.body = String::from_utf8(body).unwrap();
    (!asked.line.is_empty()).then_some(asked)
}

fn purge_of(path: &str) -> Asked {
    Asked {
        line: format!("PUT /purge/{HOST}{path} HTTP/1.1"),
        authorization: TOKEN.to_owned(),
        kind: "page".to_owned(),
        body: format!("{{\"files\": [\"https://{HOST}{path}\"]}}"),
    }
}

async fn write(paper: &Paper, path: &str) {
    let statement = format!("UPDATE page SET version = version + 1 WHERE path = '{path}'");
    let writer = paper.writer().await;
    writer.batch_execute(&statement).await.unwrap();
}

#[tokio::test]
async fn an_interface_is_asked_as_configured_until_it_agrees_and_what_it_refuses_is_kept() {
    let place = Place::new();
    let interface = Interface::open(&[500, 200, 403, 403, 403, 403, 403]).await;
    let paper = Paper::open(2, &interface.target(&place)).await;
    paper.watch().await;
    write(&paper, "/1").await;
    let asked = interface.until_asked(2).await;
    assert_eq!(asked, [purge_of("/1"), purge_of("/1")]);

    write(&paper, "/2").await;
    assert_eq!(interface.until_asked(3).await[2], purge_of("/2"));
    eventually("a dead letter", PATIENCE, async || {
        let status = paper.house.emperor.status().await;
        let target = &status["emperor"]["purges"]["targets"][0];
        let given_up = target["dead"] == 1 && target["queued"] == 0;
        given_up.then_some(()).ok_or_else(|| target.to_string())
    })
    .await;
    let client = paper.house.postgres.client().await;
    // It is told before it is written down.
    let letters = eventually("its row", PATIENCE, async || {
        let letters = "SELECT target, names, reason FROM emperor.purge_dead_letters";
        let letters = client.query(letters, &[]).await.unwrap();
        (!letters.is_empty())
            .then_some(letters)
            .ok_or_else(String::new)
    })
    .await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].get::<_, String>(0), "edge");
    assert_eq!(letters[0].get::<_, Vec<String>>(1), ["/2"]);
    let reason: String = letters[0].get(2);
    assert!(reason.contains("403"), "{reason}");
    let log = paper.house.emperor.log_text();
    assert!(!log.contains(TOKEN) && !reason.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn targets_come_and_go_with_the_configuration_and_nothing_is_restarted() {
    let place = Place::new();
    let interface = Interface::open(&[]).await;
    let paper = Paper::open(2, "").await;
    paper.watch().await;
    let emperor = &paper.house.emperor;
    let before = instance(&paper).await;

    paper.house.configure(&interface.target(&place));
    let read = emperor.run(&["reread"]).await;
    assert_eq!(read.code, 0, "{}", read.err);
    assert!(!read.out.contains("purge"), "{}", read.out);
    write(&paper, "/1").await;
    assert_eq!(interface.until_asked(1).await, [purge_of("/1")]);
    paper.cached("/1").await;

    paper.house.configure("");
    let read = emperor.run(&["reread"]).await;
    assert_eq!(read.code, 0, "{}", read.err);
    let status = emperor.status().await;
    let targets = &status["emperor"]["purges"]["targets"];
    assert_eq!(targets.as_array().map(Vec::len), Some(0), "{status}");
    write(&paper, "/2").await;
    paper.purged().await;
    paper.cached("/2").await;
    assert_eq!(interface.asked().len(), 1, "it is no target any more");
    assert_eq!(instance(&paper).await, before);
}

#[tokio::test]
async fn pages_of_a_host_that_a_site_has_lost_are_purged_once_the_router_knows() {
    let place = Place::new();
    let interface = Interface::open(&[]).await;
    let (target, port) = (interface.target(&place), interface.port);
    let whole = format!(
        "{target}[purge.target.site]\nmethod = \"PUT\"\nurl = \"http://127.0.0.1:{port}/all/{{host}}\"\n"
    );
    let paper = Paper::open(1, &whole).await;
    paper.watch().await;
    let before = instance(&paper).await;
    let lines = |asked: &[Asked]| -> Vec<_> { asked.iter().map(|it| it.line.clone()).collect() };
    let house = &paper.house;
    house
        .sql("UPDATE emperor.sites SET domain = 'new.example'", &[])
        .await;
    let renamed = interface.until_asked(1).await;
    let former = format!("PUT /all/{HOST} HTTP/1.1");
    assert_eq!(lines(&renamed), [former.as_str()]);
    assert_eq!(house.client.get(HOST, "/1").await.status, 404);
    assert_eq!(instance(&paper).await, before);

    house.sql("DELETE FROM emperor.sites", &[]).await;
    // Each is purged once more when what was on its way has come.
    let asked = interface.until_asked(4).await;
    let mut asked = lines(&asked);
    asked.sort();
    let last = "PUT /all/new.example HTTP/1.1".to_owned();
    assert_eq!(asked, [last.clone(), last, former.clone(), former]);
}

/// Which processes serve: the worker's and the router's.
async fn instance(paper: &Paper) -> (Value, Process) {
    let site = paper.house.emperor.in_state("paper", "ready").await;
    let router = paper.house.emperor.router().await;
    (site["instances"][0]["pid"].clone(), router)
}
