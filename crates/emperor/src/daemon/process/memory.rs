//! What is written down of a vassal and its instances while they live, for an emperor that comes
//! after a death: [`Memory`](vassal_core::lifecycle::Memory) as text.
//!
//! | file | what |
//! |---|---|
//! | `memory.json` in an instance's folder | how far it is |
//! | `runtime_dir/sites/ID.json` | how a site's attempts fare; only where something failed |
//! | `runtime_dir/pools/ID.json` | how often new instances of a pool were asked for |

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use site_model::{InstanceNumber, SiteId};
use vassal_core::PoolReloads;
use vassal_core::lifecycle::{InstanceMemory, Prospect, Setback, Stage};

use super::moment::Moment;
use super::record::boot_id;

/// Its name in the instance's folder.
const FILE: &str = "memory.json";

/// What is remembered of a site besides its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SiteMemory {
    /// How the attempt to run what is wanted fares.
    pub(crate) setback: Option<Setback>,
    /// How often an instance ended without having been told to.
    pub(crate) restarts: u64,
}

#[derive(Serialize, Deserialize)]
struct InstanceText {
    number: u32,
    rollout: u64,
    stage: StageText,
    #[serde(default)]
    watchdog_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StageText {
    Starting,
    Serving { since: Moment },
    Draining { until: Option<Moment> },
    Stopping { kill_at: Moment },
}

#[derive(Serialize, Deserialize)]
struct SiteText {
    boot_id: String,
    restarts: u64,
    setback: Option<SetbackText>,
}

#[derive(Serialize, Deserialize)]
struct PoolText {
    boot_id: String,
    count: u64,
    /// The ids of its sites, and what the row of each counted.
    sites: BTreeMap<i64, u64>,
}

#[derive(Serialize, Deserialize)]
struct SetbackText {
    revision: String,
    cause: String,
    may_pass: bool,
    failures: u32,
    failed_starts: u32,
    pause_ms: u64,
    next_try: Option<Moment>,
}

/// Where an instance's memory lies.
pub(super) fn file_of(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// As it is written.
pub(super) fn instance_text(memory: &InstanceMemory) -> String {
    let stage = match memory.stage {
        Stage::Starting => StageText::Starting,
        Stage::Serving { since } => StageText::Serving {
            since: Moment::of(since),
        },
        Stage::Draining { until } => StageText::Draining {
            until: until.map(Moment::of),
        },
        Stage::Stopping { kill_at } => StageText::Stopping {
            kill_at: Moment::of(kill_at),
        },
    };
    json(&InstanceText {
        number: memory.number.get(),
        rollout: memory.rollout,
        stage,
        watchdog_ms: memory.watchdog.map(milliseconds),
    })
}

/// What is written in an instance's folder; `None` where nothing is yet.
pub(super) fn read_instance(folder: &Path) -> Option<InstanceMemory> {
    let text = read_to_string(file_of(folder)).ok()?;
    let InstanceText {
        number,
        rollout,
        stage,
        watchdog_ms,
    } = serde_json::from_str(&text).ok()?;
    let stage = match stage {
        StageText::Starting => Stage::Starting,
        StageText::Serving { since } => Stage::Serving {
            since: since.instant(),
        },
        StageText::Draining { until } => Stage::Draining {
            until: until.map(Moment::instant),
        },
        StageText::Stopping { kill_at } => Stage::Stopping {
            kill_at: kill_at.instant(),
        },
    };
    Some(InstanceMemory {
        number: InstanceNumber::new(number),
        rollout,
        stage,
        watchdog: watchdog_ms.map(Duration::from_millis),
    })
}

/// As it is written; `None`: there is nothing worth it.
pub(super) fn site_text(memory: &SiteMemory) -> Option<String> {
    if *memory == SiteMemory::default() {
        return None;
    }
    let setback = memory.setback.as_ref().map(|setback| SetbackText {
        revision: setback.revision.to_string(),
        cause: setback.cause.clone(),
        may_pass: setback.prospect == Prospect::MayPass,
        failures: setback.failures,
        failed_starts: setback.failed_starts,
        pause_ms: milliseconds(setback.pause),
        next_try: setback.next_try.map(Moment::of),
    });
    Some(json(&SiteText {
        boot_id: boot_id(),
        restarts: memory.restarts,
        setback,
    }))
}

/// As it is written; `None`: the pool is no more.
pub(super) fn pool_text(reloads: &PoolReloads) -> Option<String> {
    let sites = reloads.of_sites.iter();
    let sites: BTreeMap<_, _> = sites.map(|(site, count)| (site.get(), *count)).collect();
    (!sites.is_empty()).then(|| {
        json(&PoolText {
            boot_id: boot_id(),
            count: reloads.count,
            sites,
        })
    })
}

/// What is written in a folder of sites. What an earlier start of the machine left says nothing.
pub(super) fn read_sites(folder: &Path) -> BTreeMap<SiteId, SiteMemory> {
    read_all(folder, |text: SiteText| {
        let memory = SiteMemory {
            setback: text.setback.and_then(SetbackText::into_setback),
            restarts: text.restarts,
        };
        (text.boot_id, memory)
    })
}

/// The same of pools.
pub(super) fn read_pools(folder: &Path) -> BTreeMap<SiteId, PoolReloads> {
    read_all(folder, |text: PoolText| {
        let sites = text.sites.into_iter();
        let of_sites = sites.filter_map(|(site, count)| Some((SiteId::new(site).ok()?, count)));
        let reloads = PoolReloads {
            count: text.count,
            of_sites: of_sites.collect(),
        };
        (text.boot_id, reloads)
    })
}

fn read_all<T: DeserializeOwned, V>(
    folder: &Path,
    understand: impl Fn(T) -> (String, V),
) -> BTreeMap<SiteId, V> {
    let entries = read_dir(folder).into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| {
        let path = entry.path();
        let id = SiteId::of_vassal(path.file_stem()?.to_str()?.parse().ok()?).ok()?;
        let text = serde_json::from_str(&read_to_string(path).ok()?).ok()?;
        let (at_boot, value) = understand(text);
        (at_boot == boot_id()).then_some((id, value))
    });
    all.collect()
}

impl SetbackText {
    fn into_setback(self) -> Option<Setback> {
        Some(Setback {
            revision: self.revision.parse().ok()?,
            cause: self.cause,
            prospect: if self.may_pass {
                Prospect::MayPass
            } else {
                Prospect::Lasting
            },
            failures: self.failures,
            failed_starts: self.failed_starts,
            pause: Duration::from_millis(self.pause_ms),
            next_try: self.next_try.map(Moment::instant),
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and texts are JSON")
}

#[cfg(test)]
mod tests {
    use std::fs::write;
    use std::time::Instant;

    use site_model::Revision;

    use super::*;

    /// Moments are kept to the millisecond, and on a clock that is read anew.
    fn kind(stage: Stage) -> &'static str {
        match stage {
            Stage::Starting => "starting",
            Stage::Serving { .. } => "serving",
            Stage::Draining { .. } => "draining",
            Stage::Stopping { .. } => "stopping",
        }
    }

    #[test]
    fn what_is_written_of_an_instance_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_instance(folder.path()), None);
        let at = Instant::now();
        for stage in [
            Stage::Starting,
            Stage::Serving { since: at },
            Stage::Draining { until: Some(at) },
            Stage::Stopping { kill_at: at },
        ] {
            let memory = InstanceMemory {
                number: InstanceNumber::new(3),
                rollout: 9,
                stage,
                watchdog: Some(Duration::from_secs(20)),
            };
            write(file_of(folder.path()), instance_text(&memory)).unwrap();
            let read = read_instance(folder.path()).unwrap();
            assert_eq!((read.number, read.rollout), (memory.number, 9));
            assert_eq!(read.watchdog, memory.watchdog);
            assert_eq!(kind(read.stage), kind(stage));
        }
    }

    #[test]
    fn what_is_written_of_a_site_is_read_again_until_the_machine_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let memory = SiteMemory {
            setback: Some(Setback {
                revision: Revision::from_bytes([7; 16]),
                cause: "no module".into(),
                prospect: Prospect::Lasting,
                failures: 4,
                failed_starts: 3,
                pause: Duration::from_millis(1500),
                next_try: None,
            }),
            restarts: 5,
        };
        let text = site_text(&memory).unwrap();
        write(folder.path().join("7.json"), &text).unwrap();
        write(
            folder.path().join("8.json"),
            text.replace(&boot_id(), "before"),
        )
        .unwrap();
        let read = read_sites(folder.path());
        assert_eq!(read, BTreeMap::from([(SiteId::new(7).unwrap(), memory)]));
        assert_eq!(site_text(&SiteMemory::default()), None);
    }
    #[test]
    fn what_is_written_of_a_pool_is_read_again_until_the_machine_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let reloads = PoolReloads {
            count: 4,
            of_sites: BTreeMap::from([(SiteId::new(7).unwrap(), 2), (SiteId::new(9).unwrap(), 0)]),
        };
        let text = pool_text(&reloads).unwrap();
        write(folder.path().join("-1.json"), &text).unwrap();
        let stale = text.replace(&boot_id(), "before");
        write(folder.path().join("-2.json"), stale).unwrap();
        write(folder.path().join("-3.json"), "{").unwrap();
        let pool = SiteId::of_vassal(-1).unwrap();
        let read = read_pools(folder.path());
        assert_eq!(read, BTreeMap::from([(pool, reloads)]));
        assert_eq!(pool_text(&PoolReloads::default()), None);
    }
}
