//! Django sites whose workers are forked from one preloader.

use nix::sys::signal::Signal;
use serde_json::Value;
use support::django::{Project, connection};
use support::house::{table, vars};
use support::place::python;
use support::postgres::APPLICATION_DATABASE;
use support::processes::Process;
use support::{House, Load, PATIENCE, Row, eventually};

const DOMAINS: [&str; 3] = ["red.example", "green.example", "blue.example"];

/// One user for all of them, where the emperor may choose it.
const ONE_USER: &str = "[vassal]\nrun_as = \"nobody\"\n";

async fn open(more: &str) -> House {
    let user = if nix::unistd::geteuid().is_root() {
        ONE_USER
    } else {
        "[vassal]\n"
    };
    let house = House::open_with(&format!("{user}{more}")).await;
    house.postgres.make_application_database().await;
    house
}

async fn serve<'a>(house: &'a House, domains: &[&str]) -> Project<'a> {
    let project = Project::populate(house, "django", APPLICATION_DATABASE, domains);
    for domain in domains {
        project.serve(domain, "django").await;
    }
    project
}

/// Inserts a row for a project that was populated, with these variables.
async fn insert(house: &House, domain: &str, variables: &[(&str, &str)]) {
    let app_dir = house.place.join("django");
    let python = python();
    let mut all = vec![
        ("app_dir", app_dir.to_str().unwrap()),
        ("python", python.to_str().unwrap()),
    ];
    all.extend(variables);
    let database = connection(&house.postgres, APPLICATION_DATABASE);
    let database = database.each_ref();
    let database = database.map(|(name, value)| (*name, value.as_str()));
    let overlay = vars(&all) + &table("env", &database);
    let slug = domain.strip_suffix(".example").unwrap();
    house.insert(&Row::new(slug, "django", &overlay)).await;
}

fn worker(page: &Value) -> Process {
    Process::new(i32::try_from(page["pid"].as_i64().unwrap()).unwrap())
}

fn parent(page: &Value) -> String {
    worker(page).status_line("PPid:").unwrap()
}

#[tokio::test]
async fn sites_are_forked_from_one_preloader_and_each_knows_who_it_is() {
    let house = open("").await;
    serve(&house, &DOMAINS).await;
    let mut pages = Vec::new();
    for (number, domain) in (1..).zip(DOMAINS) {
        let page = house.page(domain).await;
        assert_eq!(page["site_id"], number, "{domain}");
        assert_eq!(page["domain"], domain);
        assert_eq!(page["host"], domain);
        pages.push(page);
    }
    let parents: Vec<_> = pages.iter().map(parent).collect();
    assert!(
        parents.iter().all(|other| *other == parents[0]),
        "{parents:?}"
    );
    let mut pids: Vec<_> = pages.iter().map(|page| page["pid"].as_i64()).collect();
    pids.dedup();
    assert_eq!(pids.len(), DOMAINS.len());

    worker(&pages[0]).signal(Signal::SIGKILL);
    let next = house
        .page_where(DOMAINS[0], |page| page["pid"] != pages[0]["pid"])
        .await;
    assert_eq!(parent(&next), parents[0]);
    let site = house.emperor.in_state("red", "ready").await;
    assert_eq!(site["restarts"], 1);
    let log = house.emperor.log_text();
    assert!(
        log.contains("SIGKILL"),
        "a preloader tells how a worker ended: {log}"
    );
}

#[tokio::test]
async fn a_sleeping_site_is_woken_by_a_fork() {
    let house = open("[vassal.idle]\nstop_after = \"1s\"\n").await;
    serve(&house, &DOMAINS[..1]).await;
    let first = house.page(DOMAINS[0]).await;
    house.emperor.in_state("red", "sleeping").await;
    let preloader = the_preloader(&house).await;
    // It is awake for a second: who looks at it too late finds it gone, and wakes another.
    eventually("a woken worker", PATIENCE, async || {
        let second = house.page(DOMAINS[0]).await;
        assert_ne!(second["pid"], first["pid"]);
        let parent = worker(&second).status_line("PPid:");
        let parent = parent.ok_or_else(|| second.to_string())?;
        assert_eq!(parent, preloader);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_first_wake_of_a_site_that_begins_asleep_is_a_fork() {
    let house = open("[vassal.idle]\nstop_after = \"1h\"\n").await;
    serve(&house, &DOMAINS).await;
    for slug in ["red", "green", "blue"] {
        house.emperor.in_state(slug, "sleeping").await;
    }
    loaded(&house, 1).await;
    let preloader = the_preloader(&house).await;
    for domain in DOMAINS {
        assert_eq!(parent(&house.page(domain).await), preloader);
    }

    // As if it had run out of memory while nobody forks.
    Process::new(preloader.parse().unwrap()).signal(Signal::SIGKILL);
    loaded(&house, 2).await;
    assert_ne!(the_preloader(&house).await, preloader);
}

#[tokio::test]
async fn asgi_workers_are_forked_and_hold_web_sockets_of_their_own_site() {
    let house = open("").await;
    let two = &DOMAINS[..2];
    Project::populate(&house, "django", APPLICATION_DATABASE, two);
    let variables = [("module", "house.asgi:application"), ("interface", "asgi")];
    for domain in two {
        insert(&house, domain, &variables).await;
    }
    let mut pages = Vec::new();
    for (number, domain) in (1..).zip(two) {
        let page = house.page(domain).await;
        assert_eq!(page["site_id"], number);
        assert_eq!(page["domain"], *domain);
        let said = house.client.websocket_echo(domain, "hello").await;
        assert_eq!(said, format!("site {number}: hello"));
        pages.push(page);
    }
    assert_eq!(parent(&pages[0]), parent(&pages[1]));
    assert_ne!(pages[0]["pid"], pages[1]["pid"]);
}

#[tokio::test]
async fn a_forked_worker_has_its_limits_and_is_recycled_by_a_fork() {
    let more = "[templates.django]\nlimits.nofile = 200\nrecycle.max_requests = 5\n";
    let house = open(more).await;
    serve(&house, &DOMAINS[..1]).await;
    let first = house.page(DOMAINS[0]).await;
    assert_eq!(most_open_files(worker(&first)), ["200", "200"]);
    // Asked of it while it is there.
    let preloader = parent(&first);
    let second = house
        .page_where(DOMAINS[0], |page| page["pid"] != first["pid"])
        .await;
    assert_eq!(parent(&second), preloader);
    assert_eq!(most_open_files(worker(&second)), ["200", "200"]);
    let site = house.emperor.in_state("red", "ready").await;
    assert_eq!(site["restarts"], 0, "it did not crash");
}

#[tokio::test]
async fn no_code_of_the_project_runs_for_requests_that_are_rehearsed() {
    let house = open("").await;
    let project = Project::populate(&house, "django", APPLICATION_DATABASE, &DOMAINS[..1]);
    let urls = house.place.join("django/house/urls.py");
    let code = std::fs::read_to_string(&urls).unwrap();
    let code = code.replace("\"pid\":", "\"began\": began, \"pid\":");
    let noting = "\
began = []

from django.core.signals import request_started
request_started.connect(lambda **_: began.append(os.getpid()), weak=False)
";
    std::fs::write(&urls, format!("{code}\n{noting}")).unwrap();
    project.serve(DOMAINS[0], "django").await;
    let page = house.page(DOMAINS[0]).await;
    let own = &page["pid"];
    let began = page["began"].as_array().unwrap();
    assert!(
        !began.is_empty() && began.iter().all(|pid| pid == own),
        "{page}"
    );
}

#[tokio::test]
async fn who_asks_alone_is_always_answered_by_the_same_thread() {
    let house = open("").await;
    serve(&house, &DOMAINS[..1]).await;
    let mut page = Value::Null;
    for _ in 0..8 {
        page = house.page(DOMAINS[0]).await;
    }
    // The other one waits for connections.
    assert_eq!(worker(&page).status_line("Threads:").unwrap(), "2");
}

#[tokio::test]
async fn workers_outlive_the_emperor_and_their_preloader_and_are_taken_over() {
    let mut house = open("").await;
    let two = &DOMAINS[..2];
    serve(&house, two).await;
    let mut pages = Vec::new();
    for domain in two {
        pages.push(house.page(domain).await);
    }
    let old = parent(&pages[0]);
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
    let preloader = Process::new(old.parse().unwrap());
    eventually("the preloader's end", PATIENCE, async || {
        let lives = preloader.is_alive();
        (!lives).then_some(()).ok_or_else(|| old.clone())
    })
    .await;
    house.emperor.start_again().await;
    // For the workers to come, of which none is wanted yet.
    the_preloader(&house).await;
    for (slug, (domain, before)) in ["red", "green"].into_iter().zip(two.iter().zip(&pages)) {
        let site = house.emperor.in_state(slug, "ready").await;
        assert_eq!(site["restarts"], 0);
        assert_eq!(house.page(domain).await["pid"], before["pid"]);
    }
    worker(&pages[0]).signal(Signal::SIGKILL);
    let next = house
        .page_where(DOMAINS[0], |page| page["pid"] != pages[0]["pid"])
        .await;
    assert_eq!(parent(&next), the_preloader(&house).await);
    // As if it had run out of memory: its workers go on, and the next fork has another.
    Process::new(parent(&next).parse().unwrap()).signal(Signal::SIGKILL);
    assert_eq!(house.page(DOMAINS[0]).await["pid"], next["pid"]);
    worker(&next).signal(Signal::SIGKILL);
    house
        .page_where(DOMAINS[0], |page| page["pid"] != next["pid"])
        .await;
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
}

#[tokio::test]
async fn a_reload_loads_the_code_anew_once_for_all_and_a_mistake_in_it_keeps_the_old_serving() {
    let house = open("").await;
    let two = &DOMAINS[..2];
    serve(&house, two).await;
    let mut before = Vec::new();
    for domain in two {
        before.push(house.page(domain).await);
    }
    let old = parent(&before[0]);
    let urls = house.place.join("django/house/urls.py");
    let code = std::fs::read_to_string(&urls).unwrap();
    let load = Load::start(house.client, &two[..1], "/");
    std::fs::write(&urls, code.replace("\"pid\":", "\"code\": 2, \"pid\":")).unwrap();
    // A crash is no release.
    worker(&before[1]).signal(Signal::SIGKILL);
    let crashed = house
        .page_where(DOMAINS[1], |page| page["pid"] != before[1]["pid"])
        .await;
    assert_eq!(crashed["code"], Value::Null);

    let outcome = house.emperor.run(&["reload", "--all"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let mut parents = Vec::new();
    for domain in two {
        let page = house.page_where(domain, |page| page["code"] == 2).await;
        parents.push(parent(&page));
    }
    assert_eq!(parents[0], parents[1]);
    assert_ne!(parents[0], old);
    // The old one has ended with its last worker.
    assert_eq!(the_preloader(&house).await, parents[0]);

    std::fs::write(&urls, format!("{code}\nraise RuntimeError('a slip')\n")).unwrap();
    house.emperor.run(&["reload", "red"]).await;
    told(&house, "red", "RuntimeError: a slip").await;
    assert_eq!(house.page(DOMAINS[0]).await["code"], 2);
    load.stop().await;
}

#[tokio::test]
async fn what_workers_must_not_share_is_refused_by_name() {
    let house = open("").await;
    let project = Project::populate(&house, "django", APPLICATION_DATABASE, &DOMAINS[..1]);
    let urls = house.place.join("django/house/urls.py");
    let code = std::fs::read_to_string(&urls).unwrap();
    let mistakes = [
        (
            "import threading\n\
             threading.Thread(target=threading.Event().wait, daemon=True, name='ticker').start()",
            "ticker",
        ),
        (
            "from django.contrib.sites.models import Site\nlist(Site.objects.all())",
            "the database connection 'default' was opened",
        ),
        ("import socket\nleft = socket.socket()", "descriptor "),
        (
            "import functools\nfrom django.conf import settings\n\
             left = functools.partial(print, settings.SITE_ID)",
            "functools.partial",
        ),
    ];
    let write = |more: &str| std::fs::write(&urls, format!("{code}\n{more}\n")).unwrap();
    write(mistakes[0].0);
    project.serve(DOMAINS[0], "django").await;
    for (mistake, words) in mistakes {
        write(mistake);
        house.emperor.run(&["reload", "red"]).await;
        told(&house, "red", words).await;
    }
    write("");
    house.emperor.run(&["reload", "red"]).await;
    house.page(DOMAINS[0]).await;
}

/// The one preloader that the emperor has.
async fn the_preloader(house: &House) -> String {
    eventually("one preloader", PATIENCE, async || {
        let children = house.emperor.process().children();
        let is_preloader = |child: &&Process| {
            let arguments = String::from_utf8_lossy(&child.arguments()).into_owned();
            arguments.contains("preloader.py")
        };
        let found: Vec<_> = children.iter().filter(is_preloader).collect();
        match found[..] {
            [one] => Ok(one.pid().to_string()),
            _ => Err(format!("{found:?}")),
        }
    })
    .await
}

/// Waits until so many preloaders have been ready for forks.
async fn loaded(house: &House, count: usize) {
    eventually("preloaders", PATIENCE, async || {
        let log = house.emperor.log_text();
        let found = log.matches("a preloader can be forked").count();
        (found == count)
            .then_some(())
            .ok_or_else(|| found.to_string())
    })
    .await;
}

/// How many files a process may have open, soft and hard.
fn most_open_files(process: Process) -> Vec<String> {
    let limits = std::fs::read_to_string(process.path("limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let words = line.unwrap().split_whitespace().take(2);
    words.map(str::to_owned).collect()
}

/// Waits until what is told of a site has these words.
async fn told(house: &House, slug: &str, words: &str) {
    eventually(words, PATIENCE, async || {
        let site = house.emperor.site(slug).await.unwrap_or_default();
        let detail = site["detail"].as_str().unwrap_or_default().to_owned();
        let is_told = detail.contains(words);
        is_told.then_some(()).ok_or(detail)
    })
    .await;
}
