//! `[domains]` over the tables of django-multisite-plus: which host each site gets, as
//! `emperor db check-source` tells it.

use serde_json::Value;
use support::{Emperor, Place, Postgres};

/// The tables as the migrations of Django and django-multisite-plus make them.
const TABLES: &str = "
CREATE TABLE public.django_site (
    id serial PRIMARY KEY, domain varchar(100) NOT NULL UNIQUE, name varchar(50) NOT NULL
);
CREATE TABLE public.django_multisite_plus_site (
    site_id integer PRIMARY KEY REFERENCES public.django_site DEFERRABLE INITIALLY DEFERRED,
    real_domain varchar(255) NOT NULL, slug varchar(255) NOT NULL UNIQUE,
    extra_uwsgi_ini text NOT NULL, is_enabled boolean NOT NULL,
    last_updated_at timestamptz NOT NULL
);
INSERT INTO public.django_site (domain, name) VALUES
    ('shop.old.stage', ''), ('blog.old.stage', ''), ('alone.example', '');
INSERT INTO public.django_multisite_plus_site VALUES
    (1, 'shop.example', 'shop', '', true, now()), (2, '', 'blog', '', true, now());
GRANT SELECT, TRIGGER ON public.django_site, public.django_multisite_plus_site TO emperor;";

/// A database with these sites, and a command line to ask about it.
struct Desk {
    place: Place,
    postgres: Postgres,
}

impl Desk {
    async fn open() -> Self {
        let place = Place::new();
        let postgres = Postgres::start(&place).await;
        let admin = postgres.client().await;
        admin.batch_execute(TABLES).await.unwrap();
        Self { place, postgres }
    }

    fn with(&self, domains: &str) -> Emperor {
        let folder = self.place.path().display();
        let url = self.postgres.url();
        let config = format!(
            "state_dir = \"{folder}/state\"\n\
             runtime_dir = \"{folder}/run\"\n\
             [database]\n\
             url = \"{url}\"\n\
             source = \"django\"\n\
             [vassal]\n\
             template = \"demo\"\n\
             [domains]\n\
             {domains}\n"
        );
        Emperor::prepare(&self.place, &config)
    }

    /// The first host of each site, in the order of ids.
    async fn hosts(&self, domains: &str) -> Vec<String> {
        let emperor = self.with(domains);
        let migrated = emperor.run(&["db", "migrate"]).await;
        assert_eq!(migrated.code, 0, "{}", migrated.err);
        let told = emperor.run(&["db", "check-source", "--json"]).await;
        let document: Value = serde_json::from_str(&told.out).unwrap();
        let sites = document["sites"].as_array().unwrap().iter();
        let host = |site: &Value| site["hosts"][0].as_str().unwrap().to_owned();
        sites.map(host).collect()
    }
}

#[tokio::test]
async fn each_combination_of_rewrite_format_and_real_domain_has_its_host() {
    let desk = Desk::open().await;
    // With a real domain, with a blank one, and without a row of django-multisite-plus.
    for (domains, expected) in [
        ("", ["shop.example", "blog.localhost", "alone.example"]),
        (
            "rewrite_format = \"{slug}.stage.example\"",
            ["shop.example", "blog.stage.example", "alone.example"],
        ),
        (
            "rewrite = true",
            [
                "shop.localhost",
                "blog.localhost",
                "alone-example.localhost",
            ],
        ),
        (
            "rewrite = true\nrewrite_format = \"test-{slug}.example\"",
            [
                "test-shop.example",
                "test-blog.example",
                "test-alone-example.example",
            ],
        ),
    ] {
        assert_eq!(desk.hosts(domains).await, expected, "{domains}");
    }
    let rows = "SELECT string_agg(domain, ' ' ORDER BY id) FROM django_site";
    let admin = desk.postgres.client().await;
    let rows: String = admin.query_one(rows, &[]).await.unwrap().get(0);
    assert_eq!(
        rows, "shop.old.stage blog.old.stage alone.example",
        "no row is rewritten"
    );
}

#[tokio::test]
async fn one_host_for_two_sites_is_an_error_of_the_format_or_of_the_second_site() {
    let desk = Desk::open().await;
    let emperor = desk.with("rewrite = true\nrewrite_format = \"all.example\"");
    let refused = emperor.run(&["db", "check-source"]).await;
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("{slug}"), "{}", refused.err);

    // A real domain that is what another site's slug makes.
    let collide = "UPDATE django_site SET domain = 'blog.localhost' WHERE id = 3";
    let admin = desk.postgres.client().await;
    admin.batch_execute(collide).await.unwrap();
    let emperor = desk.with("");
    assert_eq!(emperor.run(&["db", "migrate"]).await.code, 0);
    let told = emperor.run(&["db", "check-source"]).await;
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(
        told.out
            .contains("host blog.localhost already belongs to site 2"),
        "{}",
        told.out
    );
}

#[tokio::test]
async fn the_effective_domains_are_written_where_an_operator_asks_for_it() {
    let desk = Desk::open().await;
    let admin = desk.postgres.client().await;
    let domains = async || {
        let query = "SELECT string_agg(domain, ' ' ORDER BY id) FROM django_site";
        admin
            .query_one(query, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
    };
    let before = domains().await;
    let emperor = desk.with("rewrite = true\nrewrite_format = \"{slug}.stage.example\"");
    assert_eq!(emperor.run(&["db", "migrate"]).await.code, 0);
    let told = emperor.run(&["db", "rewrite-domains", "--dry-run"]).await;
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("3 rows would be written"), "{}", told.out);
    assert_eq!(domains().await, before);

    let refused = emperor.run(&["db", "rewrite-domains"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("nothing was written"),
        "{}",
        refused.err
    );
    admin
        .batch_execute("GRANT UPDATE (domain) ON public.django_site TO emperor")
        .await
        .unwrap();
    let written = emperor.run(&["db", "rewrite-domains", "--json"]).await;
    assert_eq!(written.code, 0, "{}", written.err);
    let document: Value = serde_json::from_str(&written.out).unwrap();
    assert_eq!(document["written"], true);
    assert_eq!(document["changes"][0]["old"], "shop.old.stage");
    assert_eq!(document["changes"][0]["new"], "shop.stage.example");
    let after = "shop.stage.example blog.stage.example alone-example.stage.example";
    assert_eq!(domains().await, after);
    let again = emperor.run(&["db", "rewrite-domains"]).await;
    assert_eq!(again.out, "every row has its effective domain already\n");
}
