//! Cutting a stream of bytes into lines of a bounded length. No I/O.

/// The most bytes of one line. What is longer goes on in a line of its own.
pub(super) const MAX_LINE_BYTES: usize = 16 * 1024;

/// What a line ends with that goes on in the next.
const GOES_ON: &str = "…";

/// Cuts one stream.
#[derive(Debug, Default)]
pub(super) struct Framer {
    partial: Vec<u8>,
}

impl Framer {
    /// Takes what was read, and gives away each line that is complete, without its end.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while let Some(end) = line_end(bytes) {
            self.take(&bytes[..end], &mut line);
            self.give(&mut line, "");
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, &mut line);
    }

    /// Gives away what came after the last line's end.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.give(&mut line, "");
        }
    }

    fn take(&mut self, bytes: &[u8], line: &mut impl FnMut(&str)) {
        self.partial.extend_from_slice(bytes);
        while self.partial.len() > MAX_LINE_BYTES {
            let rest = self.partial.split_off(character_start(&self.partial));
            self.give(line, GOES_ON);
            self.partial = rest;
        }
    }

    fn give(&mut self, line: &mut impl FnMut(&str), mark: &str) {
        let bytes = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        let text = String::from_utf8_lossy(bytes);
        if mark.is_empty() {
            line(&text);
        } else {
            line(&format!("{text}{mark}"));
        }
        self.partial.clear();
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}

/// The last place up to the bound where no character is cut in two. Bytes that are no UTF-8 are cut
/// at the bound.
fn character_start(bytes: &[u8]) -> usize {
    let is_inside = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    (MAX_LINE_BYTES - 3..=MAX_LINE_BYTES)
        .rev()
        .find(|&at| !is_inside(at))
        .unwrap_or(MAX_LINE_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::default();
        let mut lines = Vec::new();
        for part in parts {
            framer.push(part, |line| lines.push(line.to_owned()));
        }
        framer.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_told_by_their_ends_and_the_last_needs_none() {
        assert_eq!(lines(&[b"a\nb\r\n\nc"]), ["a", "b", "", "c"]);
        assert_eq!(lines(&[b"a", b"b\n"]), ["ab"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_as_marks() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_long_line_goes_on_in_the_next_and_no_character_is_cut() {
        let text = format!("x{}", "é".repeat(MAX_LINE_BYTES));
        let found = lines(&[text.as_bytes()]);
        assert!(
            found
                .iter()
                .rev()
                .skip(1)
                .all(|line| line.ends_with(GOES_ON))
        );
        assert!(
            found
                .iter()
                .all(|line| line.len() <= MAX_LINE_BYTES + GOES_ON.len())
        );
        let joined: String = found.iter().map(|l| l.trim_end_matches(GOES_ON)).collect();
        assert_eq!(joined, text);
    }

    proptest! {
        #[test]
        fn lines_don_t_depend_on_how_the_bytes_arrive(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cut in 1usize..20,
        ) {
            let parts: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(lines(&parts), lines(&[&bytes]));
        }
    }
}
