//! Emperor over real parts: each test opens a house of its own, with a PostgreSQL, a daemon and a
//! router, and looks at it as an operator or a visitor does.
#![expect(
    clippy::unwrap_used,
    reason = "what isn't there fails the test, in its helpers too"
)]

mod adoption;
mod chaos;
mod commands;
mod database;
mod defects;
mod django;
mod django_admin;
mod django_cms;
mod django_source;
mod fronts;
mod health;
mod hosts;
mod imports;
mod interfaces;
mod isolation;
mod lifecycle;
mod many;
mod masses;
mod mistakes;
mod pools;
mod posts;
mod preloading;
mod private_cluster;
mod purges;
mod quickstart;
mod reloads;
mod removals;
mod rewriting;
mod rows;
mod secrets;
mod sleep;
mod systemd;
mod templates;
