//! What every part of the machine shares: the clock, chance, timers and the outbox.

use core::time::Duration;
use std::collections::VecDeque;

use cs_identity::NodeId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::config::Config;
use crate::machine::{Counters, Event, Output};
use crate::timers::{Timer, Timers};
use crate::wire::{Lane, Message};

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) me: NodeId,
    pub(crate) now: Duration,
    pub(crate) timers: Timers,
    pub(crate) outbox: VecDeque<Output>,
    pub(crate) counters: Counters,
    /// Neighbours that came or went and that the tree has not heard of.
    pub(crate) changes: VecDeque<Change>,
    rng: ChaCha8Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Up(NodeId),
    Down(NodeId),
}

impl Core {
    pub(crate) fn new(config: Config, me: NodeId, now: Duration, seed: [u8; 32]) -> Self {
        Self {
            config,
            me,
            now,
            timers: Timers::default(),
            outbox: VecDeque::new(),
            counters: Counters::default(),
            changes: VecDeque::new(),
            rng: ChaCha8Rng::from_seed(seed),
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, lane: Lane, message: &Message) {
        self.send_bytes(to, lane, message.to_bytes());
    }

    pub(crate) fn send_bytes(&mut self, to: NodeId, lane: Lane, bytes: Vec<u8>) {
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        self.outbox.push_back(Output::Send { to, lane, bytes });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outbox.push_back(Output::Event(event));
    }

    /// The point `span` from now. Never now itself: timers must come to rest.
    pub(crate) fn after(&self, span: Duration) -> Duration {
        self.now.saturating_add(span.max(Duration::from_micros(1)))
    }

    pub(crate) fn set_after(&mut self, timer: Timer, span: Duration) {
        let at = self.after(span);
        self.timers.set(timer, at);
    }

    /// Between three and five quarters of `span`, so that nodes do not fall into step.
    pub(crate) fn jitter(&mut self, span: Duration) -> Duration {
        span * (768 + self.below(512) as u32) / 1024
    }

    /// Evenly below `bound`, which is not zero; the bias of 64 bits does not matter here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * bound as u128) >> 64) as usize
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// One of them at random.
    pub(crate) fn pick(&mut self, nodes: &[NodeId]) -> Option<NodeId> {
        if nodes.is_empty() {
            return None;
        }
        let at = self.below(nodes.len());
        nodes.get(at).copied()
    }

    /// Up to `count` of them at random, ascending.
    pub(crate) fn sample(&mut self, mut nodes: Vec<NodeId>, count: usize) -> Vec<NodeId> {
        let count = count.min(nodes.len());
        for at in 0..count {
            let other = at + self.below(nodes.len() - at);
            nodes.swap(at, other);
        }
        nodes.truncate(count);
        nodes.sort_unstable();
        nodes
    }
}
