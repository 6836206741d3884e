//! `[domains]` written into the rows: what is changed, and what nothing is written over.

use site_registry::{
    DjangoTables, QuerySource, RewriteError, RowSource, Writing, migrate, rewrite_domains,
};
use tokio_postgres::Client;
use vassal_core::resolve::{Domains, Rewrite};

use crate::support::{Database, scalar};

const DJANGO: &str = "
CREATE TABLE public.django_site (
    id serial PRIMARY KEY, domain varchar(100) NOT NULL UNIQUE, name varchar(50) NOT NULL
);
CREATE TABLE public.django_multisite_plus_site (
    site_id integer PRIMARY KEY REFERENCES public.django_site DEFERRABLE INITIALLY DEFERRED,
    real_domain varchar(255) NOT NULL, slug varchar(255) NOT NULL UNIQUE,
    extra_uwsgi_ini text NOT NULL, is_enabled boolean NOT NULL
);";
const DOMAINS_OF_DJANGO: &str =
    "SELECT string_agg(id || ' ' || domain, ', ' ORDER BY id) FROM django_site";
const DOMAINS: &str = "SELECT string_agg(id || ' ' || domain, ', ' ORDER BY id) FROM emperor.sites";

fn django() -> RowSource {
    RowSource::Django(DjangoTables {
        schema: "public".into(),
    })
}

fn every(format: &str) -> Domains {
    Domains::new(Rewrite::Every, format).unwrap()
}

async fn house_of_django(rows: &str) -> (Database, Client) {
    let database = Database::empty().await;
    let client = database.client().await;
    client.batch_execute(DJANGO).await.unwrap();
    client.batch_execute(rows).await.unwrap();
    migrate(&database.target(), &django()).await.unwrap();
    (database, client)
}

async fn house(rows: &str) -> (Database, Client) {
    let database = Database::new().await;
    let client = database.client().await;
    client.batch_execute(rows).await.unwrap();
    (database, client)
}

/// `id old -> new` for each change, or why there is none.
async fn rewritten(
    database: &Database,
    source: &RowSource,
    domains: &Domains,
    writing: Writing,
) -> Result<Vec<String>, RewriteError> {
    let changes = rewrite_domains(&database.target(), source, domains, writing).await?;
    let told = changes
        .iter()
        .map(|change| format!("{} {} -> {}", change.site, change.old, change.new));
    Ok(told.collect())
}

#[tokio::test]
async fn django_site_gets_the_effective_domains_and_only_when_it_is_asked_for() {
    let (database, client) = house_of_django(
        "INSERT INTO django_site (domain, name) VALUES
             ('shop.old', ''), ('blog.stage.example', ''), ('alone.example:8000', '');
         INSERT INTO django_multisite_plus_site VALUES
             (1, 'shop.example', 'shop', '', true), (2, '', 'blog', '', true);",
    )
    .await;
    let before = scalar::<String>(&client, DOMAINS_OF_DJANGO).await;
    let domains = Domains::new(Rewrite::Missing, "{slug}.stage.example").unwrap();
    let expected = ["1 shop.old -> shop.example"];
    let told = rewritten(&database, &django(), &domains, Writing::Told).await;
    assert_eq!(told.unwrap(), expected);
    assert_eq!(scalar::<String>(&client, DOMAINS_OF_DJANGO).await, before);
    let written = rewritten(&database, &django(), &domains, Writing::Written).await;
    assert_eq!(written.unwrap(), expected);
    let after = "1 shop.example, 2 blog.stage.example, 3 alone.example:8000";
    assert_eq!(scalar::<String>(&client, DOMAINS_OF_DJANGO).await, after);
    let again = rewritten(&database, &django(), &domains, Writing::Written).await;
    assert_eq!(again.unwrap(), <[&str; 0]>::default());
}

#[tokio::test]
async fn a_slug_that_the_old_domain_made_stays_as_it_is() {
    let (database, client) =
        house_of_django("INSERT INTO django_site (domain, name) VALUES ('www.a.example', '')")
            .await;
    let domains = every("{slug}.stage.example");
    for expected in [&["1 www.a.example -> www-a-example.stage.example"][..], &[]] {
        let written = rewritten(&database, &django(), &domains, Writing::Written).await;
        assert_eq!(written.unwrap(), expected);
    }
    let kept = "SELECT slug FROM emperor.django_sites WHERE site_id = 1";
    assert_eq!(scalar::<String>(&client, kept).await, "www-a-example");
}

#[tokio::test]
async fn rows_of_the_emperor_are_written_and_those_that_fit_are_not_touched() {
    let (database, client) = house(
        "INSERT INTO emperor.sites (id, slug, domain, updated_at) OVERRIDING SYSTEM VALUE VALUES
             (1, 'one', 'one.example', '2001-01-01'), (2, 'two', 'two.stage', '2001-01-01')",
    )
    .await;
    let (source, domains) = (RowSource::Emperor, every("{slug}.stage"));
    let written = rewritten(&database, &source, &domains, Writing::Written).await;
    assert_eq!(written.unwrap(), ["1 one.example -> one.stage"]);
    assert_eq!(
        scalar::<String>(&client, DOMAINS).await,
        "1 one.stage, 2 two.stage"
    );
    let untouched = "SELECT updated_at < '2002-01-01' FROM emperor.sites WHERE id = 2";
    assert!(scalar::<bool>(&client, untouched).await);
}

#[tokio::test]
async fn two_sites_exchange_their_domains() {
    let (database, client) = house(
        "INSERT INTO emperor.sites (id, slug, domain) OVERRIDING SYSTEM VALUE VALUES
             (1, 'one', 'two.stage'), (2, 'two', 'one.stage')",
    )
    .await;
    let domains = every("{slug}.stage");
    let source = RowSource::Emperor;
    let written = rewritten(&database, &source, &domains, Writing::Written).await;
    written.unwrap();
    assert_eq!(
        scalar::<String>(&client, DOMAINS).await,
        "1 one.stage, 2 two.stage"
    );
    let (database, client) = house_of_django(
        "INSERT INTO django_site (domain, name) VALUES ('two.stage', ''), ('one.stage', '');
         INSERT INTO django_multisite_plus_site VALUES
             (1, '', 'one', '', true), (2, '', 'two', '', true);",
    )
    .await;
    let written = rewritten(&database, &django(), &domains, Writing::Written).await;
    written.unwrap();
    assert_eq!(
        scalar::<String>(&client, DOMAINS_OF_DJANGO).await,
        "1 one.stage, 2 two.stage"
    );
}

#[tokio::test]
async fn what_can_t_be_written_names_the_sites_and_leaves_every_row_as_it_was() {
    let (database, client) = house_of_django(
        "INSERT INTO django_site (domain, name) VALUES ('a', ''), ('b', ''), ('c', '');
         INSERT INTO django_multisite_plus_site VALUES
             (1, 'b.stage', 'a', '', true), (2, '', 'b', '', true);",
    )
    .await;
    let before = scalar::<String>(&client, DOMAINS_OF_DJANGO).await;
    let shared = Domains::new(Rewrite::Missing, "{slug}.stage").unwrap();
    let long = every(&format!("{{slug}}.{0}.{0}.stage", "x".repeat(48)));
    for (domains, said) in [
        (
            shared,
            "sites 1 (a) and 2 (b) would both have the host b.stage",
        ),
        (long, "site 3 (c) would have the domain c.xxxx"),
    ] {
        let refused = rewritten(&database, &django(), &domains, Writing::Written).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.starts_with("nothing was written:") && refused.contains(said),
            "{refused}"
        );
        assert_eq!(scalar::<String>(&client, DOMAINS_OF_DJANGO).await, before);
    }
}

#[tokio::test]
async fn rows_of_a_query_are_not_the_emperor_s_to_write() {
    let database = Database::new().await;
    let source = RowSource::Query(QuerySource {
        query: "SELECT 1 AS site_id, 'one.example' AS domain".to_owned(),
        channel: String::new(),
    });
    let refused = rewritten(&database, &source, &Domains::default(), Writing::Told).await;
    assert_eq!(refused.unwrap_err(), RewriteError::KeptElsewhere);
}
