//! A real Django whose posts are changed in every way that it has: whatever changes a row purges its
//! page, which no signal of the ORM would tell of.

use serde_json::{Value, json};
use support::django::{Django, Project};
use support::{House, PATIENCE, eventually};

const HOST: &str = "red.example";
const WATCHES: [&str; 2] = [
    "SELECT emperor.purge_on_change('public.blog_post', NULL, \
         'VALUES (''/posts/'' || row.slug || ''/'')')",
    "SELECT emperor.purge_on_change('public.blog_post_labels', NULL, \
         'SELECT ''/posts/'' || p.slug || ''/'' FROM public.blog_post p WHERE p.id = row.post_id')",
];

#[tokio::test]
async fn whatever_changes_a_post_purges_its_page_and_a_rollback_purges_none() {
    changes_purge(Django::Newest).await;
}

#[tokio::test]
async fn whatever_changes_a_post_of_django_4_2_purges_its_page_too() {
    changes_purge(Django::V4_2).await;
}

async fn changes_purge(django: Django) {
    let house = House::open().await;
    let applications = house.postgres.let_applications_in().await;
    let project = Project::populate_with(django, &house, "django", applications, &[HOST]);
    project.run_module("blog.write", "fill");
    for watch in WATCHES {
        house.sql(watch, &[]).await;
    }
    let site = project.serve(HOST, "gunicorn").await;
    let until_purged = "UPDATE emperor.sites SET extra_config = extra_config || $2 WHERE id = $1";
    let cache = "\n[cache]\nmode = 'until-purged'\n";
    house.sql(until_purged, &[&site, &cache]).await;
    let page = house.page(HOST).await;
    assert!(django.is(&page["django"]), "{page}");
    for (how, slug, title, labels) in [
        ("roll_back", "one", json!("first"), json!([])),
        ("save", "one", json!("saved"), json!([])),
        ("bulk", "two", json!("bulk"), json!([])),
        ("raw", "one", json!("raw"), json!([])),
        ("label", "one", json!("raw"), json!(["new"])),
        ("delete", "two", Value::Null, json!([])),
    ] {
        for slug in ["one", "two", "three"] {
            stored(&house, slug).await;
        }
        project.run_module("blog.write", how);
        let wait = "SELECT emperor.purge_wait(NULL)";
        let client = house.postgres.client().await;
        let purged: bool = client.query_one(wait, &[]).await.unwrap().get(0);
        assert!(purged, "{how}");
        let (page, is_hit) = post(&house, slug).await;
        assert_eq!(page, json!({"title": title, "labels": labels}), "{how}");
        assert_eq!(is_hit, how == "roll_back", "{how}");
        let (_, is_hit) = post(&house, "three").await;
        assert!(is_hit, "{how} purged what it did not change");
    }
}

/// Asks for a post until it is answered from the cache.
async fn stored(house: &House, slug: &str) {
    eventually(&format!("{slug} is stored"), PATIENCE, async || {
        let (page, is_hit) = post(house, slug).await;
        is_hit.then_some(()).ok_or_else(|| page.to_string())
    })
    .await;
}

/// The page of a post, and whether it came from the cache.
async fn post(house: &House, slug: &str) -> (Value, bool) {
    let answer = house.client.get(HOST, &format!("/posts/{slug}/")).await;
    let is_hit = answer.header("cache-status").contains("; hit");
    (answer.json(), is_hit)
}
