//! A thousand rows at once, fifty of them malformed, each in a way of its own.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use support::{House, Row, eventually};

const GOOD: i64 = 950;
const MALFORMED: usize = 50;
/// On two cores with an unoptimised emperor, beside other tests.
const ALL_STARTED: Duration = Duration::from_mins(4);

/// Ways to be wrong that no constraint of the table catches. What stands under `[vars]` joins the
/// variables that the template requires.
const OVERLAYS: &[&str] = &[
    "[vars",
    "vars = 1",
    "vars = []",
    "= 1",
    "[vars]\nmarker",
    "[vars]\nmarker = ",
    "[vars]\nmarker = \"",
    "[vars]\nmarker = 'a\n'",
    "[vars]\nmarker = 01",
    "[vars]\nmarker = \"a\"\nmarker = \"b\"",
    "[vars]\n[vars]",
    "[vars]\nunknown = 1",
    "[vars]\nmarker = { a = 1 }",
    "[vras]",
    "[env]\nSITE_ID = \"1\"",
    "[env]\nNOTIFY_SOCKET = \"/x\"",
    "[env]\nLISTEN_FDS = \"9\"",
    "[env]\nEMPEROR_VASSAL = \"x\"",
    "[env]\nA = 1979-05-27",
    "[env]\n\"A=B\" = \"x\"",
    "env = \"A\"",
    "command = [\"/bin/true\"]",
    "protocol = \"http\"",
    "listen = \"path\"",
    "working_dir = \"/\"",
    "run_as = \"root\"",
    "[files]\na = \"b\"",
    "[limits]\nnofile = 1",
    "[ready]\nprobe = \"ping\"",
    "[ready]\ntimeout = 5",
    "[ready]\ntimeout = \"soon\"",
    "[ready]\nstatus = \"499-200\"",
    "[ready]\npath = \"x\"",
    "[ready]\nprob = \"http\"",
    "[stop]\nsignal = \"SIGWHAT\"",
    "[stop]\ngrace = \"-1s\"",
    "[instances]\nmin = -1",
    "[instances]\nmin = 3\nmax = 2",
    "[instances]\nmax = \"many\"",
    "[queue]\ndepth = 1.5",
    "[queue]\ntimeout = true",
    "[restart]\nbackoff_max = \"1\"",
    "[recycle]\nmax_memory = 5",
    "[recycle]\nmax_memory = \"5 apples\"",
    "[cache]\nmode = \"always\"",
    "[cache]\nignore = [\"(\"]",
    "a.b.c = 1",
];

fn malformed(house: &House) -> Vec<Row> {
    let tiny = house.tiny_vars("");
    let mut rows: Vec<_> = OVERLAYS
        .iter()
        .enumerate()
        .map(|(number, overlay)| {
            // What stands before the first table is a key of the top level.
            let config = match overlay.strip_prefix("[vars]") {
                Some(rest) => format!("{tiny}{}", rest.trim_start()),
                None if overlay.starts_with('[') => format!("{tiny}{overlay}"),
                None => format!("{overlay}\n{tiny}"),
            };
            Row::new(&format!("bad-{number}"), "tiny", &config)
        })
        .collect();
    rows.push(Row::new("bad-template", "no-such-template", ""));
    rows.push(Row::new("bad-required", "tiny", ""));
    let mut stranger = Row::new("bad-user", "tiny", &tiny);
    "no-such-user".clone_into(&mut stranger.run_as);
    rows.push(stranger);
    assert_eq!(rows.len(), MALFORMED);
    rows
}

#[tokio::test]
async fn of_a_thousand_rows_the_good_ones_run_and_each_bad_one_is_named() {
    let house = House::open().await;
    let statement = format!(
        "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
         SELECT 'site-' || n, 'site-' || n || '.example', 'tiny', $1 \
         FROM generate_series(1, {GOOD}) n"
    );
    let bad = malformed(&house);
    house.sql(&statement, &[&house.tiny_vars("")]).await;
    for row in &bad {
        house.insert(row).await;
    }
    let status = eventually("950 ready, 50 rejected", ALL_STARTED, async || {
        let status = house.emperor.status().await;
        let known = status["sites"].as_array().unwrap().len();
        if known != usize::try_from(GOOD).unwrap() + MALFORMED {
            return Err(format!("{known} are known"));
        }
        let astray = astray(&status);
        astray.is_empty().then_some(status).ok_or_else(|| {
            let some = &astray[..astray.len().min(3)];
            format!("{} are otherwise, such as {some:?}", astray.len())
        })
    })
    .await;
    for site in status["sites"].as_array().unwrap() {
        let cause = site["detail"].as_str().unwrap();
        assert_eq!(site["state"] == "rejected", !cause.is_empty(), "{site}");
    }
    let mut connection = house.client.connect().await.unwrap();
    for number in 1..=GOOD {
        let host = format!("site-{number}.example");
        let page = connection.get(&host, "/").await.unwrap().json();
        assert_eq!(page["slug"], format!("site-{number}"));
    }
    let answer = house.client.get("bad-template.example", "/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    every_cause_is_in_the_table(&house, bad.len()).await;
}

/// The sites that are not in the state they should be in.
fn astray(status: &Value) -> Vec<String> {
    let sites = status["sites"].as_array().unwrap().iter();
    let astray = sites.filter(|site| {
        let is_bad = site["slug"].as_str().unwrap().starts_with("bad-");
        site["state"] != if is_bad { "rejected" } else { "ready" }
    });
    astray.map(Value::to_string).collect()
}

async fn every_cause_is_in_the_table(house: &House, bad: usize) {
    let statement = "SELECT count(*), count(DISTINCT detail) FROM emperor.site_status \
                     WHERE state = 'rejected' AND detail <> ''";
    let client = house.postgres.client().await;
    eventually("the status rows", ALL_STARTED, async || {
        let row = client.query_one(statement, &[]).await.unwrap();
        let (all, distinct): (i64, i64) = (row.get(0), row.get(1));
        let told = usize::try_from(all) == Ok(bad) && usize::try_from(distinct) == Ok(bad);
        told.then_some(())
            .ok_or_else(|| format!("{all} causes, {distinct} different"))
    })
    .await;
}
