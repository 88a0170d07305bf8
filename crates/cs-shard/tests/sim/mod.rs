//! Networks of the crate's machines with a clock, distances, loss and churn. The integration tests run small ones; the
//! bench of the crate runs ten thousand nodes of the same.
#![allow(dead_code, reason = "each user takes a part")]

pub(crate) mod roles;
pub(crate) mod routing;
pub(crate) mod tree;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use cs_identity::{NodeId, SecretKey};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What happens when; of the same time, what was said first.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// Nanoseconds, the order of saying, and the place of what happens: small, since a queue is sorted by moving it around.
    queue: BinaryHeap<Reverse<(u64, u64, u32)>>,
    what: Vec<Option<T>>,
    free: Vec<u32>,
    last: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { queue: BinaryHeap::new(), what: Vec::new(), free: Vec::new(), last: 0 }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn push(&mut self, at: Duration, what: T) {
        self.last += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.what.push(None);
            self.what.len() as u32 - 1
        });
        self.what[place as usize] = Some(what);
        self.queue.push(Reverse((at.as_nanos() as u64, self.last, place)));
    }

    /// What is next, if it is not after `end`.
    pub(crate) fn pop(&mut self, end: Duration) -> Option<(Duration, T)> {
        let Reverse((at, ..)) = self.queue.peek()?;
        if u128::from(*at) > end.as_nanos() {
            return None;
        }
        let Reverse((at, _, place)) = self.queue.pop()?;
        self.free.push(place);
        self.what[place as usize].take().map(|what| (Duration::from_nanos(at), what))
    }
}

/// Which number an identity has: by its first bytes, which are enough to tell a few ten thousand keys apart.
#[derive(Debug)]
pub(crate) struct Numbers(Vec<(u64, u32)>);

impl Numbers {
    pub(crate) fn new(ids: &[NodeId]) -> Self {
        let mut numbers: Vec<(u64, u32)> =
            ids.iter().enumerate().map(|(number, id)| (head(id), number as u32)).collect();
        numbers.sort_unstable();
        assert!(numbers.is_sorted_by(|one, next| one.0 < next.0), "two identities begin alike");
        Self(numbers)
    }

    pub(crate) fn of(&self, id: &NodeId) -> u32 {
        let at = self.0.partition_point(|(other, _)| *other < head(id));
        self.0[at].1
    }
}

fn head(id: &NodeId) -> u64 {
    id.as_bytes().iter().take(8).fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// The identity of a number.
pub(crate) fn id(number: usize) -> NodeId {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    SecretKey::from_bytes(seed).node_id()
}

pub(crate) fn seed(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// Exponential of this mean.
pub(crate) fn exponential(rng: &mut ChaCha8Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.random_range(0.0..1.0f64)).ln()
}

/// Roughly normal: the sum of twelve.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random_range(0.0..1.0f64)).sum::<f64>() - 6.0
}

/// Of sorted values.
pub(crate) fn percentile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() { 0.0 } else { sorted[((sorted.len() - 1) as f64 * q) as usize] }
}
