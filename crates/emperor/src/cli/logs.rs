//! `emperor logs`: the lines of a site's workers, read through the daemon.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Format, Logs};
use super::client::{Client, ClientError, Stream};
use super::failure::Failure;
use super::output::escaped;
use super::text::printable;

/// Runs the command.
pub(super) async fn run(command: &Logs, client: &Client) -> Result<(), Failure> {
    let path = path(command.site.as_str(), command.lines, command.follow);
    let mut stream = client.stream(&path).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut lines = Lines::default();
    let mut out = std::io::stdout().lock();
    let form = Form::of(command.format, out.is_terminal());
    loop {
        let piece = tokio::select! {
            piece = stream.next() => piece?,
            _ = interrupt.recv() => return Ok(()),
        };
        let Some(piece) = piece else { break };
        for line in lines.push(&piece) {
            write(&mut out, &line, form)?;
        }
        out.flush()?;
    }
    if let Some(line) = lines.rest() {
        write(&mut out, &line, form)?;
    }
    Ok(out.flush()?)
}

fn path(site: &str, lines: u32, follow: bool) -> String {
    format!("/v1/sites/{site}/logs?lines={lines}&follow={follow}")
}

/// The last lines of one site, and what comes after them.
pub(super) async fn followed(
    client: &Client,
    site: &str,
    lines: u32,
) -> Result<Stream, ClientError> {
    client.stream(&path(site, lines, true)).await
}

/// The last lines of one site, as text.
pub(super) async fn last_lines(
    client: &Client,
    site: &str,
    lines: u32,
) -> Result<String, ClientError> {
    let mut stream: Stream = client.stream(&path(site, lines, false)).await?;
    let mut text = BytesMut::new();
    while let Some(piece) = stream.next().await? {
        text.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// What a worker wrote must not steer the terminal of whoever reads it.
    Printable,
    /// As the worker wrote it, for other programs.
    Raw,
}

impl Form {
    fn of(format: Format, is_terminal: bool) -> Self {
        match (format.json, is_terminal) {
            (true, _) => Self::Json,
            (false, true) => Self::Printable,
            (false, false) => Self::Raw,
        }
    }
}

fn write(out: &mut impl std::io::Write, line: &Bytes, form: Form) -> std::io::Result<()> {
    let text = String::from_utf8_lossy(line);
    match form {
        Form::Json => {
            let json = serde_json::to_string(&Record::of(&text))?;
            out.write_all(escaped(&json).as_bytes())?;
        }
        Form::Printable => out.write_all(printable(&text).as_bytes())?,
        Form::Raw => out.write_all(line)?,
    }
    out.write_all(b"\n")
}

/// A line of a log, taken apart.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Record<'a> {
    time: &'a str,
    instance: &'a str,
    stream: &'a str,
    line: &'a str,
}

impl<'a> Record<'a> {
    /// `TIME NUMBER.INCARNATION STREAM TEXT`; a line that is not of that form is all text.
    fn of(line: &'a str) -> Self {
        let parts: Vec<_> = line.splitn(4, ' ').collect();
        match parts.as_slice() {
            [time, instance, stream @ ("out" | "err" | "log"), line] => Self {
                time,
                instance,
                stream,
                line,
            },
            _ => Self {
                time: "",
                instance: "",
                stream: "",
                line,
            },
        }
    }
}

/// Pieces become lines.
#[derive(Debug, Default)]
struct Lines {
    begun: BytesMut,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) -> Vec<Bytes> {
        self.begun.extend_from_slice(piece);
        let mut lines = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', &self.begun) {
            let mut line = self.begun.split_to(end + 1);
            line.truncate(end);
            lines.push(line.freeze());
        }
        lines
    }

    fn rest(self) -> Option<Bytes> {
        (!self.begun.is_empty()).then(|| self.begun.freeze())
    }
}

/// The last so many lines of what comes piece by piece.
#[derive(Debug)]
pub(super) struct LastLines {
    lines: Lines,
    last: VecDeque<Bytes>,
    kept: usize,
}

impl LastLines {
    pub(super) fn of(kept: u32) -> Self {
        Self {
            lines: Lines::default(),
            last: VecDeque::new(),
            kept: kept as usize,
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.last.extend(self.lines.push(piece));
        let surplus = self.last.len().saturating_sub(self.kept);
        self.last.drain(..surplus);
    }

    pub(super) fn text(&self) -> String {
        let lines = self.last.iter().map(|line| String::from_utf8_lossy(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_wherever_they_are_cut() {
        for cut in 1..12 {
            let mut lines = Lines::default();
            let mut told = Vec::new();
            for piece in b"one\n\ntwo\nthree".chunks(cut) {
                told.extend(lines.push(piece));
            }
            told.extend(lines.rest());
            assert_eq!(told, ["one", "", "two", "three"], "cut at {cut}");
        }
    }

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let mut last = LastLines::of(2);
        for (piece, expected) in [("one\ntw", "one"), ("o\n", "one\ntwo"), ("3\n4\n5", "3\n4")] {
            last.push(piece.as_bytes());
            assert_eq!(last.text(), expected);
        }
    }

    #[test]
    fn what_a_worker_wrote_steers_no_terminal_and_reaches_a_pipe_as_it_is() {
        let line = Bytes::from_static(b"\x1b]0;title\x07\tred \xff\xc2\x9b");
        let check = |json, is_terminal, expected: &[u8]| {
            let mut written = Vec::new();
            let form = Form::of(Format { json }, is_terminal);
            write(&mut written, &line, form).unwrap();
            assert_eq!(written, expected, "json: {json}, terminal: {is_terminal}");
        };
        check(
            false,
            true,
            "\\u{1b}]0;title\\u{7}\tred \u{fffd}\\u{9b}\n".as_bytes(),
        );
        check(false, false, b"\x1b]0;title\x07\tred \xff\xc2\x9b\n");
        let json = r#"{"time":"","instance":"","stream":"","line":"\u001b]0;title\u0007\tred \ufffd\u009b"}"#;
        let json = json.replace("\\ufffd", "\u{fffd}") + "\n";
        check(true, true, json.as_bytes());
    }

    #[test]
    fn a_line_is_taken_apart() {
        let record = Record::of("2026-01-02T03:04:05.678Z 1.42 err no such file");
        assert_eq!((record.instance, record.stream), ("1.42", "err"));
        assert_eq!(record.line, "no such file");
        assert_eq!(Record::of("a b c").line, "a b c");
    }
}
