//! The control API over a real unix socket, with the command line's own client and a daemon of
//! paper behind it.

mod paper;

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use site_model::SiteId;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{ControlSocket, SOCKET_NAME, serve};
use crate::cli::{Client, Stream};
use paper::Paper;

fn id(value: i64) -> SiteId {
    SiteId::new(value).unwrap()
}

/// A served API, and its folder.
struct House {
    dir: TempDir,
    shutdown: CancellationToken,
    served: AbortOnDropHandle<std::io::Result<()>>,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(dir.path()).await.unwrap();
        let daemon = Paper::with_logs(dir.path().to_owned());
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(socket, daemon, shutdown.clone()));
        Self {
            dir,
            shutdown,
            served: AbortOnDropHandle::new(served),
        }
    }

    async fn with_site() -> Self {
        let house = Self::new().await;
        let added = house
            .ask(Method::POST, "/v1/sites", r#"{"slug": "portal"}"#)
            .await;
        assert_eq!(added.0, StatusCode::CREATED);
        house
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let stream = UnixStream::connect(self.dir.path().join(SOCKET_NAME))
            .await
            .unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "emperor")
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(body.to_owned())))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        (
            status,
            serde_json::from_slice(&body).unwrap_or_else(|_| text()),
        )
    }

    /// Expects a refusal.
    async fn refused(&self, request: &str, body: &str, status: u16, code: &str) {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (got, document) = self.ask(method, path, body).await;
        let expected = (status, &json!(code));
        assert_eq!(
            (got.as_u16(), &document["code"]),
            expected,
            "{request}: {document}"
        );
        assert!(document["error"].as_str().unwrap().len() > 10, "{document}");
    }
}

#[tokio::test]
async fn a_row_is_added_changed_and_removed() {
    let house = House::new().await;
    let new = json!({
        "slug": "portal", "domain": "WWW.Example.com", "template": "gunicorn",
        "aliases": [{"host": "*.example.com", "kind": "redirect"}],
    });
    let (status, row) = house.ask(Method::POST, "/v1/sites", &new.to_string()).await;
    assert_eq!((status, &row["id"]), (StatusCode::CREATED, &json!(1)));
    assert_eq!(row["domain"], "www.example.com");

    let change = r#"{"enabled": false, "domain": "", "remove_aliases": ["*.example.com"]}"#;
    let (status, row) = house.ask(Method::PATCH, "/v1/sites/portal", change).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&row["enabled"], &row["domain"]),
        (&json!(false), &json!(""))
    );
    assert_eq!(
        (&row["aliases"], &row["template"]),
        (&json!([]), &json!("gunicorn"))
    );

    let (status, _) = house.ask(Method::DELETE, "/v1/sites/1", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(house.ask(Method::GET, "/v1/sites", "").await.1, json!([]));
}

#[tokio::test]
async fn a_site_is_found_by_slug_and_by_id() {
    let house = House::with_site().await;
    house
        .ask(Method::POST, "/v1/sites", r#"{"slug": "blog"}"#)
        .await;
    for (reference, id) in [("portal", 1), ("1", 1), ("blog", 2)] {
        let (_, row) = house
            .ask(Method::GET, &format!("/v1/sites/{reference}"), "")
            .await;
        assert_eq!(row["id"], json!(id));
        let path = format!("/v1/sites/{reference}/status");
        let (status, document) = house.ask(Method::GET, &path, "").await;
        assert_eq!(status, StatusCode::OK);
        let sites = document["sites"].as_array().unwrap();
        let ids: Vec<_> = sites.iter().map(|site| &site["id"]).collect();
        assert_eq!(ids, [&json!(id)], "it alone");
    }
}

#[tokio::test]
async fn every_refusal_has_its_status_its_code_and_a_sentence() {
    let house = House::with_site().await;
    let large = format!(
        r#"{{"slug": "p", "extra_config": "{}"}}"#,
        "x".repeat(2 << 20)
    );
    let cases = [
        ("GET /v1/sites/nobody", "", 404, "no-such-site"),
        ("GET /v1/sites/nobody/logs", "", 404, "no-such-site"),
        ("GET /v1/templates/gunicron", "", 404, "no-such-template"),
        ("GET /v2", "", 404, "no-such-resource"),
        ("PUT /v1/status", "", 405, "no-such-resource"),
        (
            "POST /v1/sites",
            r#"{"slug": "Portal"}"#,
            400,
            "bad-request",
        ),
        ("POST /v1/sites", r#"{"slog": "p"}"#, 422, "bad-request"),
        ("POST /v1/sites", "{", 400, "bad-request"),
        ("POST /v1/sites", r#"{"slug": "portal"}"#, 409, "conflict"),
        ("GET /v1/sites/1/logs?lines=x", "", 400, "bad-request"),
        ("GET /v1/sites/portal/render", "", 422, "refused"),
        ("POST /v1/sites", large.as_str(), 413, "too-large"),
    ];
    for (request, body, status, code) in cases {
        house.refused(request, body, status, code).await;
    }
}

#[tokio::test]
async fn an_order_for_several_sites_is_carried_out_for_all_or_for_none() {
    let house = House::with_site().await;
    let reload = async |body: &str| house.ask(Method::POST, "/v1/reload", body).await;
    assert_eq!(reload(r#""all""#).await.1, json!({"sites": [1]}));
    assert_eq!(
        reload(r#"{"sites": ["portal"]}"#).await.1,
        json!({"sites": [1]})
    );
    let (status, _) = reload(r#"{"sites": ["portal", "nobody"]}"#).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_followed_log_ends_with_the_daemon() {
    let house = House::with_site().await;
    std::fs::write(house.dir.path().join("1.log"), "one\ntwo\n").unwrap();
    let (_, text) = house.ask(Method::GET, "/v1/sites/1/logs?lines=1", "").await;
    assert_eq!(text, "two\n");

    let client = Client::new(house.dir.path());
    let path = "/v1/sites/1/logs?lines=1&follow=true";
    let mut followed = client.stream(path).await.unwrap();
    assert_eq!(followed.next().await.unwrap().unwrap(), "two\n");
    house.shutdown.cancel();
    let end = timeout(Duration::from_secs(20), followed.next()).await;
    assert_eq!(end.unwrap().unwrap(), None);
    let ended = timeout(Duration::from_secs(20), house.served).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_was_read_again_names_the_keys_that_wait_for_a_start() {
    let house = House::new().await;
    let (status, answer) = house.ask(Method::POST, "/v1/reread", "null").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer, json!({"needs_restart": ["node"]}));
}

#[tokio::test]
async fn a_subscriber_is_told_of_changes_until_the_daemon_ends() {
    let house = House::with_site().await;
    let client = Client::new(house.dir.path());
    let mut changes = client.stream("/v1/changes").await.unwrap();
    let event = async |changes: &mut Stream| {
        let next = timeout(Duration::from_secs(20), changes.next()).await;
        next.expect("an event in time").unwrap()
    };
    let first = event(&mut changes).await.unwrap();
    assert_eq!(first, "event: changed\ndata: status\n\n");
    house.ask(Method::DELETE, "/v1/sites/1", "").await;
    assert_eq!(event(&mut changes).await, Some(first));
    house.shutdown.cancel();
    assert_eq!(event(&mut changes).await, None);
}

#[tokio::test]
async fn the_document_lists_every_resource_and_the_router_has_each() {
    let house = House::new().await;
    let (_, document) = house.ask(Method::GET, "/openapi.json", "").await;
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 14, "{:?}", paths.keys());
    for (path, methods) in paths {
        // It has no end, and a test of its own.
        if path == "/v1/changes" {
            continue;
        }
        let path = path.replace("{site}", "nobody").replace("{name}", "nobody");
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let (_, answer) = house.ask(method.clone(), &path, "{}").await;
            assert_ne!(answer["code"], "no-such-resource", "{method} {path}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.contains_key("StatusDocument") && schemas.contains_key("ErrorDocument"));
}

#[tokio::test]
async fn what_is_purged_is_told_by_its_id_and_what_can_t_be_by_its_cause() {
    let house = House::new().await;
    let post = async |path: &str, body: Value| {
        let (status, answer) = house.ask(Method::POST, path, &body.to_string()).await;
        (status.as_u16(), answer.to_string())
    };
    let (status, answer) = post("/v1/sites", json!({"slug": "portal"})).await;
    assert_eq!(status, 201, "{answer}");
    for (body, expected, words) in [
        (json!({"site": "portal", "paths": ["/"]}), 200, "[41]"),
        (json!({"all": true}), 200, "[7]"),
        (json!({"site": "portal"}), 400, "say what is to be purged"),
        (json!({"all": true, "tags": ["a"]}), 400, "say what"),
        (json!({"site": "nobody", "all": true}), 404, "nobody"),
        (json!({"paths": ["a"]}), 422, "is no path"),
    ] {
        let (status, answer) = post("/v1/purge", body).await;
        assert_eq!(status, expected, "{answer}");
        assert!(answer.contains(words), "{answer}");
    }
    let stored = "/v1/sites/portal/cache";
    let (status, cached) = house.ask(Method::GET, stored, "").await;
    assert_eq!((status.as_u16(), &cached["site"]), (200, &json!(1)));
    let one = "/v1/sites/1/cache?path=%2F";
    let (status, _) = house.ask(Method::GET, one, "").await;
    assert_eq!(status, 503);
}
