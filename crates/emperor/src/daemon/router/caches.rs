//! What the routers' caches have to forget, and whether they may be used, kept as a level.
//!
//! Each router is told what it hasn't confirmed yet, from a log that is bounded: one that is further
//! behind forgets everything. What is confirmed by every router that may have pages, connected or not,
//! is [published](CacheBoard::confirmed). One whose link is down serves nothing from its cache, and is
//! waited for all the same: after this emperor's end nobody would know what it lacks.
//!
//! The permission to use a cache is a lease, which each [renewal](CacheBoard::renew) extends: an emperor that
//! is stopped or hangs extends none.
//!
//! Knows neither the database nor sockets. Locks are held for the time of a map operation.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use wire::cache::{OLDEST_RENEWAL, PurgeFrame, SitePurge};
use wire::route::ToRouter;

/// What is kept for routers that lag behind, in purges and in bytes of their names.
const MAX_ENTRIES: usize = 4_096;
const MAX_BYTES: usize = 8 << 20;
/// Names in one frame, in bytes: far below the bound of a frame, also where each has to be escaped.
const FRAME_BYTES: usize = 256 << 10;

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Forget {
    /// These pages.
    Pages(Vec<SitePurge>),
    /// All of all sites.
    Everything,
}

/// What the routers' caches have to forget.
#[derive(Debug)]
pub(in crate::daemon) struct CacheBoard {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    confirmed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Since when purges are heard, as of the last renewal: caches may be used once they know all that is
    /// in the log.
    heard: Option<Instant>,
    /// The number before the first of this emperor.
    origin: u64,
    last: u64,
    log: VecDeque<Entry>,
    log_bytes: usize,
    /// What each router, by its process, has confirmed.
    routers: BTreeMap<u32, u64>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    forget: Forget,
    bytes: usize,
}

/// One connection that is told.
#[derive(Debug)]
pub(super) struct CacheFollower<'board> {
    board: &'board CacheBoard,
    changed: watch::Receiver<()>,
    /// `None`: it has no cache.
    sent: Option<u64>,
    /// By which renewal the router was told last that it may serve; each connection begins without.
    resumed: Option<Instant>,
}

impl Default for CacheBoard {
    fn default() -> Self {
        // A router that outlived another emperor says that one's last number: never one of these.
        let origin = fastrand::u64(1..1 << 48);
        Self {
            state: Mutex::new(State {
                heard: None,
                origin,
                last: origin,
                log: VecDeque::new(),
                log_bytes: 0,
                routers: BTreeMap::new(),
            }),
            changed: watch::Sender::default(),
            confirmed: watch::Sender::new(origin),
        }
    }
}

impl CacheBoard {
    /// Purges can't be heard: no cache is used until [`renew`](Self::renew).
    pub(in crate::daemon) fn suspend(&self) {
        self.state().heard = None;
        self.changed.send_replace(());
    }

    /// Everything that was committed before this moment has been [told](Self::tell): caches may be used for
    /// a while, by whom that reaches in time.
    pub(in crate::daemon) fn renew(&self, since: Instant) {
        self.state().heard = Some(since);
        self.changed.send_replace(());
    }

    /// Has this forgotten. Returns the number that [`confirmed`](Self::confirmed) reaches once it is.
    pub(in crate::daemon) fn tell(&self, forget: Forget) -> u64 {
        let mut state = self.state();
        state.note(forget);
        let last = state.last;
        self.conclude(&state);
        drop(state);
        self.changed.send_replace(());
        last
    }

    /// Up to which number every router has confirmed.
    pub(in crate::daemon) fn confirmed(&self) -> watch::Receiver<u64> {
        self.confirmed.subscribe()
    }

    fn conclude(&self, state: &State) {
        let least = state.routers.values().min().copied();
        let least = least.unwrap_or(state.last);
        self.confirmed.send_if_modified(|known| {
            let is_more = least > *known;
            *known = least.max(*known);
            is_more
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of the roster and the link.
impl CacheBoard {
    /// A router may have pages from before, and is waited for.
    pub(super) fn await_router(&self, pid: u32) {
        let mut state = self.state();
        let origin = state.origin;
        state.routers.entry(pid).or_insert(origin);
    }

    /// A router is gone, and its pages with it.
    pub(super) fn forget_router(&self, pid: u32) {
        let mut state = self.state();
        state.routers.remove(&pid);
        self.conclude(&state);
    }

    /// Begins to tell a router. One without a cache is told nothing, and not waited for.
    pub(super) fn follow(&self, pid: u32, has_cache: bool) -> CacheFollower<'_> {
        if has_cache {
            self.await_router(pid);
        } else {
            self.forget_router(pid);
        }
        let mut changed = self.changed.subscribe();
        changed.mark_changed();
        CacheFollower {
            sent: self.state().routers.get(&pid).copied(),
            board: self,
            changed,
            resumed: None,
        }
    }

    /// A router has forgotten everything up to this number.
    pub(super) fn confirm(&self, pid: u32, sequence: u64) {
        let mut state = self.state();
        let last = state.last;
        if let Some(confirmed) = state.routers.get_mut(&pid)
            && (*confirmed..=last).contains(&sequence)
        {
            *confirmed = sequence;
            self.conclude(&state);
        }
    }
}

impl CacheFollower<'_> {
    /// Waits until there may be something to tell. Cancel safe.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the board, so it can't be gone while the board is borrowed.
        self.changed.changed().await.ok();
    }

    /// What there is to tell. A renewal that lay about for too long is none: whoever waits for purges may
    /// have stopped waiting for this machine before the router's time is over.
    pub(super) fn news(&mut self, now: Instant) -> Vec<ToRouter> {
        let Some(sent) = self.sent else {
            return Vec::new();
        };
        let state = self.board.state();
        let mut news = Vec::new();
        if self.resumed.is_some() && state.heard.is_none() {
            news.push(ToRouter::SuspendCache);
            self.resumed = None;
        }
        news.extend(state.since(sent));
        self.sent = Some(state.last);
        let renewed = state.heard.filter(|since| self.resumed != Some(*since));
        if renewed.is_some_and(|since| now.saturating_duration_since(since) <= OLDEST_RENEWAL) {
            news.push(ToRouter::ResumeCache);
            self.resumed = renewed;
        }
        news
    }
}

impl State {
    fn note(&mut self, forget: Forget) {
        match forget {
            Forget::Everything => {
                // Whoever is told this needs none of the rest.
                self.log.clear();
                self.log_bytes = 0;
                self.push(Forget::Everything, 0);
            }
            Forget::Pages(sites) => {
                for (sites, bytes) in frames(sites) {
                    self.push(Forget::Pages(sites), bytes);
                }
            }
        }
    }

    fn push(&mut self, forget: Forget, bytes: usize) {
        self.last += 1;
        self.log_bytes += bytes;
        self.log.push_back(Entry {
            sequence: self.last,
            forget,
            bytes,
        });
        while self.log.len() > MAX_ENTRIES || self.log_bytes > MAX_BYTES {
            let Some(oldest) = self.log.pop_front() else {
                break;
            };
            self.log_bytes -= oldest.bytes;
        }
    }

    /// What a router lacks that was told everything up to a number.
    fn since(&self, sent: u64) -> Vec<ToRouter> {
        if sent == self.last {
            return Vec::new();
        }
        let lacks_more = self
            .log
            .front()
            .is_none_or(|first| first.sequence > sent + 1 && first.forget != Forget::Everything);
        if lacks_more {
            let sequence = self.last;
            return vec![ToRouter::PurgeAll { sequence }];
        }
        let new = self.log.iter().filter(|entry| entry.sequence > sent);
        new.map(|entry| {
            let sequence = entry.sequence;
            match &entry.forget {
                Forget::Everything => ToRouter::PurgeAll { sequence },
                Forget::Pages(sites) => ToRouter::Purge {
                    sequence,
                    sites: sites.clone(),
                },
            }
        })
        .collect()
    }
}

/// Parts that fit into a frame each, with their bytes.
fn frames(sites: Vec<SitePurge>) -> Vec<(Vec<SitePurge>, usize)> {
    let (mut frames, mut frame, mut bytes) = (Vec::new(), Vec::<SitePurge>::new(), 0);
    for site in sites {
        for purge in site.purges {
            if bytes >= FRAME_BYTES {
                frames.push((mem::take(&mut frame), mem::take(&mut bytes)));
            }
            bytes += weight(&purge);
            match frame.last_mut().filter(|last| last.site_id == site.site_id) {
                Some(last) => last.purges.push(purge),
                None => frame.push(SitePurge {
                    site_id: site.site_id,
                    purges: vec![purge],
                }),
            }
        }
    }
    if !frame.is_empty() {
        frames.push((frame, bytes));
    }
    frames
}

/// Bytes in memory and in a frame, roughly.
fn weight(purge: &PurgeFrame) -> usize {
    const EACH: usize = 64;
    EACH + match purge {
        PurgeFrame::Path(name) | PurgeFrame::Prefix(name) | PurgeFrame::Tag(name) => name.len(),
        PurgeFrame::Site => 0,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn pages(paths: &[&str]) -> Forget {
        let purges = paths.iter().map(|path| PurgeFrame::Path((*path).into()));
        Forget::Pages(vec![SitePurge {
            site_id: 1,
            purges: purges.collect(),
        }])
    }

    /// What a router is told, in few words, and the last number of it.
    fn told(follower: &mut CacheFollower<'_>) -> (Vec<String>, u64) {
        let mut last = 0;
        let words = follower
            .news(Instant::now())
            .into_iter()
            .map(|news| match news {
                ToRouter::Purge { sequence, sites } => {
                    last = sequence;
                    let paths = sites.iter().flat_map(|site| &site.purges);
                    let paths = paths.map(|purge| match purge {
                        PurgeFrame::Path(path) => path.as_str(),
                        other => panic!("{other:?}"),
                    });
                    paths.collect::<Vec<_>>().join(" ")
                }
                ToRouter::PurgeAll { sequence } => {
                    last = sequence;
                    "all".into()
                }
                ToRouter::SuspendCache => "suspend".into(),
                ToRouter::ResumeCache => "resume".into(),
                other => panic!("{other:?}"),
            });
        (words.collect(), last)
    }

    #[test]
    fn a_cache_is_used_only_while_purges_are_heard() {
        let board = CacheBoard::default();
        let mut router = board.follow(1, true);
        assert_eq!(told(&mut router).0, [""; 0]);
        board.tell(pages(&["/a"]));
        assert_eq!(told(&mut router).0, ["/a"]);
        board.renew(Instant::now());
        assert_eq!(told(&mut router).0, ["resume"]);
        board.suspend();
        board.tell(pages(&["/b"]));
        assert_eq!(told(&mut router).0, ["suspend", "/b"]);
        board.renew(Instant::now());
        assert_eq!(told(&mut router).0, ["resume"]);
        assert_eq!(told(&mut router).0, [""; 0]);
    }

    #[test]
    fn each_renewal_is_told_once_and_none_that_is_old() {
        let board = CacheBoard::default();
        let mut router = board.follow(1, true);
        let began = Instant::now();
        let after = |wait| began + OLDEST_RENEWAL.mul_f64(wait);
        board.renew(began);
        assert_eq!(router.news(after(1.0)), [ToRouter::ResumeCache]);
        board.tell(pages(&["/a"]));
        let news = router.news(after(1.0));
        assert!(matches!(news[..], [ToRouter::Purge { .. }]), "{news:?}");
        board.renew(after(1.0));
        assert_eq!(router.news(after(2.5)), []);
        let another = board.follow(2, true).news(after(2.5));
        assert!(!another.contains(&ToRouter::ResumeCache), "{another:?}");
        board.renew(after(2.0));
        assert_eq!(router.news(after(2.5)), [ToRouter::ResumeCache]);
    }

    #[test]
    fn a_router_that_comes_back_is_told_what_it_has_not_confirmed() {
        let board = CacheBoard::default();
        board.renew(Instant::now());
        let mut router = board.follow(1, true);
        board.tell(pages(&["/a"]));
        let (_, a) = told(&mut router);
        board.confirm(1, a);
        board.tell(pages(&["/b"]));
        told(&mut router);
        drop(router);
        board.tell(pages(&["/c"]));
        assert_eq!(told(&mut board.follow(1, true)).0, ["/b", "/c", "resume"]);
        assert_eq!(
            told(&mut board.follow(2, true)).0,
            ["/a", "/b", "/c", "resume"]
        );
    }

    #[test]
    fn who_is_too_far_behind_forgets_everything() {
        let board = CacheBoard::default();
        board.renew(Instant::now());
        let mut router = board.follow(1, true);
        for _ in 0..=MAX_ENTRIES {
            board.tell(pages(&["/"]));
        }
        assert_eq!(told(&mut router).0, ["all", "resume"]);
        board.tell(pages(&["/a"]));
        board.tell(Forget::Everything);
        board.tell(pages(&["/b"]));
        assert_eq!(told(&mut router).0, ["all", "/b"]);
    }

    #[test]
    fn every_router_that_may_have_pages_is_waited_for() {
        let board = CacheBoard::default();
        let mut confirmed = board.confirmed();
        confirmed.mark_unchanged();
        board.await_router(1);
        let mut second = board.follow(2, true);
        let number = board.tell(pages(&["/a"]));
        let (_, sent) = told(&mut second);
        assert_eq!(sent, number);
        board.confirm(2, number);
        // What it said to another emperor means nothing here.
        board.confirm(1, number + 1);
        assert!(confirmed.changed().now_or_never().is_none(), "one is left");
        board.forget_router(1);
        assert_eq!(*confirmed.borrow_and_update(), number);
        board.forget_router(2);
        let number = board.tell(pages(&["/b"]));
        assert_eq!(*confirmed.borrow(), number, "there is no cache");
    }

    #[test]
    fn long_purges_are_sent_in_parts() {
        let board = CacheBoard::default();
        let mut router = board.follow(1, true);
        let names: Vec<_> = (0..1_000)
            .map(|n| format!("/{n}{}", "x".repeat(1_000)))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        board.tell(pages(&names));
        let (told, _) = told(&mut router);
        assert!(told.len() > 3, "{}", told.len());
        let sent: Vec<_> = told.iter().flat_map(|frame| frame.split(' ')).collect();
        assert_eq!(sent[..1_000], names);
    }

    #[test]
    fn a_router_of_an_earlier_version_is_told_nothing_and_not_waited_for() {
        let board = CacheBoard::default();
        board.await_router(1);
        let mut router = board.follow(1, false);
        let number = board.tell(pages(&["/a"]));
        assert_eq!(told(&mut router).0, [""; 0]);
        assert_eq!(*board.confirmed().borrow(), number);
    }
}
