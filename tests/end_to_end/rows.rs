//! A row becomes a running site; its changes, its end.

use hyper::StatusCode;
use support::house::vars;
use support::{House, Load, PATIENCE, Row, eventually};

#[tokio::test]
async fn a_committed_row_runs_and_its_page_names_it() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "first").await;
    let page = house.page("one.example").await;
    assert_eq!(page["site_id"], id.to_string());
    assert_eq!(page["slug"], "one");
    assert_eq!(page["domain"], "one.example");
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["id"], id);
    assert_eq!(site["hosts"][0], "one.example");
    assert_eq!(site["instances"][0]["pid"], page["pid"]);
}

#[tokio::test]
async fn a_row_that_is_rolled_back_never_runs() {
    let house = House::open().await;
    let client = house.postgres.client().await;
    let insert = |slug: &str| {
        let config = house.tiny_vars("");
        format!(
            "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
             VALUES ('{slug}', '{slug}.example', 'tiny', '{config}')"
        )
    };
    let undone = format!("BEGIN; {}; ROLLBACK", insert("undone"));
    client.batch_execute(&undone).await.unwrap();
    client.batch_execute(&insert("done")).await.unwrap();
    house.page("done.example").await;
    assert!(house.emperor.site("undone").await.is_none());
    let answer = house.client.get("undone.example", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_changed_row_replaces_its_worker_without_a_lost_request() {
    let house = House::open().await;
    house.insert_tiny("one", "0").await;
    let before = house.page("one.example").await;
    let load = Load::start(house.client, &["one.example"], "/");
    for marker in ["1", "2", "3"] {
        house.set_marker("one", marker).await;
        house
            .page_where("one.example", |page| page["marker"] == marker)
            .await;
    }
    load.stop().await;
    let after = house.page("one.example").await;
    assert_ne!(before["pid"], after["pid"]);
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["restarts"], 0, "a replacement is no restart");
}

#[tokio::test]
async fn after_a_thousand_changes_what_runs_is_what_was_committed_last() {
    let house = House::open().await;
    house.insert_tiny("one", "0").await;
    house.page("one.example").await;
    let load = Load::start(house.client, &["one.example"], "/");
    let client = house.postgres.client().await;
    let statement = "UPDATE emperor.sites SET extra_config = $1 WHERE slug = 'one'";
    let statement = client.prepare(statement).await.unwrap();
    for number in 1..=1000 {
        let config = house.tiny_vars(&number.to_string());
        client.execute(&statement, &[&config]).await.unwrap();
    }
    house
        .page_where("one.example", |page| page["marker"] == "1000")
        .await;
    // What is on its way settles, and nothing older comes back.
    let settled = eventually("one instance", PATIENCE, async || {
        let site = house.emperor.in_state("one", "ready").await;
        let alone = site["instances"].as_array().unwrap().len() == 1;
        alone
            .then_some(site.clone())
            .ok_or_else(|| site.to_string())
    })
    .await;
    assert_eq!(house.page("one.example").await["marker"], "1000");
    assert_eq!(settled["instances"][0]["revision"], settled["revision"]);
    load.stop().await;
}

#[tokio::test]
async fn a_request_waits_while_its_site_starts() {
    let house = House::open().await;
    let (program, go) = (house.place.tiny_worker(), house.place.join("go"));
    let values = [("program", &program), ("after", &go)];
    let values = values.map(|(name, path)| (name, path.to_str().unwrap()));
    house
        .insert(&Row::new("slow", "slow", &vars(&values)))
        .await;
    house.emperor.in_state("slow", "starting").await;
    let client = house.client;
    let asked = tokio::spawn(async move { client.get("slow.example", "/").await });
    eventually("a request that waits", PATIENCE, async || {
        let router = &house.emperor.status().await["router"];
        let waits = router["in_flight"] == 1;
        waits.then_some(()).ok_or_else(|| router.to_string())
    })
    .await;
    std::fs::write(go, "").unwrap();
    assert_eq!(asked.await.unwrap().json()["slug"], "slow");
}

#[tokio::test]
async fn a_disabled_site_answers_503_and_comes_back() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    let page = house.page("one.example").await;
    let switch = "UPDATE emperor.sites SET enabled = $2 WHERE id = $1";
    house.sql(switch, &[&id, &false]).await;
    let site = house.emperor.in_state("one", "disabled").await;
    assert_eq!(site["instances"].as_array().unwrap().len(), 0);
    let answer = house.client.get("one.example", "/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(answer.header("retry-after"), "");
    house.sql(switch, &[&id, &true]).await;
    let again = house.page("one.example").await;
    assert_ne!(page["pid"], again["pid"]);
}

#[tokio::test]
async fn a_deleted_row_leaves_no_route_no_process_and_no_folder() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    house.insert_tiny("two", "").await;
    house.page("one.example").await;
    house.page("two.example").await;
    house
        .sql("DELETE FROM emperor.sites WHERE id = $1", &[&id])
        .await;
    eventually("its end", PATIENCE, async || {
        match house.emperor.site("one").await {
            None => Ok(()),
            Some(site) => Err(site.to_string()),
        }
    })
    .await;
    let answer = house.client.get("one.example", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let mut processes = house.emperor.processes();
    processes.retain(|process| process.variable("SITE_ID") == Some(id.to_string()));
    assert_eq!(processes, []);
    let folders = std::fs::read_dir(house.emperor.runtime_dir().join("i")).unwrap();
    let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    let mut of_the_site = names.filter(|name| name.starts_with(&format!("{id}.")));
    assert_eq!(of_the_site.next(), None);
    eventually("no status row", PATIENCE, async || {
        match house.status_row(id).await {
            None => Ok(()),
            Some(row) => Err(format!("{row:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_replacement_that_fails_leaves_the_old_one_serving_and_says_so() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "good").await;
    let before = house.page("one.example").await;
    let load = Load::start(house.client, &["one.example"], "/");
    let statement =
        "UPDATE emperor.sites SET template = 'grumbler', extra_config = '' WHERE id = $1";
    house.sql(statement, &[&id]).await;
    eventually("the cause", PATIENCE, async || {
        let site = house.emperor.site("one").await.unwrap();
        let told = site["detail"]
            .as_str()
            .unwrap()
            .contains("out of luck today");
        told.then_some(()).ok_or_else(|| site.to_string())
    })
    .await;
    assert_eq!(house.page("one.example").await["pid"], before["pid"]);
    let statement = "UPDATE emperor.sites SET template = 'tiny', extra_config = $2 WHERE id = $1";
    house
        .sql(statement, &[&id, &house.tiny_vars("better")])
        .await;
    house
        .page_where("one.example", |page| page["marker"] == "better")
        .await;
    load.stop().await;
}
