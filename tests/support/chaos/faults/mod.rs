//! What can happen to a house. Each fault is a file with its name, its bound, the reason for the
//! bound, and what is done; all that it disturbs it puts right again.

mod bad_row;
mod bad_template;
mod disk_full;
mod emperor_kill;
mod emperor_upgrade;
mod postgres_hang;
mod postgres_loss;
mod postgres_restart;
mod reload;
mod router_kill;
mod router_upgrade;
mod row_change;
mod worker_hang;
mod worker_kill;
mod worker_pause;
mod worker_stop;

use std::pin::Pin;

use super::{Bound, Damage, Stage};

/// One thing that can happen.
#[derive(Debug)]
pub struct Fault {
    /// What an operator would call it.
    pub name: &'static str,
    /// Which requests it may cost.
    pub bound: Bound,
    /// Why these and no others.
    pub reason: &'static str,
    /// Lets it happen, sees to it that it really did, and puts everything right again.
    pub inject: fn(&mut Stage) -> Injection<'_>,
}

/// A fault on its way.
pub type Injection<'a> = Pin<Box<dyn Future<Output = Result<Damage, NotHere>> + 'a>>;

/// Why a fault can't happen on this machine.
#[derive(Debug)]
pub struct NotHere(pub &'static str);

/// Every fault, in the order in which they are tried: from what an operator does each day to what
/// nobody wants to see.
pub const ALL: &[Fault] = &[
    reload::FAULT,
    row_change::FAULT,
    bad_row::FAULT,
    bad_template::FAULT,
    worker_pause::FAULT,
    worker_stop::FAULT,
    worker_hang::FAULT,
    worker_kill::FAULT,
    emperor_upgrade::FAULT,
    emperor_kill::FAULT,
    router_upgrade::FAULT,
    router_kill::FAULT,
    postgres_restart::FAULT,
    postgres_hang::FAULT,
    postgres_loss::FAULT,
    disk_full::FAULT,
];
