//! Hubs and leaves as a machine (SHARD-20 to SHARD-25). What happens is decided in the modules below: `leaf` keeps a node
//! attached, `hub` serves those who are, `standing` takes and leaves the role, `region` finds the lead.

mod config;
mod hub;
mod hubs;
mod leaf;
mod message;
mod region;
mod score;
mod standing;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use cs_identity::NodeId;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::member::Subnet;
use hub::Leaf;
use hubs::Hubs;
use leaf::{Attachment, Pending};
use standing::Standing;

pub use config::{RolesConfig, RolesConfigError};
pub use message::{Attach, Hint, MAX_HINTS, Probe, Reply, RolesFault, RolesMessage};
pub use score::Facts;

/// What a node does for others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Role {
    /// Nothing: it is attached to hubs.
    #[default]
    Leaf,
    /// Leaves are attached to it.
    Hub,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RolesInput<'a> {
    /// A message arrived, from a peer that the transport has authenticated.
    Message {
        /// Who sent it.
        from: NodeId,
        /// Of the address that it came from.
        subnet: Subnet,
        /// What.
        bytes: &'a [u8],
    },
    /// The transport knows that a peer cannot be reached any more. Nobody needs to say so, but it saves waiting.
    Unreachable {
        /// Who.
        peer: NodeId,
    },
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RolesOutput {
    /// Send this; loss, duplicates and reordering are harmless.
    Send {
        /// To whom.
        to: NodeId,
        /// At most 350 bytes.
        bytes: Vec<u8>,
    },
    /// Tell the node.
    Event(RolesEvent),
}

/// What the node should know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RolesEvent {
    /// This node is a hub now, or is one no more. Its peer record says so from now on.
    Role(Role),
    /// Where it stands in the aggregation tree: for [`Tree::set_place`](crate::Tree::set_place).
    Place {
        /// 0 leaf, 1 hub, 2 lead of a region, 3 root.
        level: u8,
        /// Home hub, lead or root.
        parent: Option<NodeId>,
    },
    /// Somebody has this node as its parent: for [`Tree::admit`](crate::Tree::admit).
    Child {
        /// Who.
        id: NodeId,
        /// Where it says it stands; always lower than this node.
        level: u8,
    },
    /// Somebody has it as its parent no more: for [`Tree::dismiss`](crate::Tree::dismiss).
    ChildGone {
        /// Who.
        id: NodeId,
    },
    /// No hub answers: tell more of them by [`Roles::learn`], from the DHT or a file.
    Isolated,
}

/// What has been counted since the machine was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RolesCounters {
    /// Messages sent.
    pub sent: u64,
    /// Changes of role.
    pub flips: u64,
    /// Hubs given up since they did not answer.
    pub hubs_lost: u64,
    /// Leaves invited to be hubs.
    pub invited: u64,
}

/// Which nodes serve others, and whom each is attached to: decided by each node from what it and its neighbours measure.
///
/// A leaf keeps two or three hubs in distinct zones, the nearest as its home, and probes each once an interval; when one
/// does not answer it looks at the others at once. A hub that has too many leaves draws one of those that are fit,
/// proven reachable and long known to it, and invites it to be a hub too. Hubs near each other form a region with a lead.
///
/// Methods are of four kinds, as in all machines here: commands, inputs, outputs, questions.
#[derive(Debug)]
pub struct Roles {
    config: RolesConfig,
    me: NodeId,
    epoch: Duration,
    now: Duration,
    rng: ChaCha8Rng,
    standing: Standing,
    hubs: Hubs,
    /// Told by [`learn`](Self::learn): where to begin again.
    seeds: Vec<NodeId>,
    /// Hubs this one is attached to; of a hub, its lead or root.
    attached: Vec<Attachment>,
    home: Option<NodeId>,
    pending: BTreeMap<u32, Pending>,
    leaves: BTreeMap<NodeId, Leaf>,
    /// Of them, those on level 0: each probe asks for their number.
    leaf_count: usize,
    /// As told by the last event.
    place: (u8, Option<NodeId>),
    /// Whether this hub follows nobody in its region.
    is_lead: bool,
    /// The root that this node, a lead, believes in.
    root: Option<NodeId>,
    /// Candidates that this hub asked its leaves to dial, and when it may do so for others.
    dial_at: Duration,
    vouch_at: Duration,
    invite_at: Duration,
    explore_at: Duration,
    /// Until then this node is new to its place, or to its role, and looks around faster.
    young_until: Duration,
    seek_at: Option<Duration>,
    tick_at: Duration,
    isolated_at: Duration,
    last_nonce: u32,
    outbox: VecDeque<RolesOutput>,
    counters: RolesCounters,
}

/// Hubs that are remembered from commands.
const SEEDS_MAX: usize = 16;
/// How long a new node, or a new hub, looks around faster.
const YOUNG: Duration = Duration::from_secs(300);

impl Roles {
    /// `now`: time since one epoch that the caller picks. `seed`: the only source of chance; it picks nonces too, so
    /// outside of simulations it must be unpredictable.
    ///
    /// # Errors
    /// [`RolesConfigError`] names the setting that cannot work.
    pub fn new(
        config: RolesConfig,
        me: NodeId,
        now: Duration,
        seed: [u8; 32],
    ) -> Result<Self, RolesConfigError> {
        config.check()?;
        let mut rng = ChaCha8Rng::from_seed(seed);
        let tick_at = config.probe_interval.mul_f64(rng.random_range(0.01..1.0));
        let mut roles = Self {
            standing: Standing::new(config.initial, &mut rng),
            me,
            epoch: now,
            now: Duration::ZERO,
            hubs: Hubs::default(),
            seeds: Vec::new(),
            attached: Vec::new(),
            home: None,
            pending: BTreeMap::new(),
            leaves: BTreeMap::new(),
            leaf_count: 0,
            place: (0, None),
            is_lead: false,
            root: None,
            dial_at: Duration::ZERO,
            vouch_at: Duration::ZERO,
            invite_at: config.settle_interval.mul_f64(rng.random_range(0.01..1.0)),
            explore_at: tick_at / 8,
            young_until: YOUNG,
            seek_at: None,
            tick_at,
            isolated_at: Duration::ZERO,
            last_nonce: rng.next_u32(),
            outbox: VecDeque::new(),
            counters: RolesCounters::default(),
            rng,
            config,
        };
        roles.tell_place();
        Ok(roles)
    }

    /// Hubs to begin with, from the DHT, a file or a friend; the last 16 are remembered.
    pub fn learn(&mut self, now: Duration, hubs: &[NodeId]) {
        self.advance_clock(now);
        for id in hubs.iter().filter(|id| **id != self.me) {
            if !self.seeds.contains(id) {
                self.seeds.push(*id);
            }
        }
        let excess = self.seeds.len().saturating_sub(SEEDS_MAX);
        self.seeds.drain(..excess);
        self.hear_of_seeds();
        self.seek();
    }

    /// What the node knows of itself, whenever that changes.
    pub fn set_facts(&mut self, now: Duration, facts: Facts) {
        self.advance_clock(now);
        self.standing.facts = facts;
    }

    /// The machine goes to sleep or the program ends: a hub sends its leaves away at once.
    pub fn suspend(&mut self, now: Duration) {
        self.advance_clock(now);
        self.standing.is_asleep = true;
        if self.standing.role == Role::Hub {
            self.give_up();
        }
        self.detach_all();
    }

    /// The machine woke up, or the network changed: everything is measured anew.
    pub fn resume(&mut self, now: Duration) {
        self.advance_clock(now);
        self.standing.wake();
        self.tick_at = self.now + self.config.probe_limit;
        self.seek();
    }

    /// Takes in what the transport received.
    ///
    /// # Errors
    /// [`RolesFault`] blames the sender; nothing changed but the clock.
    pub fn handle_input(&mut self, now: Duration, input: RolesInput<'_>) -> Result<(), RolesFault> {
        self.advance_clock(now);
        let (from, subnet, bytes) = match input {
            RolesInput::Message { from, subnet, bytes } => (from, subnet, bytes),
            RolesInput::Unreachable { peer } => {
                self.lose(peer);
                return Ok(());
            }
        };
        match RolesMessage::from_bytes(bytes)? {
            RolesMessage::Probe(probe) => self.serve(from, subnet, &probe),
            RolesMessage::Reply(reply) => return self.take_reply(from, reply),
            RolesMessage::Leaving { hubs } => return self.take_leave(from, &hubs),
            RolesMessage::Detach => self.forget_leaf(&from),
            RolesMessage::Invite => return self.take_invitation(from),
            RolesMessage::DialMe { nonce } => return self.have_dialled(from, nonce),
            RolesMessage::Dial { candidate, nonce } => return self.dial(from, candidate, nonce),
            RolesMessage::Vouch { nonce } => return self.take_vouch(from, subnet, nonce),
        }
        Ok(())
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance_clock(now);
        self.expire_probes();
        self.probe_due();
        if self.seek_at.is_some_and(|at| at <= self.now) {
            self.seek_at = None;
            self.seek();
        }
        if self.explore_at <= self.now {
            self.explore();
            let span = self.config.explore_interval / self.pace();
            self.explore_at = self.now + span.mul_f64(self.rng.random_range(0.8..1.2));
        }
        if self.tick_at <= self.now {
            self.tick();
            self.tick_at = self.now + self.config.probe_interval.mul_f64(self.rng.random_range(0.9..1.1));
        }
        self.tell_place();
    }

    /// What to do next, oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<RolesOutput> {
        self.outbox.pop_front()
    }

    /// When to call `handle_timeout`; after it was called this is always later.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let probes = self.attached.iter().map(|hub| hub.probe_at);
        let pending = self.pending.values().map(|pending| pending.until);
        let fixed = [self.explore_at, self.tick_at].into_iter().chain(self.seek_at);
        probes.chain(pending).chain(fixed).min().map(|at| self.epoch.saturating_add(at))
    }

    /// Hub or leaf.
    #[must_use]
    pub fn role(&self) -> Role {
        self.standing.role
    }

    /// 0 leaf, 1 hub, 2 lead of a region, 3 root; and home hub, lead or root.
    #[must_use]
    pub fn place(&self) -> (u8, Option<NodeId>) {
        self.place
    }

    /// Hubs that this node is attached to, and the last round trip to each.
    pub fn attached(&self) -> impl Iterator<Item = (NodeId, Option<Duration>)> {
        self.attached.iter().map(|hub| (hub.id, self.hubs.rtt(&hub.id)))
    }

    /// The nearest of them, to which the node reports.
    #[must_use]
    pub fn home(&self) -> Option<NodeId> {
        self.home
    }

    /// Leaves attached to this hub.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.leaf_count
    }

    /// How fit this node is to be a hub, 0 to 1,000.
    #[must_use]
    pub fn score(&self) -> u16 {
        score::score(&self.standing.facts, self.hubs.median_rtt())
    }

    /// Since the machine was made.
    #[must_use]
    pub fn counters(&self) -> RolesCounters {
        self.counters
    }

    fn advance_clock(&mut self, now: Duration) {
        self.now = self.now.max(now.saturating_sub(self.epoch));
    }

    /// Hubs look around eight times as often as leaves: they are who leaves hear of others from. Who is new does so
    /// twelve times as often.
    fn pace(&self) -> u32 {
        match self.standing.role {
            _ if self.now < self.young_until => 12,
            Role::Hub => 8,
            Role::Leaf => 1,
        }
    }

    fn tick(&mut self) {
        self.weigh_up();
        if self.standing.role == Role::Hub {
            self.forget_silent_leaves();
            self.draw();
            self.choose_lead();
        } else {
            self.ask_to_be_dialled();
            self.choose_home();
        }
        self.seek();
    }

    fn tell_place(&mut self) {
        let place = (self.level(), self.parent());
        if place != self.place {
            self.place = place;
            self.event(RolesEvent::Place { level: place.0, parent: place.1 });
        }
    }

    fn event(&mut self, event: RolesEvent) {
        self.outbox.push_back(RolesOutput::Event(event));
    }

    fn send(&mut self, to: NodeId, message: &RolesMessage) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.counters.sent += 1;
        self.outbox.push_back(RolesOutput::Send { to, bytes });
    }
}
