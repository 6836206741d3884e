//! Pages that are kept until the database says otherwise: from a commit to the next visitor, whatever
//! happens in between.

use hyper::StatusCode;
use nix::sys::signal::Signal;
use std::time::Duration;
use support::Paper;
use support::paper::HOST;
use support::postgres::ROLE;
use support::wait::{PATIENCE, eventually, undisturbed};

#[tokio::test]
async fn what_a_transaction_changes_is_purged_at_its_commit_and_at_no_rollback() {
    let paper = Paper::open(6, "").await;
    paper.watch().await;
    for path in ["/1", "/2", "/3", "/4", "/5"] {
        paper.cached(path).await;
    }
    let writer = paper.writer().await;
    let write = async |statements: &str| writer.batch_execute(statements).await.unwrap();

    write("BEGIN; UPDATE page SET version = 9; ROLLBACK").await;
    paper.purged().await;
    for path in ["/1", "/2", "/3", "/4", "/5"] {
        assert!(is_hit(&paper, path).await, "{path} was purged");
    }

    write("UPDATE page SET version = 1 WHERE path IN ('/1', '/2')").await;
    paper.purged().await;
    assert_eq!(paper.version("/1").await, 1);
    assert_eq!(paper.version("/2").await, 1);
    assert!(is_hit(&paper, "/3").await, "nobody changed it");

    // The row as it was, and as it is.
    write("UPDATE page SET path = '/moved', version = 2 WHERE path = '/3'").await;
    paper.purged().await;
    assert!(paper.get("/3").await.json()["version"].is_null());
    assert_eq!(paper.version("/moved").await, 2);

    write("DELETE FROM page WHERE path = '/4'").await;
    paper.purged().await;
    assert!(paper.get("/4").await.json()["version"].is_null());
    assert!(is_hit(&paper, "/5").await, "nobody changed it");

    write("TRUNCATE page").await;
    paper.purged().await;
    assert!(paper.get("/5").await.json()["version"].is_null());

    let right = "SELECT emperor.purge_site(1)";
    assert!(
        writer.execute(right, &[]).await.is_err(),
        "it has no right to that"
    );
}

#[tokio::test]
async fn pages_are_purged_by_name_tag_and_prefix_from_the_command_line() {
    let paper = Paper::open(2, "").await;
    paper.watch().await;
    let emperor = &paper.house.emperor;
    for arguments in [
        &["purge", "paper", "--path", "/1"][..],
        &["purge", "paper", "--prefix", "/"],
        &["purge", "paper", "--tag", "page"],
        &["purge", "paper", "--all"],
        &["purge", "--all"],
    ] {
        paper.cached("/1").await;
        let purged = emperor.run(arguments).await;
        assert_eq!(purged.code, 0, "{purged:?}");
        paper.purged().await;
        assert!(!is_hit(&paper, "/1").await, "{arguments:?}");
    }
    for (arguments, code, words) in [
        (&["purge", "nobody", "--all"][..], 4, "nobody"),
        (&["purge", "paper", "--path", "1"], 1, "is no path"),
    ] {
        let refused = emperor.run(arguments).await;
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.err.contains(words), "{refused:?}");
    }

    paper.cached("/2").await;
    let shown = emperor
        .run(&["cache", "show", "paper", "--path", "/2"])
        .await;
    assert!(shown.out.contains("answered from the cache"), "{shown:?}");
    assert!(shown.out.contains(HOST), "{shown:?}");
    let shown = emperor.run(&["cache", "show", "paper", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["suspended"], false);
    assert!(
        shown["counters"]["purges"].as_u64().unwrap() >= 4,
        "{shown}"
    );
    // A status is answered without the figures of a router that takes its time.
    eventually("the share of hits", PATIENCE, async || {
        let site = emperor.site("paper").await.unwrap();
        let ratio = site["cache"]["hit_ratio"].as_f64();
        let told = ratio.is_some_and(|ratio| ratio > 0.0);
        told.then_some(()).ok_or_else(|| site.to_string())
    })
    .await;

    let listed = emperor.run(&["db", "watches", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed[0]["table"], "public.page");
    let explain = ["db", "watches", "page", "--explain", "{\"path\": \"/2\"}"];
    let refused = emperor.run(&explain).await;
    assert_eq!(refused.code, 1, "the table is another role's: {refused:?}");
    assert!(refused.err.contains("owner"), "{refused:?}");
    let give = format!("ALTER TABLE page OWNER TO {ROLE}");
    paper.house.sql(&give, &[]).await;
    let explained = emperor.run(&explain).await;
    assert!(explained.out.contains("path /2"), "{explained:?}");
}

#[tokio::test]
async fn a_purge_that_nobody_heard_is_found_when_the_link_is_back() {
    let paper = Paper::open(2, "").await;
    paper.watch().await;
    paper.cached("/1").await;
    paper.cached("/2").await;
    let lock_out = format!("ALTER ROLE {ROLE} NOLOGIN");
    paper.house.sql(&lock_out, &[]).await;
    paper.house.postgres.terminate_sessions().await;
    let bypassed = async |path: &str| {
        let answer = paper.get(path).await;
        let status = answer.header("cache-status").to_owned();
        status.contains("fwd=bypass; detail=invalidation-away")
    };
    eventually("the cache is out of use", PATIENCE, async || {
        bypassed("/2").await.then_some(()).ok_or_else(String::new)
    })
    .await;
    eventually("the status of both", PATIENCE, async || {
        let status = paper.house.emperor.status().await;
        let told = status["emperor"]["purges"]["following"] == false
            && status["router"]["cache"]["suspended"] == true;
        told.then_some(()).ok_or_else(|| status.to_string())
    })
    .await;

    let writer = paper.writer().await;
    let write = "UPDATE page SET version = 1 WHERE path = '/1'";
    writer.batch_execute(write).await.unwrap();
    assert_eq!(paper.version("/1").await, 1, "the worker is asked");

    let let_in = format!("ALTER ROLE {ROLE} LOGIN");
    paper.house.sql(&let_in, &[]).await;
    eventually("the cache is in use", PATIENCE, async || {
        is_hit(&paper, "/2")
            .await
            .then_some(())
            .ok_or_else(String::new)
    })
    .await;
    assert!(!is_hit(&paper, "/1").await, "a page from before the purge");
    assert_eq!(paper.version("/1").await, 1);
}

#[tokio::test]
async fn an_emperor_that_dies_between_commit_and_purge_loses_none() {
    let mut paper = Paper::open(2, "").await;
    paper.watch().await;
    paper.cached("/1").await;
    paper.cached("/2").await;
    let router = paper.house.emperor.router().await;
    // It hears nothing from now on.
    paper.house.emperor.signal(Signal::SIGSTOP);
    let writer = paper.writer().await;
    let write = "UPDATE page SET version = 1 WHERE path = '/1'";
    writer.batch_execute(write).await.unwrap();
    paper.house.emperor.signal(Signal::SIGKILL);
    paper.house.emperor.ended(PATIENCE);
    eventually("the cache is out of use", PATIENCE, async || {
        let hit = is_hit(&paper, "/2").await;
        (!hit).then_some(()).ok_or_else(String::new)
    })
    .await;
    paper.house.emperor.start_again().await;
    eventually("the cache is in use", PATIENCE, async || {
        is_hit(&paper, "/2")
            .await
            .then_some(())
            .ok_or_else(String::new)
    })
    .await;
    let now = paper.house.emperor.router().await;
    assert_eq!(now, router, "it lived on");
    assert!(!is_hit(&paper, "/1").await, "a page from before the purge");
    assert_eq!(paper.version("/1").await, 1);
}

#[tokio::test]
async fn an_emperor_that_is_stopped_takes_the_cache_out_of_use() {
    let paper = Paper::open(2, "").await;
    paper.watch().await;
    paper.cached("/1").await;
    paper.cached("/2").await;
    // Its link to the router stands, and nothing is said on it.
    paper.house.emperor.signal(Signal::SIGSTOP);
    let writer = paper.writer().await;
    let write = "UPDATE page SET version = 1 WHERE path = '/1'";
    writer.batch_execute(write).await.unwrap();
    // It returns when this emperor is waited for no longer.
    paper.purged().await;
    assert_eq!(paper.version("/1").await, 1, "a page from before the purge");
    let answer = paper.get("/2").await;
    let status = answer.header("cache-status");
    assert!(status.contains("fwd=bypass"), "{status}");
    paper.house.emperor.signal(Signal::SIGCONT);
    eventually("the cache is in use", PATIENCE, async || {
        assert_eq!(paper.version("/1").await, 1, "a page from before the purge");
        is_hit(&paper, "/1")
            .await
            .then_some(())
            .ok_or_else(String::new)
    })
    .await;
    assert_eq!(paper.version("/1").await, 1);
}

#[tokio::test]
async fn a_router_that_is_killed_is_followed_by_one_that_hears_purges() {
    let paper = Paper::open(1, "").await;
    paper.watch().await;
    paper.cached("/1").await;
    let killed = paper.house.emperor.router().await;
    killed.signal(Signal::SIGKILL);
    eventually("another router", PATIENCE, async || {
        let router = paper.house.emperor.router().await;
        (router != killed)
            .then_some(())
            .ok_or_else(|| format!("{router:?}"))
    })
    .await;
    paper.cached("/1").await;
    let writer = paper.writer().await;
    let write = "UPDATE page SET version = 1";
    writer.batch_execute(write).await.unwrap();
    paper.purged().await;
    assert_eq!(paper.version("/1").await, 1);
}

#[tokio::test]
async fn a_folder_in_front_is_emptied_and_one_that_can_t_be_is_told() {
    let place = support::Place::new();
    let (folder, bad) = (place.folder("front"), place.join("bad"));
    std::fs::write(folder.join("page"), "old").unwrap();
    std::fs::write(&bad, "no folder").unwrap();
    let targets = format!(
        "[[purge.target]]\nname = \"front\"\nkind = \"directory\"\npath = {folder:?}\n\
         [[purge.target]]\nname = \"bad\"\nkind = \"directory\"\npath = {bad:?}\n"
    );
    let paper = Paper::open(1, &targets).await;
    paper.watch().await;
    let checked = paper.house.emperor.run(&["check"]).await;
    assert!(checked.out.contains("purge target bad"), "{checked:?}");
    let writer = paper.writer().await;
    writer
        .batch_execute("UPDATE page SET version = 1")
        .await
        .unwrap();
    eventually("the folder is empty", PATIENCE, async || {
        let left = std::fs::read_dir(&folder).unwrap().count();
        (left == 0).then_some(()).ok_or_else(|| left.to_string())
    })
    .await;
    let dead = eventually("a dead letter", PATIENCE, async || {
        let status = paper.house.emperor.status().await;
        let target = status["emperor"]["purges"]["targets"][1].clone();
        (target["dead"] == 1)
            .then_some(())
            .ok_or_else(|| target.to_string())?;
        let client = paper.house.postgres.client().await;
        let letters = "SELECT target, reason FROM emperor.purge_dead_letters";
        let letter = client.query_opt(letters, &[]).await.unwrap();
        letter
            .map(|row| (row.get(0), row.get(1)))
            .ok_or_else(String::new)
    })
    .await;
    let (target, reason): (String, String) = dead;
    assert_eq!(target, "bad");
    assert!(reason.contains("is no folder"), "{reason}");
    let shown = paper.house.emperor.run(&["status"]).await;
    assert!(shown.out.contains("1 purge given up"), "{shown:?}");
}

#[tokio::test]
async fn a_table_that_is_watched_reloads_its_site_once_for_a_burst() {
    // Commits that a busy machine keeps apart for longer are several bursts.
    let settle = Duration::from_secs(2);
    let paper = Paper::open(1, "[reload]\nsettle = \"2s\"").await;
    let watch = "SELECT emperor.reload_on_change('page', 'row.site_id')";
    paper.house.sql(watch, &[]).await;
    let before = paper.house.emperor.in_state("paper", "ready").await;
    let writer = paper.writer().await;
    let commits = (1..=5).map(|n| format!("BEGIN; UPDATE page SET version = {n}; COMMIT;"));
    let commits: String = commits.collect();
    writer.batch_execute(&commits).await.unwrap();
    let after = eventually("another instance", PATIENCE, async || {
        let site = paper.house.emperor.in_state("paper", "ready").await;
        let moved = site["revision"] != before["revision"];
        let one = site["instances"].as_array().unwrap().len() == 1;
        (moved && one)
            .then_some(site.clone())
            .ok_or_else(|| site.to_string())
    })
    .await;
    let incarnation = |site: &serde_json::Value| site["instances"][0]["incarnation"].as_u64();
    let next = incarnation(&before).map(|before| before + 1);
    assert_eq!(incarnation(&after), next, "once: {after}");
    undisturbed(settle).await;
    let later = paper.house.emperor.in_state("paper", "ready").await;
    assert_eq!(incarnation(&later), next, "once: {later}");
}

async fn is_hit(paper: &Paper, path: &str) -> bool {
    let answer = paper.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.header("cache-status").contains("; hit")
}

#[tokio::test]
async fn what_is_kept_changes_with_the_row_and_with_the_template_and_nothing_is_restarted() {
    let paper = Paper::open(1, "").await;
    paper.watch().await;
    paper.cached("/1").await;
    let before = paper.house.emperor.in_state("paper", "ready").await;

    let off =
        "UPDATE emperor.sites SET extra_config = extra_config || E'\\n[cache]\\nmode = \"off\"\\n'";
    paper.house.sql(off, &[]).await;
    not_kept(&paper).await;
    let as_the_template =
        "UPDATE emperor.sites SET extra_config = split_part(extra_config, '[cache]', 1)";
    paper.house.sql(as_the_template, &[]).await;
    paper.cached("/1").await;

    paper
        .house
        .configure("[templates.paper.cache]\nmode = \"off\"\n");
    let read = paper.house.emperor.run(&["reread"]).await;
    assert_eq!(read.code, 0, "{}", read.err);
    not_kept(&paper).await;
    let after = paper.house.emperor.in_state("paper", "ready").await;
    assert_eq!(after["instances"][0]["pid"], before["instances"][0]["pid"]);
    assert_eq!(after["revision"], before["revision"]);
}

/// Waits until a page that was answered from the cache is the worker's to answer.
async fn not_kept(paper: &Paper) {
    eventually("the worker is asked", PATIENCE, async || {
        let hit = is_hit(paper, "/1").await;
        (!hit).then_some(()).ok_or_else(|| "it is a hit".to_owned())
    })
    .await;
}
