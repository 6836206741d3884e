//! Preloaders that are loaded before an instance is forked from them, so that the first wake of a site
//! is a fork already, and so is the first start after instances were taken over.
//!
//! One for all sites that would have the same one, which is seen without rendering anything: template,
//! user and the row's own texts. What a site costs here is being counted.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use site_model::{RunAs, TemplateName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use vassal_core::backoff::pause;
use vassal_core::spec::NamesTold;
use vassal_core::{VassalSpec, Want};

use crate::daemon::turns::{Attempt, AwaitedBy};
use crate::daemon::vassal::{House, Spawner};

/// So many are kept for sites that may all sleep. Each takes tens of megabytes: where more sites than
/// that share nothing with others, each has its own when it wakes.
const MOST_KEPT: usize = 32;

/// What preloaders are kept for.
#[derive(Debug)]
pub(super) struct Ahead<S: Spawner> {
    house: Arc<House<S>>,
    wanted: HashMap<Key, Wanted>,
    /// How many of them are kept.
    kept: usize,
}

/// One of the specifications that have the same preloader, and stands for them.
#[derive(Debug, Clone)]
struct Key(Arc<VassalSpec>);

#[derive(Debug, Default)]
struct Wanted {
    sites: usize,
    kept: Option<Kept>,
}

/// A preloader that is kept. Dropped, it is kept no longer.
#[derive(Debug)]
struct Kept {
    renewed: watch::Sender<Option<Instant>>,
    _task: AbortOnDropHandle<()>,
}

impl Key {
    /// Of what is wanted of a site; `None`: it shares no preloader, or needs none.
    fn of(want: &Want, spawner: &impl Spawner) -> Option<Self> {
        let Want::Run(spec) = want else {
            return None;
        };
        let preload = &spec.settings.preload;
        let is_shared = preload.enabled
            && !preload.keep.is_zero()
            && spec.told == NamesTold::default()
            && spawner.is_one_user(&spec.run_as);
        is_shared.then(|| Self(Arc::clone(spec)))
    }

    fn parts(&self) -> (&TemplateName, &RunAs, &str) {
        let spec = &self.0;
        (&spec.template, &spec.run_as, &spec.site.extra_config)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl<S: Spawner> Ahead<S> {
    pub(super) fn new(house: Arc<House<S>>) -> Self {
        Self {
            house,
            wanted: HashMap::new(),
            kept: 0,
        }
    }

    /// A site is wanted differently. What its row has reloaded is loaded later than that.
    pub(super) fn change(&mut self, before: Option<&Want>, now: Option<&Want>, since: Instant) {
        let key = |want: Option<&Want>| Key::of(want?, &*self.house.spawner);
        let (before, now) = (key(before), key(now));
        if let (Some(before), Some(now)) = (&before, &now)
            && before == now
        {
            if before.0.site.reloads != now.0.site.reloads {
                self.renew_key(now, since);
            }
            return;
        }
        if let Some(now) = now {
            self.wanted.entry(now).or_default().sites += 1;
        }
        if let Some(before) = before {
            self.let_go(&before);
        }
    }

    /// What this site's instances are forked from is to be loaded later than that.
    pub(super) fn renew(&self, want: &Want, since: Instant) {
        if let Some(key) = Key::of(want, &*self.house.spawner) {
            self.renew_key(&key, since);
        }
    }

    /// Begins what is wanted and not there, for most sites first.
    pub(super) fn begin(&mut self) {
        if self.kept == MOST_KEPT.min(self.wanted.len()) {
            return;
        }
        let lacking = self.wanted.iter_mut();
        let mut lacking: Vec<_> = lacking.filter(|(_, it)| it.kept.is_none()).collect();
        lacking.sort_by_key(|(key, wanted)| (Reverse(wanted.sites), key.0.site.id));
        for (key, wanted) in lacking.into_iter().take(MOST_KEPT - self.kept) {
            let (renewed, asked) = watch::channel(None);
            let task = keep(Arc::clone(&self.house), Arc::clone(&key.0), asked);
            wanted.kept = Some(Kept {
                renewed,
                _task: AbortOnDropHandle::new(tokio::spawn(task)),
            });
            self.kept += 1;
        }
    }

    /// Counts again what all sites want: the same texts may yield other preloaders now.
    pub(super) fn recount<'a>(&mut self, wants: impl Iterator<Item = &'a Want>) {
        self.clear();
        let now = Instant::now();
        for want in wants {
            self.change(None, Some(want), now);
        }
        self.begin();
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.kept = 0;
    }

    fn renew_key(&self, key: &Key, since: Instant) {
        let kept = self.wanted.get(key).and_then(|it| it.kept.as_ref());
        if let Some(kept) = kept {
            kept.renewed.send_if_modified(|renewed| {
                let is_news = renewed.is_none_or(|before| before < since);
                if is_news {
                    *renewed = Some(since);
                }
                is_news
            });
        }
    }

    fn let_go(&mut self, key: &Key) {
        let Some(wanted) = self.wanted.get_mut(key) else {
            return;
        };
        wanted.sites = wanted.sites.saturating_sub(1);
        if wanted.sites == 0
            && let Some(gone) = self.wanted.remove(key)
        {
            self.kept -= usize::from(gone.kept.is_some());
        }
    }
}

/// Keeps a preloader for as long as it runs. Each is a start as others are, and waits for its turn.
async fn keep<S: Spawner>(
    house: Arc<House<S>>,
    spec: Arc<VassalSpec>,
    mut renewed: watch::Receiver<Option<Instant>>,
) {
    let restart = &spec.settings.restart;
    let mut rng = fastrand::Rng::new();
    let mut failures = 0;
    // While another is loaded instead, forks are of this one.
    let mut kept = None;
    loop {
        let attempt = match failures {
            0 => Attempt::First,
            _ => Attempt::Retry,
        };
        let mut permit = house.turns.start(AwaitedBy::Nobody, attempt).await;
        let since = *renewed.borrow_and_update();
        match house.spawner.preload(&spec, since).await {
            Ok(preloaded) => {
                drop(permit);
                let began = Instant::now();
                tokio::select! {
                    () = kept.insert(preloaded) => {}
                    Ok(()) = renewed.changed() => {
                        failures = 0;
                        continue;
                    }
                }
                kept = None;
                // One that dies again and again is not loaded again and again.
                if began.elapsed() > restart.backoff_max {
                    failures = 0;
                }
                failures += 1;
                sleep(pause(restart, failures, &mut rng)).await;
            }
            Err(failure) => {
                permit.failed();
                drop(permit);
                failures += 1;
                let again_in = pause(restart, failures, &mut rng);
                warn!(
                    template = %spec.template, run_as = %spec.run_as, %failure, ?again_in,
                    "a preloader can't be loaded ahead and is tried again; a site that wakes waits for one of its own"
                );
                tokio::select! {
                    () = sleep(again_in) => {}
                    Ok(()) = renewed.changed() => failures = 0,
                }
            }
        }
    }
}
