//! The registry against real servers: one private cluster for the whole binary, one database per
//! test, and a cluster of its own for what stops, restarts or damages the server.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod django;
#[cfg(test)]
mod edits;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod purge_feed;
#[cfg(test)]
mod purge_watches;
#[cfg(test)]
mod purges;
#[cfg(test)]
mod queried;
#[cfg(test)]
mod reloads;
#[cfg(test)]
mod rewriting;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transport;
