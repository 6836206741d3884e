//! How long the path of a unix socket may be.

/// The most bytes that the kernel takes: `sun_path` holds 108, the closing zero among them (`unix(7)`).
pub(crate) const MAX_SOCKET_PATH: usize = 107;
