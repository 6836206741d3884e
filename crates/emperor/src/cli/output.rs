//! Standard output: colours where they belong, and a reader that left is no failure.

use std::borrow::Cow;
use std::io::{self, Write as _};

use serde::Serialize;

use super::text::put;

/// Writes a text.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a document, indented, and a newline.
pub(crate) fn print_json(document: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(escaped(&serde_json::to_string_pretty(document)?).as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes bytes as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// A JSON text in which no control character is left as it is. JSON itself wants only those below
/// U+0020 escaped; a terminal obeys those from U+007F to U+009F as well. They stand in strings alone.
pub(crate) fn escaped(json: &str) -> Cow<'_, str> {
    let steers = |c: char| matches!(c, '\u{7f}'..='\u{9f}');
    if !json.contains(steers) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if steers(c) {
            put!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_of_a_document_is_escaped_and_read_back() {
        let all: String = ('\0'..='\u{a1}').collect();
        let json = serde_json::to_string(&all).unwrap();
        let text = escaped(&json);
        assert!(!text.contains(char::is_control), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), all);
    }
}
