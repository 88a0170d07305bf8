//! The machine: its state, its six verbs and its commands. What happens then is decided in the modules below.

mod answer;
mod join;
mod maintain;
mod query;
mod region;
mod serve;
mod sweep;

use crate::config::{Config, K, Mode};
use crate::estimate::SizeEstimate;
use crate::event::{Contact, Counters, Event, Input, LookupId, Output, RpcId};
use crate::fault::{ConfigError, PeerFault, Refused};
use crate::key::Key;
use crate::limiter::Limiter;
use crate::publish::Publications;
use crate::records::{RecordStore, check_expiry, check_time};
use crate::routing::RoutingTable;
use crate::rtt::Estimator;
use crate::timers::{Timer, Timers};
use crate::token::Tokens;
use crate::wire::{
    Ask, ImmutableValue, MAX_MESSAGE, MutableValue, NetworkConfig, Node, PeerRecord, ProviderRecord, Record,
    RecordKind, Request,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use answer::{Purpose, Rpc};
use core::time::Duration;
use cs_identity::{NodeId, Signed};
use join::Join;
use query::{Goal, Query};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Contacts given out for the cache on disk.
const CACHED_CONTACTS_MAX: usize = 64;

/// One node of the network, without sockets and clock: feed it inputs and the time, carry out its outputs.
///
/// Methods are of four kinds. *Commands* (`find_peer`, `announce`, ...) start something and return a handle; the answer
/// is an [`Event`]. *Inputs* (`handle_input`, `handle_timeout`) tell what happened. *Outputs* (`poll_output`,
/// `poll_timeout`) say what to do; poll them until `None` after each of the former. *Questions* (`contacts`,
/// `counters`, ...) change nothing.
///
/// Times are spans since any epoch, the same for all calls; a clock that steps back is taken to stand still.
#[derive(Debug)]
pub struct Dht {
    config: Config,
    me: NodeId,
    /// What the caller called now when the machine was made; inside, time starts at zero.
    epoch: Duration,
    now: Duration,
    /// The wall clock at a point of inner time.
    wall_clock: (Duration, u64),
    rng: ChaCha8Rng,
    table: RoutingTable,
    rtt: Estimator,
    tokens: Tokens,
    limiter: Limiter,
    records: RecordStore,
    publications: Publications,
    network_config: Option<Box<Signed<NetworkConfig>>>,
    size: SizeEstimate,
    join: Join,
    /// Buckets still to be refreshed: all below this one.
    refreshing: u8,
    refresh_at: Duration,
    rpcs: BTreeMap<RpcId, Rpc>,
    queries: BTreeMap<LookupId, Query>,
    timers: Timers,
    outbox: VecDeque<Output>,
    last_rpc: u64,
    last_lookup: u64,
    /// Says goodbye: `Event::Left` is due once nothing is under way.
    is_leaving: bool,
    counters: Counters,
}

impl Dht {
    /// `now`: time since one epoch that the caller picks. `seed`: the only source of chance. It also keys the write
    /// tokens and rate limits, so outside of simulations it must be unpredictable.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that cannot work.
    pub fn new(config: Config, me: NodeId, now: Duration, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rng = ChaCha8Rng::from_seed(seed);
        let mut key = || {
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            key
        };
        let tokens = Tokens::new(key());
        let limiter = Limiter::new(rng.next_u64());
        let mut dht = Self {
            me,
            epoch: now,
            now: Duration::ZERO,
            wall_clock: (Duration::ZERO, config.unix_ms),
            rng,
            table: RoutingTable::new(Key::of_peer(&me)),
            rtt: Estimator::new(config.rto_min, config.rto_max),
            tokens,
            limiter,
            records: RecordStore::default(),
            publications: Publications::default(),
            network_config: None,
            size: SizeEstimate::default(),
            join: Join::default(),
            refreshing: 0,
            refresh_at: config.refresh_interval,
            rpcs: BTreeMap::new(),
            queries: BTreeMap::new(),
            timers: Timers::default(),
            outbox: VecDeque::new(),
            last_rpc: 0,
            last_lookup: 0,
            is_leaving: false,
            counters: Counters::default(),
            config,
        };
        dht.schedule_maintenance();
        Ok(dht)
    }

    /// Takes in what the transport received.
    ///
    /// # Errors
    /// [`PeerFault`] blames the sender; nothing changed but the clock, and it is safe to ignore.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Result<(), PeerFault> {
        self.advance_clock(now);
        match input {
            Input::Request { from, addr, bytes, token } => self.serve(Node { id: from, addr }, bytes, token),
            Input::Response { rpc, from, bytes } => self.take_response(rpc, from, bytes),
            Input::Failed { rpc } => {
                self.lose(rpc);
                Ok(())
            }
        }
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance_clock(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Late(rpc) => self.free_slot(rpc),
                Timer::Slow(rpc) => self.go_on_without(rpc),
                Timer::Lost(rpc) => self.lose(rpc),
                Timer::Rejoin => self.retry_join(),
                Timer::Maintain => self.maintain(),
            }
        }
    }

    /// What to do next, oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When to call `handle_timeout`; after it was called this is always later.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next().map(|at| self.epoch.saturating_add(at))
    }

    /// Joins the network through these peers, and remembers them for when it is lost. More may be added at any time;
    /// 64 are remembered. [`Event::Bootstrapped`] tells of success; until then lookups wait, and attempts go on.
    pub fn bootstrap(&mut self, now: Duration, contacts: Vec<Contact>) {
        self.advance_clock(now);
        self.join_through(contacts);
    }

    /// The network changed or the machine slept: tries all known peers at once, as after an isolation.
    pub fn rejoin(&mut self, now: Duration) {
        self.advance_clock(now);
        self.start_over();
    }

    /// Finds the K peers closest to a key, over disjoint paths: [`Event::Nodes`].
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::NoPeers`].
    pub fn find_node(&mut self, now: Duration, target: Key) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.start(Goal::Nodes, target)
    }

    /// Finds where a peer is: [`Event::Peer`].
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::NoPeers`].
    pub fn find_peer(&mut self, now: Duration, id: NodeId) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.start(Goal::get(RecordKind::Peer, Some(id)), Key::of_peer(&id))
    }

    /// Finds who holds something: [`Event::Providers`].
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::NoPeers`].
    pub fn find_providers(&mut self, now: Duration, key: [u8; 32]) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.start(Goal::get(RecordKind::Provider, None), Key::from_bytes(key))
    }

    /// Finds the newest value that `publisher` keeps under `salt`: [`Event::Mutable`].
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::NoPeers`].
    pub fn get(&mut self, now: Duration, publisher: &NodeId, salt: &[u8]) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.start(Goal::get(RecordKind::Mutable, None), Key::of_mutable(publisher, salt))
    }

    /// Finds the value that hashes to a key: [`Event::Immutable`].
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::NoPeers`].
    pub fn get_immutable(&mut self, now: Duration, key: Key) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.start(Goal::get(RecordKind::Immutable, None), key)
    }

    /// Publishes where this node is, and again until the record ends or a newer one replaces it: [`Event::Stored`].
    ///
    /// # Errors
    /// [`Refused::BadRecord`] if it is another node's, too large or has no valid lifetime; [`Refused::Stale`],
    /// [`Refused::TooMany`], [`Refused::Busy`], [`Refused::NoPeers`].
    pub fn announce(&mut self, now: Duration, record: Signed<PeerRecord>) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        if record.id != self.me {
            return Err(Refused::BadRecord);
        }
        self.publish(Record::Peer(record), None)
    }

    /// Publishes that somebody holds something, and again until the record ends: [`Event::Stored`].
    ///
    /// # Errors
    /// As for `announce`.
    pub fn provide(&mut self, now: Duration, record: Signed<ProviderRecord>) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.publish(Record::Provider(record), None)
    }

    /// Publishes a value, and again until it ends. With `expected`, peers take it only in place of the value with that
    /// sequence number (0: none): [`Event::Stored`] counts those that hold another.
    ///
    /// # Errors
    /// As for `announce`.
    pub fn put(
        &mut self,
        now: Duration,
        value: Signed<MutableValue>,
        expected: Option<u64>,
    ) -> Result<LookupId, Refused> {
        self.advance_clock(now);
        self.publish(Record::Mutable(value), expected)
    }

    /// Publishes a value under its hash, and again until it is withdrawn: [`Event::Stored`].
    ///
    /// # Errors
    /// [`Refused::BadRecord`] above [`MAX_VALUE`](crate::wire::MAX_VALUE) bytes; else as for `announce`.
    pub fn put_immutable(&mut self, now: Duration, value: Vec<u8>) -> Result<(Key, LookupId), Refused> {
        self.advance_clock(now);
        let value = ImmutableValue::new(value).ok_or(Refused::BadRecord)?;
        let key = value.key();
        self.publish(Record::Immutable(value), None).map(|lookup| (key, lookup))
    }

    /// Stores what is published under this key no more. What others hold of it ends by itself. Returns whether
    /// anything was published.
    pub fn withdraw(&mut self, key: &Key) -> bool {
        self.publications.withdraw(key)
    }

    /// Whether strangers may count on this node.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.config.mode
    }

    /// Whether strangers may count on this node from now on.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.config.mode = mode;
    }

    /// Corrects the wall clock, in milliseconds since 1970.
    pub fn set_wall_clock(&mut self, now: Duration, unix_ms: u64) {
        self.advance_clock(now);
        self.wall_clock = (self.now, unix_ms);
    }

    /// Takes a network configuration from the disk, or one to serve as a bootstrap node. The newest known one is served.
    ///
    /// # Errors
    /// [`Refused::UntrustedConfig`] if no known authority signed it or a newer one is known, and
    /// [`Refused::BadRecord`] if it has ended.
    pub fn set_network_config(
        &mut self,
        now: Duration,
        config: Signed<NetworkConfig>,
    ) -> Result<(), Refused> {
        self.advance_clock(now);
        check_expiry(config.expires_unix_ms.min(self.unix_ms() + 1), self.unix_ms())
            .map_err(|_| Refused::BadRecord)?;
        if !self.is_trusted(&config) {
            return Err(Refused::UntrustedConfig);
        }
        self.network_config = Some(Box::new(config));
        Ok(())
    }

    /// Asks the closest peers to name this node no more, answers nobody from now on, and hands what it holds for others to
    /// those that take its place. To be called before a graceful end; [`Event::Left`] says that all is done, which on a
    /// good network takes a few round trips. Whoever cannot wait loses nothing but that help.
    pub fn leave(&mut self, now: Duration) {
        self.advance_clock(now);
        self.say_goodbye();
    }

    /// The newest known network configuration.
    #[must_use]
    pub fn network_config(&self) -> Option<&Signed<NetworkConfig>> {
        self.network_config.as_deref()
    }

    /// Peers for the cache on disk, those that answered last first: with them the next start needs no bootstrap node.
    #[must_use]
    pub fn contacts(&self) -> Vec<Contact> {
        let mut entries: Vec<_> = self.table.entries().filter(|entry| entry.failures() == 0).collect();
        entries.sort_by_key(|entry| entry.silent_for(self.now));
        entries.truncate(CACHED_CONTACTS_MAX);
        entries.iter().map(|entry| contact(&entry.node())).collect()
    }

    /// Peers in the routing table.
    #[must_use]
    pub const fn table_len(&self) -> usize {
        self.table.len()
    }

    /// Nodes of the network, estimated from how close the peers are that lookups found; within some 20 % after a dozen
    /// of them. `None` before the first, and in networks of a handful.
    #[must_use]
    pub fn network_size(&self) -> Option<u64> {
        self.size.nodes()
    }

    /// Records held for others: how many, and their bytes.
    #[must_use]
    pub fn records_held(&self) -> (usize, usize) {
        (self.records.len(), self.records.bytes())
    }

    /// Bytes of state at rest: this value and its routing table; not the records, which have a quota of their own.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>() + self.table.heap_bytes()
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn advance_clock(&mut self, now: Duration) {
        self.now = self.now.max(now.saturating_sub(self.epoch));
    }

    fn unix_ms(&self) -> u64 {
        let (at, unix_ms) = self.wall_clock;
        unix_ms.saturating_add(u64::try_from(self.now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX))
    }

    fn emit(&mut self, event: Event) {
        self.outbox.push_back(Output::Event(event));
    }

    /// Asks a peer something, and sets the deadlines of its answer.
    fn ask(&mut self, to: Node, request: &Request, purpose: Purpose) {
        let known = self.table.find(&to.id).map(|entry| entry.rtt());
        let timeout = self.rtt.timeout(known);
        self.ask_within(to, request, purpose, timeout);
    }

    /// Asks a peer something whose answer is overdue after `timeout`.
    fn ask_within(&mut self, to: Node, request: &Request, purpose: Purpose, timeout: Duration) {
        let mut bytes = Vec::with_capacity(MAX_MESSAGE);
        request.encode(&mut bytes);
        self.last_rpc += 1;
        let rpc = RpcId(self.last_rpc);
        let known = self.table.find(&to.id).map(|entry| entry.rtt());
        let late_at = self.now + self.rtt.hedge(known);
        let slow_at = self.now + timeout;
        let lost_at = self.now + self.config.answer_limit;
        if matches!(purpose, Purpose::Lookup(_)) {
            self.timers.set(late_at, Timer::Late(rpc));
        }
        self.timers.set(slow_at, Timer::Slow(rpc));
        self.timers.set(lost_at, Timer::Lost(rpc));
        let length = bytes.len();
        let (sent_at, sought, named_by) = (self.now, None, None);
        let open = Rpc { to, purpose, sent_at, late_at, slow_at, lost_at, length, sought, named_by };
        self.rpcs.insert(rpc, open);
        self.counters.requests_sent += 1;
        self.outbox.push_back(Output::Request { rpc, to: to.id, addr: to.addr, bytes });
    }

    /// A question from this node in its present mode.
    fn question(&self, ask: Ask) -> Request {
        Request::new(self.config.mode == Mode::Client, ask)
    }

    fn publish(&mut self, record: Record, expected: Option<u64>) -> Result<LookupId, Refused> {
        check_time(&record, self.unix_ms()).map_err(|_| Refused::BadRecord)?;
        let current = self.publications.current(&record);
        if current.is_some_and(|current| current.seq() > record.seq()) {
            return Err(Refused::Stale);
        }
        if current.is_none() && self.publications.len() >= self.config.publications_max {
            return Err(Refused::TooMany);
        }
        let lookup = self.start(Goal::store(record.clone(), expected), record.key())?;
        self.publications.set(record, self.now + self.config.republish_interval);
        Ok(lookup)
    }

    /// Peers of the table to start a lookup from.
    fn seeds(&self, target: &Key) -> Vec<Node> {
        self.table.closest(target, K, |entry| entry.failures() < 2)
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % below.max(1) as u64) as usize
    }
}

fn contact(node: &Node) -> Contact {
    Contact { id: node.id, addrs: alloc::vec![node.addr] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::TABLE_MAX;
    use crate::testing::node;

    #[test]
    fn a_node_takes_at_most_16_kib_however_large_the_network() {
        let mut dht = Dht::new(Config::new(0), node(0), Duration::ZERO, [0; 32]).unwrap();
        for seed in 1..3_000 {
            let addr = core::net::SocketAddr::from(([127, 0, 0, 1], 1_000 + seed as u16));
            dht.table.offer(Duration::ZERO, Node { id: node(seed), addr }, Duration::from_millis(100));
        }
        let per_entry = size_of_val(dht.table.entries().next().unwrap());
        let spare = dht.table.heap_bytes() - dht.table.len() * per_entry;
        assert!(spare < 5 * per_entry, "{spare} bytes unused");
        let state = size_of::<Dht>() + TABLE_MAX * per_entry + 32;
        assert!(state <= 16 * 1024, "{state} bytes, {} of them the machine", size_of::<Dht>());
        assert_eq!(dht.state_bytes(), size_of::<Dht>() + dht.table.heap_bytes());
    }
}
