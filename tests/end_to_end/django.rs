//! A real Django project (contrib.sites, admin, sessions): three sites on one database, each served
//! by a process of its own, two application servers among them.

use http_body_util::Full;
use hyper::header::COOKIE;
use hyper::{Method, StatusCode};
use serde_json::Value;
use support::House;
use support::client::request;
use support::django::Project;
use support::postgres::APPLICATION_DATABASE;

const DOMAINS: [&str; 3] = ["red.example", "green.example", "blue.example"];
const TEMPLATES: [&str; 3] = ["gunicorn", "uwsgi", "granian"];

#[tokio::test]
async fn three_django_sites_on_one_database_each_know_who_they_are() {
    let house = House::open().await;
    serve_three(&house).await;
    for (number, domain) in (1..).zip(DOMAINS) {
        let page = house.page(domain).await;
        assert_eq!(page["site_id"], number, "{domain}");
        assert_eq!(page["domain"], domain);
        assert_eq!(page["host"], domain);
        assert_eq!(page["user"], "");
    }
}

#[tokio::test]
async fn the_administrator_logs_in_at_every_site_through_the_router() {
    let house = House::open().await;
    let project = serve_three(&house).await;
    for domain in DOMAINS {
        house.page(domain).await;
        let cookies = project.log_in(domain).await;
        let page = request(Method::GET, domain, "/").header(COOKIE, &cookies);
        let page = house.client.send(page.body(Full::default()).unwrap()).await;
        assert_eq!(page.json()["user"], "admin", "{domain}");
        let admin = request(Method::GET, domain, "/admin/sites/site/").header(COOKIE, &cookies);
        let admin = house
            .client
            .send(admin.body(Full::default()).unwrap())
            .await;
        assert_eq!(admin.status, StatusCode::OK);
        for listed in DOMAINS {
            assert!(
                admin.text().contains(listed),
                "{listed} is not listed at {domain}"
            );
        }
    }
}

#[tokio::test]
async fn no_visitor_meets_a_page_that_was_never_asked_for_before() {
    let house = House::open_with("[vassal.ready]\nwarm = ['/', '/sluggish/']\n").await;
    house.postgres.make_application_database().await;
    let domain = DOMAINS[0];
    let project = Project::populate(&house, "django", APPLICATION_DATABASE, &[domain]);
    project.serve(domain, "gunicorn").await;
    let mut first = house.page(domain).await;
    for _ in 0..2 {
        let page = house.client.get(domain, "/sluggish/").await;
        assert_eq!(page.json()["call"], 2, "one worker was asked once before");
        let outcome = house.emperor.run(&["reload", "red"]).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let another = |page: &Value| page["pid"] != first["pid"];
        first = house.page_where(domain, another).await;
    }
}

async fn serve_three(house: &House) -> Project<'_> {
    house.postgres.make_application_database().await;
    let project = Project::populate(house, "django", APPLICATION_DATABASE, &DOMAINS);
    for (domain, template) in DOMAINS.into_iter().zip(TEMPLATES) {
        project.serve(domain, template).await;
    }
    project
}
