//! `source = "django"`: a project's own `django_site`, and the aliases of django-multisite, written by
//! Django's ORM and answered through the router.

use serde_json::Value;
use support::desk::{FIRST, MULTISITE};
use support::django::Django;
use support::{Desk, Load, PATIENCE, eventually};

#[tokio::test]
async fn what_django_s_orm_commits_answers_through_the_router() {
    what_the_orm_commits_answers(Django::Newest).await;
}

#[tokio::test]
async fn what_the_orm_of_django_4_2_commits_answers_too() {
    what_the_orm_commits_answers(Django::V4_2).await;
}

async fn what_the_orm_commits_answers(django: Django) {
    let desk = Desk::open(django, "gunicorn", &[MULTISITE]).await;
    let house = &desk.house;
    let page = house.page(FIRST).await;
    assert_eq!(page["site_id"], 1);
    assert!(django.is(&page["django"]), "{page}");
    let red = desk.instance("red-example").await;

    desk.orm("Site.objects.create(domain='green.example', name='green')");
    let page = house.page("green.example").await;
    assert_eq!(
        (&page["site_id"], &page["domain"]),
        (&2.into(), &"green.example".into())
    );

    desk.orm(
        "Alias.objects.create(site_id=2, domain='verde.example:80', redirect_to_canonical=False)",
    );
    assert_eq!(house.page("verde.example").await["site_id"], 2);

    let load = Load::start(house.client, &["verde.example"], "/");
    desk.orm("Site.objects.filter(pk=2).update(domain='lime.example')");
    let renamed = house
        .page_where("lime.example", |page| page["site_id"] == 2)
        .await;
    assert_eq!(renamed["pid"], page["pid"], "nothing is restarted");
    assert!(desk.is_unknown("green.example").await);
    house.emperor.in_state("lime-example", "ready").await;
    // Django keeps its row for as long as a process lives, so what it says of itself is older.
    assert_eq!(renamed["domain"], "green.example");
    let reloaded = house.emperor.run(&["reload", "lime-example"]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.err);
    house
        .page_where("lime.example", |page| page["domain"] == "lime.example")
        .await;
    load.stop().await;
    assert_eq!(
        desk.instance("red-example").await["incarnation"],
        red["incarnation"],
        "red has no part in it"
    );

    desk.orm("Alias.objects.all().delete(); Site.objects.filter(pk=2).delete()");
    eventually("the end of lime", PATIENCE, async || {
        let gone = desk.is_unknown("lime.example").await;
        gone.then_some(()).ok_or_else(|| "it answers".to_owned())
    })
    .await;
}

#[tokio::test]
async fn the_source_is_explained_row_by_row() {
    let desk = Desk::open(Django::Newest, "gunicorn", &[MULTISITE]).await;
    desk.orm("Site.objects.create(domain='no host', name='wrong')");
    let outcome = desk
        .house
        .emperor
        .run(&["db", "check-source", "--json"])
        .await;
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    let document: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(
        document["silent"],
        Value::Array(Vec::new()),
        "every table has its triggers"
    );
    let sites = document["sites"].as_array().unwrap();
    let verdicts: Vec<_> = sites.iter().map(|site| &site["verdict"]).collect();
    assert_eq!(verdicts, ["runs", "rejected"]);
    assert_eq!(sites[0]["hosts"][0], "red.example");
    let reason = sites[1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("column django_site.domain:"), "{reason}");
}
