//! Who a site's workers may run as. Whether such a user exists is found out where users are looked
//! up; this is policy alone.

use std::sync::Arc;

use site_model::RunAs;
use thiserror::Error;

/// What the emperor itself may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Privilege {
    /// It is root and may become anybody.
    #[default]
    Root,
    /// It is this user, and stays so.
    User(String),
}

/// Why a site may not run as somebody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum RunAsError {
    #[error(
        "root is not permitted; whoever runs the machine may set `allow_root = true` in [policy]"
    )]
    Root,
    #[error(
        "the emperor runs as {own:?} and can't become {wanted:?}; start it as root, or leave run_as empty"
    )]
    Unprivileged { own: String, wanted: String },
}

/// Decides for one site: `wanted` is what its row says, or else the configuration.
pub(super) fn decide(
    wanted: Option<&RunAs>,
    privilege: &Privilege,
    allow_root: bool,
) -> Result<RunAs, RunAsError> {
    match (privilege, wanted) {
        (Privilege::Root, None) => Ok(RunAs::Auto),
        (Privilege::Root, Some(RunAs::User(name))) if &**name == "root" && !allow_root => {
            Err(RunAsError::Root)
        }
        (Privilege::Root, Some(wanted)) => Ok(wanted.clone()),
        (Privilege::User(own), None) => Ok(RunAs::User(own.as_str().into())),
        (Privilege::User(own), Some(RunAs::User(name))) if **name == **own => {
            Ok(RunAs::User(Arc::clone(name)))
        }
        (Privilege::User(own), Some(wanted)) => Err(RunAsError::Unprivileged {
            own: own.clone(),
            wanted: wanted.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, privilege: &Privilege, allow_root: bool, expected: Option<&str>) {
        let wanted = (!wanted.is_empty()).then(|| RunAs::parse(wanted).unwrap());
        let decided = decide(wanted.as_ref(), privilege, allow_root);
        let decided = decided.ok().map(|run_as| run_as.to_string());
        assert_eq!(
            decided.as_deref(),
            expected,
            "{wanted:?} {privilege:?} {allow_root}"
        );
    }

    #[test]
    fn root_may_become_anybody_but_root() {
        check("", &Privilege::Root, false, Some("auto"));
        check("auto", &Privilege::Root, false, Some("auto"));
        check("web", &Privilege::Root, false, Some("web"));
        check("root", &Privilege::Root, false, None);
        check("root", &Privilege::Root, true, Some("root"));
    }

    #[test]
    fn anybody_else_stays_who_it_is() {
        let me = Privilege::User("me".to_owned());
        check("", &me, false, Some("me"));
        check("me", &me, false, Some("me"));
        check("auto", &me, false, None);
        check("web", &me, true, None);
    }
}
