//! A Django project whose database is the emperor's as well (`source = "django"`), and what its
//! editors do with it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::django::Django;
use crate::house::table;
use crate::postgres::{APPLICATION_ROLE, DATABASE, Postgres, ROLE};
use crate::{House, Place, django, program};

/// The only site of a desk that was just opened.
pub const FIRST: &str = "red.example";

/// The project, and the house that serves its sites.
#[derive(Debug)]
pub struct Desk {
    /// What serves them.
    pub house: House,
    folder: PathBuf,
    django: Django,
    applications: String,
}

/// The project with its tables, and nobody who serves it yet.
#[derive(Debug)]
pub struct Unserved {
    /// The database that the tables are in. It ends before its place.
    pub postgres: Postgres,
    /// Where all of it lies.
    pub place: Place,
    /// Where the project does.
    pub folder: PathBuf,
    django: Django,
    applications: String,
}

/// An application of the project whose table is read besides `django_site`.
#[derive(Debug, Clone, Copy)]
pub struct Application {
    name: &'static str,
    table: &'static str,
}

/// django-multisite.
pub const MULTISITE: Application = Application {
    name: "multisite",
    table: "multisite_alias",
};
/// The fixture that has the table of django-multisite-plus.
pub const MULTISITE_PLUS: Application = Application {
    name: "multisite_plus",
    table: "django_multisite_plus_site",
};

impl Unserved {
    /// Makes the tables, with [`FIRST`] as their only site.
    pub async fn populate(django: Django, applications: &[Application]) -> Self {
        let place = Place::new();
        let postgres = Postgres::start(&place).await;
        postgres.make_application_database().await;
        let admin = postgres.client().await;
        let grant = format!("GRANT CREATE, USAGE ON SCHEMA public TO {APPLICATION_ROLE}");
        admin.batch_execute(&grant).await.unwrap();
        let folder = place.fixture("django");
        let names: Vec<_> = applications.iter().map(|app| app.name).collect();
        let names = names.join(" ");
        for arguments in [
            &["manage.py", "migrate", "--verbosity=0"][..],
            &["-m", "house.populate"],
        ] {
            run(django, &folder, &postgres, &names, arguments);
        }
        let tables = applications.iter().map(|app| app.table);
        for read in tables.chain(["django_site"]) {
            let grant = format!("GRANT SELECT, TRIGGER ON {read} TO {ROLE}");
            admin.batch_execute(&grant).await.unwrap();
        }
        Self {
            postgres,
            place,
            folder,
            django,
            applications: names,
        }
    }

    /// How every site of the project is run by that template, as the end of a configuration; with
    /// further keys of `[vassal]`.
    pub fn run_by(&self, template: &str, keys: &str) -> String {
        let environment = self.environment();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let variables = format!("templates.{template}.vars");
        format!("[vassal]\ntemplate = \"{template}\"\n{keys}\n")
            + &table("vassal.env", &environment)
            + &django::served_by(&variables, template, self.django, &self.folder)
    }

    /// What a worker of the project has to have in its environment, besides its `SITE_ID`.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = django::connection(&self.postgres, DATABASE).to_vec();
        environment.push(("APPLICATIONS", self.applications.clone()));
        environment
    }

    /// Has its sites served, with that end of a configuration.
    pub async fn served(self, more: &str) -> Desk {
        Desk {
            house: House::open_on(self.place, self.postgres, "source = \"django\"", more).await,
            folder: self.folder,
            django: self.django,
            applications: self.applications,
        }
    }
}

impl Desk {
    /// Makes the tables and [`FIRST`]; every site is run by that template.
    pub async fn open(django: Django, template: &str, applications: &[Application]) -> Self {
        let project = Unserved::populate(django, applications).await;
        let more = project.run_by(template, "");
        project.served(&more).await
    }

    /// Runs statements of Django's ORM.
    pub fn orm(&self, statements: &str) {
        let script = format!(
            "from django.contrib.sites.models import Site\n\
             from multisite.models import Alias\n{statements}"
        );
        let arguments = ["manage.py", "shell", "--command", &script];
        let postgres = &self.house.postgres;
        let Self {
            django,
            folder,
            applications,
            ..
        } = self;
        run(*django, folder, postgres, applications, &arguments);
    }

    /// The only instance of a site, once it is ready.
    pub async fn instance(&self, slug: &str) -> Value {
        let mut site = self.house.emperor.in_state(slug, "ready").await;
        site["instances"][0].take()
    }

    /// Whether nobody has that host.
    pub async fn is_unknown(&self, host: &str) -> bool {
        self.house.client.get(host, "/").await.status == 404
    }
}

fn run(django: Django, folder: &Path, postgres: &Postgres, applications: &str, arguments: &[&str]) {
    let mut command = django::interpreter(django, folder, postgres, DATABASE);
    command.args(arguments).env("DOMAINS", FIRST);
    program::run(command.env("APPLICATIONS", applications));
}
