//! Whether a hit costs the same however many pages are stored.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::client::Client;
use super::contender::Contender;
use super::cpu;
use super::effort::Effort;
use super::error::{RouterBenchError, file};
use super::figures::{Figure, Round};
use super::load;
use super::stage::Stage;
use crate::progress::say;

/// So many pages are stored, one after the other.
const STORED: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How many clients fill the cache.
const FILLERS: u32 = 8;
/// Of so many pages one is looked at afterwards.
const LOOKED_AT: usize = 997;

/// What hits cost with so many pages stored.
pub(super) struct Stored {
    pub(super) pages: u32,
    pub(super) cpu_us: f64,
}

/// Fills a router step by step, and asks for pages by lot after each.
pub(super) fn measure(
    stage: &Stage,
    router: &Contender,
    effort: Effort,
) -> Result<Vec<Stored>, RouterBenchError> {
    let bad = file(Path::new("127.0.0.1"));
    let mut filled = 0;
    let mut all = Vec::new();
    for pages in STORED {
        say(&format!("Storing {pages} pages"));
        fill(router.address(), filled, pages).map_err(&bad)?;
        filled = pages;
        let before = cpu::taken_by(router.processes())?;
        let (connections, seconds) = (effort.connections, effort.seconds);
        let load = load::run_over_pages(stage, router, pages, connections, seconds)?;
        let taken = cpu::taken_by(router.processes())?.since(before);
        let cpu_us = Round::new(&load, taken).get(Figure::Cpu);
        are_stored(router.address(), pages).map_err(&bad)?;
        all.push(Stored { pages, cpu_us });
    }
    Ok(all)
}

fn fill(address: SocketAddr, from: u32, to: u32) -> io::Result<()> {
    std::thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS)
            .map(|filler| {
                scope.spawn(move || {
                    let mut client = Client::connect(address)?;
                    for number in (from + filler..to).step_by(FILLERS as usize) {
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
