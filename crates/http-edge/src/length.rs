//! Lengths, as requests and answers tell them.

/// Reads a `Content-Length`: digits alone, as `+5` and `5, 5` are lengths to some and not to others.
pub(crate) fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
