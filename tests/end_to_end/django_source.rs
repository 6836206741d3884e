//! `source = "django"`: a project's own `django_site`, and the aliases of django-multisite, written by
//! Django's ORM and answered through the router.

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::house::table;
use support::place::python;
use support::postgres::{APPLICATION_ROLE, DATABASE, Postgres, ROLE};
use support::{House, PATIENCE, Place, django, eventually, program};

/// A project whose database is the emperor's as well.
struct Project {
    house: House,
    folder: PathBuf,
}

impl Project {
    /// One site, `red.example`, of a project that has been migrated.
    async fn open() -> Self {
        let place = Place::new();
        let postgres = Postgres::start(&place).await;
        postgres.make_application_database().await;
        let grant = format!("GRANT CREATE, USAGE ON SCHEMA public TO {APPLICATION_ROLE}");
        let admin = postgres.client().await;
        admin.batch_execute(&grant).await.unwrap();
        let folder = place.fixture("django");
        for arguments in [
            &["manage.py", "migrate", "--verbosity=0"][..],
            &["-m", "house.populate"],
        ] {
            run(&folder, &postgres, arguments);
        }
        let grant = format!("GRANT SELECT, TRIGGER ON django_site, multisite_alias TO {ROLE}");
        admin.batch_execute(&grant).await.unwrap();
        let more = template(&folder, &postgres);
        let house = House::open_on(place, postgres, "source = \"django\"", &more).await;
        Self { house, folder }
    }

    /// Runs statements of Django's ORM.
    fn orm(&self, statements: &str) {
        let script = format!(
            "from django.contrib.sites.models import Site\n\
             from multisite.models import Alias\n{statements}"
        );
        let arguments = ["manage.py", "shell", "--command", &script];
        run(&self.folder, &self.house.postgres, &arguments);
    }

    async fn incarnation(&self, slug: &str) -> Value {
        let site = self.house.emperor.in_state(slug, "ready").await;
        site["instances"][0]["incarnation"].clone()
    }

    async fn is_unknown(&self, host: &str) -> bool {
        self.house.client.get(host, "/").await.status == 404
    }
}

/// The project has django-multisite's aliases too.
const ALIASES: (&str, &str) = ("WITH_ALIASES", "1");

fn run(folder: &Path, postgres: &Postgres, arguments: &[&str]) {
    let mut command = django::interpreter(folder, postgres, DATABASE);
    command.args(arguments).env("DOMAINS", "red.example");
    program::run(command.env(ALIASES.0, ALIASES.1));
}

/// How every site of the project is run.
fn template(folder: &Path, postgres: &Postgres) -> String {
    let connection = django::connection(postgres, DATABASE);
    let connection = connection.each_ref();
    let mut environment = connection
        .map(|(name, value)| (*name, value.as_str()))
        .to_vec();
    environment.push(ALIASES);
    let python = python();
    let variables = [
        ("python", python.to_str().unwrap()),
        ("app_dir", folder.to_str().unwrap()),
        ("module", "house.wsgi:application"),
    ];
    "[vassal]\ntemplate = \"gunicorn\"\n".to_owned()
        + &table("vassal.env", &environment)
        + &table("templates.gunicorn.vars", &variables)
}

#[tokio::test]
async fn what_django_s_orm_commits_answers_through_the_router() {
    let project = Project::open().await;
    let house = &project.house;
    assert_eq!(house.page("red.example").await["site_id"], 1);
    let red = project.incarnation("red-example").await;

    project.orm("Site.objects.create(domain='green.example', name='green')");
    let page = house.page("green.example").await;
    assert_eq!(
        (&page["site_id"], &page["domain"]),
        (&2.into(), &"green.example".into())
    );

    project.orm(
        "Alias.objects.create(site_id=2, domain='verde.example:80', redirect_to_canonical=False)",
    );
    assert_eq!(house.page("verde.example").await["site_id"], 2);

    project.orm("Site.objects.filter(pk=2).update(domain='lime.example')");
    let page = house
        .page_where("lime.example", |page| page["site_id"] == 2)
        .await;
    assert_eq!(page["domain"], "lime.example");
    assert!(project.is_unknown("green.example").await);
    assert_eq!(
        project.incarnation("red-example").await,
        red,
        "red has no part in it"
    );

    project.orm("Alias.objects.all().delete(); Site.objects.filter(pk=2).delete()");
    eventually("the end of lime", PATIENCE, async || {
        let gone = project.is_unknown("lime.example").await;
        gone.then_some(()).ok_or_else(|| "it answers".to_owned())
    })
    .await;
}

#[tokio::test]
async fn the_source_is_explained_row_by_row() {
    let project = Project::open().await;
    project.orm("Site.objects.create(domain='no host', name='wrong')");
    let outcome = project
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
