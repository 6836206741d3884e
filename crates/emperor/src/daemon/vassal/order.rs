//! What a vassal is told, as a level: the latest counts, and nobody waits for it to be read.

use site_model::Slug;
use vassal_core::Want;
use vassal_core::lifecycle::{Event, Haste};

/// What is wished of a vassal.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::daemon) struct Order {
    /// What it is to be.
    pub(in crate::daemon) wish: Wish,
    /// How often an operator asked for new instances.
    pub(in crate::daemon) reloads: u64,
}

/// What a vassal is to be.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::daemon) enum Wish {
    /// This.
    Want(Want),
    /// Gone: so is its row.
    Removed,
    /// Gone with the emperor.
    Shutdown(Haste),
}

impl Order {
    /// The slug of its site; `None`: the row is gone, or says too little.
    pub(super) fn slug(&self) -> Option<&Slug> {
        match &self.wish {
            Wish::Want(want) => want.slug(),
            Wish::Removed | Wish::Shutdown(_) => None,
        }
    }

    /// What a vassal that knew `before` has to hear.
    pub(super) fn news_since(&self, before: &Self) -> Vec<Event> {
        let mut news = Vec::new();
        if self.wish != before.wish {
            news.push(match &self.wish {
                Wish::Want(want) => Event::Wanted(want.clone()),
                Wish::Removed => Event::Removed,
                Wish::Shutdown(haste) => Event::Shutdown(*haste),
            });
        }
        if self.reloads != before.reloads {
            news.push(Event::Reload);
        }
        news
    }
}
