//! Whether a hit costs the same however many pages are stored.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use super::client::Client;
use super::contender::{Contender, Plan, Role};
use super::effort::Effort;
use super::error::{RouterBenchError, file};
use super::figures::Series;
use super::load;
use super::stage::Stage;
use crate::progress::say;

/// So many pages are stored, in a router for each number.
const STORED: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How many clients fill a cache.
const FILLERS: u32 = 8;
/// Of so many pages one is looked at afterwards.
const LOOKED_AT: usize = 997;

/// Fills routers, and asks each in turn for its pages by lot. The series are named by their pages; the
/// others are to be compared with the first.
pub(super) fn measure(
    stage: &Stage,
    plan: &Plan,
    effort: Effort,
) -> Result<Vec<Series>, RouterBenchError> {
    let bad = file(Path::new("127.0.0.1"));
    let mut routers = Vec::new();
    for pages in STORED {
        say(&format!("Storing {pages} pages"));
        let mut router = Contender::start(plan, stage)?;
        hear(&mut router).map_err(&bad)?;
        fill(router.address(), pages).map_err(&bad)?;
        routers.push(router);
    }
    let ask = |place: usize, router: &Contender| {
        let Effort {
            connections,
            seconds,
            ..
        } = effort;
        load::run_over_pages(stage, router, STORED[place], connections, seconds)
    };
    let rounds = super::take_turns(&routers, effort.times, ask)?;
    let mut all = Vec::new();
    for ((pages, router), rounds) in STORED.into_iter().zip(&routers).zip(rounds) {
        are_stored(router.address(), pages).map_err(&bad)?;
        all.push(Series {
            name: pages.to_string(),
            role: if all.is_empty() {
                Role::Reference
            } else {
                Role::Measured
            },
            rounds,
            syscalls: None,
        });
    }
    Ok(all)
}

/// Takes what a router says on its link. One that nobody hears doesn't hear either, and passes its cache by
/// in the end.
fn hear(router: &mut Contender) -> io::Result<()> {
    if let Some(link) = router.link() {
        let mut link = link.try_clone()?;
        link.set_read_timeout(None)?;
        thread::spawn(move || io::copy(&mut link, &mut io::sink()));
    }
    Ok(())
}

fn fill(address: SocketAddr, pages: u32) -> io::Result<()> {
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS)
            .map(|filler| {
                scope.spawn(move || {
                    let mut client = Client::connect(address)?;
                    for number in (filler..pages).step_by(FILLERS as usize) {
                        client.ask(&format!("/many/{number}"))?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for filler in fillers {
            let filled = filler.join();
            filled.map_err(|_| io::Error::other("nobody filled"))??;
        }
        Ok(())
    })
}

/// Looks that what was asked for were hits.
fn are_stored(address: SocketAddr, pages: u32) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    for number in (0..pages).step_by(LOOKED_AT) {
        let head = client.ask(&format!("/many/{number}"))?;
        if !head.contains("; hit") {
            let error = format!("of {pages} pages, {number} is not stored: {head:?}");
            return Err(io::Error::other(error));
        }
    }
    Ok(())
}
