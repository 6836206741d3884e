//! Names that templates and sites choose: of environment variables, of files, of variables.

use thiserror::Error;

/// Environment variables that are the emperor's own; a name that ends in `*` stands for all that
/// begin so. What else the emperor sets (`PATH`, `HOME`, `USER`, `LANG`, `TZ`) is a default that a
/// template or a site may replace.
pub const RESERVED_ENV: &[&str] = &[
    "SITE_ID",
    "SITE_SLUG",
    "SITE_DOMAIN",
    "EMPEROR_*",
    "LISTEN_*",
    "NOTIFY_SOCKET",
    "WATCHDOG_*",
];

/// Why a name can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NameError {
    #[error("this name is the emperor's own and can't be set: {}", RESERVED_ENV.join(", "))]
    Reserved,
    #[error("a name of an environment variable has letters, digits and punctuation, but no '='")]
    Env,
    #[error(
        "a file's name has letters, digits, '-', '_' and '.', and begins with none of '-' and '.'"
    )]
    File,
    #[error("a variable's name has letters, digits and '_', and begins with no digit")]
    Variable,
}

/// A table whose keys are names that somebody chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapTable {
    Vars,
    Env,
    Files,
}

impl MapTable {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "vars" => Some(Self::Vars),
            "env" => Some(Self::Env),
            "files" => Some(Self::Files),
            _ => None,
        }
    }

    pub(crate) fn check(self, name: &str) -> Result<(), NameError> {
        match self {
            Self::Vars => check_variable(name),
            Self::Env => check_env(name),
            Self::Files => check_file(name),
        }
    }
}

fn check_env(name: &str) -> Result<(), NameError> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic() && c != '=') {
        return Err(NameError::Env);
    }
    if is_reserved_env(name) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// Whether a variable's name is among [`RESERVED_ENV`].
pub(crate) fn is_reserved_env(name: &str) -> bool {
    let is_it = |reserved: &&str| match reserved.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *reserved,
    };
    RESERVED_ENV.iter().any(is_it)
}

fn check_file(name: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= 255 && name.chars().all(allowed);
    if good && !name.starts_with(['-', '.']) {
        return Ok(());
    }
    Err(NameError::File)
}

fn check_variable(name: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = !name.is_empty() && name.chars().all(allowed);
    if good && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(NameError::Variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: MapTable, name: &str, expected: Result<(), NameError>) {
        assert_eq!(table.check(name), expected, "{table:?} {name:?}");
    }

    #[test]
    fn the_emperor_s_own_variables_can_t_be_named() {
        for name in [
            "SITE_ID",
            "SITE_SLUG",
            "SITE_DOMAIN",
            "EMPEROR_X",
            "LISTEN_FDS",
            "NOTIFY_SOCKET",
            "WATCHDOG_PID",
        ] {
            check(MapTable::Env, name, Err(NameError::Reserved));
        }
        for name in ["SITE_ID_2", "PATH", "HOME", "TZ", "listen_fds", "foo.bar"] {
            check(MapTable::Env, name, Ok(()));
        }
        for name in ["", "A=B", "A B", "A\0", "ä"] {
            check(MapTable::Env, name, Err(NameError::Env));
        }
    }

    #[test]
    fn a_file_can_t_leave_its_folder() {
        check(MapTable::Files, "uwsgi.ini", Ok(()));
        for name in ["", ".", "..", "a/b", "../x", ".x", "-x", "a b", "a\0"] {
            check(MapTable::Files, name, Err(NameError::File));
        }
    }

    #[test]
    fn a_variable_can_be_written_after_a_dot() {
        check(MapTable::Vars, "app_dir", Ok(()));
        for name in ["", "1st", "app-dir", "a.b"] {
            check(MapTable::Vars, name, Err(NameError::Variable));
        }
    }
}
