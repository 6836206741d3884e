//! Many sites of one plain Django project, one worker each, under several supervisors: what a site
//! costs and how soon it answers. `cargo xtask bench density` prints the figures.
//!
//! | module | what |
//! |---|---|
//! | [`ours`] | the emperor and its router |
//! | [`emperor_pg`] | uWSGI's emperor, which reads the same table, and its HTTP router |
//! | `visits` | requests that are timed |
//!
//! A further way to run them is a variant of [`Contender`] and of `Supervisor`.

pub mod emperor_pg;
pub mod ours;
mod visits;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::desk::Unserved;
use crate::django::Django;
use crate::processes::Process;
use crate::wait::undisturbed;
use crate::{Client, Postgres};

use emperor_pg::EmperorPg;
use ours::Ours;

/// No part of `emperor_pg`'s three seconds.
const UNEVEN: Duration = Duration::from_millis(430);

/// A way to run many sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// uWSGI's emperor with `emperor_pg`; a uWSGI for each site.
    EmperorPg,
    /// A uWSGI for each site, run by the emperor.
    Uwsgi,
    /// A gunicorn for each site.
    Gunicorn,
    /// One gunicorn for all sites.
    Pool,
    /// A worker for each site, forked from one that has loaded the project.
    Django,
}

impl Contender {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 5] = [
        Self::EmperorPg,
        Self::Uwsgi,
        Self::Gunicorn,
        Self::Pool,
        Self::Django,
    ];

    /// What it is called on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmperorPg => "emperor_pg",
            Self::Uwsgi => "uwsgi",
            Self::Gunicorn => "gunicorn",
            Self::Pool => "pool",
            Self::Django => "django",
        }
    }

    /// What it is, in a table.
    pub fn title(self) -> &'static str {
        match self {
            Self::EmperorPg => "uWSGI's emperor, `emperor_pg`",
            Self::Uwsgi => "template `uwsgi`",
            Self::Gunicorn => "template `gunicorn`",
            Self::Pool => "template `gunicorn`, one pool",
            Self::Django => "template `django`",
        }
    }
}

/// How much is done.
#[derive(Debug, Clone)]
pub struct Effort {
    /// How many sites there are at each stage, the fewest first.
    pub sites: Vec<usize>,
    /// How many of them are timed one by one, at most.
    pub sample: usize,
    /// For how long requests are counted.
    pub counted: Duration,
    /// How many sites are added to the last stage, one after the other.
    pub added: usize,
}

/// What came of one stage.
#[derive(Debug, Default)]
pub struct Figures {
    /// How many sites there were.
    pub sites: usize,
    /// What all processes hold together, pages that several have counted once.
    pub memory: u64,
    /// The first request to each site of the sample that counts as ready.
    pub first: Vec<Duration>,
    /// The hundredth to the same.
    pub hundredth: Vec<Duration>,
    /// Another one to the same, after others were asked, on a connection of its own as the first.
    pub later: Vec<Duration>,
    /// Requests a second, over all sites.
    pub rate: f64,
    /// A request to each site of the sample that sleeps.
    pub woken: Vec<Duration>,
    /// From the commit of a site that is added to its first answer.
    pub added: Vec<Duration>,
}

/// Whether sites run from the beginning, or wait for their first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Awake,
    Asleep,
}

/// Only sites of one user share what was loaded.
const ONE_USER: &str = "run_as = \"nobody\"";

/// What runs the sites.
#[derive(Debug)]
enum Supervisor {
    EmperorPg(EmperorPg),
    Ours(Ours),
}

impl Supervisor {
    async fn new(contender: Contender, project: Unserved) -> Self {
        match contender {
            Contender::EmperorPg => Self::EmperorPg(EmperorPg::new(project)),
            Contender::Uwsgi => Self::Ours(Ours::new(project, "uwsgi", "").await),
            Contender::Gunicorn => Self::Ours(Ours::new(project, "gunicorn", "").await),
            Contender::Pool => Self::Ours(Ours::new(project, "gunicorn", "").await.pooled()),
            Contender::Django => Self::Ours(Ours::new(project, "django", ONE_USER).await),
        }
    }

    /// Returns once that many sites can be visited: they run, or their sockets wait.
    async fn start(&mut self, mode: Mode, sites: usize) {
        match self {
            Self::EmperorPg(uwsgi) => uwsgi.start(mode, sites).await,
            Self::Ours(ours) => ours.start(mode, sites).await,
        }
    }

    fn stop(&mut self) {
        match self {
            Self::EmperorPg(uwsgi) => uwsgi.stop(),
            Self::Ours(ours) => ours.stop(),
        }
    }

    fn client(&self) -> Client {
        match self {
            Self::EmperorPg(uwsgi) => uwsgi.client(),
            Self::Ours(ours) => ours.client(),
        }
    }

    /// Commits these sites.
    async fn add(&self, numbers: RangeInclusive<usize>) {
        match self {
            Self::EmperorPg(uwsgi) => add(uwsgi.postgres(), numbers, "").await,
            Self::Ours(ours) => add(ours.postgres(), numbers, ours.besides()).await,
        }
    }

    /// Everything that the sites take to be served; the database isn't part of it.
    fn processes(&self) -> Vec<Process> {
        match self {
            Self::EmperorPg(uwsgi) => uwsgi.processes(),
            Self::Ours(ours) => ours.processes(),
        }
    }
}

/// Measures one contender at each stage, and says where it is.
pub async fn measure(
    contender: Contender,
    effort: &Effort,
    mut say: impl FnMut(&str),
) -> Vec<Figures> {
    let project = Unserved::populate(Django::Newest, &[]).await;
    let admin = project.postgres.client().await;
    admin.execute("DELETE FROM django_site", &[]).await.unwrap();
    let mut supervisor = Supervisor::new(contender, project).await;
    let mut stages = Vec::new();
    let mut rows = 0;
    for &sites in &effort.sites {
        supervisor.add(rows + 1..=sites).await;
        rows = sites;
        say(&format!("{}: {sites} asleep", contender.name()));
        supervisor.start(Mode::Asleep, sites).await;
        let mut woken = Vec::new();
        for host in sample(sites, effort) {
            woken.push(visits::one(supervisor.client(), &host).await);
        }
        supervisor.stop();
        say(&format!("{}: {sites} awake", contender.name()));
        supervisor.start(Mode::Awake, sites).await;
        let figures = awake(&supervisor, sites, effort).await;
        stages.push(Figures { woken, ..figures });
        if effort.sites.last() == Some(&sites) {
            say(&format!("{}: {} more", contender.name(), effort.added));
            let numbers = sites + 1..=sites + effort.added;
            let added = added(&supervisor, numbers).await;
            stages.last_mut().unwrap().added = added;
        }
        supervisor.stop();
    }
    stages
}

/// How long each of these takes from its commit to its first answer.
async fn added(supervisor: &Supervisor, numbers: RangeInclusive<usize>) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in numbers {
        // At any moment of the time between two looks of somebody who polls.
        undisturbed(UNEVEN * u32::try_from(number % 8).unwrap()).await;
        supervisor.add(number..=number).await;
        let (client, host) = (supervisor.client(), host(number));
        times.push(visits::until_it_answers(client, &host).await);
    }
    times
}

/// What can be told of sites that run.
async fn awake(supervisor: &Supervisor, sites: usize, effort: &Effort) -> Figures {
    let client = supervisor.client();
    let mut figures = Figures {
        sites,
        ..Figures::default()
    };
    for host in sample(sites, effort) {
        let times = visits::many(client, &host, 100).await;
        figures.first.push(times[0]);
        figures.hundredth.push(times[99]);
    }
    for host in sample(sites, effort) {
        figures.later.push(visits::one(client, &host).await);
    }
    let hosts: Vec<_> = (1..=sites).map(host).collect();
    for host in &hosts {
        visits::many(client, host, 10).await;
    }
    figures.rate = visits::rate(client, &hosts, effort.counted).await;
    let held = supervisor.processes().into_iter();
    figures.memory = held.map(|process| process.memory().proportional).sum();
    figures
}

/// Sites all over the numbers.
fn sample(sites: usize, effort: &Effort) -> impl Iterator<Item = String> {
    let size = sites.min(effort.sample);
    (0..size).map(move |place| host(1 + place * sites / size))
}

fn host(number: usize) -> String {
    format!("site-{number}.example")
}

/// Inserts their rows and, in the same transaction, what else is inserted for each `n`.
async fn add(postgres: &Postgres, numbers: RangeInclusive<usize>, besides: &str) {
    let rows = format!(
        "FROM generate_series({}, {}) n",
        numbers.start(),
        numbers.end()
    );
    let mut statement = format!(
        "INSERT INTO django_site (id, domain, name) \
         SELECT n, 'site-' || n || '.example', 'site-' || n {rows}"
    );
    if !besides.is_empty() {
        statement = format!("{statement}; {besides} {rows}");
    }
    let client = postgres.client().await;
    client.batch_execute(&statement).await.unwrap();
}
