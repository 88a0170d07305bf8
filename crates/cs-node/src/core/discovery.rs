//! Where peers are: the DHT, the local network, what was heard before; and when to dial whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cs_dht::wire::Extensions;
use cs_dht::{Contact, Dht, LookupId, Mode, NetworkConfig, PeerRecord, ProviderRecord};
use cs_identity::{NodeId, Signed};
use cs_store::Disk;

use crate::core;
use crate::core::archive::Archive;
use crate::core::dht::Asked;
use crate::core::host::Host;
use crate::core::hubs::{self, Hubs};
use crate::core::network::Network;
use crate::core::ports::Output;

const PEER: &[u8] = b"peer/";
const CONTACTS: &[u8] = b"dht/contacts";

const NETWORK: &[u8] = b"dht/network";

/// A network configuration signed here stays good for this long.
const CONFIG_LIFETIME_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// The first wait after a dial that failed; each failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait between two dials of one peer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Own records are renewed this often.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(20 * 60);

/// While no node of the DHT is known, announcing is tried again this often.
const ANNOUNCE_RETRY: Duration = Duration::from_secs(30);

/// And stay good for this long.
const RECORD_LIFETIME_MS: u64 = 2 * 60 * 60 * 1000;

/// Open codes and joins look for each other in the DHT this often.
const CODE_INTERVAL: Duration = Duration::from_secs(2);

/// The table's good peers are written down this often.
const SAVE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Addresses kept for a peer, newest first.
const MAX_ADDRS: usize = 8;

/// Roles in a peer record.
const ROLE_BOOTSTRAP: u8 = 1;
/// Relays and tells addresses.
const ROLE_HUB: u8 = 2;

#[derive(Debug, Default)]
struct Known {
    addrs: Vec<SocketAddr>,
    /// The hubs that its record names.
    hubs: Vec<Contact>,
    dialling: bool,
    wait: Duration,
    next_at: Duration,
    lookup: bool,
    /// While it is dialled, the DHT is asked again then: what it told may be from before the peer moved.
    look_at: Duration,
    look_wait: Duration,
}

/// What a DHT lookup was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Peer(NodeId),
    Code([u8; 32]),
}

/// Something found that the node has to act on.
#[derive(Debug)]
pub(crate) enum Found {
    /// Somebody who offers a code.
    Offer { rendezvous: [u8; 32], peer: NodeId, addrs: Vec<SocketAddr>, hubs: Vec<Contact> },
    /// A peer's addresses, by its own record.
    Peer { peer: NodeId, addrs: Vec<SocketAddr> },
    /// What was held for others has been handed on: the node may end.
    Left,
}

pub(crate) struct Discovery {
    pub(crate) dht: Dht,
    /// What people ask of it.
    pub(crate) asked: Asked,
    known: BTreeMap<NodeId, Known>,
    connected: BTreeSet<NodeId>,
    wanted: BTreeSet<NodeId>,
    /// The members of each space: those who may know each other.
    circles: Vec<BTreeSet<NodeId>>,
    pub(crate) hubs: Hubs,
    serves: bool,
    pub(crate) bootstrap: Vec<Contact>,
    lookups: BTreeMap<LookupId, Purpose>,
    /// The address outside that a router maps to this node.
    mapped: Option<SocketAddr>,
    /// Own addresses: those bound, and those that peers see.
    pub(crate) addrs: Vec<SocketAddr>,
    roles: u8,
    announce_at: Duration,
    codes_at: Option<Duration>,
    save_at: Duration,
}

impl Discovery {
    pub(crate) fn new<D: Disk>(host: &mut Host, store: &Archive<D>, config: core::Config) -> Self {
        let core::Config { addrs: listen, bootstrap, is_bootstrap, is_hub, relays, is_hidden, .. } = config;
        let serves = is_bootstrap || is_hub;
        let hubs = Hubs::new(&bootstrap, relays, is_hidden && !serves);
        let mut config = cs_dht::Config::new(host.unix_ms());
        config.mode = if hubs.hidden { Mode::Client } else { Mode::Server };
        let authorities = bootstrap.iter().map(|c| c.id).chain(is_bootstrap.then_some(host.me));
        config.is_traced = true;
        config.authorities = authorities.take(cs_dht::MAX_AUTHORITIES).collect();
        let seed = host.random();
        let mut dht = Dht::new(config, host.me, host.now, seed).expect("the default configuration is valid");
        let mut contacts = bootstrap.clone();
        contacts.extend(load_contacts(store));
        if !contacts.is_empty() {
            dht.bootstrap(host.now, contacts);
        }
        set_network_config(host, store, &mut dht, &listen, &bootstrap, is_bootstrap);
        let known = stored_addrs(store).map(|(peer, addrs)| (peer, Known { addrs, ..Known::default() }));
        let roles = [(is_bootstrap, ROLE_BOOTSTRAP), (serves, ROLE_HUB)];
        let discovery = Self {
            known: known.collect(),
            dht,
            asked: Asked::default(),
            connected: BTreeSet::new(),
            wanted: BTreeSet::new(),
            circles: Vec::new(),
            hubs,
            serves,
            mapped: None,
            bootstrap,
            lookups: BTreeMap::new(),
            addrs: listen,
            roles: roles.iter().filter(|(has, _)| *has).map(|(_, role)| role).sum(),
            announce_at: host.now,
            codes_at: None,
            save_at: host.now + SAVE_INTERVAL,
        };
        discovery.tell_relays(host);
        discovery
    }

    /// Nodes that an invitation may name: of the DHT, and such as pass signals on to this one.
    pub(crate) fn bootstrap_nodes(&self) -> Vec<(NodeId, SocketAddr)> {
        let homes = self.hubs.homes().filter(|hub| self.connected.contains(&hub.id));
        let mut nodes: Vec<(NodeId, SocketAddr)> = Vec::new();
        for contact in self.bootstrap.iter().chain(homes) {
            let is_new = !nodes.iter().any(|(id, _)| *id == contact.id);
            nodes.extend(contact.addrs.first().filter(|_| is_new).map(|addr| (contact.id, *addr)));
        }
        nodes
    }

    /// What the transport has found out of this node's own network: strangers may reach it, or not.
    pub(crate) fn on_network(&mut self, host: &Host, network: &Network) {
        let mapped = network.mapped();
        if mapped != self.mapped {
            self.addrs.retain(|addr| Some(*addr) != self.mapped);
            self.addrs.splice(0..0, mapped);
            self.mapped = mapped;
            self.announce_soon(host.now);
        }
        let Some(is_reached) = network.is_reached() else { return };
        let hidden = !is_reached && !self.serves;
        if hidden != self.hubs.hidden {
            self.hubs.hidden = hidden;
            // Who cannot be reached is in nobody's table.
            self.dht.set_mode(if hidden { Mode::Client } else { Mode::Server });
            self.announce_soon(host.now);
        }
    }

    /// Nodes that pass signals on and relay, from wherever they are named.
    fn learn_hubs(&mut self, host: &mut Host, hubs: &[Contact]) {
        if self.hubs.learn(hubs) {
            self.tell_relays(host);
        }
    }

    fn tell_relays(&self, host: &mut Host) {
        let relays = self.hubs.relays(host.me);
        if !relays.is_empty() {
            host.push(Output::Relays { relays });
        }
    }

    /// Everybody whose addresses were written down: members of a space, now or once.
    pub(crate) fn remembered<D: Disk>(&self, store: &Archive<D>) -> BTreeSet<NodeId> {
        stored_addrs(store).map(|(peer, _)| peer).collect()
    }

    /// Who shall be connected, and who of them may know each other. The others are left alone.
    pub(crate) fn want<D: Disk>(
        &mut self,
        store: &mut Archive<D>,
        wanted: BTreeSet<NodeId>,
        circles: Vec<BTreeSet<NodeId>>,
    ) {
        self.circles = circles;
        for peer in wanted.difference(&self.wanted) {
            // Heard before it was wanted, as of a device that has just joined: a restart must not forget it.
            if let Some(known) = self.known.get(peer).filter(|known| !known.addrs.is_empty()) {
                keep_addrs(store, peer, &known.addrs);
            }
        }
        self.wanted = wanted;
    }

    /// Addresses of a peer, from whatever source; they are tried at once if the peer is wanted.
    pub(crate) fn learn<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        peer: NodeId,
        addrs: &[SocketAddr],
    ) {
        let known = self.known.entry(peer).or_default();
        let fresh: Vec<SocketAddr> = addrs.iter().copied().filter(|a| !known.addrs.contains(a)).collect();
        if fresh.is_empty() {
            return;
        }
        known.addrs.splice(0..0, fresh.iter().copied());
        known.addrs.truncate(MAX_ADDRS);
        known.wait = Duration::ZERO;
        known.next_at = host.now;
        let joins_a_dial = known.dialling;
        if self.wanted.contains(&peer) {
            keep_addrs(store, &peer, &known.addrs);
        }
        if joins_a_dial {
            self.dial(host, peer, fresh);
        }
    }

    /// The hubs that a peer names as its own.
    pub(crate) fn learn_hubs_of(&mut self, peer: NodeId, hubs: Vec<Contact>) {
        self.known.entry(peer).or_default().hubs = hubs;
    }

    /// Nodes that an invitation names.
    pub(crate) fn bootstrap_from(&mut self, host: &mut Host, nodes: Vec<Contact>) {
        self.learn_hubs(host, &nodes);
        self.ask_first(host, nodes);
    }

    fn ask_first(&mut self, host: &Host, nodes: Vec<Contact>) {
        if !nodes.is_empty() {
            self.dht.bootstrap(host.now, nodes);
        }
    }

    pub(crate) fn connected(&mut self, host: &Host, peer: NodeId, addr: SocketAddr) {
        self.connected.insert(peer);
        let known = self.known.entry(peer).or_default();
        (known.dialling, known.wait, known.look_wait) = (false, Duration::ZERO, Duration::ZERO);
        if self.dht.contacts().is_empty() {
            self.ask_first(host, vec![Contact { id: peer, addrs: vec![addr] }]);
        }
        self.home_changed(host, &peer);
    }

    /// The record names the hubs that are connected.
    fn home_changed(&mut self, host: &Host, peer: &NodeId) {
        if self.hubs.homes().any(|hub| hub.id == *peer) {
            self.announce_soon(host.now);
        }
    }

    pub(crate) fn disconnected(&mut self, host: &Host, peer: NodeId) {
        self.connected.remove(&peer);
        self.known.entry(peer).or_default().next_at = host.now + FIRST_WAIT;
        self.home_changed(host, &peer);
    }

    /// A dial found nobody: the DHT may know better.
    pub(crate) fn dial_failed(&mut self, host: &mut Host, peer: NodeId) {
        let known = self.known.entry(peer).or_default();
        known.dialling = false;
        known.wait = (known.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        known.next_at = host.now + known.wait;
        self.look_up(host, peer);
    }

    /// Dials a peer now, wherever it may be; while it is being dialled, it is tried at these addresses too.
    pub(crate) fn dial(&mut self, host: &mut Host, peer: NodeId, addrs: Vec<SocketAddr>) {
        let known = self.known.entry(peer).or_default();
        known.dialling = true;
        let circles = self.circles.iter().filter(|circle| circle.contains(&peer));
        let members = circles.flatten().filter(|member| self.connected.contains(*member)).copied();
        let via = self.hubs.via(&peer, &known.hubs, members, &self.connected);
        host.push(Output::Dial { peer, addrs, via });
    }

    /// Who shall be connected: members of spaces, and hubs that pass signals on to this node.
    fn sought(&self) -> impl Iterator<Item = NodeId> {
        let homes = self.hubs.homes().map(|hub| hub.id).filter(|hub| !self.wanted.contains(hub));
        self.wanted.iter().copied().chain(homes).filter(|peer| !self.connected.contains(peer))
    }

    /// Who is connected or shall be: for `doctor`, which tells of the others as well.
    pub(crate) fn of_interest(&self) -> BTreeSet<NodeId> {
        self.known
            .iter()
            .filter(|(_, known)| known.dialling)
            .map(|(peer, _)| *peer)
            .chain(self.sought())
            .collect()
    }

    /// Asks the DHT where a peer is.
    pub(crate) fn look_up(&mut self, host: &mut Host, peer: NodeId) {
        let known = self.known.entry(peer).or_default();
        if known.lookup || self.dht.contacts().is_empty() {
            return;
        }
        known.look_wait = (known.look_wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        known.look_at = host.now + known.look_wait;
        if let Ok(lookup) = self.dht.find_peer(host.now, peer) {
            known.lookup = true;
            self.lookups.insert(lookup, Purpose::Peer(peer));
        }
    }

    /// The next moment at which something is due.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let has_dht = !self.dht.contacts().is_empty();
        let dials = self.sought().map(|peer| match self.known.get(&peer) {
            Some(known) if known.lookup => Duration::MAX,
            Some(known) if known.dialling && has_dht => known.look_at,
            Some(known) if known.dialling => Duration::MAX,
            Some(known) => known.next_at,
            None => Duration::ZERO,
        });
        let own = [Some(self.announce_at), self.codes_at, Some(self.save_at), self.dht.poll_timeout()];
        dials.chain(own.into_iter().flatten()).min()
    }

    /// Dials, announces and saves what is due. `offered` and `sought` are the places of codes.
    pub(crate) fn handle_timeout<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        offered: &[[u8; 32]],
        sought: &[[u8; 32]],
    ) {
        self.dht.handle_timeout(host.now);
        self.dial_wanted(host);
        if self.announce_at <= host.now {
            let announced = self.announce(host);
            self.announce_at = host.now + if announced { ANNOUNCE_INTERVAL } else { ANNOUNCE_RETRY };
        }
        if self.codes_at.is_some_and(|at| at <= host.now) {
            let wanted = !offered.is_empty() || !sought.is_empty();
            self.codes_at = wanted.then_some(host.now + CODE_INTERVAL);
            if !sought.is_empty() {
                host.push(Output::SearchLan);
            }
            if wanted && !self.dht.contacts().is_empty() {
                self.meet(host, offered, sought);
            }
        }
        if self.save_at <= host.now {
            self.save_at = host.now + SAVE_INTERVAL;
            self.save(store);
        }
    }

    /// Codes are offered or sought from now on.
    pub(crate) fn codes_changed(&mut self, now: Duration) {
        self.codes_at = Some(now);
    }

    /// Own addresses or spaces changed.
    pub(crate) fn announce_soon(&mut self, now: Duration) {
        self.announce_at = self.announce_at.min(now);
    }

    fn dial_wanted(&mut self, host: &mut Host) {
        let may_have_moved = |known: &Known| known.dialling && !known.lookup && known.look_at <= host.now;
        let moved: Vec<NodeId> =
            self.sought().filter(|peer| self.known.get(peer).is_some_and(may_have_moved)).collect();
        moved.into_iter().for_each(|peer| self.look_up(host, peer));
        let is_due = |known: &Known| !known.dialling && !known.lookup && known.next_at <= host.now;
        let due: Vec<NodeId> = self.sought().filter(|peer| self.known.get(peer).is_none_or(is_due)).collect();
        for peer in due {
            let of_hub = self.hubs.known().iter().find(|hub| hub.id == peer).map(|hub| hub.addrs.clone());
            let known = self.known.entry(peer).or_default();
            known.wait = (known.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            known.next_at = host.now + known.wait;
            let mut addrs = known.addrs.clone();
            addrs.extend(of_hub.into_iter().flatten().filter(|addr| !known.addrs.contains(addr)));
            if !addrs.is_empty() {
                self.dial(host, peer, addrs);
            }
            // At the same time: an address that is known may be dead, and would only be found so after a while.
            self.look_up(host, peer);
        }
    }

    /// `false` when there is nobody to tell yet: peers that only ask here fill the table without a bootstrap.
    fn announce(&mut self, host: &mut Host) -> bool {
        let (seq, expires_unix_ms) = (host.unix_ms(), host.unix_ms() + RECORD_LIFETIME_MS);
        let addrs: Vec<SocketAddr> = self.addrs.iter().take(cs_dht::wire::MAX_ADDRS).copied().collect();
        if addrs.is_empty() {
            return true;
        }
        let record = PeerRecord {
            id: host.me,
            addrs,
            roles: self.roles,
            seq,
            expires_unix_ms,
            extensions: self.extensions(),
        };
        self.dht.announce(host.now, Signed::sign(&host.secret, record)).is_ok()
    }

    fn provide(&mut self, host: &mut Host, key: [u8; 32], addrs: &[SocketAddr]) {
        let record = ProviderRecord {
            key,
            publisher: host.me,
            seq: host.unix_ms(),
            expires_unix_ms: host.unix_ms() + RECORD_LIFETIME_MS,
            payload: minicbor::to_vec(&addrs[..addrs.len().min(4)]).expect("writing to a vector cannot fail"),
            extensions: self.extensions(),
        };
        let _ = self.dht.provide(host.now, Signed::sign(&host.secret, record));
    }

    /// What records of this node carry beside their fields: its hubs.
    fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::default();
        if let Some(hubs) = self.hubs.extension(&self.connected) {
            extensions.set(hubs::EXTENSION, hubs);
        }
        extensions
    }

    fn meet(&mut self, host: &mut Host, offered: &[[u8; 32]], sought: &[[u8; 32]]) {
        let addrs = self.addrs.clone();
        for rendezvous in offered {
            self.provide(host, *rendezvous, &addrs);
        }
        for rendezvous in sought {
            if let Ok(lookup) = self.dht.find_providers(host.now, *rendezvous) {
                self.lookups.insert(lookup, Purpose::Code(*rendezvous));
            }
        }
        if !offered.is_empty() {
            // What is offered stays published; it is only renewed now and then.
            self.codes_at = Some(host.now + CODE_INTERVAL * 10);
        }
    }

    /// Passes on what the DHT has to send; returns what it found.
    pub(crate) fn drain<D: Disk>(&mut self, host: &mut Host, store: &mut Archive<D>) -> Vec<Found> {
        let mut found = Vec::new();
        while let Some(output) = self.dht.poll_output() {
            match output {
                cs_dht::Output::Request { rpc, to, addr, bytes } => {
                    host.push(Output::Rpc { rpc: rpc.0, to, addr, bytes });
                }
                cs_dht::Output::Reply { token, bytes } => host.push(Output::RpcReply { token, bytes }),
                cs_dht::Output::Event(event) => {
                    self.asked.on_event(host, &event);
                    self.on_event(host, store, event, &mut found);
                }
            }
        }
        found
    }

    fn on_event<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        event: cs_dht::Event,
        found: &mut Vec<Found>,
    ) {
        match event {
            cs_dht::Event::Bootstrapped { .. } => {
                self.announce_soon(host.now);
                self.save(store);
                if self.codes_at.is_some() {
                    self.codes_at = Some(host.now);
                }
            }
            cs_dht::Event::Peer { lookup, id, record, .. } => {
                self.lookups.remove(&lookup);
                if let Some(known) = self.known.get_mut(&id) {
                    known.lookup = false;
                }
                if let Some(record) = record {
                    let addrs = record.addrs.clone();
                    self.learn_hubs_of(id, Hubs::read_extension(record.extensions.find(hubs::EXTENSION)));
                    self.learn(host, store, id, &addrs);
                    found.push(Found::Peer { peer: id, addrs });
                }
            }
            cs_dht::Event::Providers { lookup, records, .. } => {
                let Some(Purpose::Code(rendezvous)) = self.lookups.remove(&lookup) else { return };
                for record in records.into_iter().filter(|r| r.publisher != host.me) {
                    let Ok(addrs) = minicbor::decode::<Vec<SocketAddr>>(&record.payload) else { continue };
                    let hubs = Hubs::read_extension(record.extensions.find(hubs::EXTENSION));
                    found.push(Found::Offer { rendezvous, peer: record.publisher, addrs, hubs });
                }
            }
            cs_dht::Event::NetworkConfig(config) => {
                store.put_local(NETWORK, config.bytes());
                self.bootstrap_from(host, config.bootstrap.clone());
            }
            cs_dht::Event::Left => found.push(Found::Left),
            cs_dht::Event::Expiring { .. } => self.announce_soon(host.now),
            _ => {}
        }
    }

    /// Tells the DHT that this node goes, and writes down its good peers; [`Found::Left`] follows.
    pub(crate) fn leave<D: Disk>(&mut self, host: &Host, store: &mut Archive<D>) {
        self.dht.leave(host.now);
        self.save(store);
    }

    /// Writes down the table's good peers, so that the next start needs no bootstrap node.
    pub(crate) fn save<D: Disk>(&self, store: &mut Archive<D>) {
        let contacts: Vec<(minicbor::bytes::ByteArray<32>, Vec<SocketAddr>)> =
            self.dht.contacts().into_iter().map(|c| ((*c.id.as_bytes()).into(), c.addrs)).collect();
        if !contacts.is_empty() {
            store.put_local(CONTACTS, &minicbor::to_vec(&contacts).expect("writing to a vector cannot fail"));
        }
    }
}

/// The network's configuration: a bootstrap node signs its own, the others go on with the newest they were given.
fn set_network_config<D: Disk>(
    host: &Host,
    store: &Archive<D>,
    dht: &mut Dht,
    listen: &[SocketAddr],
    bootstrap: &[Contact],
    is_bootstrap: bool,
) {
    let config = if is_bootstrap {
        let me = Contact { id: host.me, addrs: listen.iter().take(4).copied().collect() };
        let known = std::iter::once(me).chain(bootstrap.iter().cloned()).take(cs_dht::wire::MAX_BOOTSTRAP);
        let config = NetworkConfig {
            authority: host.me,
            seq: host.unix_ms(),
            expires_unix_ms: host.unix_ms() + CONFIG_LIFETIME_MS,
            versions: (1, 1),
            bootstrap: known.collect(),
            extensions: Default::default(),
        };
        Some(Signed::sign(&host.secret, config))
    } else {
        store.local(NETWORK).and_then(|bytes| Signed::from_bytes(&bytes).ok())
    };
    if let Some(config) = config {
        // One that has expired, or whose authority is not among the bootstrap nodes any more, is not taken.
        let _ = dht.set_network_config(host.now, config);
    }
}

fn keep_addrs<D: Disk>(store: &mut Archive<D>, peer: &NodeId, addrs: &[SocketAddr]) {
    let bytes = minicbor::to_vec(addrs).expect("writing to a vector cannot fail");
    store.put_local(&[PEER, peer.as_bytes()].concat(), &bytes);
}

fn stored_addrs<D: Disk>(store: &Archive<D>) -> impl Iterator<Item = (NodeId, Vec<SocketAddr>)> {
    store.local_prefix(PEER).into_iter().filter_map(|(key, bytes)| {
        let id: [u8; 32] = key.get(PEER.len()..)?.try_into().ok()?;
        Some((NodeId::from_bytes(&id).ok()?, minicbor::decode(&bytes).ok()?))
    })
}

fn load_contacts<D: Disk>(store: &Archive<D>) -> Vec<Contact> {
    let Some(bytes) = store.local(CONTACTS) else { return Vec::new() };
    let contacts: Vec<(minicbor::bytes::ByteArray<32>, Vec<SocketAddr>)> =
        minicbor::decode(&bytes).unwrap_or_default();
    let contact = |(id, addrs): (minicbor::bytes::ByteArray<32>, Vec<SocketAddr>)| {
        Some(Contact { id: NodeId::from_bytes(&id).ok()?, addrs })
    };
    contacts.into_iter().filter_map(contact).collect()
}
