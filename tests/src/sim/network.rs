//! What is between the nodes: delays, losses, partitions, and sessions as authenticated pipes.

use crate::sim::Chance;
use crate::sim::happening::{Held, lane_number};
use cs_transport::wire::Lane;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A session that hears nothing for this long is over: the transport's own default.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A dial that reaches nobody is given up after this long: the transport's own default.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A sealed request without an answer is given up after this long: the driver's own value.
pub(crate) const RPC_TIMEOUT: Duration = Duration::from_secs(5);

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// One-way delays of links lie between these.
    pub delay: (Duration, Duration),
    /// Of a thousand datagrams so many vanish. Sessions repeat what is lost, and are delayed by it.
    pub loss_per_mille: u64,
    /// Bytes a second on one session in one direction.
    pub bandwidth: u64,
}

impl Default for Weather {
    /// The public network on a fair day.
    fn default() -> Self {
        Self {
            delay: (Duration::from_millis(2), Duration::from_millis(90)),
            loss_per_mille: 10,
            bandwidth: 4 << 20,
        }
    }
}

/// A session between two runs of two nodes. `0` is the dialling end.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) ends: [usize; 2],
    pub(crate) lives: [u32; 2],
    pub(crate) exporter: [u8; 32],
    /// Whether the end was told that the session stands.
    pub(crate) up: [bool; 2],
    /// Since when nothing gets through.
    pub(crate) silent_since: Option<Duration>,
    /// When the last message of each lane arrives, by the receiving end.
    last_at: [[Duration; 4]; 2],
    /// When the line towards each end is free again.
    free_at: [Duration; 2],
    /// What cannot be delivered yet, by the receiving end.
    pub(crate) held: [VecDeque<Held>; 2],
    /// Bytes sent and not delivered, by the receiving end.
    pub(crate) queued: [usize; 2],
}

impl Session {
    pub(crate) fn new(ends: [usize; 2], lives: [u32; 2], exporter: [u8; 32]) -> Self {
        Self {
            ends,
            lives,
            exporter,
            up: [false; 2],
            silent_since: None,
            last_at: [[Duration::ZERO; 4]; 2],
            free_at: [Duration::ZERO; 2],
            held: [VecDeque::new(), VecDeque::new()],
            queued: [0; 2],
        }
    }

    /// Which end this node is.
    pub(crate) fn end_of(&self, node: usize) -> usize {
        usize::from(self.ends[0] != node)
    }
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    seed: u64,
    pub(crate) sessions: BTreeMap<u64, Session>,
    next_session: u64,
    /// Directions in which nothing gets through.
    cuts: BTreeSet<(usize, usize)>,
    chance: Chance,
}

impl Network {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let chance = Chance::new(seed, "network");
        Self { weather, seed, sessions: BTreeMap::new(), next_session: 0, cuts: BTreeSet::new(), chance }
    }

    /// One datagram's delay from one node to another: the link's own, and some jitter.
    pub(crate) fn delay(&mut self, from: usize, to: usize) -> Duration {
        let link = (from.min(to) as u64) << 32 | from.max(to) as u64;
        let (least, most) = self.weather.delay;
        let base = least + Chance::new(self.seed ^ link, "link").span(most.saturating_sub(least));
        base + self.chance.span(base / 4)
    }

    pub(crate) fn loses_one(&mut self) -> bool {
        self.chance.below(1000) < self.weather.loss_per_mille
    }

    pub(crate) fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut {
            self.cuts.insert((from, to));
        } else {
            self.cuts.remove(&(from, to));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// A new session with an exporter of its own.
    pub(crate) fn open(&mut self, ends: [usize; 2], lives: [u32; 2]) -> u64 {
        self.next_session += 1;
        let session = Session::new(ends, lives, self.chance.bytes());
        self.sessions.insert(self.next_session, session);
        self.next_session
    }

    /// The session between two nodes, if there is one.
    pub(crate) fn between(&self, a: usize, b: usize) -> Option<u64> {
        let joins = |s: &Session| s.ends == [a, b] || s.ends == [b, a];
        self.sessions.iter().find(|(_, s)| joins(s)).map(|(id, _)| *id)
    }

    pub(crate) fn of_node(&self, node: usize) -> Vec<u64> {
        self.sessions.iter().filter(|(_, s)| s.ends.contains(&node)).map(|(id, _)| *id).collect()
    }

    /// When a message that is sent now arrives, and at whom. Messages of one lane keep their order, but for bulk.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        id: u64,
        from: usize,
        lane: Lane,
        len: usize,
    ) -> Option<(usize, Duration)> {
        let (end, to) = {
            let session = self.sessions.get(&id)?;
            let end = 1 - session.end_of(from);
            (end, session.ends[end])
        };
        let repeated = if self.loses_one() { self.delay(from, to) * 2 } else { Duration::ZERO };
        let delay = self.delay(from, to) + repeated;
        let span = Duration::from_nanos(len as u64 * 1_000_000_000 / self.weather.bandwidth);
        let session = self.sessions.get_mut(&id)?;
        session.queued[end] += len;
        // Small lanes overtake bulk, which is what priorities are for.
        let at = if lane == Lane::Bulk {
            session.free_at[end] = session.free_at[end].max(now) + span;
            session.free_at[end] + delay
        } else {
            let last = &mut session.last_at[end][lane_number(lane)];
            *last = (*last + Duration::from_nanos(1)).max(now + span + delay);
            *last
        };
        Some((to, at))
    }

    /// Nothing arrives at this end before it knows of the session.
    pub(crate) fn not_before(&mut self, id: u64, end: usize, at: Duration) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last_at[end] = [at; 4];
            session.free_at[end] = at;
        }
    }
}
