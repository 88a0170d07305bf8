//! Social graphs: who knows whom, both ways.

use std::collections::BTreeSet;

/// A small generator, so that every run sees the same graphs: xorshift64*.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

/// Pairs of people that know each other, the lower number first.
pub(crate) type Pairs = BTreeSet<(u32, u32)>;

/// Preferential attachment (Barabasi and Albert 1999): each newcomer gets to know `links` others, the popular first.
pub(crate) fn popular(people: usize, links: usize, chance: &mut Chance) -> Pairs {
    let mut ends: Vec<u32> = Vec::new();
    let mut pairs = Pairs::new();
    for newcomer in 0..people {
        let wanted = links.min(newcomer);
        let mut met = BTreeSet::new();
        while met.len() < wanted {
            let other = if newcomer <= links { met.len() as u32 } else { ends[chance.below(ends.len())] };
            met.insert(other);
        }
        for other in met {
            pairs.insert((other, newcomer as u32));
            ends.extend([other, newcomer as u32]);
        }
    }
    pairs
}

/// Circles of friends of `size`, in which each knows about `links` others, and one of `far` acquaintances is elsewhere.
pub(crate) fn circles(people: usize, size: usize, links: usize, far: usize, chance: &mut Chance) -> Pairs {
    let mut pairs = Pairs::new();
    for person in 0..people {
        for _ in 0..links / 2 {
            let other = if chance.below(far) == 0 {
                chance.below(people)
            } else {
                person / size * size + chance.below(size)
            };
            if other != person && other < people {
                pairs.insert((person.min(other) as u32, person.max(other) as u32));
            }
        }
    }
    pairs
}

/// A ring in which each knows its nearest, and one acquaintance of ten is anywhere (Watts and Strogatz 1998).
pub(crate) fn small_world(people: usize, links: usize, chance: &mut Chance) -> Pairs {
    let mut pairs = Pairs::new();
    for person in 0..people {
        for step in 1..=links / 2 {
            let other = if chance.below(10) == 0 { chance.below(people) } else { (person + step) % people };
            if other != person {
                pairs.insert((person.min(other) as u32, person.max(other) as u32));
            }
        }
    }
    pairs
}
