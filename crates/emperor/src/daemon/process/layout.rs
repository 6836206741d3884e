//! Where things lie, and whether the folders above them can be trusted.

use std::fs::{
    DirBuilder, Metadata, Permissions, create_dir_all, set_permissions, symlink_metadata,
};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use site_model::{Incarnation, SiteId};

use super::failure::{Doing, PathFailure, PrepareError};

/// Others may enter, and read what is there.
const PUBLIC: u32 = 0o755;
/// Others may go through to what they know the name of.
const PASSAGE: u32 = 0o711;
/// Only the emperor and its group.
const OWN: u32 = 0o750;

const WRITE_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;
const ENTER_ALL: u32 = 0o001;

/// The daemon's two folders.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) runtime_dir: PathBuf,
    pub(super) state_dir: PathBuf,
}

impl Layout {
    /// The folder that holds a folder per instance.
    pub(super) fn instances(&self) -> PathBuf {
        self.runtime_dir.join("i")
    }

    /// The folder of one instance; `whose` is a site's id, or the router's name.
    pub(super) fn instance(&self, whose: &str, incarnation: Incarnation) -> PathBuf {
        self.instances().join(format!("{whose}.{incarnation}"))
    }

    /// The folder of what is remembered of sites.
    pub(super) fn sites(&self) -> PathBuf {
        self.runtime_dir.join("sites")
    }

    /// The folder of what is remembered of pools.
    pub(super) fn pool_memories(&self) -> PathBuf {
        self.runtime_dir.join("pools")
    }

    pub(super) fn pool_memory(&self, pool: SiteId) -> PathBuf {
        self.pool_memories().join(format!("{pool}.json"))
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    pub(super) fn identities(&self) -> PathBuf {
        self.state_dir.join("identities.json")
    }

    pub(super) fn pools(&self) -> PathBuf {
        self.state_dir.join("pools.json")
    }

    pub(super) fn incarnations(&self) -> PathBuf {
        self.state_dir.join("incarnations")
    }

    /// Makes what is missing, and refuses what can't be trusted or can't work.
    pub(super) fn prepare(&self) -> Result<(), PrepareError> {
        let own = rustix::process::geteuid();
        own_folder(&self.runtime_dir, PUBLIC, own.as_raw())?;
        check_above(&self.runtime_dir, own.is_root())?;
        own_folder(&self.instances(), PASSAGE, own.as_raw())?;
        own_folder(&self.sites(), OWN, own.as_raw())?;
        own_folder(&self.pool_memories(), OWN, own.as_raw())?;
        own_folder(&self.state_dir, PUBLIC, own.as_raw())?;
        check_above(&self.state_dir, false)?;
        own_folder(&self.logs(), OWN, own.as_raw())
    }
}

/// Makes a folder of the emperor's own, or gives the one that is there the right mode.
fn own_folder(path: &Path, mode: u32, own: u32) -> Result<(), PrepareError> {
    let found = match symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(path)?;
            symlink_metadata(path)
        }
        found => found,
    }
    .doing("examine", path)?;
    check_folder(path, &found, own)?;
    if found.mode() & 0o7777 != mode {
        set_permissions(path, Permissions::from_mode(mode)).doing("set the mode of", path)?;
    }
    Ok(())
}

fn make(path: &Path) -> Result<(), PathFailure> {
    if let Some(above) = path.parent() {
        create_dir_all(above).doing("make the folder", above)?;
    }
    // Closed until its owner was checked, and its mode set whatever the umask says.
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .doing("make the folder", path)
}

fn check_folder(path: &Path, found: &Metadata, own: u32) -> Result<(), PrepareError> {
    let path = || path.to_path_buf();
    if found.is_symlink() {
        return Err(PrepareError::SymbolicLink(path()));
    }
    if !found.is_dir() {
        return Err(PrepareError::NotAFolder(path()));
    }
    if found.uid() != own {
        return Err(PrepareError::ForeignOwner {
            path: path(),
            owner: found.uid(),
            own,
        });
    }
    Ok(())
}

/// Looks at every folder above: whoever may rename one of them decides what lies in ours.
fn check_above(path: &Path, others_enter: bool) -> Result<(), PrepareError> {
    let real = path.canonicalize().doing("examine", path)?;
    for above in real.ancestors().skip(1) {
        let mode = symlink_metadata(above).doing("examine", above)?.mode();
        if mode & WRITE_ALL != 0 && mode & STICKY == 0 {
            return Err(PrepareError::WritableByAll {
                path: path.to_path_buf(),
                above: above.to_path_buf(),
            });
        }
        if others_enter && mode & ENTER_ALL == 0 {
            return Err(PrepareError::Closed {
                path: path.to_path_buf(),
                above: above.to_path_buf(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn layout(folder: &Path) -> Layout {
        Layout {
            runtime_dir: folder.join("run"),
            state_dir: folder.join("state"),
        }
    }

    fn open_folder() -> tempfile::TempDir {
        let mode = Permissions::from_mode(0o755);
        tempfile::Builder::new()
            .permissions(mode)
            .tempdir()
            .unwrap()
    }

    fn mode(path: &Path) -> u32 {
        symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn folders_get_their_modes_whatever_the_umask() {
        let folder = open_folder();
        let layout = layout(folder.path());
        DirBuilder::new()
            .mode(0o777)
            .create(&layout.runtime_dir)
            .unwrap();
        layout.prepare().unwrap();
        layout.prepare().unwrap();
        assert_eq!(mode(&layout.runtime_dir), 0o755);
        assert_eq!(mode(&layout.instances()), 0o711);
        assert_eq!(mode(&layout.logs()), 0o750);
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let folder = open_folder();
        let layout = layout(folder.path());
        symlink("/tmp", &layout.runtime_dir).unwrap();
        assert!(matches!(
            layout.prepare(),
            Err(PrepareError::SymbolicLink(_))
        ));
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_refused() {
        let folder = open_folder();
        let layout = layout(folder.path());
        std::fs::write(&layout.state_dir, "").unwrap();
        assert!(matches!(layout.prepare(), Err(PrepareError::NotAFolder(_))));
    }

    #[test]
    fn a_folder_below_one_that_everybody_may_write_to_is_refused_unless_it_is_sticky() {
        let folder = open_folder();
        let layout = layout(folder.path());
        set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            layout.prepare(),
            Err(PrepareError::WritableByAll { .. })
        ));
        set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        layout.prepare().unwrap();
    }

    #[test]
    fn root_refuses_anothers_folder_and_one_that_sites_can_t_reach() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = open_folder();
        let layout = layout(folder.path());
        layout.prepare().unwrap();
        chown(&layout.runtime_dir, Some(4711), None).unwrap();
        let error = layout.prepare().unwrap_err();
        assert!(matches!(
            error,
            PrepareError::ForeignOwner { owner: 4711, .. }
        ));
        chown(&layout.runtime_dir, Some(0), None).unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(layout.prepare(), Err(PrepareError::Closed { .. })));
    }
}
