//! The sites of a pool, as documents.

use site_model::SiteId;
use wire::control::PoolSiteDocument;

use crate::daemon::{PoolEntry, Stay};

pub(super) fn sites(entry: &PoolEntry) -> Vec<PoolSiteDocument> {
    let pool = entry.told.id;
    let sites = entry.sites.iter().map(|site| PoolSiteDocument {
        id: site.id.get(),
        slug: site.slug.clone(),
        state: site.state.to_string(),
        place: place(site.stay, pool).to_owned(),
    });
    sites.collect()
}

/// Where a site is that depends on this pool.
fn place(stay: Stay, pool: SiteId) -> &'static str {
    match stay {
        Stay::Member { of, moves_to: None } if of == pool => "inside",
        Stay::Member { of, moves_to: _ } if of == pool => "leaving",
        Stay::Member { .. } | Stay::MovesTo(_) => "coming",
        Stay::Leaves(_) => "leaving",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_inside_a_pool_or_on_its_way() {
        let pool = |number| SiteId::of_vassal(number).unwrap();
        let (this, other) = (pool(-1), pool(-2));
        let member = |of, moves_to| Stay::Member { of, moves_to };
        for (stay, expected) in [
            (member(this, None), "inside"),
            (member(this, Some(other)), "leaving"),
            (member(other, Some(this)), "coming"),
            (Stay::MovesTo(this), "coming"),
            (Stay::Leaves(this), "leaving"),
        ] {
            assert_eq!(place(stay, this), expected, "{stay:?}");
        }
    }
}
