//! Stores and gets around a key where somebody has crowded the honest peers out: the part of the key space that holds K
//! honest peers, by the size of the network, is gone over piece by piece (Sridhar et al., *Content Censorship in the
//! InterPlanetary File System*, NDSS 2024: region-based provide and retrieve).

use super::query::{Holder, Query, wide};
use super::{Dht, Goal};
use crate::config::K;
use crate::event::LookupId;
use crate::key::Key;
use crate::lookup::{Lookup, Shape};
use crate::wire::{Node, RecordKind};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use rand::Rng;

/// Pieces of a region, each half as large as the one before: all but a thirty-second of it, which is the key's own
/// surroundings and was looked at before.
const PIECES: u32 = 5;
/// Peers remembered of one piece.
const PIECE_MAX: usize = 6 * K;
/// Peers of the region that a get asks.
const ASKED_MAX: usize = 3 * K;

/// A region that is gone over.
#[derive(Debug)]
pub(crate) struct Region {
    key: Key,
    start: u32,
    /// The piece that is surveyed next holds the keys that share exactly so many bits with `key`.
    bits: u32,
    /// Who answered, by how many bits it shares with the key: `start` to `start + PIECES`, the last for all that share more.
    found: BTreeMap<u32, Vec<Holder>>,
    is_asking: bool,
}

impl Region {
    const fn new(key: Key, start: u32) -> Self {
        Self { key, start, bits: start, found: BTreeMap::new(), is_asking: false }
    }

    /// Whether peers are still being looked for, whatever the lookup is for.
    pub(crate) const fn is_surveying(&self) -> bool {
        !self.is_asking
    }

    /// Around which key.
    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// Up to K peers of each piece, those closest to the key: a crowd in one place displaces nobody elsewhere.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let mut holders = Vec::new();
        for piece in self.found.values() {
            let mut piece = piece.clone();
            piece.sort_by_key(|(node, _)| Key::of_peer(&node.id).distance(&self.key));
            holders.extend(piece.into_iter().take(K));
        }
        holders
    }

    fn gather(&mut self, holders: Vec<Holder>) {
        for holder in holders {
            let shared = Key::of_peer(&holder.0.id).distance(&self.key).leading_zeros();
            if shared < self.start {
                continue;
            }
            let piece = self.found.entry(shared.min(self.start + PIECES)).or_default();
            if piece.len() < PIECE_MAX && piece.iter().all(|(known, _)| known.id != holder.0.id) {
                piece.push(holder);
            }
        }
    }
}

impl Dht {
    /// Whether a search that has come to its end goes on over the region, which then is under way.
    pub(crate) fn goes_over_region(&mut self, id: LookupId) -> bool {
        let Some(query) = self.queries.get(&id) else { return false };
        match &query.region {
            None if self.is_crowded_out(query) => {
                let region = Region::new(*query.lookup.target(), self.size.bits_of(K));
                self.counters.regions += 1;
                if let Some(query) = self.queries.get_mut(&id) {
                    query.region = Some(region);
                }
                self.survey(id)
            }
            Some(region) if region.is_surveying() => self.survey(id),
            _ => false,
        }
    }

    /// Whether what is being done could be kept from the honest peers by those that stand around the key.
    fn is_crowded_out(&self, query: &Query) -> bool {
        let is_critical = match &query.goal {
            Goal::Store(_) => true,
            Goal::Get(get) => get.found.is_empty() || get.kind == RecordKind::Mutable,
            _ => false,
        };
        is_critical && self.size.is_crowded(query.lookup.target(), &query.lookup.closest_known(K))
    }

    /// Looks at the next piece; after the last one a get asks everybody there, and a store is ready.
    fn survey(&mut self, id: LookupId) -> bool {
        let mut noise = [0; 32];
        self.rng.fill_bytes(&mut noise);
        let Some(query) = self.queries.get_mut(&id) else { return false };
        let holders = query.holders();
        let Some(region) = &mut query.region else { return false };
        region.gather(holders);
        let lookup = if region.bits < region.start + PIECES {
            let bits = region.bits.min(255) as u8;
            region.bits += 1;
            let target = region.key.at_prefix(bits, noise);
            Lookup::new(target, wide(&self.config, K), &self.seeds(&target))
        } else {
            region.is_asking = true;
            let Goal::Get(get) = &query.goal else { return false };
            let mut nodes: Vec<Node> = region.holders().into_iter().map(|(node, _)| node).collect();
            nodes.retain(|node| !get.lacking.contains(&node.id));
            nodes.truncate(ASKED_MAX);
            let shape = Shape { alpha: 2 * self.config.alpha, beta: ASKED_MAX, paths: 1, is_closed: true };
            Lookup::new(region.key, shape, &nodes)
        };
        if lookup.is_empty() {
            return false;
        }
        if let Some(query) = self.queries.get_mut(&id) {
            query.go_on_with(lookup);
        }
        self.push_on(id);
        true
    }
}
