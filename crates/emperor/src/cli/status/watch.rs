//! `emperor status --watch`: drawn at every change, on a screen of its own where there is one.
//!
//! The daemon tells when something changed and is asked only then. In between the clock goes on: what
//! is known is drawn with its ages once a second, and a site's log as it grows, for which nobody is
//! asked. On a pipe each picture is one that differs, so there the clock alone draws nothing.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::picture::{LINES, Picture, ask};
use crate::cli::args::SiteRef;
use crate::cli::client::{Client, ClientError, Stream};
use crate::cli::failure::Failure;
use crate::cli::logs::{self, LastLines};
use crate::cli::output;
use crate::cli::text::Tone;

/// How often the ages are drawn anew on a screen, and a daemon that is away is looked for.
const TICK: Duration = Duration::from_secs(1);
/// Between two pictures, however much happens.
const PACE: Duration = Duration::from_millis(100);
/// Another screen, no cursor, long lines cut instead of wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Draws until ctrl-C or SIGTERM.
pub(super) async fn run(site: Option<&SiteRef>, client: &Client) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let drawn = async {
        let screen = Screen::enter()?;
        loop {
            let error = match Watched::begin(site, client).await {
                Ok(mut watched) => watched.follow(&screen).await?,
                Err(error) => error,
            };
            // A daemon that is away for a while is part of what one watches; a site that doesn't
            // exist isn't.
            if let ClientError::Refused { .. } = error {
                return Err(error.into());
            }
            screen.draw(&format!("{}\n", Tone::Bad.paint(&error.to_string())))?;
            sleep(TICK).await;
        }
    };
    tokio::select! {
        ended = drawn => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// What is watched: the subscription, and for one site its log.
#[derive(Debug)]
struct Watched<'a> {
    site: Option<&'a SiteRef>,
    client: &'a Client,
    changes: Stream,
    log: Option<Stream>,
    lines: LastLines,
}

/// What happened meanwhile.
enum News {
    Changed,
    Lines(Bytes),
    Nothing,
    Ended,
}

impl<'a> Watched<'a> {
    /// Subscribes before anything is asked, so that no change falls in between.
    async fn begin(site: Option<&'a SiteRef>, client: &'a Client) -> Result<Self, ClientError> {
        let changes = client.stream("/v1/changes").await?;
        let log = match site {
            Some(site) => Some(logs::followed(client, site.as_str(), LINES).await?),
            None => None,
        };
        Ok(Self {
            site,
            client,
            changes,
            log,
            lines: LastLines::of(LINES),
        })
    }

    /// Draws until the daemon can't be asked any more, and says why.
    async fn follow(&mut self, screen: &Screen) -> Result<ClientError, Failure> {
        let mut picture: Option<Picture> = None;
        loop {
            match self.news(screen.is_terminal).await {
                Ok(News::Changed) => match ask(self.site, self.client).await {
                    Ok(status) => picture = Some(Picture::of(status, self.site.is_some())),
                    Err(error) => return Ok(error),
                },
                Ok(News::Lines(bytes)) => self.lines.push(&bytes),
                Ok(News::Nothing) => {}
                Ok(News::Ended) => return Ok(self.client.gone()),
                Err(error) => return Ok(error),
            }
            if let Some(picture) = &picture {
                screen.draw(&picture.render(&self.lines.text(), Timestamp::now()))?;
                sleep(PACE).await;
            }
        }
    }

    async fn news(&mut self, has_clock: bool) -> Result<News, ClientError> {
        let log = async {
            match &mut self.log {
                Some(log) => log.next().await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            changed = self.changes.next() => changed?.map_or(News::Ended, |_| News::Changed),
            lines = log => lines?.map_or(News::Ended, News::Lines),
            () = sleep(TICK), if has_clock => News::Nothing,
        })
    }
}

/// The terminal while it is drawn on; put back in order when dropped.
#[derive(Debug)]
struct Screen {
    is_terminal: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            output::print_bytes(ENTER.as_bytes())?;
        }
        Ok(Self { is_terminal })
    }

    fn draw(&self, text: &str) -> io::Result<()> {
        if !self.is_terminal {
            return output::print(&format!("{text}\n"));
        }
        let rows = rustix::termios::tcgetwinsize(io::stdout())
            .map_or(usize::MAX, |size| usize::from(size.ws_row));
        let mut screen = anstream::stdout().lock();
        screen.write_all(b"\x1b[H")?;
        for (number, line) in text.lines().take(rows).enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            write!(screen, "{newline}{line}\x1b[K")?;
        }
        screen.write_all(b"\x1b[J")?;
        screen.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            // Where the terminal is gone there is nothing to put in order.
            drop(output::print_bytes(LEAVE.as_bytes()));
        }
    }
}
