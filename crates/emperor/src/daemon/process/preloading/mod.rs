//! Preloaders: processes that have loaded a code base, and from which workers are forked.
//!
//! One for all instances for which it would be started alike: the same user, program, environment,
//! folder, files, limits and walls. It ends with the last that holds it, an instance or the supervisor
//! for sites that sleep, and with the emperor; its workers live on in both cases.
//!
//! | module | what it is |
//! |---|---|
//! | `charter` | what a preloader is started with: two that are equal are one |
//! | `keeper` | the task that owns one |
//! | `handle` | what can be asked of one |
//! | `forked` | a worker that waits for its plan |
//! | `ahead` | one that is wanted before any instance is |

mod ahead;
mod charter;
mod forked;
mod handle;
mod keeper;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use site_model::SiteId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use super::failure::PreloadFailure;
use super::tools::Tools;

pub(super) use charter::{Charter, Render, shared_reach};
pub(super) use forked::Forked;
pub(super) use handle::Preloader;

use handle::{ASKED_AT_ONCE, State};
use keeper::Keeper;

/// How long preloaders may take to end with the emperor.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Preloaders {
    known: Mutex<Known>,
    /// Each owns one preloader, and ends once nobody holds that any more.
    keepers: TaskTracker,
}

#[derive(Debug, Default)]
struct Known {
    /// In the order of their starts. As many as there are charters, and one more for each that is being
    /// replaced.
    running: Vec<Entry>,
    /// Since when a site wants what was loaded later than that.
    renewed: HashMap<SiteId, Instant>,
}

#[derive(Debug)]
struct Entry {
    charter: Arc<Charter>,
    preloader: Arc<Preloader>,
    /// Tells who holds it that nothing will be forked from it any more.
    _listed: DropGuard,
}

/// What it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    /// An instance of a site.
    Site(SiteId),
    /// Whatever instances there will be, loaded no earlier than then.
    Anyone(Option<Instant>),
}

impl Preloaders {
    /// Whatever a site's instances are forked from later is to be loaded no earlier than then. Sites that are
    /// reloaded together say the same: one that is loaded for the first of them suits all.
    pub(super) fn renew(&self, site: SiteId, since: Instant) {
        self.known().renewed.insert(site, since);
    }

    /// A preloader, started if need be; resolves once it can be forked.
    ///
    /// Cancel safe: one that is being started goes on, for the next that asks.
    pub(super) async fn get(
        self: &Arc<Self>,
        tools: &Arc<Tools>,
        whom: Whom,
        charter: Charter,
        render: Render,
    ) -> Result<Arc<Preloader>, PreloadFailure> {
        let preloader = {
            let mut known = self.known();
            known.forget_what_is_gone();
            match known.find(whom, &charter) {
                Some(preloader) => preloader,
                None => self.start(&mut known, tools, charter, render),
            }
        };
        preloader.ready().await?;
        self.known().supersede(&preloader);
        Ok(preloader)
    }

    /// Lets go of all, and waits a moment until they have ended.
    pub(super) async fn end(&self) {
        self.known().running.clear();
        self.keepers.close();
        // What is left ends by itself: the emperor has hung up.
        let _ = timeout(LEAVE_PATIENCE, self.keepers.wait()).await;
    }

    fn start(
        self: &Arc<Self>,
        known: &mut Known,
        tools: &Arc<Tools>,
        charter: Charter,
        render: Render,
    ) -> Arc<Preloader> {
        let charter = Arc::new(charter);
        let (asks, asked) = mpsc::channel(ASKED_AT_ONCE);
        let (told, state) = watch::channel(State::Loading);
        let preloader = Arc::new(Preloader::new(charter.account.identity.uid, asks, state));
        let listed = preloader.unlisted().clone().drop_guard();
        let keeper = Keeper {
            tools: Arc::clone(tools),
            charter: Arc::clone(&charter),
            asked,
            told,
            registry: Arc::downgrade(self),
            own: Arc::downgrade(&preloader),
        };
        self.keepers.spawn(keeper.run(render));
        known.running.push(Entry {
            charter,
            preloader: Arc::clone(&preloader),
            _listed: listed,
        });
        preloader
    }

    /// Lets go of one that nobody else holds; false: somebody does.
    fn let_go(&self, unused: &Weak<Preloader>) -> bool {
        let mut known = self.known();
        // Only this list gives out others, and it is locked.
        if unused.strong_count() > 1 {
            return false;
        }
        known
            .running
            .retain(|entry| !std::ptr::eq(Arc::as_ptr(&entry.preloader), unused.as_ptr()));
        true
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is whole before the lock goes, so a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What was begun later than a site was reloaded suits it, so that is remembered for no longer than
    /// there is something older.
    fn forget_what_is_gone(&mut self) {
        self.running.retain(|entry| !entry.preloader.is_gone());
        let began = self.running.iter().map(|entry| entry.preloader.began());
        let oldest = began.min();
        self.renewed
            .retain(|_, since| oldest.is_some_and(|began| began < *since));
    }

    /// The newest that is ready, else the newest that is on its way.
    fn find(&self, whom: Whom, charter: &Charter) -> Option<Arc<Preloader>> {
        let since = match whom {
            Whom::Site(site) => self.renewed.get(&site).copied(),
            Whom::Anyone(since) => since,
        };
        let fitting = self.running.iter().rev().filter(|entry| {
            let is_new_enough = since.is_none_or(|since| entry.preloader.began() >= since);
            is_new_enough && *entry.charter == *charter
        });
        let fitting: Vec<_> = fitting.map(|entry| &entry.preloader).collect();
        let ready = fitting.iter().find(|preloader| preloader.is_ready());
        ready.or(fitting.first()).map(|found| Arc::clone(found))
    }

    /// One that can be forked takes the place of those before it.
    fn supersede(&mut self, newest: &Arc<Preloader>) {
        let Some(at) = self
            .running
            .iter()
            .position(|entry| Arc::ptr_eq(&entry.preloader, newest))
        else {
            return;
        };
        let charter = Arc::clone(&self.running[at].charter);
        let mut index = 0;
        self.running.retain(|entry| {
            let is_older = index < at && *entry.charter == *charter;
            index += 1;
            !is_older
        });
    }
}

#[cfg(test)]
mod tests {
    use vassal_core::settings::Sandbox;
    use vassal_core::{Launch, Reach, Settings};
    use wire::exec::Identity;

    use super::super::identity::Account;
    use super::handle::Ask;
    use super::*;

    /// One that a test plays.
    struct Played {
        preloader: Arc<Preloader>,
        state: watch::Sender<State>,
        asked: mpsc::Receiver<Ask>,
    }

    fn charter(uid: u32, folder: &str) -> Charter {
        let identity = Identity {
            uid,
            gid: uid,
            groups: Vec::new(),
        };
        let launch = Launch {
            argv: vec!["python3".to_owned()],
            working_dir: Some(folder.into()),
            env: Vec::new(),
            files: Vec::new(),
            reach: Reach::default(),
        };
        Charter {
            account: Account {
                name: uid.to_string(),
                identity,
                home: None,
            },
            launch,
            sandbox: Sandbox::default(),
            nofile: 0,
            preload: Settings::default().preload,
            missing: Vec::new(),
        }
    }

    impl Known {
        fn play(&mut self, charter: Charter) -> Played {
            let (asks, asked) = mpsc::channel(1);
            let (told, state) = watch::channel(State::Loading);
            let preloader = Arc::new(Preloader::new(charter.account.identity.uid, asks, state));
            self.running.push(Entry {
                charter: Arc::new(charter),
                preloader: Arc::clone(&preloader),
                _listed: preloader.unlisted().clone().drop_guard(),
            });
            Played {
                preloader,
                state: told,
                asked,
            }
        }

        fn finds(&self, site: i64, charter: &Charter) -> Option<*const Preloader> {
            let found = self.find(Whom::Site(SiteId::new(site).unwrap()), charter);
            found.map(|found| Arc::as_ptr(&found))
        }
    }

    fn this(played: &Played) -> *const Preloader {
        Arc::as_ptr(&played.preloader)
    }

    #[tokio::test]
    async fn who_differs_in_user_or_texts_shares_no_preloader() {
        let mut known = Known::default();
        let one = known.play(charter(1, "/srv/one"));
        assert_eq!(known.finds(7, &charter(1, "/srv/one")), Some(this(&one)));
        assert_eq!(known.finds(7, &charter(2, "/srv/one")), None);
        assert_eq!(known.finds(7, &charter(1, "/srv/two")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_reloaded_waits_for_a_new_one_and_others_use_what_works() {
        let mut known = Known::default();
        let wanted = charter(1, "/srv/one");
        let old = known.play(charter(1, "/srv/one"));
        old.state.send_replace(State::Ready);
        tokio::time::advance(Duration::from_secs(1)).await;
        let reloaded = SiteId::new(7).unwrap();
        known.renewed.insert(reloaded, Instant::now());
        assert_eq!(known.finds(7, &wanted), None);
        assert_eq!(known.finds(8, &wanted), Some(this(&old)));

        let new = known.play(charter(1, "/srv/one"));
        assert_eq!(
            known.finds(7, &wanted),
            Some(this(&new)),
            "it is on its way"
        );
        assert_eq!(known.finds(8, &wanted), Some(this(&old)));
        new.state.send_replace(State::Ready);
        known.supersede(&new.preloader);
        assert_eq!(known.finds(8, &wanted), Some(this(&new)));
        assert!(old.preloader.unlisted().is_cancelled());
        assert!(!new.preloader.unlisted().is_cancelled());
        assert_eq!(
            Arc::strong_count(&old.preloader),
            1,
            "nobody else holds the old one"
        );
        drop(new.asked);
        assert!(new.preloader.is_gone());
        drop(old.asked);
    }
}
