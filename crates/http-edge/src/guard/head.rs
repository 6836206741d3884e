//! One request head, line by line as it arrives.

use memchr::{memchr, memchr_iter};

use super::rules::{HeadLimits, HeadRefusal, MAX_HEADERS};
use crate::length::parse_length;

/// Empty lines before a request line are forgiven (RFC 9112 section 2.2), up to this many.
const MAX_EMPTY_LINES: u8 = 4;
/// The longest method; the longest one registered has 17 letters.
const MAX_METHOD_BYTES: usize = 32;
/// The longest header name.
const MAX_NAME_BYTES: usize = 256;
/// What a request line has besides its target: method, two spaces, version.
const AROUND_TARGET_BYTES: usize = MAX_METHOD_BYTES + 2 + "HTTP/1.1".len();

/// What was seen of a head so far.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    /// Where the line begins that isn't whole yet.
    line_start: usize,
    /// Up to where its end was sought.
    searched: usize,
    empty_lines: u8,
    request_line: Option<Version>,
    headers: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: UpgradeWish,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    Head,
    Length(u64),
    Chunks,
    MaybeTunnel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum UpgradeWish {
    #[default]
    None,
    Some,
}

impl HeadScanner {
    /// Says where the head ends and what follows it; `None` while it isn't whole.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<(usize, Following)>, HeadRefusal> {
        let searched = self.searched;
        for found in memchr_iter(b'\n', &bytes[searched..]) {
            let line_feed = searched + found;
            let Some(line) = bytes[self.line_start..line_feed].strip_suffix(b"\r") else {
                return Err(HeadRefusal::BareLineFeed);
            };
            self.line_start = line_feed + 1;
            self.searched = self.line_start;
            self.check_size(self.line_start, limits)?;
            if self.line(line, limits)? == Line::Last {
                return self.following().map(|next| Some((self.line_start, next)));
            }
        }
        self.searched = bytes.len();
        self.check_partial(bytes.len(), limits)?;
        Ok(None)
    }

    fn check_size(&self, size: usize, limits: &HeadLimits) -> Result<(), HeadRefusal> {
        if size > limits.head_bytes && self.request_line.is_some() {
            return Err(HeadRefusal::TooLarge);
        }
        Ok(())
    }

    /// A line that never ends must not be waited for.
    fn check_partial(&self, size: usize, limits: &HeadLimits) -> Result<(), HeadRefusal> {
        let longest = limits.target_bytes + AROUND_TARGET_BYTES;
        if self.request_line.is_none() && size - self.line_start > longest {
            return Err(HeadRefusal::TargetTooLong);
        }
        self.check_size(size, limits)
    }

    fn line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<Line, HeadRefusal> {
        match (self.request_line, line) {
            (None, []) => {
                self.empty_lines += 1;
                if self.empty_lines > MAX_EMPTY_LINES {
                    return Err(HeadRefusal::RequestLine);
                }
            }
            (None, _) => self.request_line = Some(request_line(line, limits)?),
            (Some(_), []) => return Ok(Line::Last),
            (Some(_), [b' ' | b'\t', ..]) => return Err(HeadRefusal::Folded),
            (Some(_), _) => self.header(line)?,
        }
        Ok(Line::MoreFollow)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), HeadRefusal> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(HeadRefusal::TooLarge);
        }
        // What ends a name has to be the colon.
        let end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]);
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        let [b':', value @ ..] = rest else {
            return Err(HeadRefusal::HeaderName);
        };
        if name.is_empty() {
            return Err(HeadRefusal::HeaderName);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(HeadRefusal::TooLarge);
        }
        if !is_value(value) {
            return Err(HeadRefusal::HeaderValue);
        }
        self.note(name, value)
    }

    /// Notes the headers that decide about framing.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadRefusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            7 if name.eq_ignore_ascii_case(b"upgrade")
                && value.trim_ascii().eq_ignore_ascii_case(b"websocket") =>
            {
                self.upgrade = UpgradeWish::Some;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(value.trim_ascii()).ok_or(HeadRefusal::Length)?;
                if self.length.replace(length).is_some() {
                    return Err(HeadRefusal::LengthRepeated);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if self.chunked || !chunked {
                    return Err(HeadRefusal::Coding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn following(&self) -> Result<Following, HeadRefusal> {
        match self.hosts {
            0 => return Err(HeadRefusal::HostMissing),
            1 => {}
            _ => return Err(HeadRefusal::HostRepeated),
        }
        if self.chunked && self.length.is_some() {
            return Err(HeadRefusal::LengthAndCoding);
        }
        if self.chunked && self.request_line == Some(Version::Http10) {
            return Err(HeadRefusal::Coding);
        }
        Ok(match (self.length, self.upgrade) {
            _ if self.chunked => Following::Chunks,
            (None | Some(0), UpgradeWish::Some) => Following::MaybeTunnel,
            (None | Some(0), UpgradeWish::None) => Following::Head,
            (Some(length), _) => Following::Length(length),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    MoreFollow,
    Last,
}

fn request_line(line: &[u8], limits: &HeadLimits) -> Result<Version, HeadRefusal> {
    let first_space = memchr(b' ', line).ok_or(HeadRefusal::RequestLine)?;
    let (method, rest) = (&line[..first_space], &line[first_space + 1..]);
    let second_space = memchr(b' ', rest).ok_or(HeadRefusal::RequestLine)?;
    let (target, version) = (&rest[..second_space], &rest[second_space + 1..]);
    if !is_token(method) || method.len() > MAX_METHOD_BYTES {
        return Err(HeadRefusal::RequestLine);
    }
    if target.len() > limits.target_bytes {
        return Err(HeadRefusal::TargetTooLong);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', digits @ ..] if is_version(digits) => {
            return Err(HeadRefusal::Version);
        }
        _ => return Err(HeadRefusal::RequestLine),
    };
    match method {
        b"CONNECT" | b"TRACE" => return Err(HeadRefusal::Method),
        _ => {}
    }
    if !is_target(method, target) {
        return Err(HeadRefusal::Target);
    }
    Ok(version)
}

fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9'])
}

fn is_target(method: &[u8], target: &[u8]) -> bool {
    match target {
        [b'/', ..] if target.iter().all(|byte| PATH[usize::from(*byte)]) => true,
        b"*" => method == b"OPTIONS",
        // Rare: what URLs may hold is decided by the parser that reads them afterwards. A fragment
        // never leaves a browser.
        [b'/', ..] => !target.contains(&b'#') && is_visible(target) && is_uri(target),
        _ if is_url(target) => !target.contains(&b'#') && is_visible(target) && is_uri(target),
        _ => false,
    }
}

fn is_url(target: &[u8]) -> bool {
    let begins_with = |scheme: &[u8]| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins_with(b"http://") || begins_with(b"https://")
}

fn is_visible(target: &[u8]) -> bool {
    target.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

fn is_uri(target: &[u8]) -> bool {
    http::Uri::try_from(target).is_ok()
}

/// A name of a method or a header (RFC 9110 section 5.6.2).
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Anything but control characters, of which the tab is forgiven. Eight bytes are looked at together, the
/// last of them twice where they don't make a word: this is most of what there is to read in a head.
fn is_value(text: &[u8]) -> bool {
    let is_plain = text.last_chunk().is_some_and(|last| {
        let (words, _) = text.as_chunks();
        words.iter().chain([last]).all(|word| is_plain_word(*word))
    });
    is_plain || text.iter().all(|byte| is_value_byte(*byte))
}

fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether none of eight bytes is a control character. The highest bit of each byte tells, after
/// subtractions that borrow only from where something was found already.
fn is_plain_word(word: [u8; 8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_ne_bytes(word);
    let below_space = word.wrapping_sub(EACH * 0x20);
    let delete = word ^ (EACH * 0x7f);
    let is_delete = delete.wrapping_sub(EACH);
    (below_space & !word | is_delete & !delete) & (EACH * 0x80) == 0
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
const PATH: [bool; 256] = table(b"-._~!$&'()*+,;=:@/?%");

/// Letters, digits and these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}
