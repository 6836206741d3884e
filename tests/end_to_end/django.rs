//! A real Django project (contrib.sites, admin, sessions): three sites on one database, each served
//! by a process of its own, two application servers among them.

use std::path::Path;

use http_body_util::Full;
use hyper::header::COOKIE;
use hyper::{Method, StatusCode};
use support::client::{form, request};
use support::house::{table, vars};
use support::place::python;
use support::postgres::{APPLICATION_DATABASE, APPLICATION_PASSWORD, APPLICATION_ROLE};
use support::{House, Row, program};

const DOMAINS: [&str; 3] = ["red.example", "green.example", "blue.example"];
const TEMPLATES: [&str; 3] = ["gunicorn", "uwsgi", "granian"];
const ADMIN_PASSWORD: &str = "open-sesame";

#[tokio::test]
async fn three_django_sites_on_one_database_each_know_who_they_are() {
    let house = house_with_django().await;
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
    let house = house_with_django().await;
    for domain in DOMAINS {
        house.page(domain).await;
        let cookies = log_in(&house, domain).await;
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

/// Returns the cookies of the session.
async fn log_in(house: &House, domain: &str) -> String {
    let path = "/admin/login/?next=/admin/";
    let login = house.client.get(domain, path).await;
    assert_eq!(login.status, StatusCode::OK, "{}", login.text());
    let fields = format!(
        "csrfmiddlewaretoken={}&username=admin&password={ADMIN_PASSWORD}",
        hidden_token(&login.text())
    );
    let answer = house
        .client
        .send(form(domain, path, &login.cookies(), &fields))
        .await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    assert_eq!(answer.header("location"), "/admin/");
    answer.cookies()
}

fn hidden_token(page: &str) -> &str {
    let (_, after) = page.split_once("csrfmiddlewaretoken\" value=\"").unwrap();
    after.split('"').next().unwrap()
}

async fn house_with_django() -> House {
    let house = House::open().await;
    house.postgres.make_application_database().await;
    let project = house.place.fixture("django");
    populate(&house, &project);
    for (domain, template) in DOMAINS.into_iter().zip(TEMPLATES) {
        let slug = domain.strip_suffix(".example").unwrap();
        house
            .insert(&Row::new(
                slug,
                template,
                &overlay(&house, &project, template),
            ))
            .await;
    }
    house
}

/// The tables, the three rows of `django_site`, an administrator.
fn populate(house: &House, project: &Path) {
    for arguments in [
        &["manage.py", "migrate", "--verbosity=0"][..],
        &["-m", "house.populate"],
    ] {
        let mut command = program::command(python());
        command
            .args(arguments)
            .current_dir(project)
            .env("SITE_ID", "1")
            .env("DOMAINS", DOMAINS.join(","))
            .env("ADMIN_PASSWORD", ADMIN_PASSWORD)
            .envs(database(house));
        program::run(&mut command);
    }
}

fn database(house: &House) -> [(&'static str, String); 5] {
    [
        ("DATABASE_HOST", "127.0.0.1".to_owned()),
        ("DATABASE_PORT", house.postgres.port().to_string()),
        ("DATABASE_NAME", APPLICATION_DATABASE.to_owned()),
        ("DATABASE_USER", APPLICATION_ROLE.to_owned()),
        ("DATABASE_PASSWORD", APPLICATION_PASSWORD.to_owned()),
    ]
}

fn overlay(house: &House, project: &Path, template: &str) -> String {
    let python = python();
    let uwsgi = python.with_file_name("uwsgi");
    let application = "house.wsgi:application";
    let interpreter = ("python", python.to_str().unwrap());
    let mut variables = vec![("app_dir", project.to_str().unwrap())];
    variables.extend(match template {
        "uwsgi" => vec![("uwsgi", uwsgi.to_str().unwrap()), ("module", application)],
        "granian" => vec![interpreter, ("interface", "wsgi"), ("app", application)],
        _ => vec![interpreter, ("module", application)],
    });
    let database = database(house);
    let database = database
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    vars(&variables) + &table("env", &database)
}
