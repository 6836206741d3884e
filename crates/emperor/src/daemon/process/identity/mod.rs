//! Who runs a site: an account of the system, or a uid of the site's own.

mod accounts;
mod assigned;
mod neighbours;
mod table;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use site_model::{RunAs, SiteId};
use tracing::warn;
use wire::exec::Identity;

use super::failure::{IdentityError, PrepareError};
use assigned::Assigned;
use neighbours::Neighbours;

pub(crate) use accounts::Account;
pub(crate) use neighbours::MEETING_PLACE;

/// The account that runs the router, where there is one.
const ROUTER_ACCOUNT: &str = "emperor-router";

/// What decides who may run what.
#[derive(Debug, Clone)]
pub(super) struct IdentityPolicy {
    /// `policy.uid_range`
    pub(super) uid_range: RangeInclusive<u32>,
    /// `policy.allow_root`
    pub(super) allow_root: bool,
    /// `router.run_as`
    pub(super) router_run_as: Option<RunAs>,
    /// Where emperors meet that give out uids.
    pub(super) meeting_place: Option<PathBuf>,
}

/// Finds out who runs what. Asks the system's list of accounts, which may block.
#[derive(Debug)]
pub(super) struct Identities {
    policy: IdentityPolicy,
    own: Account,
    router: Account,
    assigned: Assigned,
}

impl Identities {
    /// Reads who has which uid, and decides who runs the router.
    pub(super) fn open(policy: IdentityPolicy, file: PathBuf) -> Result<Self, PrepareError> {
        let own = accounts::own().map_err(PrepareError::Router)?;
        // Who can't change users gives out none.
        let meeting_place = policy
            .meeting_place
            .clone()
            .filter(|_| own.identity.uid == 0);
        let neighbours = meeting_place.and_then(|place| meet(place, &file));
        let assigned = Assigned::read(file, policy.uid_range.clone(), neighbours)?;
        let router = router(&policy, &own, &assigned).map_err(PrepareError::Router)?;
        Ok(Self {
            policy,
            own,
            router,
            assigned,
        })
    }

    /// Whether the emperor can start processes as other users.
    pub(super) fn can_change(&self) -> bool {
        self.own.identity.uid == 0
    }

    /// Who runs the router.
    pub(super) fn router(&self) -> &Account {
        &self.router
    }

    /// Who runs this site.
    pub(super) fn of(&self, site: SiteId, run_as: &RunAs) -> Result<Account, IdentityError> {
        if !self.can_change() {
            return self.own_for(run_as);
        }
        match run_as {
            RunAs::Auto => Ok(nameless(
                format!("site-{site}"),
                self.assigned.to_site(site)?,
            )),
            RunAs::User(name) => self.permitted(accounts::named(name)?),
        }
    }

    /// Gives uids to many sites with one writing.
    pub(super) fn assign(&self, sites: &[SiteId]) -> Result<(), IdentityError> {
        if self.can_change() {
            self.assigned.to_sites(sites)?;
        }
        Ok(())
    }

    fn own_for(&self, run_as: &RunAs) -> Result<Account, IdentityError> {
        match run_as {
            RunAs::User(name) if accounts::is(&self.own, name) => Ok(self.own.clone()),
            RunAs::User(_) | RunAs::Auto => Err(IdentityError::NotRoot {
                wanted: run_as.to_string(),
                own: self.own.name.clone(),
            }),
        }
    }

    fn permitted(&self, account: Account) -> Result<Account, IdentityError> {
        if account.identity.uid == 0 && !self.policy.allow_root {
            return Err(IdentityError::Root(account.name));
        }
        if account.identity.uid == self.router.identity.uid {
            return Err(IdentityError::Router(account.name));
        }
        Ok(account)
    }
}

/// A machine on which that can't be written to still has sites, and mostly one emperor.
fn meet(place: PathBuf, file: &Path) -> Option<Neighbours> {
    let met = Neighbours::meet(place, file.to_path_buf());
    let met = met.and_then(|neighbours| neighbours.turn().map(drop).map(|()| neighbours));
    met.inspect_err(|error| {
        warn!(%error, "other emperors can't be looked for; if there are any, each needs a policy.uid_range of its own");
    })
    .ok()
}

fn router(
    policy: &IdentityPolicy,
    own: &Account,
    assigned: &Assigned,
) -> Result<Account, IdentityError> {
    if own.identity.uid != 0 {
        return match &policy.router_run_as {
            Some(RunAs::User(name)) if !accounts::is(own, name) => Err(IdentityError::NotRoot {
                wanted: name.to_string(),
                own: own.name.clone(),
            }),
            Some(_) | None => Ok(own.clone()),
        };
    }
    let of_the_range = || Ok(nameless(ROUTER_ACCOUNT.to_owned(), assigned.to_router()?));
    match &policy.router_run_as {
        Some(RunAs::User(name)) => accounts::named(name),
        Some(RunAs::Auto) => of_the_range(),
        None => match accounts::named(ROUTER_ACCOUNT) {
            Err(IdentityError::UnknownUser(_)) => of_the_range(),
            found => found,
        },
    }
}

/// Somebody without an account: a uid, the gid of the same number, and no other group.
fn nameless(name: String, uid: u32) -> Account {
    Account {
        name,
        identity: Identity {
            uid,
            gid: uid,
            groups: Vec::new(),
        },
        home: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: i64) -> SiteId {
        SiteId::new(id).unwrap()
    }

    fn identities(folder: &tempfile::TempDir, allow_root: bool) -> Identities {
        let policy = IdentityPolicy {
            uid_range: 271_000..=271_009,
            meeting_place: None,
            allow_root,
            router_run_as: Some(RunAs::Auto),
        };
        Identities::open(policy, folder.path().join("identities.json")).unwrap()
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn an_unprivileged_emperor_runs_everything_as_itself_and_refuses_the_rest() {
        if is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let identities = identities(&folder, false);
        let own = identities.own.clone();
        let run_as = RunAs::User(own.name.as_str().into());
        assert_eq!(identities.of(site(1), &run_as).unwrap(), own);
        assert_eq!(identities.router(), &own);
        for wanted in [RunAs::Auto, RunAs::User("root".into())] {
            let refused = identities.of(site(1), &wanted);
            assert!(matches!(refused, Err(IdentityError::NotRoot { .. })));
        }
    }

    #[test]
    fn root_gives_each_site_its_own_user_apart_from_the_routers() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let identities = identities(&folder, false);
        let first = identities.of(site(1), &RunAs::Auto).unwrap();
        let second = identities.of(site(2), &RunAs::Auto).unwrap();
        assert_eq!(first.identity.uid, 271_000);
        assert_eq!(second.identity.uid, 271_001);
        assert_eq!(identities.router().identity.uid, 271_009);
        assert_eq!(first.name, "site-1");
        assert!(first.identity.groups.is_empty());
    }

    #[test]
    fn root_needs_leave_to_run_a_site_as_root() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = RunAs::User("root".into());
        let refused = identities(&folder, false).of(site(1), &root).unwrap_err();
        assert!(refused.to_string().contains("policy.allow_root"));
        let permitted = identities(&folder, true).of(site(1), &root).unwrap();
        assert_eq!(permitted.identity.uid, 0);
    }

    #[test]
    fn an_unknown_user_is_named() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let run_as = RunAs::User("no-such-user".into());
        let error = identities(&folder, false).of(site(1), &run_as).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no user \"no-such-user\" on this machine; create it, or name another"
        );
    }

    #[test]
    fn an_account_has_its_home_and_its_groups() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let run_as = RunAs::User("daemon".into());
        let account = identities(&folder, false).of(site(1), &run_as).unwrap();
        assert_eq!(account.name, "daemon");
        assert_eq!(account.home, Some("/usr/sbin".into()));
        assert!(account.identity.groups.contains(&account.identity.gid));
    }
}
