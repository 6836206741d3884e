//! The side of a worker: its instances as this thread knows them, connections to them, and the
//! exchange of one request for one answer.
//!
//! Which site a request is for, and what a failure means to the client, is decided in
//! [`request`](crate::request).

mod exchange;
mod failure;
mod instance;
mod lease;
mod link;
mod upload;

pub(crate) use self::exchange::{Delivery, Exchange};
pub(crate) use self::failure::{Failure, Reached};
pub(crate) use self::instance::{Instance, Instances, leads_to};
pub(crate) use self::lease::{Lease, NoLease};
pub(crate) use self::upload::{Upload, UploadError};
