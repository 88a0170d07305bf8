//! What every part of the node shares: who it is, what time it is, and where its outputs go.

use std::collections::VecDeque;
use std::time::Duration;

use cs_identity::{NodeId, SecretKey};
use cs_transport::wire::Lane;

use crate::core::ports::{Event, Output, SessionId};
use crate::wire::Message;

/// A source of unpredictable bytes for keys: the operating system's in a node, a seeded one in the simulator.
pub type Entropy = Box<dyn FnMut() -> [u8; 32] + Send>;

/// Claimed times further ahead of this node's clock than this do not move it.
const MAX_AHEAD_MS: u64 = 24 * 60 * 60 * 1000;

const NS_PER_MS: i128 = 1_000_000;

pub(crate) struct Host {
    pub(crate) secret: SecretKey,
    pub(crate) me: NodeId,
    pub(crate) now: Duration,
    entropy: Entropy,
    /// Unix nanoseconds at `now` zero: to the nanosecond, so that the wall clock does not depend on where `now` began.
    epoch_unix_ns: i128,
    /// Hybrid clock: the highest value given out or seen.
    clock: u64,
    pub(crate) outbox: VecDeque<Output>,
}

impl Host {
    pub(crate) fn new(secret: SecretKey, now: Duration, unix_ms: u64, entropy: Entropy) -> Self {
        let me = secret.node_id();
        let mut host = Self { secret, me, now, entropy, epoch_unix_ns: 0, clock: 0, outbox: VecDeque::new() };
        host.set_wall_clock(unix_ms);
        host
    }

    pub(crate) fn set_wall_clock(&mut self, unix_ms: u64) {
        self.epoch_unix_ns = i128::from(unix_ms) * NS_PER_MS - self.now.as_nanos() as i128;
    }

    /// Unix time in milliseconds.
    pub(crate) fn unix_ms(&self) -> u64 {
        let unix_ms = (self.epoch_unix_ns + self.now.as_nanos() as i128) / NS_PER_MS;
        u64::try_from(unix_ms.max(0)).unwrap_or(u64::MAX)
    }

    /// The next value of the hybrid clock: Unix milliseconds << 16, and never twice the same.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock = (self.clock + 1).max(self.unix_ms() << 16);
        self.clock
    }

    /// Whether a claimed hybrid time is too far ahead to be accepted yet.
    pub(crate) fn is_future(&self, clock: u64) -> bool {
        clock >> 16 > self.unix_ms() + MAX_AHEAD_MS
    }

    /// Lets a received clock value move this node's own, so that what it writes next sorts after.
    pub(crate) fn observe(&mut self, clock: u64) {
        if !self.is_future(clock) {
            self.clock = self.clock.max(clock);
        }
    }

    pub(crate) fn random(&mut self) -> [u8; 32] {
        (self.entropy)()
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outbox.push_back(output);
    }

    pub(crate) fn send(&mut self, session: SessionId, lane: Lane, message: &Message) {
        self.push(Output::Send { session, lane, bytes: message.to_bytes() });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }
}
