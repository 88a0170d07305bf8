//! The field. negentropy runs; the rateless IBLT is a model that is exact in bytes; the rest is arithmetic.

use cs_peers::cpu_time;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::ours::millis;
use crate::points::{Point, id};

pub struct Cost {
    pub bytes: f64,
    pub cpu_ms: f64,
}

/// Bytes of all messages until the client knows both differences; what the server then must be told is not counted.
pub fn negentropy(point: &Point) -> Cost {
    let lists: [Vec<[u8; 32]>; 2] = [point.our_ids().collect(), point.their_ids().collect()];
    let began = cpu_time();
    let [ours, theirs] = lists.map(|list| {
        let mut storage = NegentropyStorageVector::with_capacity(list.len());
        for id in list {
            storage.insert(0, Id::from_byte_array(id)).expect("not sealed yet");
        }
        storage.seal().expect("once");
        storage
    });
    let mut client = Negentropy::owned(ours, 0).expect("no limit of frames");
    let mut server = Negentropy::owned(theirs, 0).expect("no limit of frames");
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut query = client.initiate().expect("once");
    let mut bytes = query.len();
    loop {
        let answer = server.reconcile(&query).expect("an honest client");
        bytes += answer.len();
        let Some(next) = client.reconcile_with_ids(&answer, &mut have, &mut need).expect("an honest server")
        else {
            break;
        };
        bytes += next.len();
        query = next;
    }
    assert_eq!((have.len(), need.len()), (point.only_ours(), point.only_theirs()));
    Cost { bytes: bytes as f64, cpu_ms: millis(cpu_time() - began) }
}

/// Coded symbols until the difference decodes (Yang, Gilad, Alizadeh, SIGCOMM 2024), each of `width` bytes, a checksum of
/// eight and one for the count, which is less than any implementation sends; and eight bytes for each id that the
/// decoding side must name to the other. What both share cancels, so that the difference alone decides how many it takes.
pub fn rateless(point: &Point, width: usize) -> f64 {
    let ours = (0..point.only_ours()).map(|n| id(1, n));
    let theirs = (0..point.only_theirs()).map(|n| id(2, n));
    let seeds: Vec<u64> = ours.chain(theirs).map(|id| word(&id)).collect();
    let symbols = symbols_needed(&seeds);
    (symbols * (width + 8 + 1) + 8 * point.only_theirs()) as f64
}

fn word(id: &[u8; 32]) -> u64 {
    u64::from_le_bytes(*id.first_chunk().expect("32 bytes"))
}

/// The indexes of the coded symbols that an id is part of: index `i` with probability `1 / (1 + i / 2)`.
struct Mapping {
    state: u64,
    index: u64,
}

impl Mapping {
    fn next_index(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        let chance = (self.state >> 32) as f64 / f64::from(u32::MAX);
        let step = (self.index as f64 + 1.5) * ((1.0 - chance).max(1e-10).powf(-0.5) - 1.0);
        self.index += (step.ceil() as u64).max(1);
        self.index
    }
}

/// Grows the sequence of symbols by an eighth until all ids peel, and then finds the least length that does.
fn symbols_needed(seeds: &[u64]) -> usize {
    let peels = |length: usize| peels(seeds, length);
    let mut high = seeds.len() + 1;
    while !peels(high) {
        high += high / 8 + 1;
    }
    let mut low = high * 8 / 9;
    while low + 1 < high {
        let middle = low.midpoint(high);
        if peels(middle) {
            high = middle
        } else {
            low = middle
        }
        if high - low <= high / 500 {
            break;
        }
    }
    high
}

/// Whether everything decodes from the first `length` symbols.
fn peels(seeds: &[u64], length: usize) -> bool {
    let indexes = |seed: u64| {
        let mut mapping = Mapping { state: seed | 1, index: 0 };
        std::iter::successors(Some(0), move |_| Some(mapping.next_index() as usize))
            .take_while(move |index| *index < length)
    };
    // Count and sum of the places in `seeds` of what a symbol holds.
    let mut symbols = vec![(0u32, 0u64); length];
    for (place, &seed) in seeds.iter().enumerate() {
        for index in indexes(seed) {
            symbols[index].0 += 1;
            symbols[index].1 ^= place as u64;
        }
    }
    let mut pure: Vec<usize> = (0..length).filter(|&index| symbols[index].0 == 1).collect();
    let mut peeled = 0;
    while let Some(index) = pure.pop() {
        if symbols[index].0 != 1 {
            continue;
        }
        let place = symbols[index].1;
        peeled += 1;
        for index in indexes(seeds[place as usize]) {
            symbols[index].0 -= 1;
            symbols[index].1 ^= place;
            if symbols[index].0 == 1 {
                pure.push(index);
            }
        }
    }
    peeled == seeds.len()
}

/// Automerge's way: each side sends a filter of ten bits an id, one way or the other; equal sets are noticed after one.
/// One in a hundred differences is missed and must wait for another session, which is not counted.
pub fn bloom_alone(point: &Point) -> f64 {
    let both = if point.difference() == 0 { point.ours } else { point.ours + point.theirs };
    both as f64 * 10.0 / 8.0
}
