//! Where threads meet: the standard library's atomics and locks, or those of the model checker.

#[cfg(not(all(test, feature = "model")))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, feature = "model"))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
