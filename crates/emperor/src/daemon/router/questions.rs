//! What the routers are asked: which figures they have, and when an instance is idle.
//!
//! Every connection is asked all that is open, and once; a router that was lost is asked again when
//! it is back.

use std::collections::{BTreeMap, BTreeSet};

use site_model::{Incarnation, SiteId};
use tokio::sync::oneshot;
use wire::cache::PageFrame;
use wire::route::RouterStats;

/// All that is open.
#[derive(Debug, Default)]
pub(super) struct Open {
    idle: BTreeMap<(SiteId, Incarnation), IdleQuestion>,
    /// Who waits for figures, by token.
    stats: BTreeMap<u64, oneshot::Sender<RouterStats>>,
    /// Who waits for what is stored of a site, by token.
    pages: BTreeMap<u64, PagesQuestion>,
    next_token: u64,
}

/// Who waits for what is stored of a site.
#[derive(Debug)]
struct PagesQuestion {
    site: SiteId,
    path: Option<String>,
    asker: oneshot::Sender<Vec<PageFrame>>,
}

/// Who waits until an instance is idle.
#[derive(Debug)]
struct IdleQuestion {
    /// Tells a question from an earlier one about the same instance that was answered.
    token: u64,
    askers: Vec<oneshot::Sender<()>>,
    /// The routers of which it is known.
    answered: BTreeSet<u32>,
}

/// What one router is to be asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Instances about which somebody wants to know when they are idle, with the question's token.
    pub(super) idle: BTreeSet<(SiteId, Incarnation, u64)>,
    /// Tokens of questions for figures.
    pub(super) stats: BTreeSet<u64>,
    /// Tokens of questions for stored pages, with the site and the path that is meant.
    pub(super) pages: BTreeSet<(u64, SiteId, Option<String>)>,
}

impl Questions {
    /// Those of them that aren't among others.
    pub(super) fn without(&self, others: &Self) -> Self {
        Self {
            idle: self.idle.difference(&others.idle).copied().collect(),
            stats: self.stats.difference(&others.stats).copied().collect(),
            pages: self.pages.difference(&others.pages).cloned().collect(),
        }
    }

    /// Takes out the instances of pools that are to be idle.
    pub(super) fn take_idle_of_pools(&mut self) -> Vec<(SiteId, Incarnation)> {
        let of_pools = self.idle.extract_if(.., |(vassal, ..)| vassal.is_pool());
        of_pools
            .map(|(vassal, incarnation, _)| (vassal, incarnation))
            .collect()
    }
}

impl Open {
    /// Who listens at the result is told once the instance is idle in every router.
    pub(super) fn ask_idle(&mut self, instance: (SiteId, Incarnation)) -> oneshot::Receiver<()> {
        let (asker, answer) = oneshot::channel();
        let token = self.take_token();
        let question = self.idle.entry(instance).or_insert(IdleQuestion {
            token,
            askers: Vec::new(),
            answered: BTreeSet::new(),
        });
        question.askers.push(asker);
        answer
    }

    pub(super) fn ask_stats(&mut self) -> oneshot::Receiver<RouterStats> {
        let (asker, answer) = oneshot::channel();
        self.stats.retain(|_, earlier| !earlier.is_closed());
        let token = self.take_token();
        self.stats.insert(token, asker);
        answer
    }

    pub(super) fn ask_pages(
        &mut self,
        site: SiteId,
        path: Option<String>,
    ) -> oneshot::Receiver<Vec<PageFrame>> {
        let (asker, answer) = oneshot::channel();
        self.pages.retain(|_, earlier| !earlier.asker.is_closed());
        let token = self.take_token();
        self.pages
            .insert(token, PagesQuestion { site, path, asker });
        answer
    }

    /// What a router is to be asked; for figures and pages only the one that accepts is.
    pub(super) fn to_router(&self, accepts: bool) -> Questions {
        let idle = self.idle.iter();
        let idle = idle.map(|((site, incarnation), asked)| (*site, *incarnation, asked.token));
        let stats = self.stats.keys().copied();
        let pages = self.pages.iter();
        let pages = pages.map(|(token, asked)| (*token, asked.site, asked.path.clone()));
        Questions {
            idle: idle.collect(),
            stats: stats.filter(|_| accepts).collect(),
            pages: pages.filter(|_| accepts).collect(),
        }
    }

    /// An instance is idle in this router. It answers who waits for that alone.
    pub(super) fn hear_idle(
        &mut self,
        router: u32,
        instance: (SiteId, Incarnation),
        routers: impl Iterator<Item = u32>,
    ) {
        if let Some(question) = self.idle.get_mut(&instance) {
            question.answered.insert(router);
            self.answer_idle(routers);
        }
    }

    /// Answers the questions about which none of the routers is left to be heard. Where there is no
    /// router at all, the next one has to tell: one that has gone says nothing of it.
    pub(super) fn answer_idle(&mut self, routers: impl Iterator<Item = u32>) {
        let routers: BTreeSet<_> = routers.collect();
        if routers.is_empty() {
            return;
        }
        let is_answered = |question: &IdleQuestion| routers.is_subset(&question.answered);
        for (_, question) in self
            .idle
            .extract_if(.., |_, question| is_answered(question))
        {
            for asker in question.askers {
                // An asker that has gone no longer cares.
                asker.send(()).ok();
            }
        }
    }

    /// Figures arrived.
    pub(super) fn hear_stats(&mut self, token: u64, stats: RouterStats) {
        if let Some(asker) = self.stats.remove(&token) {
            // Who asked may be gone.
            asker.send(stats).ok();
        }
    }

    /// What is stored arrived.
    pub(super) fn hear_pages(&mut self, token: u64, pages: Vec<PageFrame>) {
        if let Some(question) = self.pages.remove(&token) {
            // Who asked may be gone.
            question.asker.send(pages).ok();
        }
    }

    /// Nobody is left who could tell: askers learn so from their channel.
    pub(super) fn forget_stats(&mut self) {
        self.stats.clear();
        self.pages.clear();
    }

    fn take_token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        token
    }
}
