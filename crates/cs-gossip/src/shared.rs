//! What every part of the machine shares: the clock, chance, timers and the outbox.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cs_identity::NodeId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::config::Config;
use crate::egress::Egress;
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
    /// Neighbours that get announcements instead of payloads.
    pub(crate) lazy: BTreeSet<NodeId>,
    /// Links to which something was pushed that have been silent for a while.
    pub(crate) suspects: Vec<NodeId>,
    /// What misbehaviour the tree saw, until membership has noted it.
    pub(crate) blames: Vec<(NodeId, Misdeed)>,
    /// Queues of the links whose transport told how much it holds.
    pub(crate) egress: BTreeMap<NodeId, Egress>,
    rng: ChaCha8Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Up(NodeId),
    Down(NodeId),
}

/// What a peer did that honest ones do not, or seldom (GOS-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    /// Bytes or payloads that are not valid.
    Invalid,
    /// A duplicate.
    Duplicate,
    /// An announced broadcast that it never sent.
    Lie,
    /// The opposite: it sent what it had announced.
    Kept,
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
            lazy: BTreeSet::new(),
            suspects: Vec::new(),
            blames: Vec::new(),
            egress: BTreeMap::new(),
            rng: ChaCha8Rng::from_seed(seed),
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, lane: Lane, message: &Message) {
        self.send_bytes(to, lane, message.to_bytes());
    }

    pub(crate) fn send_bytes(&mut self, to: NodeId, lane: Lane, bytes: Vec<u8>) {
        let expires_at = self.now.saturating_add(self.config.cache_limit);
        self.send_until(to, lane, bytes, expires_at);
    }

    /// Sends it, or drops it if its lane is full or it is still queued then. Links that told nothing of their queues
    /// take all at once.
    pub(crate) fn send_until(&mut self, to: NodeId, lane: Lane, bytes: Vec<u8>, expires_at: Duration) {
        let Some(egress) = self.egress.get_mut(&to) else {
            return self.hand_out(to, lane, bytes);
        };
        egress.expire(self.now);
        if egress.has_room(lane, self.config.backlog_bytes) {
            egress.push(lane, bytes, expires_at);
        } else {
            self.counters.dropped += 1;
        }
        self.release(to);
    }

    /// The transport told what it holds for a peer (GOS-15).
    pub(crate) fn backlog(&mut self, peer: NodeId, bytes: usize) {
        let now = self.now;
        self.egress.entry(peer).or_insert_with(|| Egress::new(now)).reported(now, bytes);
        self.release(peer);
    }

    /// Whether a payload of this lane has room on the way to a peer.
    pub(crate) fn has_room(&self, peer: &NodeId, lane: Lane) -> bool {
        let limit = self.config.backlog_bytes;
        self.egress.get(peer).is_none_or(|egress| egress.has_room(lane, limit))
    }

    fn release(&mut self, peer: NodeId) {
        let now = self.now;
        while let Some((lane, bytes)) = self.egress.get_mut(&peer).and_then(|egress| egress.pop(now)) {
            self.hand_out(peer, lane, bytes);
        }
    }

    fn hand_out(&mut self, to: NodeId, lane: Lane, bytes: Vec<u8>) {
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
