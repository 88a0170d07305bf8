//! The ordered set of ids that a replica holds, with additive fingerprints that follow every change.

use core::ops::RangeInclusive;
use std::sync::Arc;

/// An id: 32 bytes, as a rule a BLAKE3 hash. Nothing here relies on ids being evenly spread.
pub type Id = [u8; 32];

/// A leaf splits above this many ids: 8 KiB are moved for an insertion at worst.
const LEAF_MAX: usize = 256;
/// A leaf below this many ids joins a neighbour with room.
const LEAF_MIN: usize = 64;

const ELEMENT_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip reconcile element";

/// The sum over a set of a hash of each id, modulo 2^64 in four lanes (REC-2).
///
/// Equal sets have equal fingerprints. Unequal sets chosen with great effort by someone who may write many
/// ids (Wagner's generalised birthday) can have equal ones too: a session with
/// [`Config::verify`](crate::reconcile::Config) sums under a salt that no author could know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    lanes: [u64; 4],
    count: u64,
}

impl Fingerprint {
    /// How many ids were summed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Lanes and count, little-endian: 40 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.lanes.iter().chain([&self.count])) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }

    /// Adds the hash of one id, which must not be in the sum yet.
    pub(crate) fn add_hash(&mut self, hash: &[u8; 32]) {
        for (lane, word) in self.lanes.iter_mut().zip(words(hash)) {
            *lane = lane.wrapping_add(word);
        }
        self.count += 1;
    }

    fn remove_hash(&mut self, hash: &[u8; 32]) {
        for (lane, word) in self.lanes.iter_mut().zip(words(hash)) {
            *lane = lane.wrapping_sub(word);
        }
        self.count -= 1;
    }

    fn add(&mut self, other: &Self) {
        for (lane, word) in self.lanes.iter_mut().zip(other.lanes) {
            *lane = lane.wrapping_add(word);
        }
        self.count += other.count;
    }

    fn subtract(&mut self, other: &Self) {
        for (lane, word) in self.lanes.iter_mut().zip(other.lanes) {
            *lane = lane.wrapping_sub(word);
        }
        self.count -= other.count;
    }

    fn of(ids: &[Id], key: &[u8; 32]) -> Self {
        let mut sum = Self::default();
        for id in ids {
            sum.add_hash(blake3::keyed_hash(key, id).as_bytes());
        }
        sum
    }
}

/// The four little-endian words of a hash.
pub(crate) fn words(hash: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(hash.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("chunks_exact yields eight bytes"));
    }
    words
}

#[derive(Clone, Debug)]
struct Leaf {
    ids: Vec<Id>,
    sum: Fingerprint,
}

#[derive(Clone, Debug)]
struct Slot {
    first: Id,
    leaf: Arc<Leaf>,
}

/// An ordered set of ids with incremental fingerprints.
///
/// A clone costs one reference count: it is the immutable snapshot that a
/// [`Session`](crate::reconcile::Session) works on while the original goes on changing; what is shared is
/// copied on the first write (a leaf, and once per snapshot the list of leaves, 40 bytes per ~170 ids).
/// Insertion, removal and look-up are a binary search and a move within one leaf; memory is about 45 bytes
/// an id.
#[derive(Clone, Debug)]
pub struct Index {
    /// Ascending, none empty; every id of a slot is below the `first` of the next one.
    slots: Arc<Vec<Slot>>,
    sum: Fingerprint,
    key: [u8; 32],
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        let key = blake3::derive_key(ELEMENT_CONTEXT, &[]);
        Self { slots: Arc::default(), sum: Fingerprint::default(), key }
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sum.count as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sum.count == 0
    }

    /// Adds an id; `false` if it was there. `O(log n)` and one hash.
    pub fn insert(&mut self, id: Id) -> bool {
        if self.slots.is_empty() {
            let leaf = Arc::new(Leaf { ids: vec![id], sum: Fingerprint::of(&[id], &self.key) });
            self.sum = leaf.sum;
            Arc::make_mut(&mut self.slots).push(Slot { first: id, leaf });
            return true;
        }
        let at = self.slot_of(&id);
        let Err(within) = self.slots[at].leaf.ids.binary_search(&id) else {
            return false;
        };
        let hash = *blake3::keyed_hash(&self.key, &id).as_bytes();
        self.sum.add_hash(&hash);
        let slots = Arc::make_mut(&mut self.slots);
        let slot = &mut slots[at];
        let leaf = Arc::make_mut(&mut slot.leaf);
        leaf.ids.insert(within, id);
        leaf.sum.add_hash(&hash);
        slot.first = leaf.ids[0];
        if leaf.ids.len() > LEAF_MAX {
            let upper = leaf.ids.split_off(LEAF_MAX / 2);
            let sum = Fingerprint::of(&upper, &self.key);
            leaf.sum.subtract(&sum);
            slots.insert(at + 1, Slot { first: upper[0], leaf: Arc::new(Leaf { ids: upper, sum }) });
        }
        true
    }

    /// Removes an id; `false` if it was not there. `O(log n)` and one hash.
    pub fn remove(&mut self, id: &Id) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let at = self.slot_of(id);
        let Ok(within) = self.slots[at].leaf.ids.binary_search(id) else {
            return false;
        };
        let hash = *blake3::keyed_hash(&self.key, id).as_bytes();
        self.sum.remove_hash(&hash);
        let slots = Arc::make_mut(&mut self.slots);
        let slot = &mut slots[at];
        let leaf = Arc::make_mut(&mut slot.leaf);
        leaf.ids.remove(within);
        leaf.sum.remove_hash(&hash);
        if leaf.ids.is_empty() {
            slots.remove(at);
            return true;
        }
        slot.first = leaf.ids[0];
        if leaf.ids.len() < LEAF_MIN {
            join_with_next(slots, at);
        }
        true
    }

    /// Whether the id is in the set. `O(log n)`.
    #[must_use]
    pub fn contains(&self, id: &Id) -> bool {
        !self.slots.is_empty() && self.slots[self.slot_of(id)].leaf.ids.binary_search(id).is_ok()
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Id> {
        self.slots.iter().flat_map(|slot| slot.leaf.ids.iter())
    }

    /// The fingerprint of the whole set. `O(1)`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.sum
    }

    /// The fingerprint of the ids in a range. Hashes at most two leaves and adds one sum per leaf between.
    #[must_use]
    pub fn fingerprint_of(&self, range: RangeInclusive<Id>) -> Fingerprint {
        let (low, high) = (range.start(), range.end());
        let mut sum = Fingerprint::default();
        if self.slots.is_empty() || low > high {
            return sum;
        }
        for slot in &self.slots[self.slot_of(low)..=self.slot_of(high)] {
            let ids = &slot.leaf.ids;
            let from = ids.partition_point(|id| id < low);
            let to = ids.partition_point(|id| id <= high);
            if to - from == ids.len() {
                sum.add(&slot.leaf.sum);
            } else {
                sum.add(&Fingerprint::of(&ids[from..to], &self.key));
            }
        }
        sum
    }

    /// The slot that holds `id` or would; there must be one.
    fn slot_of(&self, id: &Id) -> usize {
        self.slots.partition_point(|slot| slot.first <= *id).saturating_sub(1)
    }
}

fn join_with_next(slots: &mut Vec<Slot>, at: usize) {
    let lower = if at + 1 < slots.len() { at } else { at.saturating_sub(1) };
    if lower + 1 >= slots.len() || slots[lower].leaf.ids.len() + slots[lower + 1].leaf.ids.len() > LEAF_MAX {
        return;
    }
    let upper = slots.remove(lower + 1).leaf;
    let leaf = Arc::make_mut(&mut slots[lower].leaf);
    leaf.ids.extend_from_slice(&upper.ids);
    leaf.sum.add(&upper.sum);
}

impl FromIterator<Id> for Index {
    /// Sorts once: the way to build from a store.
    fn from_iter<I: IntoIterator<Item = Id>>(ids: I) -> Self {
        let mut ids: Vec<Id> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut index = Self::new();
        let slots = ids.chunks(LEAF_MAX * 2 / 3).map(|chunk| {
            let leaf = Leaf { ids: chunk.to_vec(), sum: Fingerprint::of(chunk, &index.key) };
            Slot { first: chunk[0], leaf: Arc::new(leaf) }
        });
        let slots: Vec<Slot> = slots.collect();
        for slot in &slots {
            index.sum.add(&slot.leaf.sum);
        }
        index.slots = Arc::new(slots);
        index
    }
}

impl Extend<Id> for Index {
    fn extend<I: IntoIterator<Item = Id>>(&mut self, ids: I) {
        for id in ids {
            self.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(number: u16) -> Id {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        Remove(u16),
        Fill(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u16..1500).prop_map(Step::Insert),
            (0u16..1500).prop_map(Step::Remove),
            (0u16..1500).prop_map(Step::Fill),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_set_whose_fingerprint_depends_on_its_members_alone(steps in steps(), low: u8, high: u8) {
            let (mut index, mut model) = (Index::new(), BTreeSet::new());
            let snapshot = index.clone();
            for step in steps {
                match step {
                    Step::Insert(number) => prop_assert_eq!(index.insert(id(number)), model.insert(id(number))),
                    Step::Remove(number) => prop_assert_eq!(index.remove(&id(number)), model.remove(&id(number))),
                    Step::Fill(from) => for number in from..from + 100 {
                        index.insert(id(number));
                        model.insert(id(number));
                    },
                }
            }
            prop_assert!(index.iter().eq(model.iter()));
            prop_assert_eq!(index.len(), model.len());
            prop_assert_eq!(index.fingerprint(), model.iter().copied().collect::<Index>().fingerprint());
            let range = [low; 32]..=[high; 32];
            let inside: Index = model.iter().filter(|id| range.contains(*id)).copied().collect();
            prop_assert_eq!(index.fingerprint_of(range), inside.fingerprint());
            prop_assert!(snapshot.is_empty());
        }
    }

    #[test]
    fn a_large_set_can_be_taken_apart_in_any_order() {
        let mut index: Index = (0..5000).map(id).collect();
        for number in (0..5000).step_by(2).chain((1..5000).step_by(2)) {
            assert!(index.contains(&id(number)));
            assert!(index.remove(&id(number)));
            assert!(!index.contains(&id(number)));
        }
        assert_eq!(index.fingerprint(), Fingerprint::default());
    }
}
