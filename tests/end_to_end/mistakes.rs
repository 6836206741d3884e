//! Mistakes in rows: each is named in `emperor status`, in `emperor.site_status` and in the log,
//! and costs its neighbours nothing.

use hyper::StatusCode;
use support::house::vars;
use support::{House, PATIENCE, Row, eventually};

/// A row, the state that it leads to, and words of its cause.
struct Mistake {
    row: Row,
    state: &'static str,
    cause: &'static [&'static str],
}

/// Overlays over the tiny worker's row, and words of the cause. What stands before a table joins
/// the row's variables.
const OVERLAYS: &[(&str, &str, &[&str])] = &[
    ("syntax", "[stop\n", &["stop"]),
    ("variable", "markr = \"x\"", &["markr", "marker"]),
    ("table", "[varz]\n", &["varz", "vars"]),
    ("unit", "[stop]\ngrace = 5\n", &["grace", "5"]),
    ("policy", "[limits]\nnofile = 5\n", &["limits"]),
    ("reserved", "[env]\nSITE_ID = \"7\"\n", &["SITE_ID"]),
];

/// Programs that can't become a worker.
const PROGRAMS: &[(&str, &str, &[&str])] = &[
    (
        "binary",
        "/nonexistent/worker",
        &["execute the program", "/nonexistent/worker", "No such file"],
    ),
    (
        "forbidden",
        "/etc/passwd",
        &["execute the program", "/etc/passwd", "Permission denied"],
    ),
];

/// Templates that come to nothing, by name.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("tniy", "rejected", &["tniy", "did you mean \"tiny\"?"]),
    ("tiny", "rejected", &["program"]),
    (
        "homeless",
        "backing-off",
        &[
            "enter the working folder",
            "/nonexistent/home",
            "No such file",
        ],
    ),
    ("grumbler", "backing-off", &["3", "out of luck today"]),
];

/// Users that nobody may become.
const USERS: &[&str] = &["no-such-user", "root"];

fn mistakes(house: &House) -> Vec<Mistake> {
    let tiny = house.tiny_vars("");
    let overlays = OVERLAYS.iter().map(|(slug, overlay, cause)| Mistake {
        row: Row::new(slug, "tiny", &format!("{tiny}{overlay}")),
        state: "rejected",
        cause,
    });
    let programs = PROGRAMS.iter().map(|(slug, program, cause)| Mistake {
        row: Row::new(slug, "tiny", &vars(&[("program", program)])),
        state: "backing-off",
        cause,
    });
    let templates = TEMPLATES.iter().map(|(template, state, cause)| Mistake {
        row: Row::new(&format!("of-{template}"), template, ""),
        state,
        cause,
    });
    let users = USERS.iter().map(|user| {
        let mut row = Row::new(&format!("as-{user}"), "tiny", &tiny);
        row.run_as.push_str(user);
        Mistake {
            row,
            state: "rejected",
            cause: std::slice::from_ref(user),
        }
    });
    let all = overlays.chain(programs).chain(templates).chain(users);
    all.collect()
}

#[tokio::test]
async fn every_mistake_is_named_and_disturbs_nobody() {
    let house = House::open().await;
    house.insert_tiny("good", "").await;
    house.page("good.example").await;
    let mistakes = mistakes(&house);
    for Mistake { row, state, cause } in &mistakes {
        let id = house.insert(row).await;
        let slug = &row.slug;
        let site = eventually(&format!("the cause of {slug}"), PATIENCE, async || {
            let site = house.emperor.site(slug).await.unwrap_or_default();
            let detail = site["detail"].as_str().unwrap_or_default();
            let named = cause.iter().all(|word| detail.contains(word));
            // What won't start is tried again: `backing-off` gives way to `starting`, later to
            // `failed`.
            let stays = *state != "rejected" || site["state"] == *state;
            (named && stays)
                .then_some(site.clone())
                .ok_or_else(|| site.to_string())
        })
        .await;
        assert_ne!(site["state"], "ready", "{slug}");
        in_the_table(&house, id, slug, cause).await;
        // The log has the first line of a diagnostic, and where; the whole of it is in the status.
        let headline = site["detail"].as_str().unwrap().lines().next();
        match *state {
            "rejected" => in_the_log(&house, id, headline.as_slice()).await,
            _ => in_the_log(&house, id, cause).await,
        }
        let answer = house.client.get(&row.domain, "/").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{slug}");
        assert_ne!(answer.header("retry-after"), "", "{slug}");
        assert!(
            !cause
                .iter()
                .any(|word| word.len() > 3 && answer.text().contains(word)),
            "a visitor is told: {}",
            answer.text()
        );
    }
    house.client.get("good.example", "/").await.json();
}

async fn in_the_table(house: &House, id: i64, slug: &str, cause: &[&str]) {
    eventually(&format!("the status row of {slug}"), PATIENCE, async || {
        let row = house.status_row(id).await;
        let named = row
            .as_ref()
            .is_some_and(|(_, detail)| cause.iter().all(|word| detail.contains(word)));
        named.then_some(()).ok_or_else(|| format!("{row:?}"))
    })
    .await;
}

async fn in_the_log(house: &House, id: i64, cause: &[&str]) {
    eventually(&format!("the log about site {id}"), PATIENCE, async || {
        // The cause is a field of its record, and quotes in it are escaped.
        let log = house.emperor.log_text().replace("\\\"", "\"");
        let site = format!(" site={id} ");
        let named =
            |line: &str| line.contains(&site) && cause.iter().all(|word| line.contains(word));
        let told = log.lines().any(named);
        told.then_some(()).ok_or_else(|| house.emperor.log_tail())
    })
    .await;
}

#[tokio::test]
async fn a_corrected_row_runs_at_once() {
    let house = House::open().await;
    let id = house.insert(&Row::new("one", "tniy", "")).await;
    house.emperor.in_state("one", "rejected").await;
    let statement = "UPDATE emperor.sites SET template = 'tiny', extra_config = $2 WHERE id = $1";
    house.sql(statement, &[&id, &house.tiny_vars("")]).await;
    house.page("one.example").await;
    house.emperor.in_state("one", "ready").await;
}

#[tokio::test]
async fn a_row_that_becomes_wrong_leaves_its_site_serving() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    let before = house.page("one.example").await;
    let statement = "UPDATE emperor.sites SET extra_config = '[varz]' WHERE id = $1";
    house.sql(statement, &[&id]).await;
    eventually("the cause", PATIENCE, async || {
        let site = house.emperor.site("one").await.unwrap();
        let named = site["detail"].as_str().unwrap().contains("varz");
        named.then_some(()).ok_or_else(|| site.to_string())
    })
    .await;
    assert_eq!(house.page("one.example").await["pid"], before["pid"]);
}

#[tokio::test]
async fn what_sql_can_tell_is_refused_at_insert() {
    let house = House::open().await;
    let one = house.insert_tiny("one", "").await;
    house.insert_tiny("two", "").await;
    let client = house.postgres.client().await;
    for (name, statement) in [
        (
            "a slug",
            "INSERT INTO emperor.sites (slug) VALUES ('Not A Slug')",
        ),
        (
            "a slug twice",
            "INSERT INTO emperor.sites (slug) VALUES ('one')",
        ),
        (
            "a domain",
            "INSERT INTO emperor.sites (slug, domain) VALUES ('three', 'a b')",
        ),
        (
            "a domain twice",
            "INSERT INTO emperor.sites (slug, domain) VALUES ('three', 'one.example')",
        ),
        (
            "a host",
            "INSERT INTO emperor.domains (host, site_id) VALUES ('*.*.x', 1)",
        ),
        (
            "another site's domain",
            "INSERT INTO emperor.domains (host, site_id) VALUES ('two.example', 1)",
        ),
        (
            "a kind",
            "INSERT INTO emperor.domains (host, site_id, kind) VALUES ('x.example', 1, 'x')",
        ),
    ] {
        let statement = statement.replace(", 1", &format!(", {one}"));
        let refused = client.batch_execute(&statement).await;
        assert!(refused.is_err(), "{name} was accepted: {statement}");
    }
    house.page("one.example").await;
}
