//! The emperor, with Django's own table as its source.

use super::Mode;
use crate::desk::Unserved;
use crate::processes::Process;
use crate::scenario::all_in;
use crate::wait::eventually;
use crate::{Client, Desk, House, PATIENCE, Postgres};

/// So long that no site goes to sleep by itself while it is measured.
const ASLEEP: &str = "[vassal.idle]\nstop_after = \"1h\"\n";

/// A house whose emperor is started and stopped.
#[derive(Debug)]
pub(super) struct Ours {
    desk: Desk,
    config: String,
    besides: &'static str,
    /// Its workers are forked from a preloader.
    forks: bool,
}

/// What the emperor logs once a preloader is loaded.
const LOADED: &str = "a preloader can be forked";

/// What makes sites share a worker.
const POOL: &str = "INSERT INTO emperor.django_sites (site_id, pool) SELECT n, 'all'";

impl Ours {
    /// Every site is run by that template, with further keys of `[vassal]`.
    pub(super) async fn new(project: Unserved, template: &str, keys: &str) -> Self {
        let config = project.run_by(template, keys);
        let mut desk = project.served(&config).await;
        desk.house.emperor.stop();
        Self {
            desk,
            config,
            besides: "",
            forks: template == "django",
        }
    }

    /// All sites in one pool.
    pub(super) fn pooled(self) -> Self {
        Self {
            besides: POOL,
            ..self
        }
    }

    /// What is inserted for each site besides Django's own row.
    pub(super) fn besides(&self) -> &'static str {
        self.besides
    }

    pub(super) async fn start(&mut self, mode: Mode, sites: usize) {
        let (end, state) = match mode {
            Mode::Awake => ("", "ready"),
            Mode::Asleep => (ASLEEP, "sleeping"),
        };
        let house = &mut self.desk.house;
        house.configure(&(self.config.clone() + end));
        let loaded = |house: &House| house.emperor.log_text().matches(LOADED).count();
        let before = loaded(house);
        house.emperor.start_again().await;
        all_in(house, state, sites).await;
        if self.forks {
            eventually("a preloader", PATIENCE, async || {
                let is_there = loaded(house) > before;
                is_there
                    .then_some(())
                    .ok_or_else(|| "it is being loaded".to_owned())
            })
            .await;
        }
    }

    pub(super) fn stop(&mut self) {
        assert_eq!(self.desk.house.emperor.stop(), 0);
    }

    pub(super) fn client(&self) -> Client {
        self.desk.house.client
    }

    pub(super) fn postgres(&self) -> &Postgres {
        &self.desk.house.postgres
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        self.desk.house.emperor.processes()
    }
}
