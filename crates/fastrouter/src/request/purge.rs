//! `PURGE`: a client says that a page changed.

use http::header;
use http_edge::forward::{self, Trust};
use page_cache::Purge;

use super::Record;
use super::outcome::Outcome;
use crate::cause::Cause;
use crate::pages::SitePages;

/// Forgets a path because a client says so, if this one may.
pub(super) fn obey(record: &Record, pages: &SitePages) -> Result<Outcome, Cause> {
    if !may_purge(record) {
        return Err(Cause::PurgeRefused);
    }
    let path = Purge::path(record.head.uri.path());
    pages.cache.purge(pages.site.id(), &[path]);
    record.connection.thread.shared.purged.notify_one();
    Ok(Outcome::Purged)
}

/// Whoever speaks for others is no sender of purges, unless it is believed whom it speaks for: else
/// a proxy on this machine would lend its address to all the world.
fn may_purge(record: &Record) -> bool {
    let settings = &record.connection.thread.current().settings;
    let (headers, peer) = (&record.head.headers, &record.connection.peer);
    let speaks_for_others = || {
        let names = [forward::X_FORWARDED_FOR, header::FORWARDED, header::VIA];
        names.iter().any(|name| headers.contains_key(name))
    };
    let sender = match peer.trust {
        Trust::Proxy => settings.trusted_proxies.client(headers, peer.address),
        Trust::Stranger if speaks_for_others() => return false,
        Trust::Stranger => peer.address,
    };
    settings.purge_allow.trust(sender) == Trust::Proxy
}
