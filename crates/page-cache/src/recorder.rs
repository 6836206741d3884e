//! The end of a fill: the body of an answer, and the page that comes of it.

use std::sync::Arc;

use http::HeaderName;

use crate::cache::PageCache;
use crate::counters::count;
use crate::fill::Outcome;
use crate::freshness::FOREVER;
use crate::moment::Moment;
use crate::page::Page;
use crate::permit::{FillPermit, keep, place_times};
use crate::reason::BypassReason;
use crate::storing::Storable;

/// The most that is reserved for a body because its answer announced it.
const MOST_RESERVED: u64 = 1 << 20;

/// Takes down the body of an answer that is to be kept. Dropped before its end, nothing is kept.
#[derive(Debug)]
pub struct Recorder {
    permit: FillPermit,
    storable: Storable,
    /// The key with what this answer's `Vary` adds.
    variant: Vec<u8>,
    announced: Option<u64>,
    room: usize,
    body: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(
        permit: FillPermit,
        storable: Storable,
        variant: Vec<u8>,
        announced: Option<u64>,
        room: u64,
    ) -> Self {
        let reserved = announced.unwrap_or(0).min(MOST_RESERVED);
        Self {
            permit,
            storable,
            variant,
            announced,
            room: usize::try_from(room).unwrap_or(usize::MAX),
            body: Vec::with_capacity(usize::try_from(reserved).unwrap_or(0)),
        }
    }

    /// Takes the next bytes of the body. `None`: the page is too large, and nobody waits any more.
    pub fn push(
        mut self: Box<Self>,
        cache: &PageCache,
        bytes: &[u8],
        now: Moment,
    ) -> Option<Box<Self>> {
        if self.body.len() + bytes.len() > self.room {
            self.permit.forgo(cache, BypassReason::TooLarge, now);
            return None;
        }
        self.body.extend_from_slice(bytes);
        Some(self)
    }

    /// The body ended as it should: stores the page.
    ///
    /// # Errors
    /// The reason why it was not kept.
    pub fn finish(self, cache: &PageCache, now: Moment) -> Result<Arc<Page>, BypassReason> {
        match self.stored(cache, now) {
            Ok(page) => {
                count(&self.permit.site.counters().fills);
                self.permit.end(Outcome::Stored);
                Ok(page)
            }
            Err(reason) => {
                self.permit.site.counters().refused(reason);
                self.permit.end(Outcome::Abandoned);
                Err(reason)
            }
        }
    }

    fn stored(&self, cache: &PageCache, now: Moment) -> Result<Arc<Page>, BypassReason> {
        if self
            .announced
            .is_some_and(|length| length != self.body.len() as u64)
        {
            return Err(BypassReason::Incomplete);
        }
        let place = self.permit.place(&self.variant);
        let page = Page::whole(place, &self.storable, &self.body);
        let page = Arc::new(page);
        keep(cache, &page)?;
        let names = &self.storable.vary;
        if !names.is_empty() && !self.is_known(cache, names) {
            let times = place_times(now, FOREVER);
            let place = self.permit.place(self.permit.primary());
            let variants = Page::variants(place, names, times);
            keep(cache, &Arc::new(variants))?;
        }
        Ok(page)
    }

    /// Whether the place of the variants already names these headers.
    fn is_known(&self, cache: &PageCache, names: &[HeaderName]) -> bool {
        let place = cache.store().peek(self.permit.primary());
        place.is_some_and(|place| {
            let same_site = std::ptr::eq(place.site(), &raw const *self.permit.site);
            let wanted = names.iter().map(|name| name.as_str().as_bytes());
            same_site && place.vary().eq(wanted) && place.is_current()
        })
    }
}
