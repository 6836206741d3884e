//! Every shipped template against the real program that it is for.

use std::fmt::Write;

use http_body_util::Full;
use hyper::Method;
use serde_json::{Value, json};
use support::client::request;
use support::place::{node, python};
use support::{House, Load, Row};

/// A row of one template, with these variables and a variable of the environment that will change.
fn row(template: &str, variables: &Value) -> Row {
    let mut overlay = "[vars]\n".to_owned();
    for (name, value) in variables.as_object().unwrap() {
        // JSON's strings, numbers and arrays are TOML's too.
        writeln!(overlay, "{name} = {value}").unwrap();
    }
    overlay.push_str("[env]\nMARKER = \"first\"\n");
    Row::new(template, template, &overlay)
}

/// The site answers and names itself; a change replaces it without a lost request; it ends without
/// a process left.
async fn check(house: &House, template: &str, variables: &Value) {
    let row = row(template, variables);
    let id = house.insert(&row).await;
    let host = row.domain.as_str();
    let page = house.page(host).await;
    assert_eq!(page["site_id"], id.to_string(), "{page}");
    assert_eq!(page["domain"], host);
    assert_eq!(page["host"], host);
    assert_eq!(page["marker"], "first");
    let deep = house.client.get(host, "/a%20b?c=d").await.json();
    assert!(deep["path"].as_str().unwrap().starts_with("/a"), "{deep}");
    let load = Load::start(house.client, &[host], "/");
    let changed = row.extra_config.replace("first", "second");
    let statement = "UPDATE emperor.sites SET extra_config = $2 WHERE id = $1";
    house.sql(statement, &[&id, &changed]).await;
    house
        .page_where(host, |page| page["marker"] == "second")
        .await;
    load.stop().await;
}

/// What a client sends arrives whole, beyond the size of any buffer on the way.
async fn takes_a_body(house: &House, host: &str) {
    let body = "0123456789".repeat(100_000);
    let request = request(Method::POST, host, "/").body(Full::from(body.clone()));
    let page = house.client.send(request.unwrap()).await.json();
    assert_eq!(page["method"], "POST");
    assert!(page["body"] == body, "the body came out otherwise");
}

/// Headers just below what the router takes arrive whole.
async fn takes_large_headers(house: &House, host: &str) {
    let value = "x".repeat(4_000);
    let names: Vec<_> = (0..14).map(|number| format!("x-large-{number}")).collect();
    let large = names
        .iter()
        .fold(request(Method::GET, host, "/"), |request, name| {
            request.header(name, &value)
        });
    let page = house
        .client
        .send(large.body(Full::default()).unwrap())
        .await;
    assert!(page.status.is_success(), "{page:?}");
    let page = page.json();
    for name in names {
        assert!(page["headers"][&name] == value, "{name} came out otherwise");
    }
}

fn ends_without_a_process_left(mut house: House) {
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
}

#[tokio::test]
async fn gunicorn_serves_wsgi() {
    let house = House::open().await;
    let app_dir = house.place.fixture("python");
    let variables = json!({
        "app_dir": app_dir, "python": python(), "module": "wsgi_echo:application", "workers": 2,
    });
    check(&house, "gunicorn", &variables).await;
    takes_a_body(&house, "gunicorn.example").await;
    check(&house, "gunicorn-bind", &variables).await;
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn uwsgi_serves_wsgi_in_its_own_protocol() {
    let house = House::open().await;
    let app_dir = house.place.fixture("python");
    let uwsgi = python().with_file_name("uwsgi");
    let variables =
        json!({ "app_dir": app_dir, "uwsgi": uwsgi, "module": "wsgi_echo:application" });
    check(&house, "uwsgi", &variables).await;
    takes_a_body(&house, "uwsgi.example").await;
    takes_large_headers(&house, "uwsgi.example").await;
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn uvicorn_serves_asgi_and_web_sockets() {
    let house = House::open().await;
    let app_dir = house.place.fixture("python");
    let variables =
        json!({ "app_dir": app_dir, "python": python(), "app": "asgi_echo:application" });
    check(&house, "uvicorn", &variables).await;
    let said = house
        .client
        .websocket_echo("uvicorn.example", "hello")
        .await;
    assert_eq!(said, "echo hello");
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn granian_serves_asgi_and_web_sockets() {
    let house = House::open().await;
    let app_dir = house.place.fixture("python");
    let variables =
        json!({ "app_dir": app_dir, "python": python(), "app": "asgi_echo:application" });
    check(&house, "granian", &variables).await;
    let said = house
        .client
        .websocket_echo("granian.example", "hello")
        .await;
    assert_eq!(said, "echo hello");
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn node_serves_pages_and_web_sockets() {
    let house = House::open().await;
    let variables = json!({ "app_dir": house.place.fixture("node"), "node": node() });
    check(&house, "node", &variables).await;
    let said = house.client.websocket_echo("node.example", "hello").await;
    assert_eq!(said, "echo hello");
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn command_runs_whatever_serves_on_an_inherited_socket() {
    let house = House::open().await;
    let script = house.place.fixture("python").join("command_echo.py");
    let variables = json!({ "program": python(), "args": [script, "fd", "{{ socket.fd }}"] });
    check(&house, "command", &variables).await;
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn command_runs_whatever_serves_on_a_path() {
    let house = House::open().await;
    let script = house.place.fixture("python").join("command_echo.py");
    let variables = json!({
        "program": python(), "listen": "path", "args": [script, "path", "{{ socket.path }}"],
    });
    check(&house, "command", &variables).await;
    ends_without_a_process_left(house);
}

#[tokio::test]
async fn demo_needs_nothing_but_python() {
    let house = House::open().await;
    let id = house.insert(&Row::new("demo", "demo", "")).await;
    house.emperor.in_state("demo", "ready").await;
    let facts = house.client.get("demo.example", "/json").await.json();
    assert_eq!(facts["site_id"], id);
    assert_eq!(facts["slug"], "demo");
    let page = house.client.get("demo.example", "/").await;
    assert!(page.text().contains("demo"), "{}", page.text());
    ends_without_a_process_left(house);
}
