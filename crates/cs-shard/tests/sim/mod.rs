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
    queue: BinaryHeap<Reverse<(Duration, u64, Entry<T>)>>,
    last: u64,
}

#[derive(Debug)]
struct Entry<T>(T);

impl<T> PartialEq for Entry<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { queue: BinaryHeap::new(), last: 0 }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn push(&mut self, at: Duration, what: T) {
        self.last += 1;
        self.queue.push(Reverse((at, self.last, Entry(what))));
    }

    /// What is next, if it is not after `end`.
    pub(crate) fn pop(&mut self, end: Duration) -> Option<(Duration, T)> {
        let Reverse((at, ..)) = self.queue.peek()?;
        if *at > end {
            return None;
        }
        self.queue.pop().map(|Reverse((at, _, Entry(what)))| (at, what))
    }
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
