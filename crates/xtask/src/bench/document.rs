//! Figures in a document: a section between two marks, replaced by what was measured last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The figures can't be written down.
#[derive(Debug, Error)]
pub(crate) enum DocumentError {
    /// The document can't be read or written.
    #[error("could not use {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// There is no place for them.
    #[error(
        "{path} has no lines {begin:?} and {end:?}, in this order; add them where the figures belong"
    )]
    NoSection {
        path: PathBuf,
        begin: String,
        end: String,
    },
}

/// Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`.
pub(crate) fn replace_section(path: &Path, name: &str, text: &str) -> Result<(), DocumentError> {
    let file = |source| DocumentError::File {
        path: path.to_owned(),
        source,
    };
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let document = fs::read_to_string(path).map_err(file)?;
    let Some(replaced) = replaced(&document, &begin, &end, text) else {
        let path = path.to_owned();
        return Err(DocumentError::NoSection { path, begin, end });
    };
    fs::write(path, replaced).map_err(file)
}

fn replaced(document: &str, begin: &str, end: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{end}{after}",
        text.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_changes() {
        let replace = |document| replaced(document, "<!-- a -->", "<!-- /a -->", "new\n");
        let document = "head\n<!-- a -->\nold\n<!-- /a -->\ntail\n";
        let expected = "head\n<!-- a -->\n\nnew\n\n<!-- /a -->\ntail\n";
        assert_eq!(replace(document).as_deref(), Some(expected));
        assert_eq!(replace(expected).as_deref(), Some(expected));
        assert_eq!(replace("no marks"), None);
        assert_eq!(replace("<!-- /a --> <!-- a -->"), None);
    }
}
