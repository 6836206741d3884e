//! `emperor status --watch`: drawn again every second, on a screen of its own where there is one.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::args::SiteRef;
use crate::cli::client::{Client, ClientError};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::text::Tone;

/// How often it is drawn.
const INTERVAL: Duration = Duration::from_secs(1);
/// Another screen, no cursor, long lines cut instead of wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Draws until ctrl-C or SIGTERM.
pub(super) async fn run(site: Option<&SiteRef>, client: &Client) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let drawn = async {
        let screen = Screen::enter()?;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            screen.draw(&frame(site, client).await?)?;
        }
    };
    tokio::select! {
        ended = drawn => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// A daemon that is away for a while is part of what one watches; a site that doesn't exist isn't.
async fn frame(site: Option<&SiteRef>, client: &Client) -> Result<String, Failure> {
    match super::render(site, client).await {
        Ok(text) => Ok(text),
        Err(error @ ClientError::Refused { .. }) => Err(error.into()),
        Err(error) => Ok(format!("{}\n", Tone::Bad.paint(&error.to_string()))),
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
