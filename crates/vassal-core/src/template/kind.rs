//! What the value of a key may be, and how it is read from TOML into its place in a [`Draft`].

use std::fmt::{self, Debug, Display};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use site_model::Protocol;
use toml::Spanned;
use toml::de::DeValue;

use super::bounds;
use super::caching;
use super::capabilities;
use super::draft::Draft;
use super::piece::{Origin, Piece, is_literal};
use super::words::{ProbeKind, Word};
use crate::diagnostic::{Diagnostic, Place, nearest};
use crate::settings::{CacheMode, Capabilities, ListenMode, StopSignal, Syscalls};
use crate::units;

/// Where in a draft a value belongs.
type Slot<T> = fn(&mut Draft) -> &mut T;

/// What a value may be, and where it belongs.
pub(crate) enum Kind {
    Note(Slot<String>),
    Protocol(Slot<Option<Piece>>),
    Listen(Slot<Option<Piece>>),
    Command(Slot<Arc<Vec<Piece>>>),
    Folder(Slot<Option<Piece>>),
    Probe(Slot<ProbeKind>),
    Target(Slot<String>),
    OptionalTarget(Slot<Option<String>>),
    Targets(Slot<Arc<[String]>>),
    Statuses(Slot<Vec<(u16, u16)>>),
    Duration(Zero, Slot<Duration>),
    Bytes(Slot<u64>),
    Count(RangeInclusive<u32>, Slot<u32>),
    Surge(Slot<u32>),
    Number(Slot<u64>),
    Switch(Slot<bool>),
    Swap(Slot<Option<u64>>),
    Percent(Slot<u32>),
    Signal(Slot<StopSignal>),
    CacheMode(Slot<CacheMode>),
    Patterns(Slot<Vec<String>>),
    Cookies(Slot<Vec<String>>),
    CookieNames(Slot<Vec<String>>),
    Parameters(Slot<Vec<String>>),
    CachePaths(Slot<Vec<(String, CacheMode)>>),
    Paths(Slot<Arc<Vec<Piece>>>),
    Syscalls(Slot<Syscalls>),
    Capabilities(Slot<Capabilities>),
}

/// Whether a duration may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zero {
    Allowed,
    Refused,
}

/// A value on its way into a draft.
pub(crate) trait Assign: Debug + Send + Sync {
    /// Puts it in its place.
    fn assign(&self, draft: &mut Draft);
}

#[derive(Debug)]
struct Assigned<T> {
    slot: Slot<T>,
    value: T,
}

impl<T: Clone + Debug + Send + Sync> Assign for Assigned<T> {
    fn assign(&self, draft: &mut Draft) {
        (self.slot)(draft).clone_from(&self.value);
    }
}

/// A value as it stands in a text.
#[derive(Debug, Clone)]
pub(crate) struct Written<'a> {
    pub(crate) value: &'a DeValue<'a>,
    pub(crate) origin: Origin,
}

impl<'a> Written<'a> {
    pub(crate) fn new(value: &'a Spanned<DeValue<'a>>, around: &Origin) -> Self {
        Self {
            value: value.get_ref(),
            origin: Origin {
                layer: around.layer,
                place: around.place.source().place(value.span()),
            },
        }
    }

    /// A mistake in it.
    pub(crate) fn wrong(&self, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.origin.place.clone(), title)
    }

    /// It is of another type than `due`.
    pub(crate) fn wrong_type(&self, due: &str) -> Diagnostic {
        let label = format!("this is {}", type_name(self.value));
        self.wrong(format!("{due} is due here")).with_label(label)
    }

    pub(crate) fn text(&self, due: &str) -> Result<&'a str, Diagnostic> {
        self.value.as_str().ok_or_else(|| self.wrong_type(due))
    }

    pub(crate) fn piece(&self, due: &str) -> Result<Piece, Diagnostic> {
        Ok(Piece {
            text: self.text(due)?.into(),
            origin: self.origin.clone(),
        })
    }

    /// The whole number that it is, where that fits.
    pub(crate) fn integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    pub(crate) fn list(&self, due: &str) -> Result<Vec<Written<'a>>, Diagnostic> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type(due))?;
        Ok(items
            .iter()
            .map(|item| Written::new(item, &self.origin))
            .collect())
    }
}

/// What a person calls the type of a value.
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Kind {
    /// Reads a value.
    pub(crate) fn read(&self, written: &Written<'_>) -> Result<Box<dyn Assign>, Diagnostic> {
        Ok(match self {
            Self::Note(slot) => put(*slot, written.text("a string")?.to_owned()),
            Self::Protocol(slot) => put(*slot, Some(word_piece::<Protocol>(written)?)),
            Self::Listen(slot) => put(*slot, Some(word_piece::<ListenMode>(written)?)),
            Self::Command(slot) => put(*slot, Arc::new(command(written)?)),
            Self::Folder(slot) => put(*slot, Some(folder(written)?)),
            Self::Probe(slot) => put(*slot, word(written)?),
            Self::Target(slot) => put(*slot, target(written)?),
            Self::OptionalTarget(slot) => put(*slot, Some(target(written)?)),
            Self::Targets(slot) => put(*slot, targets(written)?),
            Self::Statuses(slot) => put(*slot, statuses(written)?),
            Self::Duration(zero, slot) => put(*slot, duration(written, *zero)?),
            Self::Bytes(slot) => put(*slot, bytes(written)?),
            Self::Count(range, slot) => put(*slot, count(written, range)?),
            Self::Surge(slot) => put(*slot, bounds::surge(written)?),
            Self::Number(slot) => put(*slot, number(written)?),
            Self::Switch(slot) => put(*slot, switch(written)?),
            Self::Swap(slot) => put(*slot, bounds::swap(written)?),
            Self::Percent(slot) => put(*slot, bounds::percent(written)?),
            Self::Signal(slot) => put(*slot, word(written)?),
            Self::CacheMode(slot) => put(*slot, word(written)?),
            Self::Patterns(slot) => put(*slot, caching::patterns(written)?),
            Self::Cookies(slot) => put(*slot, caching::cookies(written)?),
            Self::CookieNames(slot) => put(*slot, caching::cookie_names(written)?),
            Self::Parameters(slot) => put(*slot, caching::parameters(written)?),
            Self::CachePaths(slot) => put(*slot, caching::paths(written)?),
            Self::Paths(slot) => put(*slot, Arc::new(paths(written)?)),
            Self::Syscalls(slot) => put(*slot, word(written)?),
            Self::Capabilities(slot) => put(*slot, capabilities::read(written)?),
        })
    }

    /// What its values look like, for the documentation.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Note(_) => "string".to_owned(),
            Self::Protocol(_) => one_of(&Protocol::words()),
            Self::Listen(_) => one_of(&ListenMode::words()),
            Self::Command(_) => "list of strings".to_owned(),
            Self::Folder(_) => "absolute path".to_owned(),
            Self::Probe(_) => one_of(&ProbeKind::words()),
            Self::Target(_) | Self::OptionalTarget(_) => "path that begins with `/`".to_owned(),
            Self::Targets(_) => "list of paths that begin with `/`".to_owned(),
            Self::Statuses(_) => "statuses, as in `\"200-399,404\"`".to_owned(),
            Self::Duration(Zero::Allowed, _) => "duration".to_owned(),
            Self::Duration(Zero::Refused, _) => "duration above 0".to_owned(),
            Self::Bytes(_) => "size".to_owned(),
            Self::Count(range, _) => format!("{} to {}", range.start(), range.end()),
            Self::Surge(_) => format!("1 to {}", bounds::MAX_SURGE),
            Self::Number(_) => "whole number".to_owned(),
            Self::Switch(_) => "`true` or `false`".to_owned(),
            Self::Swap(_) => "size or `max`".to_owned(),
            Self::Percent(_) => "percentage, as in `\"150%\"`".to_owned(),
            Self::Signal(_) => one_of(&StopSignal::words()),
            Self::CacheMode(_) => one_of(&CacheMode::words()),
            Self::Patterns(_) => "list of regular expressions".to_owned(),
            Self::Cookies(_) => "list of names".to_owned(),
            Self::CookieNames(_) | Self::Parameters(_) => {
                "list of names, a `*` at the end stands for any rest".to_owned()
            }
            Self::CachePaths(_) => "tables with `match` and `mode`".to_owned(),
            Self::Paths(_) => "list of absolute paths".to_owned(),
            Self::Syscalls(_) => one_of(&Syscalls::words()),
            Self::Capabilities(_) => "list of capabilities, or `[\"all\"]`".to_owned(),
        }
    }
}

impl Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

fn one_of(words: &[&str]) -> String {
    format!("`{}`", words.join("`, `"))
}

fn put<T: Clone + Debug + Send + Sync + 'static>(slot: Slot<T>, value: T) -> Box<dyn Assign> {
    Box::new(Assigned { slot, value })
}

fn word<W: Word>(written: &Written<'_>) -> Result<W, Diagnostic> {
    let text = written.text("a string")?;
    W::from_word(text).ok_or_else(|| unknown_word::<W>(&written.origin.place, text))
}

/// A text that is none of the words of `W`.
pub(crate) fn unknown_word<W: Word>(place: &Place, text: &str) -> Diagnostic {
    let words = W::words();
    let label = nearest(text, words.iter().copied())
        .map(|near| format!("did you mean `{near}`?"))
        .unwrap_or_default();
    let title = format!("`{}` is none of {}", text.escape_debug(), words.join(", "));
    Diagnostic::new(place.clone(), title).with_label(label)
}

/// A word, checked now, or a text that yields one once it is rendered.
fn word_piece<W: Word>(written: &Written<'_>) -> Result<Piece, Diagnostic> {
    let piece = written.piece("a string")?;
    if is_literal(&piece.text) {
        word::<W>(written)?;
    }
    Ok(piece)
}

fn command(written: &Written<'_>) -> Result<Vec<Piece>, Diagnostic> {
    let items = written.list("a list of strings, program first,")?;
    let pieces = items.iter().map(|item| item.piece("a string"));
    let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
    if pieces
        .first()
        .is_none_or(|program| program.text.trim().is_empty())
    {
        return Err(written.wrong("a command begins with a program"));
    }
    Ok(pieces)
}

fn folder(written: &Written<'_>) -> Result<Piece, Diagnostic> {
    absolute(written, "a working folder is an absolute path")
}

fn paths(written: &Written<'_>) -> Result<Vec<Piece>, Diagnostic> {
    let items = written.list("a list of absolute paths")?;
    let paths = items
        .iter()
        .map(|item| absolute(item, "a path here is absolute"));
    paths.collect()
}

/// An absolute path, or a text that yields one once it is rendered.
fn absolute(written: &Written<'_>, title: &str) -> Result<Piece, Diagnostic> {
    let piece = written.piece("a string")?;
    if piece.is_literal() && !piece.text.starts_with('/') {
        return Err(written.wrong(title));
    }
    Ok(piece)
}

fn target(written: &Written<'_>) -> Result<String, Diagnostic> {
    let text = written.text("a string")?;
    let allowed = |c: char| c.is_ascii_graphic() && c != '#';
    if !text.starts_with('/') || !text.chars().all(allowed) {
        let help = "anything beyond letters, digits and punctuation is percent-encoded";
        let title = "a request path begins with `/` and has no blanks";
        return Err(written.wrong(title).with_help(help));
    }
    Ok(text.to_owned())
}

fn targets(written: &Written<'_>) -> Result<Arc<[String]>, Diagnostic> {
    let items = written.list("a list of paths")?;
    items.iter().map(target).collect()
}

fn statuses(written: &Written<'_>) -> Result<Vec<(u16, u16)>, Diagnostic> {
    let due = "a string of statuses, as in \"200-399,404\",";
    let text = written.text(due)?;
    text.split(',')
        .map(|part| {
            status_range(part.trim()).ok_or_else(|| {
                let part = part.trim().escape_debug();
                written.wrong(format!(
                    "`{part}` is no status or range of statuses from 100 to 599"
                ))
            })
        })
        .collect()
}

fn status_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|status| digits && (100..=599).contains(status))
    };
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some((first, last))
}

fn duration(written: &Written<'_>, zero: Zero) -> Result<Duration, Diagnostic> {
    if let Some(number) = written.value.as_integer() {
        return Err(written.wrong(units::bare_duration(number.to_string()).to_string()));
    }
    let text = written.text("a duration, as in \"30s\",")?;
    let duration = units::parse_duration(text).map_err(|error| written.wrong(error.to_string()))?;
    if duration.is_zero() && zero == Zero::Refused {
        return Err(written.wrong("this can't be 0"));
    }
    Ok(duration)
}

fn switch(written: &Written<'_>) -> Result<bool, Diagnostic> {
    let value = written.value.as_bool();
    value.ok_or_else(|| written.wrong_type("true or false"))
}

pub(super) fn bytes(written: &Written<'_>) -> Result<u64, Diagnostic> {
    if let Some(number) = written.value.as_integer() {
        return Err(written.wrong(units::bare_size(number.to_string()).to_string()));
    }
    let text = written.text("a size, as in \"256MiB\",")?;
    units::parse_bytes(text).map_err(|error| written.wrong(error.to_string()))
}

pub(super) fn count(written: &Written<'_>, range: &RangeInclusive<u32>) -> Result<u32, Diagnostic> {
    let in_range = |number: &u32| range.contains(number);
    number_where(written, range.start(), range.end(), in_range)
}

fn number(written: &Written<'_>) -> Result<u64, Diagnostic> {
    number_where(written, &0, &i64::MAX.cast_unsigned(), |_| true)
}

fn number_where<N: TryFrom<i64> + Display>(
    written: &Written<'_>,
    least: &N,
    most: &N,
    fits: impl Fn(&N) -> bool,
) -> Result<N, Diagnostic> {
    if !written.value.is_integer() {
        return Err(written.wrong_type("a whole number"));
    }
    let number = written
        .integer()
        .and_then(|number| N::try_from(number).ok());
    number
        .filter(fits)
        .ok_or_else(|| written.wrong(format!("this is a number from {least} to {most}")))
}
