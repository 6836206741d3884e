//! Django projects of `tests/fixtures`, served by the house: their tables, their administrator, and
//! what a person does in their admin.

use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::StatusCode;
use serde_json::Value;

use crate::client::form;
use crate::house::table;
use crate::place::{python, python_with_django_4_2};
use crate::postgres::{APPLICATION_PASSWORD, APPLICATION_ROLE};
use crate::{Answer, House, Postgres, Row, program};

/// The password of the administrator, whose name is `admin`.
pub const ADMIN_PASSWORD: &str = "open-sesame";
/// Where a person without a session is sent.
const LOGIN: &str = "/admin/login/?next=/admin/";

/// Which Django a project is run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Django {
    /// The oldest that is tried.
    V4_2,
    /// The one of most tests.
    Newest,
}

impl Django {
    /// The Python that has it, with a gunicorn.
    pub fn python(self) -> PathBuf {
        match self {
            Self::V4_2 => python_with_django_4_2(),
            Self::Newest => python(),
        }
    }

    /// Whether it is the one that a page tells.
    pub fn is(self, version: &Value) -> bool {
        let version = version.as_str().unwrap();
        version.starts_with("4.2.") == (self == Self::V4_2)
    }
}

/// A project, with its tables in a database of the house's server.
#[derive(Debug)]
pub struct Project<'a> {
    django: Django,
    house: &'a House,
    folder: PathBuf,
    database: &'static str,
}

impl<'a> Project<'a> {
    /// Makes the tables, a row of `django_site` for each domain, and the administrator, as the
    /// applications' role.
    pub fn populate(
        house: &'a House,
        fixture: &str,
        database: &'static str,
        domains: &[&str],
    ) -> Self {
        Self::populate_with(Django::Newest, house, fixture, database, domains)
    }

    /// The same with that Django.
    pub fn populate_with(
        django: Django,
        house: &'a House,
        fixture: &str,
        database: &'static str,
        domains: &[&str],
    ) -> Self {
        let project = Self {
            django,
            house,
            folder: house.place.fixture(fixture),
            database,
        };
        let domains = domains.join(",");
        project.run(&["manage.py", "migrate", "--verbosity=0"], &domains);
        project.run(&["-m", "house.populate"], &domains);
        project
    }

    /// Runs a module of the project as the applications' role.
    pub fn run_module(&self, module: &str, argument: &str) {
        self.run(&["-m", module, argument], "");
    }

    fn run(&self, arguments: &[&str], domains: &str) {
        let mut command = interpreter(
            self.django,
            &self.folder,
            &self.house.postgres,
            self.database,
        );
        program::run(command.args(arguments).env("DOMAINS", domains));
    }

    /// Inserts the row of a domain, which is `SLUG.example`.
    pub async fn serve(&self, domain: &str, template: &str) -> i64 {
        let slug = domain.strip_suffix(".example").unwrap();
        let connection = connection(&self.house.postgres, self.database);
        let connection = connection.each_ref();
        let connection = connection.map(|(name, value)| (*name, value.as_str()));
        let overlay =
            served_by("vars", template, self.django, &self.folder) + &table("env", &connection);
        self.house.insert(&Row::new(slug, template, &overlay)).await
    }

    /// The administrator logs in at a site; returns the cookies of the session.
    pub async fn log_in(&self, domain: &str) -> String {
        let login = self.house.client.get(domain, LOGIN).await;
        assert_eq!(login.status, StatusCode::OK, "{}", login.text());
        let fields = format!("username=admin&password={ADMIN_PASSWORD}");
        let cookies = login.cookies();
        let answer = self.submit(domain, LOGIN, &cookies, &login, &fields).await;
        assert_eq!(answer.header("location"), "/admin/");
        answer.cookies()
    }

    /// Fills in the form that `page` shows, which has to be accepted.
    pub async fn submit(
        &self,
        domain: &str,
        path: &str,
        cookies: &str,
        page: &Answer,
        fields: &str,
    ) -> Answer {
        let fields = format!(
            "csrfmiddlewaretoken={}&{fields}",
            hidden_token(&page.text())
        );
        let submitted = form(domain, path, cookies, &fields);
        let answer = self.house.client.send(submitted).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
        answer
    }
}

/// Python in a project's folder, for a command of the project's.
pub fn interpreter(django: Django, project: &Path, postgres: &Postgres, database: &str) -> Command {
    let mut command = program::command(django.python());
    command
        .current_dir(project)
        .env("SITE_ID", "1")
        .env("ADMIN_PASSWORD", ADMIN_PASSWORD)
        .envs(connection(postgres, database));
    command
}

/// What a project finds its database by, in its environment.
pub fn connection(postgres: &Postgres, database: &str) -> [(&'static str, String); 5] {
    [
        ("DATABASE_HOST", "127.0.0.1".to_owned()),
        ("DATABASE_PORT", postgres.port().to_string()),
        ("DATABASE_NAME", database.to_owned()),
        ("DATABASE_USER", APPLICATION_ROLE.to_owned()),
        ("DATABASE_PASSWORD", APPLICATION_PASSWORD.to_owned()),
    ]
}

fn hidden_token(page: &str) -> &str {
    let (_, after) = page.split_once("csrfmiddlewaretoken\" value=\"").unwrap();
    after.split('"').next().unwrap()
}

/// A table with the variables of a template, for a project in that folder.
pub(crate) fn served_by(name: &str, template: &str, django: Django, project: &Path) -> String {
    let python = django.python();
    let uwsgi = python.with_file_name("uwsgi");
    let application = "house.wsgi:application";
    let interpreter = ("python", python.to_str().unwrap());
    let mut variables = vec![("app_dir", project.to_str().unwrap())];
    variables.extend(match template {
        "uwsgi" => vec![("uwsgi", uwsgi.to_str().unwrap()), ("module", application)],
        "granian" => vec![interpreter, ("interface", "wsgi"), ("app", application)],
        _ => vec![interpreter, ("module", application)],
    });
    table(name, &variables)
}
