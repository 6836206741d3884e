//! Where a quickstart keeps what: in its folder, unless other users' processes couldn't get there
//! or a socket's path would be too long.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::cli::text::put_line;
use crate::config::Surroundings;

/// A longer `runtime_dir` leaves no room for the sockets of instances, whose paths the kernel bounds
/// at 107 bytes: `/i/`, a site's id, `.`, an incarnation, `/sock/s`.
const LONGEST_RUNTIME_DIR: usize = 60;

/// The folders of one quickstart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// What was asked for, as an absolute path without links.
    pub(super) dir: PathBuf,
    /// `state_dir`
    pub(super) state_dir: PathBuf,
    /// `runtime_dir`
    pub(super) runtime_dir: PathBuf,
    /// Why one of them is not in the folder; empty where all are.
    pub(super) remark: String,
}

/// A folder can't be had.
#[derive(Debug, Error)]
pub(crate) enum PlaceError {
    /// The system refused.
    #[error("could not {doing} {}: {source}; choose another folder with --dir", path.display())]
    System {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else made a folder of that name.
    #[error("{} belongs to uid {owner}; remove it, or choose another --dir", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
}

/// Who starts a quickstart, as far as it decides on folders.
#[derive(Debug, Clone, Copy)]
struct Starter<'a> {
    uid: u32,
    xdg_runtime_dir: Option<&'a Path>,
}

impl Place {
    /// Makes the folder, and finds out where everything goes.
    pub(super) fn prepare(dir: &Path, surroundings: &Surroundings) -> Result<Self, PlaceError> {
        // Its components anew: without the `.` of `./.emperor`, which no message should show.
        let dir: PathBuf = surroundings.working_dir.join(dir).components().collect();
        make(&dir, 0o755, surroundings.uid)?;
        let dir = fs::canonicalize(&dir).map_err(failed("find", &dir))?;
        let starter = Starter {
            uid: surroundings.uid,
            xdg_runtime_dir: surroundings.variable("XDG_RUNTIME_DIR").map(Path::new),
        };
        let is_open = is_open_to_all(&dir).map_err(failed("look at", &dir))?;
        let place = Self::choose(dir, is_open, starter);
        for folder in [&place.state_dir, &place.runtime_dir] {
            // Root's workers are other users and have to get in; a user's own are the user.
            let mode = if starter.uid == 0 { 0o755 } else { 0o700 };
            make(folder, mode, starter.uid)?;
        }
        Ok(place)
    }

    fn choose(dir: PathBuf, is_open: bool, starter: Starter<'_>) -> Self {
        let name = name_of(&dir);
        let mut place = Self {
            state_dir: dir.join("state"),
            runtime_dir: dir.join("run"),
            remark: String::new(),
            dir,
        };
        if starter.uid == 0 && !is_open {
            place.state_dir = PathBuf::from(format!("/var/lib/emperor-quickstart/{name}"));
            place.runtime_dir = PathBuf::from(format!("/run/emperor-quickstart-{name}"));
            place.remark = format!(
                "{} is closed to other users, and PostgreSQL and the workers are such: data are in \
                 {}, sockets in {}",
                place.dir.display(),
                place.state_dir.display(),
                place.runtime_dir.display()
            );
        } else if place.runtime_dir.as_os_str().len() > LONGEST_RUNTIME_DIR {
            place.runtime_dir = short_runtime_dir(&name, starter);
            place.remark = format!(
                "{} is too long a path for sockets: they are in {}",
                place.dir.display(),
                place.runtime_dir.display()
            );
        }
        place
    }

    /// What is to be said about it.
    pub(super) fn words(&self) -> String {
        if self.remark.is_empty() {
            return format!("everything is kept in {}", self.dir.display());
        }
        self.remark.clone()
    }

    /// The configuration that other commands are to be given.
    pub(super) fn config_file(&self) -> PathBuf {
        self.dir.join("emperor.toml")
    }

    /// Writes it, for this start.
    pub(super) fn write_config(&self, listen: &str) -> Result<(), PlaceError> {
        let file = self.config_file();
        let text = config_text(self, listen);
        fs::write(&file, text).map_err(failed("write", &file))
    }
}

fn config_text(place: &Place, listen: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let path = |path: &Path| quoted(&path.to_string_lossy());
    let mut text =
        "# Written by `emperor quickstart` at every start. To change it, copy it and run\n\
                    # `emperor run --config COPY`.\n"
            .to_owned();
    let lines = [
        format!("state_dir = {}", path(&place.state_dir)),
        format!("runtime_dir = {}", path(&place.runtime_dir)),
        "\n[router]".to_owned(),
        format!("listen = [{}]", quoted(listen)),
        "\n[vassal]".to_owned(),
        "template = \"demo\"".to_owned(),
    ];
    for line in lines {
        put_line!(text, "{line}");
    }
    text
}

fn short_runtime_dir(name: &str, starter: Starter<'_>) -> PathBuf {
    let within = |dir: &Path| dir.as_os_str().len() + name.len() <= LONGEST_RUNTIME_DIR - 10;
    match starter {
        Starter { uid: 0, .. } => PathBuf::from(format!("/run/emperor-quickstart-{name}")),
        Starter {
            xdg_runtime_dir: Some(dir),
            ..
        } if within(dir) => dir.join(format!("emperor-{name}")),
        Starter { uid, .. } => PathBuf::from(format!("/tmp/emperor-{uid}-{name}")),
    }
}

/// Twelve digits that are this folder's at every start.
fn name_of(dir: &Path) -> String {
    let hash = blake3::hash(dir.as_os_str().as_bytes());
    hash.to_hex()[..12].to_owned()
}

/// Whether everybody may pass through every folder on the way.
fn is_open_to_all(dir: &Path) -> io::Result<bool> {
    for folder in dir.ancestors() {
        if fs::metadata(folder)?.permissions().mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a folder, or takes the one that is there if it is our own: in `/tmp` anybody may have made
/// it.
fn make(path: &Path, mode: u32, uid: u32) -> Result<(), PlaceError> {
    if let Ok(found) = fs::metadata(path) {
        let owner = found.uid();
        if owner != uid && uid != 0 {
            let path = path.to_owned();
            return Err(PlaceError::Foreign { path, owner });
        }
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(mode);
    builder.create(path).map_err(failed("make", path))?;
    let mode = fs::Permissions::from_mode(mode);
    // The umask may have taken away what workers of other users need.
    fs::set_permissions(path, mode).map_err(failed("open", path))
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::System {
        doing,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dir: &str, is_open: bool, uid: u32, xdg: Option<&str>, state: &str, runtime: &str) {
        let starter = Starter {
            uid,
            xdg_runtime_dir: xdg.map(Path::new),
        };
        let place = Place::choose(dir.into(), is_open, starter);
        let shown = |path: &Path| {
            path.to_str()
                .unwrap()
                .replace(&name_of(Path::new(dir)), "HASH")
        };
        assert_eq!(shown(&place.state_dir), state);
        assert_eq!(shown(&place.runtime_dir), runtime);
        let all_inside = place.runtime_dir.starts_with(dir);
        assert_eq!(place.remark.is_empty(), all_inside, "{}", place.remark);
    }

    #[test]
    fn everything_is_in_the_folder_where_it_can_be() {
        check("/srv/x", true, 0, None, "/srv/x/state", "/srv/x/run");
        check(
            "/home/o/x",
            false,
            7,
            None,
            "/home/o/x/state",
            "/home/o/x/run",
        );
    }

    #[test]
    fn a_folder_closed_to_other_users_can_t_hold_root_s_database() {
        check(
            "/root/x",
            false,
            0,
            None,
            "/var/lib/emperor-quickstart/HASH",
            "/run/emperor-quickstart-HASH",
        );
    }

    #[test]
    fn sockets_go_where_their_paths_are_short_enough() {
        let long = format!("/srv/{}", "x".repeat(60));
        let state = format!("{long}/state");
        check(&long, true, 0, None, &state, "/run/emperor-quickstart-HASH");
        check(&long, true, 7, None, &state, "/tmp/emperor-7-HASH");
        let xdg = Some("/run/user/7");
        check(&long, true, 7, xdg, &state, "/run/user/7/emperor-HASH");
        let far = format!("/{}", "y".repeat(60));
        check(&long, true, 7, Some(&far), &state, "/tmp/emperor-7-HASH");
    }

    #[test]
    fn its_configuration_is_valid() {
        let place = Place::choose(
            "/srv/\"x\"".into(),
            true,
            Starter {
                uid: 0,
                xdg_runtime_dir: None,
            },
        );
        let text = config_text(&place, "127.0.0.1:8080");
        let surroundings = Surroundings::of_this_process();
        let config = crate::config::parse(&text, None, &surroundings).unwrap();
        assert_eq!(config.state_dir, place.state_dir);
        assert_eq!(config.default_template.unwrap().as_str(), "demo");
    }

    #[test]
    fn folders_are_made_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut surroundings = Surroundings::of_this_process();
        surroundings.working_dir = dir.path().to_owned();
        let first = Place::prepare(Path::new("./q"), &surroundings).unwrap();
        let again = Place::prepare(Path::new("./q"), &surroundings).unwrap();
        assert_eq!(first, again);
        assert!(first.state_dir.is_dir() && first.runtime_dir.is_dir());
    }
}
