//! The plan: from what is wanted and what the vassals were told to what they are to be told now.
//!
//! Synchronous, sorted by site, and a function of its two arguments alone. Both are persistent
//! maps: where the wanted one was made from the told one, what they share is skipped unseen, so one
//! edited row among 100,000 costs what one row costs. Planning again on a house that was told
//! yields nothing.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use site_model::SiteId;

use crate::Want;

/// What is to be told to vassals, sorted by site, at most one action for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The actions.
    pub actions: Vec<(SiteId, Action)>,
}

/// What is to be told to one vassal.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// There is none yet: begin one that wants this.
    Start(Want),
    /// It wants something else from now on.
    Update(Want),
    /// Its row is gone.
    Remove,
}

impl Plan {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// Compares what is wanted with what was told.
pub fn plan(desired: &OrdMap<SiteId, Want>, told: &OrdMap<SiteId, Want>) -> Plan {
    let difference = told.diff(desired).map(|item| match item {
        DiffItem::Add(id, want) => (*id, Action::Start(want.clone())),
        DiffItem::Update {
            new: (id, want), ..
        } => (*id, Action::Update(want.clone())),
        DiffItem::Remove(id, _) => (*id, Action::Remove),
    });
    let mut actions: Vec<_> = difference.collect();
    actions.sort_by_key(|(id, _)| *id);
    Plan { actions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::tests::fixture::{disabled, rejected, site_id, spec};

    fn run(id: i64, revision: u8) -> Want {
        Want::Run(spec(id, revision, 1))
    }

    fn wants(wants: impl IntoIterator<Item = (i64, Want)>) -> OrdMap<SiteId, Want> {
        wants
            .into_iter()
            .map(|(id, want)| (site_id(id), want))
            .collect()
    }

    /// `id word` for each action.
    fn check(desired: &OrdMap<SiteId, Want>, told: &OrdMap<SiteId, Want>, expected: &[&str]) {
        let planned = plan(desired, told);
        let words = planned.actions.iter().map(|(id, action)| match action {
            Action::Start(_) => format!("{id} start"),
            Action::Update(_) => format!("{id} update"),
            Action::Remove => format!("{id} remove"),
        });
        assert_eq!(words.collect::<Vec<_>>(), expected);
        assert!(plan(desired, desired).is_empty(), "planned again");
    }

    #[test]
    fn each_difference_is_one_action_in_the_order_of_sites() {
        let told = wants([
            (1, run(1, 1)),
            (3, run(3, 1)),
            (4, run(4, 1)),
            (5, disabled(5)),
        ]);
        let desired = wants([
            (5, run(5, 1)),
            (4, rejected(4)),
            (3, run(3, 2)),
            (2, disabled(2)),
        ]);
        check(
            &desired,
            &told,
            &["1 remove", "2 start", "3 update", "4 update", "5 update"],
        );
        check(
            &OrdMap::new(),
            &told,
            &["1 remove", "3 remove", "4 remove", "5 remove"],
        );
    }

    #[test]
    fn two_specifications_of_one_revision_are_no_difference() {
        check(&wants([(1, run(1, 7))]), &wants([(1, run(1, 7))]), &[]);
    }

    #[test]
    fn one_edited_row_among_many_is_one_action() {
        let one = run(1, 1);
        let told = wants((1..=100_000).map(|id| (id, one.clone())));
        let desired = told.update(site_id(70_000), run(1, 2));
        check(&desired, &told, &["70000 update"]);
    }
}
