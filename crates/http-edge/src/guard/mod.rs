//! The guard: reads a client's bytes before the HTTP parser does, and lets only well-formed framing
//! through.
//!
//! Requests are smuggled where two parsers disagree about where one ends: on a bare line feed, on
//! two lengths, on a length beside a transfer coding. The parser behind this guard forgives some of
//! that, or repairs it before anybody can tell. So the guard follows the framing of a connection
//! itself (head, body by length or in chunks, next head) and refuses, with a reason, whatever has
//! more than one reading. What it lets through, the parser understands in the same way: a property
//! test holds the two against each other.
//!
//! Nothing is copied. The caller keeps the bytes; the guard says how many of them may pass.

mod head;
mod rules;
#[cfg(test)]
mod tests;

use self::head::{Following, HeadScanner};
pub use self::rules::{HeadLimits, HeadRefusal, MAX_HEADERS};
use crate::chunked::{BadChunk, Piece, Scanner};

/// The longest target the parser behind the guard can hold.
const TARGET_CEILING: usize = u16::MAX as usize - 2;

/// Follows the framing of one client connection.
#[derive(Debug)]
pub struct Guard {
    limits: HeadLimits,
    place: Place,
    heads_passed: u64,
}

#[derive(Debug)]
enum Place {
    Head(HeadScanner),
    Length(u64),
    Chunked(Scanner),
    /// After a head that asks for a WebSocket: what follows is no HTTP if the worker agrees.
    Held,
    Tunnel,
    Refused,
}

/// What becomes of the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// That many from the front pass.
    pub bytes: usize,
    /// What about the rest.
    pub rest: Rest,
}

/// What becomes of bytes that don't pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// They are shown again, with more behind them; they begin a head that isn't whole. Often there
    /// are none.
    Wanted,
    /// They are kept until it is known whether they are HTTP.
    Held,
    /// They begin a head that is refused, and nothing passes after it.
    Head(HeadRefusal),
    /// They go on with a body in a way that is refused, and nothing passes after it.
    Body(BadChunk),
}

impl Guard {
    /// At the beginning of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits: HeadLimits {
                target_bytes: limits.target_bytes.min(TARGET_CEILING),
                ..limits
            },
            place: Place::Head(HeadScanner::default()),
            heads_passed: 0,
        }
    }

    /// Looks at the bytes that haven't passed yet, those it was shown before and new ones behind.
    pub fn check(&mut self, bytes: &[u8]) -> Passage {
        let mut passed = 0;
        loop {
            match self.step(&bytes[passed..]) {
                Ok(0) => {
                    let rest = match self.place {
                        Place::Held => Rest::Held,
                        Place::Head(_)
                        | Place::Length(_)
                        | Place::Chunked(_)
                        | Place::Tunnel
                        | Place::Refused => Rest::Wanted,
                    };
                    return Passage {
                        bytes: passed,
                        rest,
                    };
                }
                Ok(taken) => passed += taken,
                Err(rest) => {
                    self.place = Place::Refused;
                    return Passage {
                        bytes: passed,
                        rest,
                    };
                }
            }
        }
    }

    /// How many heads have passed: the ordinal of the next, from 0.
    pub fn heads_passed(&self) -> u64 {
        self.heads_passed
    }

    /// Whether the next byte begins a head or goes on with one.
    pub fn is_at_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Whether the next byte belongs to a body.
    pub fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Length(_) | Place::Chunked(_))
    }

    /// Whether bytes are held until [`resume`](Self::resume) or [`tunnel`](Self::tunnel).
    pub fn is_holding(&self) -> bool {
        matches!(self.place, Place::Held)
    }

    /// The connection goes on in HTTP, after a head that asked for something else.
    pub fn resume(&mut self) {
        if self.is_holding() {
            self.place = Place::Head(HeadScanner::default());
        }
    }

    /// The connection isn't HTTP any more: everything passes.
    pub fn tunnel(&mut self) {
        self.place = Place::Tunnel;
    }

    /// The connection is given up: nothing passes any more.
    pub fn refuse(&mut self) {
        self.place = Place::Refused;
    }

    /// Takes one step and says how many bytes it lets through.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Rest> {
        match &mut self.place {
            Place::Head(scanner) => {
                let end = scanner.scan(bytes, &self.limits).map_err(Rest::Head)?;
                let Some((end, following)) = end else {
                    return Ok(0);
                };
                self.heads_passed += 1;
                self.place = match following {
                    Following::Head => Place::Head(HeadScanner::default()),
                    Following::Length(length) => Place::Length(length),
                    Following::Chunks => Place::Chunked(Scanner::default()),
                    Following::MaybeTunnel => Place::Held,
                };
                Ok(end)
            }
            Place::Length(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                if *left == 0 {
                    self.place = Place::Head(HeadScanner::default());
                }
                Ok(taken)
            }
            Place::Chunked(scanner) => match scanner.next(bytes).map_err(Rest::Body)? {
                Some(Piece::Framing(length) | Piece::Data(length)) => Ok(length),
                Some(Piece::End(length)) => {
                    self.place = Place::Head(HeadScanner::default());
                    Ok(length)
                }
                None => Ok(0),
            },
            Place::Held | Place::Refused => Ok(0),
            Place::Tunnel => Ok(bytes.len()),
        }
    }
}
