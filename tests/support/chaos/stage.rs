//! The house that faults happen to: twenty sites behind one router.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::house::vars;
use crate::open_loop::Traffic;
use crate::processes::Process;
use crate::wait::{eventually, undisturbed};
use crate::{House, PATIENCE, Place};

/// How many sites there are.
const SITES: usize = 20;
/// Nobody waits for longer. Whatever happens to one part of a house, a visitor who still waits then
/// was failed by it.
const VISITORS_PATIENCE: Duration = Duration::from_secs(15);
/// More than such a house keeps, and soon full.
const STATE_DISK: &str = "16m";
/// What the sites need beyond the plain configuration.
const CONFIG: &str = "[router.limits]\nresponse_timeout = \"10s\"\n\
                      [vassal.restart]\nbackoff_initial = \"100ms\"\nbackoff_max = \"1s\"\n\
                      [vassal.health]\ninterval = \"1s\"\ntimeout = \"2s\"";

/// How long everything goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a test among others: about a minute altogether.
    Short,
    /// For `cargo xtask chaos`.
    Long,
}

/// The house, and how it is treated.
#[derive(Debug)]
pub struct Stage {
    /// Everything that can be hurt.
    pub house: House,
    /// How long.
    pub form: Form,
    /// Requests per second.
    pub per_second: u32,
    /// Whether the state has a small disk of its own.
    pub small_disk: bool,
}

impl Form {
    /// How long nothing happens before and after a fault.
    pub fn calm(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(300),
            Self::Long => Duration::from_secs(3),
        }
    }

    /// How long something is away.
    pub fn outage(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(1),
            Self::Long => Duration::from_mins(1),
        }
    }

    /// How many workers hang or are stopped, one after the other.
    pub fn hangs(self) -> usize {
        match self {
            Self::Short => 1,
            Self::Long => 5,
        }
    }

    /// How often something is killed.
    pub fn kills(self) -> usize {
        match self {
            Self::Short => 5,
            Self::Long => 100,
        }
    }
}

impl Stage {
    /// Opens the house, and returns once every site answers.
    pub async fn open(form: Form, per_second: u32) -> Self {
        let mut place = Place::new();
        place.own_programs();
        let small_disk = place.disk("state", STATE_DISK);
        let house = House::open_at(place, CONFIG).await;
        let stage = Self {
            house,
            form,
            per_second,
            small_disk,
        };
        let statement = format!(
            "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
             SELECT 'site-' || n, 'site-' || n || '.example', 'steady', $1 \
             FROM generate_series(1, {SITES}) n"
        );
        stage.house.sql(&statement, &[&stage.vars("0")]).await;
        stage.recovered().await;
        stage
    }

    /// The sites.
    pub fn slugs(&self) -> Vec<String> {
        (1..=SITES).map(|number| format!("site-{number}")).collect()
    }

    /// Who comes.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            port: self.house.port,
            slugs: self.slugs(),
            per_second: self.per_second,
            patience: VISITORS_PATIENCE,
        }
    }

    /// The `extra_config` of a site that can run.
    pub fn vars(&self, marker: &str) -> String {
        let worker = self.house.place.steady_worker();
        vars(&[("program", worker.to_str().unwrap()), ("marker", marker)])
    }

    /// Gives every row this `extra_config`, in one statement.
    pub async fn set_all(&self, extra_config: &str) {
        let statement = "UPDATE emperor.sites SET extra_config = $1";
        self.house.sql(statement, &[&extra_config]).await;
    }

    /// Waits until every page has this marker, and the house is at rest.
    pub async fn all_have(&self, marker: &str) {
        for slug in self.slugs() {
            let changed = |page: &Value| page["marker"] == marker;
            let host = format!("{slug}.example");
            self.house.page_where(&host, changed).await;
        }
        self.recovered().await;
    }

    /// Changes one row, and waits until its page shows it.
    pub async fn an_edit_is_honoured(&self, marker: &str) {
        let statement = "UPDATE emperor.sites SET extra_config = $1 WHERE slug = 'site-2'";
        self.house.sql(statement, &[&self.vars(marker)]).await;
        let changed = |page: &Value| page["marker"] == marker;
        self.house.page_where("site-2.example", changed).await;
    }

    /// The worker of each site. Only for a house at rest: one instance each.
    pub async fn workers(&self) -> BTreeMap<String, Process> {
        let status = self.house.emperor.status().await;
        let sites = status["sites"].as_array().unwrap().iter();
        let workers = sites.map(|site| {
            let slug = site["slug"].as_str().unwrap().to_owned();
            (slug, process(&site["instances"][0]["pid"]))
        });
        workers.collect()
    }

    /// The router.
    pub async fn router(&self) -> Process {
        self.house.emperor.router().await
    }

    /// Ends the emperor with a signal that leaves everything running, and starts another one after
    /// a while, which has to take over every process as it is.
    pub async fn another_emperor(&mut self, signal: Signal) {
        let before = (self.router().await, self.workers().await);
        self.house.emperor.signal(signal);
        self.house.emperor.ended(PATIENCE);
        undisturbed(self.form.outage()).await;
        self.house.emperor.start_again().await;
        self.recovered().await;
        assert_eq!((self.router().await, self.workers().await), before);
        self.an_edit_is_honoured("by the next emperor").await;
    }

    /// Waits until the house is at rest: each site has one ready instance of what its row wants and
    /// nothing to complain of, the router runs, the database is connected.
    pub async fn recovered(&self) {
        self.eventually("a house at rest", unrest).await;
    }

    /// Waits until every site has another worker than before, and nothing else.
    pub async fn replaced(&self, before: &BTreeMap<String, Process>) {
        let same = |status: &Value| {
            let (slug, site) = sites(status).find(|(slug, site)| {
                let pid = site["instances"][0]["pid"].as_i64();
                pid == before.get(*slug).map(|worker| i64::from(worker.pid()))
            })?;
            Some(format!("{slug} still has its worker: {site}"))
        };
        let wanted = |status: &Value| unrest(status).or_else(|| same(status));
        self.eventually("another worker everywhere", wanted).await;
    }

    /// Waits until every site tells what is wrong with it.
    pub async fn all_complain(&self) {
        let content = |status: &Value| {
            let silent = sites(status).find(|(_, site)| site["detail"] == "");
            silent.map(|(_, site)| site.to_string())
        };
        self.eventually("a complaint of each site", content).await;
    }

    /// Waits until nothing is amiss; `amiss` names the first thing that is.
    async fn eventually(&self, what: &str, amiss: impl Fn(&Value) -> Option<String>) {
        eventually(what, PATIENCE, async || {
            let status = self.house.emperor.status().await;
            amiss(&status).map_or(Ok(()), Err)
        })
        .await;
    }
}

fn unrest(status: &Value) -> Option<String> {
    if status["emperor"]["database"]["state"] != "connected" {
        return Some(status["emperor"].to_string());
    }
    if status["router"]["state"] != "running" {
        return Some(status["router"].to_string());
    }
    if sites(status).count() != SITES {
        return Some(format!("{} sites", sites(status).count()));
    }
    let restless = sites(status).find(|(_, site)| {
        let instances = site["instances"].as_array().unwrap();
        let alone = instances.len() == 1 && instances[0]["state"] == "ready";
        !(alone && site["state"] == "ready" && site["detail"] == "")
    });
    restless.map(|(_, site)| site.to_string())
}

fn sites(status: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let sites = status["sites"].as_array().unwrap().iter();
    sites.map(|site| (site["slug"].as_str().unwrap(), site))
}

fn process(pid: &Value) -> Process {
    let pid = pid.as_i64().and_then(|pid| i32::try_from(pid).ok());
    Process::new(pid.unwrap())
}
