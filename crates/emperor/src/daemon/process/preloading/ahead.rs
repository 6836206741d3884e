//! A preloader that is wanted before any instance is.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use site_model::RunAs;
use tokio::time::Instant;
use vassal_core::VassalSpec;

use super::super::failure::SpawnFailure;
use super::super::launcher::Launcher;
use super::{Charter, Preloader, Render, Whom};
use crate::runtime::off_the_loop;

/// One that is kept. From its drop on it is kept no longer.
#[derive(Debug)]
struct Held(Arc<Preloader>);

impl Held {
    async fn outdated(&self) {
        self.0.outdated().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Launcher {
    /// Has loaded what instances of a specification are forked from, no earlier than then; returns once
    /// it is.
    ///
    /// It is kept until what is returned is dropped. That resolves once nothing will be forked from it
    /// any more: it has died, or another has taken its place.
    pub(crate) async fn preload(
        &self,
        spec: &Arc<VassalSpec>,
        since: Option<Instant>,
    ) -> Result<BoxFuture<'static, ()>, SpawnFailure> {
        let (charter, render) = self.charter(spec).await?;
        let whom = Whom::Anyone(since);
        let preloader = self
            .preloaders
            .get(&self.tools, whom, charter, render)
            .await?;
        let held = Held(preloader);
        Ok(async move { held.outdated().await }.boxed())
    }

    /// Whether all sites which run as this are of one user.
    pub(crate) fn is_one_user(&self, run_as: &RunAs) -> bool {
        match run_as {
            RunAs::User(_) => true,
            // One who can't change users has but one.
            RunAs::Auto => !self.tools.identities.can_change(),
        }
    }

    /// What the preloader of a specification is started with.
    pub(in super::super) async fn charter(
        &self,
        spec: &Arc<VassalSpec>,
    ) -> Result<(Charter, Render), SpawnFailure> {
        let (tools, spec) = (Arc::clone(&self.tools), Arc::clone(spec));
        let render = Render::new(&spec);
        let found = render.clone();
        let charter = off_the_loop(move || Charter::of(&tools, &spec, &found)).await?;
        Ok((charter, render))
    }
}
