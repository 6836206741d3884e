//! uWSGI's ini as text: `key = value` or `key` alone, comments, one section.

/// The section that uWSGI reads where none is named.
const SECTION: &str = "uwsgi";

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ini {
    /// The lines of `[uwsgi]`.
    pub(super) lines: Vec<Line>,
    /// Where other sections begin, and what they are called.
    pub(super) others: Vec<(usize, String)>,
}

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    /// In uWSGI's own spelling, with hyphens.
    pub(super) key: String,
    /// Empty where the key stands alone.
    pub(super) value: String,
}

/// The one spelling of a key: uWSGI takes underscores for hyphens.
pub(super) fn key(written: &str) -> String {
    written.trim().replace('_', "-")
}

/// Reads a file's text.
pub(super) fn read(text: &str) -> Ini {
    let mut ini = Ini::default();
    let mut is_ours = false;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default().trim();
            is_ours = name == SECTION;
            if !is_ours {
                ini.others.push((number, name.to_owned()));
            }
        } else if is_ours {
            let (written, value) = line.split_once('=').unwrap_or((line, ""));
            ini.lines.push(Line {
                number,
                key: key(written),
                value: value.trim().to_owned(),
            });
        }
    }
    ini
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_of_uwsgi_is_read() {
        let ini = read(
            "lost = 1\n; a comment\n[uwsgi]\n# another\nenable_threads\r\nroute = ^/a=b log:x ; y\n\n\
             [app2]\nworkers = 9\n[uwsgi]\nx=",
        );
        let lines: Vec<_> = ini
            .lines
            .iter()
            .map(|line| (line.number, line.key.as_str(), line.value.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                (5, "enable-threads", ""),
                (6, "route", "^/a=b log:x ; y"),
                (11, "x", "")
            ]
        );
        assert_eq!(ini.others, [(8, "app2".to_owned())]);
    }
}
