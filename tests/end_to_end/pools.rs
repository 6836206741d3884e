//! Sites that share a worker: each is served as itself, moves in and out without a lost request, and none
//! of them notices another.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::place::python;
use support::{House, Load, PATIENCE, Row, eventually};

const POOL: &str = "UPDATE emperor.sites SET pool = $2 WHERE id = $1";

/// The `extra_config` of a site of this template.
fn overlay(house: &House, template: &str) -> String {
    let program = python().with_file_name(template);
    let (key, program) = match template {
        "uwsgi" => ("uwsgi", program),
        _ => ("python", python()),
    };
    let app_dir = house.place.fixture("python");
    let variables = json!({
        "app_dir": app_dir, key: program, "module": "wsgi_echo:application",
    });
    let lines = variables.as_object().unwrap().iter();
    let lines = lines.map(|(name, value)| format!("{name} = {value}\n"));
    format!("[vars]\n{}", lines.collect::<String>())
}

async fn insert(house: &House, slug: &str, template: &str, pool: Option<&str>) -> i64 {
    let row = Row::new(slug, template, &overlay(house, template));
    let client = house.postgres.client().await;
    let statement = "INSERT INTO emperor.sites (slug, domain, template, extra_config, pool) \
                     VALUES ($1, $2, $3, $4, $5) RETURNING id";
    let (slug, domain, template) = (&row.slug, &row.domain, &row.template);
    let inserted = client
        .query_one(
            statement,
            &[slug, domain, template, &row.extra_config, &pool],
        )
        .await;
    inserted.unwrap().get(0)
}

/// The page of a site, by the worker of the pool.
async fn pooled(house: &House, slug: &str) -> Value {
    let host = format!("{slug}.example");
    house
        .page_where(&host, |page| page["pool"] == "small")
        .await
}

async fn each_is_served_as_itself_by_one_worker(template: &str, variable: bool) {
    let mut house = House::open().await;
    let mut pids = Vec::new();
    for slug in ["one", "two", "three"] {
        let id = insert(&house, slug, template, Some("small")).await;
        let page = pooled(&house, slug).await;
        assert_eq!(page["site_id"], id.to_string(), "{page}");
        let told = if variable {
            json!(id.to_string())
        } else {
            Value::Null
        };
        assert_eq!(page["variable"], told, "{page}");
        let site = house.emperor.in_state(slug, "ready").await;
        assert_eq!(site["detail"], "in pool small");
        pids.push(site["instances"][0]["pid"].clone());
    }
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
    let env = house.client.get("two.example", "/env").await.json();
    assert_eq!(env["EMPEROR_VASSAL"], "pool.small");
    assert_eq!(
        (&env["SITE_ID"], &env["SITE_SLUG"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
}

#[tokio::test]
async fn sites_of_a_pool_are_told_apart_by_a_header() {
    each_is_served_as_itself_by_one_worker("gunicorn", false).await;
}

#[tokio::test]
async fn sites_of_a_pool_are_told_apart_by_a_variable_of_uwsgi() {
    each_is_served_as_itself_by_one_worker("uwsgi", true).await;
}

#[tokio::test]
async fn an_operator_sees_a_pool_and_steers_it_by_its_name() {
    let house = House::open().await;
    let id = insert(&house, "one", "uwsgi", Some("small")).await;
    insert(&house, "two", "uwsgi", Some("small")).await;
    let worker = pooled(&house, "one").await["pid"].clone();
    pooled(&house, "two").await;
    let json = async |arguments: &[&str]| -> Value {
        let outcome = house.emperor.run(arguments).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        serde_json::from_str(&outcome.out).unwrap()
    };
    let status = json(&["status", "pool.small", "--json"]).await;
    let small = &status["pools"][0];
    assert_eq!(
        (&small["name"], &small["state"]),
        (&json!("small"), &json!("ready"))
    );
    let sites = small["sites"].as_array().unwrap();
    let sites: Vec<_> = sites.iter().map(|site| site["slug"].as_str()).collect();
    assert_eq!(sites, [Some("one"), Some("two")]);
    assert!(!small["events"].as_array().unwrap().is_empty(), "{small}");
    assert_eq!(
        json(&["status", "one", "--json"]).await["sites"][0]["pool"],
        "small"
    );

    let rendered = json(&["template", "render", "one", "--json"]).await;
    let told = json!([
        { "name": "X-Site-Id", "value": id.to_string() },
        { "name": "SITE_ID", "value": id.to_string() },
    ]);
    assert_eq!(
        rendered["pool"],
        json!({ "name": "small", "request": told })
    );
    let variables = rendered["env"].as_array().unwrap();
    let names = variables.iter().map(|variable| variable["name"].as_str());
    assert!(
        !names.clone().any(|name| name == Some("SITE_ID")),
        "{rendered}"
    );
    assert!(names.clone().any(|name| name == Some("EMPEROR_POOL")));
    let pool = json(&["template", "render", "pool.small", "--json"]).await;
    assert_eq!(pool["command"], rendered["command"]);
    assert_eq!(pool["revision"], rendered["revision"]);
    check_orders(&house).await;
    house
        .page_where("two.example", |page| page["pid"] != worker)
        .await;
}

/// What is about processes is done, and what is about rows refused; last, the worker is replaced.
async fn check_orders(house: &House) {
    for of in ["pool.small", "one"] {
        eventually("what uWSGI said", PATIENCE, async || {
            let logs = house.emperor.run(&["logs", of]).await;
            let told = logs.out.contains("uWSGI");
            told.then_some(()).ok_or_else(|| format!("{logs:?}"))
        })
        .await;
    }
    let refused = house.emperor.run(&["site", "disable", "pool.small"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("emperor site disable SITE"),
        "{refused:?}"
    );
    assert_eq!(house.emperor.run(&["status", "pool.none"]).await.code, 4);
    let reload = house.emperor.run(&["reload", "pool.small"]).await;
    assert!(
        reload.out.starts_with("2 sites being replaced"),
        "{reload:?}"
    );
}

#[tokio::test]
async fn moving_out_of_a_pool_and_back_loses_no_request_and_outlives_the_emperor() {
    let mut house = House::open().await;
    let hosts = ["one.example", "two.example"];
    let id = insert(&house, "one", "gunicorn", Some("small")).await;
    insert(&house, "two", "gunicorn", Some("small")).await;
    let worker = pooled(&house, "one").await["pid"].clone();
    pooled(&house, "two").await;
    let load = Load::start(house.client, &hosts, "/");

    house.sql(POOL, &[&id, &None::<&str>]).await;
    let alone = house
        .page_where("one.example", |page| page["pool"].is_null())
        .await;
    assert_eq!(alone["site_id"], id.to_string());
    assert_eq!(pooled(&house, "two").await["pid"], worker);

    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
    house.emperor.start_again().await;
    house.emperor.in_state("two", "ready").await;
    assert_eq!(pooled(&house, "two").await["pid"], worker, "it was adopted");

    house.sql(POOL, &[&id, &Some("small")]).await;
    assert_eq!(pooled(&house, "one").await["pid"], worker);
    eventually("the end of its own worker", PATIENCE, async || {
        let site = house.emperor.in_state("one", "ready").await;
        let instances = site["instances"].as_array().map(Vec::len);
        (instances == Some(1))
            .then_some(())
            .ok_or_else(|| site.to_string())
    })
    .await;
    load.stop().await;
}

#[tokio::test]
async fn one_that_is_disabled_or_differs_leaves_the_others_alone() {
    let house = House::open().await;
    let id = insert(&house, "one", "gunicorn", Some("small")).await;
    insert(&house, "two", "gunicorn", Some("small")).await;
    let worker = pooled(&house, "two").await["pid"].clone();
    pooled(&house, "one").await;
    let load = Load::start(house.client, &["two.example"], "/");
    house
        .sql(
            "UPDATE emperor.sites SET enabled = false WHERE id = $1",
            &[&id],
        )
        .await;
    house.emperor.in_state("one", "disabled").await;
    // Its status says what is wanted; what the router has in force follows.
    eventually("503", PATIENCE, async || {
        let answer = house.client.get("one.example", "/").await;
        (answer.status == 503)
            .then_some(())
            .ok_or_else(|| answer.text())
    })
    .await;
    let other = insert(&house, "other", "gunicorn", None).await;
    let differing = overlay(&house, "gunicorn") + "workers = 7\n";
    let statement = "UPDATE emperor.sites SET pool = 'small', extra_config = $2 WHERE id = $1";
    house.sql(statement, &[&other, &differing]).await;
    let site = house.emperor.in_state("other", "rejected").await;
    let detail = site["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("column extra_config: it isn't that of site"),
        "{detail}"
    );
    load.stop().await;
    assert_eq!(pooled(&house, "two").await["pid"], worker);
}

#[tokio::test]
async fn reloads_that_no_emperor_heard_replace_the_worker_of_a_pool_once() {
    let mut house = House::open().await;
    let id = insert(&house, "one", "gunicorn", Some("small")).await;
    let other = insert(&house, "two", "gunicorn", Some("small")).await;
    let worker = pooled(&house, "two").await["pid"].clone();
    pooled(&house, "one").await;
    let load = Load::start(house.client, &["one.example", "two.example"], "/");
    let mut replaced = worker.clone();
    for sites in [&[id, other][..], &[]] {
        house.emperor.signal(Signal::SIGKILL);
        house.emperor.ended(PATIENCE);
        for site in sites {
            house.sql("SELECT emperor.reload($1)", &[site]).await;
        }
        house.emperor.start_again().await;
        let page = house
            .page_where("one.example", |page| page["pid"] != worker)
            .await;
        eventually("the end of the replacement", PATIENCE, async || {
            let site = house.emperor.in_state("one", "ready").await;
            let instances = site["instances"].as_array().map(Vec::len);
            (instances == Some(1) && site["detail"] == "in pool small")
                .then_some(())
                .ok_or_else(|| site.to_string())
        })
        .await;
        if sites.is_empty() {
            assert_eq!(page["pid"], replaced, "nothing was asked for meanwhile");
        }
        replaced = page["pid"].clone();
        assert_eq!(pooled(&house, "two").await["pid"], replaced);
    }
    load.stop().await;
}
