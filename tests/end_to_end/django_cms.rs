//! A real django CMS whose tables lie in the emperor's database: what an editor changes there takes
//! effect although URLs are read once, when a worker starts.

use http_body_util::Full;
use hyper::header::COOKIE;
use hyper::{Method, StatusCode};
use support::client::request;
use support::django::Project;
use support::{House, Load, PATIENCE, eventually};

const DOMAINS: [&str; 2] = ["red.example", "green.example"];
/// Where django CMS asks for what hangs below the first page that was made.
const ADVANCED: &str = "/admin/cms/page/1/advanced-settings/";
const WATCH: &str = "SELECT emperor.reload_on_change('public.cms_page', 'null', \
                     '{application_urls,application_namespace}')";

#[tokio::test]
async fn an_application_that_is_hung_below_a_page_answers_without_a_restart() {
    let house = House::open().await;
    let applications = house.postgres.let_applications_in().await;
    let project = Project::populate(&house, "django_cms", applications, &DOMAINS);
    house.sql(WATCH, &[]).await;
    for domain in DOMAINS {
        project.serve(domain, "gunicorn").await;
        answers(&house, domain, "/welcome/").await;
    }
    let greeting = house.client.get(DOMAINS[0], "/welcome/anna/").await;
    assert_eq!(greeting.status, StatusCode::NOT_FOUND);
    let cookies = project.log_in(DOMAINS[0]).await;
    let load = Load::start(house.client, &DOMAINS, "/welcome/");
    let advanced = request(Method::GET, DOMAINS[0], ADVANCED).header(COOKIE, &cookies);
    let advanced = advanced.body(Full::default()).unwrap();
    let advanced = house.client.send(advanced).await;
    let fields = "application_urls=Greetings&application_namespace=";
    let saved = project.submit(DOMAINS[0], ADVANCED, &cookies, &advanced, fields);
    saved.await;
    answers(&house, DOMAINS[0], "/welcome/anna/").await;
    for domain in DOMAINS {
        let slug = domain.strip_suffix(".example").unwrap();
        house.emperor.in_state(slug, "ready").await;
    }
    load.stop().await;
    // The page of the other site has nothing below it.
    let other = house.client.get(DOMAINS[1], "/welcome/anna/").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

async fn answers(house: &House, domain: &str, path: &str) {
    let what = format!("{domain}{path}");
    eventually(&what, PATIENCE, async || {
        let answer = house.client.get(domain, path).await;
        if answer.status != StatusCode::OK {
            return Err(format!("{} {}", answer.status, answer.text()));
        }
        assert_eq!(answer.json()["host"], domain);
        Ok(())
    })
    .await;
}
