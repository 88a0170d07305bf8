//! The set of ids that a replica holds, with fingerprints and sketches that follow every change.

use core::fmt;
use core::ops::RangeInclusive;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::reconcile::element::{Cut, Element, Estimator};
use crate::reconcile::fingerprint::{Fingerprint, words};

/// An id: 32 bytes, as a rule a BLAKE3 hash. Nothing here relies on ids being evenly spread.
pub type Id = [u8; 32];

/// A leaf splits above this many ids: 10 KiB are moved for an insertion at worst.
const LEAF_MAX: usize = 256;
/// A leaf below this many ids joins a neighbour with room.
const LEAF_MIN: usize = 64;
/// Sketches that one leaf remembers, 384 bytes each at most: a few sizes of differences.
const CACHED: usize = 6;
/// Depths to which leaves are sketched, so that a little more than before is there already.
const DEPTHS: [usize; 4] = [8, 32, 64, 96];
/// The newest ids that are remembered with their times.
const RECENT_MAX: usize = 16_384;

const ELEMENT_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip reconcile element";

struct Leaf {
    elements: Vec<Element>,
    /// The last 32 bits of each hash, close together: a search for some of them reads little memory.
    tails: Vec<u32>,
    sum: Fingerprint,
    /// Syndromes of all elements, by cut. Filled when first asked for, then toggled by every change.
    sketches: Mutex<Vec<(Cut, Vec<u32>)>>,
}

impl Leaf {
    fn new(elements: Vec<Element>, sum: Fingerprint) -> Self {
        let tails = elements.iter().map(|element| element.hash as u32).collect();
        Self { elements, tails, sum, sketches: Mutex::default() }
    }

    fn of(elements: Vec<Element>, key: &[u8; 32]) -> Self {
        let mut sum = Fingerprint::default();
        elements.iter().for_each(|element| sum.add_hash(hash_of(key, &element.id)));
        Self::new(elements, sum)
    }

    fn toggle_sketches(&mut self, element: &Element) {
        for (cut, sums) in self.sketches.get_mut().unwrap_or_else(PoisonError::into_inner) {
            cut.field().add_odd_powers(sums, &[cut.short(element.hash)]);
        }
    }

    /// Adds the syndromes of all elements to `sums`; returns how many multiplications that took.
    fn add_sketch(&self, cut: Cut, sums: &mut [u32]) -> u64 {
        let mut sketches = self.sketches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = sketches.iter().find(|(c, known)| *c == cut && known.len() >= sums.len()) {
            sums.iter_mut().zip(known).for_each(|(sum, known)| *sum ^= known);
            return 0;
        }
        sketches.retain(|(c, _)| *c != cut);
        if sketches.len() >= CACHED {
            sketches.remove(0);
        }
        let depth = DEPTHS.into_iter().find(|depth| *depth >= sums.len()).unwrap_or(sums.len());
        let mut fresh = vec![0; depth];
        add_powers(cut, &mut fresh, self.elements.iter());
        sums.iter_mut().zip(&fresh).for_each(|(sum, fresh)| *sum ^= fresh);
        sketches.push((cut, fresh));
        (self.elements.len() * depth) as u64
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        let sketches = self.sketches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            elements: self.elements.clone(),
            tails: self.tails.clone(),
            sum: self.sum,
            sketches: Mutex::new(sketches),
        }
    }
}

impl fmt::Debug for Leaf {
    /// Without the cache, which is no part of the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("elements", &self.elements).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Slot {
    first: Element,
    leaf: Arc<Leaf>,
}

/// The newest ids with their times: all whose time is at least `floor`.
#[derive(Clone, Debug)]
struct Recent {
    ids: BTreeSet<(u64, Id)>,
    floor: u64,
}

/// A set of ids with incremental fingerprints and sketches.
///
/// A clone costs one reference count: it is the immutable snapshot that a
/// [`Session`](crate::reconcile::Session) works on while the original goes on changing; what is shared is
/// copied on the first write (a leaf, and once per snapshot the list of leaves, 60 bytes per ~170 ids).
/// Insertion, removal and look-up are one hash, a binary search and a move within one leaf; memory is about 60
/// bytes an id, 70 with the sketches that sessions left behind. After the first session of a kind (a number of
/// partitions and a width), what a session costs follows the difference: unchanged leaves remember their sketches.
#[derive(Clone, Debug)]
pub struct Index {
    /// Ascending by hash, none empty; every element of a slot is below the `first` of the next one.
    slots: Arc<Vec<Slot>>,
    sum: Fingerprint,
    estimator: Estimator,
    key: [u8; 32],
    recent: Arc<Recent>,
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
        Self::keyed(blake3::derive_key(ELEMENT_CONTEXT, &[]), [])
    }

    /// A set whose hashes have another key. One hash an id, and a sort.
    pub(crate) fn keyed(key: [u8; 32], ids: impl IntoIterator<Item = Id>) -> Self {
        let hashed = ids.into_iter().map(|id| (hash_of(&key, &id), id));
        let mut hashed: Vec<([u64; 4], Id)> = hashed.collect();
        hashed.sort_unstable_by_key(|(hash, id)| (hash[0], *id));
        hashed.dedup();
        let (mut sum, mut estimator) = (Fingerprint::default(), Estimator::default());
        let mut slots = Vec::with_capacity(hashed.len() / (LEAF_MAX / 2));
        for chunk in hashed.chunks(LEAF_MAX * 2 / 3) {
            let mut of_leaf = Fingerprint::default();
            for (hash, _) in chunk {
                of_leaf.add_hash(*hash);
                estimator.toggle(hash[0]);
            }
            sum.add(&of_leaf);
            let elements = chunk.iter().map(|&(hash, id)| Element { hash: hash[0], id });
            let leaf = Leaf::new(elements.collect(), of_leaf);
            slots.push(Slot { first: leaf.elements[0], leaf: Arc::new(leaf) });
        }
        let recent = Arc::new(Recent { ids: BTreeSet::new(), floor: 1 });
        Self { slots: Arc::new(slots), sum, estimator, key, recent }
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sum.count() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sum.count() == 0
    }

    /// Adds an id; `false` if it was there. `O(log n)` and one hash.
    pub fn insert(&mut self, id: Id) -> bool {
        let hash = hash_of(&self.key, &id);
        let element = Element { hash: hash[0], id };
        if self.slots.is_empty() {
            let leaf = Arc::new(Leaf::of(vec![element], &self.key));
            Arc::make_mut(&mut self.slots).push(Slot { first: element, leaf });
        } else {
            let at = self.slot_of(&element);
            let Err(within) = self.slots[at].leaf.elements.binary_search(&element) else {
                return false;
            };
            self.insert_at_place(at, within, element, hash);
        }
        self.sum.add_hash(hash);
        self.estimator.toggle(element.hash);
        true
    }

    /// Adds an id that was made at `time`, by a clock that is part of what the id stands for, so that every holder
    /// says the same. Sessions can then begin with what is recent
    /// ([`Config::since`](crate::reconcile::Config)). The 16,384 newest are remembered so.
    pub fn insert_at(&mut self, id: Id, time: u64) -> bool {
        if !self.insert(id) {
            return false;
        }
        if time >= self.recent.floor {
            let recent = Arc::make_mut(&mut self.recent);
            recent.ids.insert((time, id));
            if recent.ids.len() > RECENT_MAX
                && let Some(&(oldest, _)) = recent.ids.first()
            {
                recent.floor = oldest.saturating_add(1);
                recent.ids = recent.ids.split_off(&(recent.floor, [0; 32]));
            }
        }
        true
    }

    fn insert_at_place(&mut self, at: usize, within: usize, element: Element, hash: [u64; 4]) {
        let slots = Arc::make_mut(&mut self.slots);
        let slot = &mut slots[at];
        let leaf = Arc::make_mut(&mut slot.leaf);
        leaf.elements.insert(within, element);
        leaf.tails.insert(within, element.hash as u32);
        leaf.sum.add_hash(hash);
        leaf.toggle_sketches(&element);
        slot.first = leaf.elements[0];
        if leaf.elements.len() > LEAF_MAX {
            let upper = Leaf::of(leaf.elements.split_off(LEAF_MAX / 2), &self.key);
            leaf.tails.truncate(LEAF_MAX / 2);
            leaf.sum.subtract(&upper.sum);
            leaf.sketches = Mutex::default();
            slots.insert(at + 1, Slot { first: upper.elements[0], leaf: Arc::new(upper) });
        }
    }

    /// Removes an id; `false` if it was not there. `O(log n)` and one hash, and a look through the ids that are
    /// remembered with their times.
    pub fn remove(&mut self, id: &Id) -> bool {
        let hash = hash_of(&self.key, id);
        let element = Element { hash: hash[0], id: *id };
        let Some((at, within)) = self.place_of(&element) else {
            return false;
        };
        self.sum.remove_hash(hash);
        self.estimator.toggle(element.hash);
        if let Some(timed) = self.recent.ids.iter().find(|(_, recent)| recent == id).copied() {
            Arc::make_mut(&mut self.recent).ids.remove(&timed);
        }
        let slots = Arc::make_mut(&mut self.slots);
        let slot = &mut slots[at];
        let leaf = Arc::make_mut(&mut slot.leaf);
        leaf.elements.remove(within);
        leaf.tails.remove(within);
        leaf.sum.remove_hash(hash);
        leaf.toggle_sketches(&element);
        if leaf.elements.is_empty() {
            slots.remove(at);
            return true;
        }
        slot.first = leaf.elements[0];
        if leaf.elements.len() < LEAF_MIN {
            join_with_next(slots, at);
        }
        true
    }

    /// Whether the id is in the set. `O(log n)` and one hash.
    #[must_use]
    pub fn contains(&self, id: &Id) -> bool {
        self.place_of(&Element { hash: hash_of(&self.key, id)[0], id: *id }).is_some()
    }

    /// The ids, in the order of their hashes: the same for equal sets, and no other order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Id> {
        self.slots.iter().flat_map(|slot| slot.leaf.elements.iter().map(|element| &element.id))
    }

    /// The fingerprint of the whole set. `O(1)`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.sum
    }

    /// The time from which on every id that came with a time is remembered as recent.
    #[must_use]
    pub fn recent_since(&self) -> u64 {
        self.recent.floor
    }

    /// The ids from a time on, as a set of the same key; `None` if not all are remembered. At most 16,384 hashes.
    pub(crate) fn recent(&self, since: u64) -> Option<Self> {
        let from = self.recent.ids.range((since, [0; 32])..);
        (since >= self.recent.floor).then(|| Self::keyed(self.key, from.map(|(_, id)| *id)))
    }

    pub(crate) fn estimator(&self) -> Estimator {
        self.estimator
    }

    /// The whole hash of an id in this set.
    pub(crate) fn hash_of(&self, id: &Id) -> [u64; 4] {
        hash_of(&self.key, id)
    }

    /// Elements with these hashes, ascending.
    pub(crate) fn range(&self, hashes: RangeInclusive<u64>) -> impl Iterator<Item = &Element> {
        let (low, high) = hashes.into_inner();
        let from = self.slot_of(&Element { hash: low, id: [0; 32] });
        let slots = self.slots[from.min(self.slots.len())..].iter();
        let elements = slots.flat_map(move |slot| {
            let skip = slot.leaf.elements.partition_point(|element| element.hash < low);
            slot.leaf.elements[skip..].iter()
        });
        elements.take_while(move |element| element.hash <= high)
    }

    /// Elements whose last 32 bits of hash pass, ascending. A nanosecond an element.
    pub(crate) fn with_tails(&self, passes: impl Fn(u32) -> bool) -> Vec<&Element> {
        let mut found = Vec::new();
        for slot in self.slots.iter() {
            let tails = slot.leaf.tails.iter().zip(&slot.leaf.elements);
            found.extend(tails.filter(|(tail, _)| passes(**tail)).map(|(_, element)| element));
        }
        found
    }

    /// Syndromes of one partition, and the multiplications that were needed for what no leaf remembered.
    pub(crate) fn sketch(&self, cut: Cut, part: u32, depth: usize) -> (Vec<u32>, u64) {
        let range = cut.part(part);
        let mut sums = vec![0; depth];
        let from = self.slot_of(&Element { hash: *range.start(), id: [0; 32] }).min(self.slots.len());
        let slots = self.slots[from..].iter().take_while(|slot| slot.first.hash <= *range.end());
        let cost = slots.map(|slot| {
            let elements = &slot.leaf.elements;
            let (Some(first), Some(last)) = (elements.first(), elements.last()) else { return 0 };
            if range.contains(&first.hash) && range.contains(&last.hash) {
                return slot.leaf.add_sketch(cut, &mut sums);
            }
            let inside = elements.iter().filter(|element| range.contains(&element.hash));
            (add_powers(cut, &mut sums, inside) * depth) as u64
        });
        let cost = cost.sum();
        (sums, cost)
    }

    /// Slot and place of an element, if it is there.
    fn place_of(&self, element: &Element) -> Option<(usize, usize)> {
        let at = self.slot_of(element);
        let within = self.slots.get(at)?.leaf.elements.binary_search(element).ok()?;
        Some((at, within))
    }

    /// The slot that holds `element` or would.
    fn slot_of(&self, element: &Element) -> usize {
        self.slots.partition_point(|slot| slot.first <= *element).saturating_sub(1)
    }
}

/// Adds the odd powers of the short ids to `sums`; returns how many elements there were.
pub(crate) fn add_powers<'a>(
    cut: Cut,
    sums: &mut [u32],
    elements: impl Iterator<Item = &'a Element>,
) -> usize {
    let shorts: Vec<u32> = elements.map(|element| cut.short(element.hash)).collect();
    cut.field().add_odd_powers(sums, &shorts);
    shorts.len()
}

fn hash_of(key: &[u8; 32], id: &Id) -> [u64; 4] {
    words(blake3::keyed_hash(key, id).as_bytes())
}

fn join_with_next(slots: &mut Vec<Slot>, at: usize) {
    let lower = if at + 1 < slots.len() { at } else { at.saturating_sub(1) };
    let room = |slot: &Slot| LEAF_MAX.saturating_sub(slot.leaf.elements.len());
    if lower + 1 >= slots.len() || slots[lower + 1].leaf.elements.len() > room(&slots[lower]) {
        return;
    }
    let upper = slots.remove(lower + 1).leaf;
    let leaf = Arc::make_mut(&mut slots[lower].leaf);
    leaf.elements.extend_from_slice(&upper.elements);
    leaf.tails.extend_from_slice(&upper.tails);
    leaf.sum.add(&upper.sum);
    leaf.sketches = Mutex::default();
}

impl FromIterator<Id> for Index {
    /// Sorts once: the way to build from a store.
    fn from_iter<I: IntoIterator<Item = Id>>(ids: I) -> Self {
        Self::keyed(blake3::derive_key(ELEMENT_CONTEXT, &[]), ids)
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

    /// What a partition sketches to, from the definition.
    fn sketch(set: &BTreeSet<Id>, cut: Cut, part: u32, depth: usize) -> Vec<u32> {
        let key = Index::new().key;
        let hashes = set.iter().map(|id| hash_of(&key, id)[0]).filter(|hash| cut.part(part).contains(hash));
        let mut sums = vec![0; depth];
        hashes.for_each(|hash| cut.field().add_odd_powers(&mut sums, &[cut.short(hash)]));
        sums
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// REC-2 and REC-7
        #[test]
        fn it_is_a_set_whose_sums_and_sketches_depend_on_its_members_alone(
            steps in steps(), level in 0u8..4, depth in 1usize..40,
        ) {
            let (mut index, mut model) = (Index::new(), BTreeSet::new());
            let snapshot = index.clone();
            let cut = Cut { level, bits: 20, last: false };
            for step in steps {
                match step {
                    Step::Insert(number) => prop_assert_eq!(index.insert(id(number)), model.insert(id(number))),
                    Step::Remove(number) => prop_assert_eq!(index.remove(&id(number)), model.remove(&id(number))),
                    Step::Fill(from) => for number in from..from + 100 {
                        index.insert(id(number));
                        model.insert(id(number));
                    },
                }
                // Fills the caches, so that what follows must keep them right.
                index.sketch(cut, 0, depth);
            }
            prop_assert_eq!(index.iter().copied().collect::<BTreeSet<_>>(), model.clone());
            prop_assert_eq!(index.len(), model.len());
            let rebuilt = model.iter().copied().collect::<Index>();
            prop_assert_eq!(index.fingerprint(), rebuilt.fingerprint());
            prop_assert_eq!(index.estimator(), rebuilt.estimator());
            for part in 0..cut.parts() {
                prop_assert_eq!(index.sketch(cut, part, depth).0, sketch(&model, cut, part, depth));
            }
            let tails = index.slots.iter().flat_map(|slot| slot.leaf.tails.clone());
            prop_assert!(tails.eq(index.range(0..=u64::MAX).map(|element| element.hash as u32)));
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

    #[test]
    fn a_second_sketch_costs_only_what_changed() {
        let mut index: Index = (0..20_000).map(id).collect();
        let cut = Cut { level: 3, bits: 24, last: false };
        let cost = |index: &Index| (0..8).map(|part| index.sketch(cut, part, 30).1).sum::<u64>();
        assert!(cost(&index) >= 20_000 * 30);
        index.insert(id(20_001));
        assert!(cost(&index) <= 8 * 2 * 256 * 32, "{}", cost(&index));
    }

    #[test]
    fn the_newest_ids_are_remembered_with_their_times() {
        let mut index = Index::new();
        for number in 0..20_000u16 {
            index.insert_at(id(number), 10 + u64::from(number));
        }
        assert!(index.recent(10).is_none(), "that long ago is forgotten");
        let since = index.recent_since();
        assert_eq!(index.recent(since).unwrap().len(), 20_010 - since as usize);
        assert_eq!(index.recent(20_000).unwrap().len(), 10);
        index.remove(&id(19_999));
        assert_eq!(index.recent(20_000).unwrap().len(), 9);
    }
}
