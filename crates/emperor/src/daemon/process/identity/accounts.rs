//! The system's accounts, asked for through the C library, so that every source the system knows
//! (files, LDAP, sssd) is heard.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use wire::exec::Identity;

use super::super::failure::IdentityError;

/// Somebody who can run a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// What `USER` says.
    pub(crate) name: String,
    /// User, group and supplementary groups.
    pub(crate) identity: Identity,
    /// Its home, if it has one.
    pub(crate) home: Option<PathBuf>,
}

/// The account of a name, with every group it is a member of.
pub(super) fn named(name: &str) -> Result<Account, IdentityError> {
    let user = User::from_name(name)
        .map_err(|errno| lookup(name, errno))?
        .ok_or_else(|| IdentityError::UnknownUser(name.to_owned()))?;
    with_groups(user)
}

/// Who the emperor is. Its uid need not have an account, as in many containers.
pub(super) fn own() -> Result<Account, IdentityError> {
    let uid = geteuid();
    match User::from_uid(uid).map_err(|errno| lookup(&uid.to_string(), errno))? {
        Some(user) => with_groups(user),
        None => Ok(Account {
            name: uid.to_string(),
            identity: Identity {
                uid: uid.as_raw(),
                gid: getegid().as_raw(),
                groups: Vec::new(),
            },
            home: None,
        }),
    }
}

/// Whether a name, or a uid written as one, means this account.
pub(super) fn is(account: &Account, name: &str) -> bool {
    account.name == name || account.identity.uid.to_string() == name
}

/// Whether a uid, or the gid of the same number, belongs to an account or a group.
pub(super) fn is_taken(id: u32) -> Result<bool, IdentityError> {
    let failed = |errno| lookup(&id.to_string(), errno);
    let user = User::from_uid(Uid::from_raw(id)).map_err(failed)?;
    let group = Group::from_gid(Gid::from_raw(id)).map_err(failed)?;
    Ok(user.is_some() || group.is_some())
}

fn with_groups(user: User) -> Result<Account, IdentityError> {
    let name = CString::new(user.name.clone())
        .map_err(|_| IdentityError::UnknownUser(user.name.clone()))?;
    let groups = getgrouplist(&name, user.gid).map_err(|errno| lookup(&user.name, errno))?;
    Ok(Account {
        name: user.name,
        identity: Identity {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        },
        home: Some(user.dir),
    })
}

fn lookup(name: &str, errno: Errno) -> IdentityError {
    IdentityError::Lookup {
        name: name.to_owned(),
        error: io::Error::from(errno),
    }
}
