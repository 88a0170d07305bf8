//! Which broadcasts were had already, in bounded memory (GOS-8).

use std::collections::{BTreeSet, VecDeque};

use growable_bloom_filter::GrowableBloom;

use crate::wire::MessageId;

/// Broadcasts remembered exactly.
const EXACT: usize = 4096;
/// Broadcasts in one Bloom generation: with two of them 65,536 to 131,072 are remembered beyond the exact ones.
const GENERATION: usize = 65_536;
/// False positives of the first filter of a generation. Each time the generation grows another filter is added
/// with 0.85 of the error of the one before: five of them have 3.7 times the error of the first, two generations
/// 7.4 times. A broadcast lost to one is found by reconciliation.
const ERROR: f64 = 1e-7;

/// A set that forgets the oldest. A member may be forgotten after 70,000 others; a stranger is taken for a
/// member less than once in a million.
pub(crate) struct Seen {
    /// Salts the generations, so that nobody can prepare false positives.
    salt: u64,
    exact: BTreeSet<MessageId>,
    order: VecDeque<MessageId>,
    current: Option<GrowableBloom>,
    inserted: usize,
    previous: Option<GrowableBloom>,
}

impl core::fmt::Debug for Seen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Seen").field("exact", &self.exact.len()).field("older", &self.inserted).finish()
    }
}

impl Seen {
    pub(crate) fn new(salt: u64) -> Self {
        Self {
            salt,
            exact: BTreeSet::new(),
            order: VecDeque::new(),
            current: None,
            inserted: 0,
            previous: None,
        }
    }

    pub(crate) fn contains(&self, id: &MessageId) -> bool {
        let older = |generation: &Option<GrowableBloom>| {
            generation.as_ref().is_some_and(|bloom| bloom.contains((self.salt, id)))
        };
        self.exact.contains(id) || older(&self.current) || older(&self.previous)
    }

    /// `false` if it was there.
    pub(crate) fn insert(&mut self, id: MessageId) -> bool {
        if self.contains(&id) {
            return false;
        }
        self.exact.insert(id);
        self.order.push_back(id);
        if self.order.len() > EXACT
            && let Some(oldest) = self.order.pop_front()
        {
            self.exact.remove(&oldest);
            self.insert_older(oldest);
        }
        true
    }

    fn insert_older(&mut self, id: MessageId) {
        if self.inserted >= GENERATION {
            self.previous = self.current.take();
            self.inserted = 0;
        }
        let fresh = || GrowableBloom::new(ERROR, EXACT);
        self.current.get_or_insert_with(fresh).insert((self.salt, id));
        self.inserted += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> MessageId {
        MessageId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap())
    }

    /// GOS-8
    #[test]
    fn tens_of_thousands_are_remembered_and_strangers_are_told_apart() {
        let mut seen = Seen::new(7);
        let mistaken = (0..150_000).filter(|number| !seen.insert(id(*number))).count();
        assert!((80_000..150_000).all(|number| seen.contains(&id(number))));
        let mistaken = mistaken + (150_000..250_000).filter(|number| seen.contains(&id(*number))).count();
        assert!(mistaken <= 1, "{mistaken} of 250,000");
        assert!(!seen.insert(id(149_999)) && !seen.insert(id(80_000)));
        assert!(seen.exact.len() == EXACT && seen.order.len() == EXACT && seen.inserted <= GENERATION);
    }
}
