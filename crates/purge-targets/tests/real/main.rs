//! Targets against real parts: Varnish, nginx with its cache-purge module, an HTTP interface. What a
//! cache holds is asked of the cache: an origin answers each request with the next number.

#[cfg(test)]
mod nginx;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod support;
#[cfg(test)]
mod varnish;
