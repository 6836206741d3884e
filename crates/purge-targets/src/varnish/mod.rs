//! Varnish: what to ban, and how to say so on its command line.

mod ban;
mod client;
mod protocol;

pub(crate) use ban::bans;
pub(crate) use client::VarnishClient;
