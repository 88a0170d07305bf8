//! Where peers are: the DHT, the local network, what was heard before; and when to dial whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cs_dht::{Contact, Dht, LookupId, Mode, NetworkConfig, PeerRecord, ProviderRecord};
use cs_identity::{NodeId, Signed};
use cs_store::Disk;

use crate::api::{Finding, Level};
use crate::core::archive::Archive;
use crate::core::host::Host;
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

#[derive(Debug, Default)]
struct Known {
    addrs: Vec<SocketAddr>,
    dialling: bool,
    lookup: bool,
    wait: Duration,
    next_at: Duration,
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
    Offer { rendezvous: [u8; 32], peer: NodeId, addrs: Vec<SocketAddr> },
    /// A peer's addresses, by its own record.
    Peer { peer: NodeId, addrs: Vec<SocketAddr> },
}

pub(crate) struct Discovery {
    pub(crate) dht: Dht,
    known: BTreeMap<NodeId, Known>,
    connected: BTreeSet<NodeId>,
    wanted: BTreeSet<NodeId>,
    bootstrap: Vec<Contact>,
    lookups: BTreeMap<LookupId, Purpose>,
    /// Own addresses: those bound, and those that peers see.
    pub(crate) addrs: Vec<SocketAddr>,
    roles: u8,
    announce_at: Duration,
    codes_at: Option<Duration>,
    save_at: Duration,
}

impl Discovery {
    pub(crate) fn new<D: Disk>(
        host: &mut Host,
        store: &Archive<D>,
        listen: Vec<SocketAddr>,
        bootstrap: Vec<Contact>,
        is_bootstrap: bool,
    ) -> Self {
        let mut config = cs_dht::Config::new(host.unix_ms());
        config.mode = Mode::Server;
        let authorities = bootstrap.iter().map(|c| c.id).chain(is_bootstrap.then_some(host.me));
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
        Self {
            known: known.collect(),
            dht,
            connected: BTreeSet::new(),
            wanted: BTreeSet::new(),
            bootstrap,
            lookups: BTreeMap::new(),
            addrs: listen,
            roles: if is_bootstrap { ROLE_BOOTSTRAP } else { 0 },
            announce_at: host.now,
            codes_at: None,
            save_at: host.now + SAVE_INTERVAL,
        }
    }

    /// Nodes of the DHT that an invitation may name.
    pub(crate) fn bootstrap_nodes(&self) -> Vec<(NodeId, SocketAddr)> {
        self.bootstrap.iter().filter_map(|c| Some((c.id, *c.addrs.first()?))).collect()
    }

    /// Everybody whose addresses were written down: members of a space, now or once.
    pub(crate) fn remembered<D: Disk>(&self, store: &Archive<D>) -> BTreeSet<NodeId> {
        stored_addrs(store).map(|(peer, _)| peer).collect()
    }

    /// Who shall be connected. The others are left alone.
    pub(crate) fn want<D: Disk>(&mut self, store: &mut Archive<D>, wanted: BTreeSet<NodeId>) {
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
        host: &Host,
        store: &mut Archive<D>,
        peer: NodeId,
        addrs: &[SocketAddr],
    ) {
        let known = self.known.entry(peer).or_default();
        let fresh: Vec<SocketAddr> = addrs.iter().copied().filter(|a| !known.addrs.contains(a)).collect();
        if fresh.is_empty() {
            return;
        }
        known.addrs.splice(0..0, fresh);
        known.addrs.truncate(MAX_ADDRS);
        known.wait = Duration::ZERO;
        known.next_at = host.now;
        if self.wanted.contains(&peer) {
            keep_addrs(store, &peer, &known.addrs);
        }
    }

    /// Nodes that an invitation names.
    pub(crate) fn bootstrap_from(&mut self, host: &Host, nodes: Vec<Contact>) {
        if !nodes.is_empty() {
            self.dht.bootstrap(host.now, nodes);
        }
    }

    pub(crate) fn connected(&mut self, host: &Host, peer: NodeId, addr: SocketAddr) {
        self.connected.insert(peer);
        let known = self.known.entry(peer).or_default();
        (known.dialling, known.wait) = (false, Duration::ZERO);
        if self.dht.contacts().is_empty() {
            self.bootstrap_from(host, vec![Contact { id: peer, addrs: vec![addr] }]);
        }
    }

    pub(crate) fn disconnected(&mut self, host: &Host, peer: NodeId) {
        self.connected.remove(&peer);
        self.known.entry(peer).or_default().next_at = host.now + FIRST_WAIT;
    }

    /// A dial found nobody: the DHT may know better.
    pub(crate) fn dial_failed(&mut self, host: &mut Host, peer: NodeId) {
        let known = self.known.entry(peer).or_default();
        known.dialling = false;
        known.wait = (known.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        known.next_at = host.now + known.wait;
        self.look_up(host, peer);
    }

    /// Dials a peer now, wherever it may be.
    pub(crate) fn dial(&mut self, host: &mut Host, peer: NodeId, addrs: Vec<SocketAddr>) {
        self.known.entry(peer).or_default().dialling = true;
        host.push(Output::Dial { peer, addrs });
    }

    /// Asks the DHT where a peer is.
    pub(crate) fn look_up(&mut self, host: &mut Host, peer: NodeId) {
        let known = self.known.entry(peer).or_default();
        if known.lookup || self.dht.contacts().is_empty() {
            return;
        }
        if let Ok(lookup) = self.dht.find_peer(host.now, peer) {
            known.lookup = true;
            self.lookups.insert(lookup, Purpose::Peer(peer));
        }
    }

    /// The next moment at which something is due.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let dials =
            self.wanted.iter().filter(|p| !self.connected.contains(*p)).map(|p| match self.known.get(p) {
                Some(known) if known.dialling || known.lookup => Duration::MAX,
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
        let due: Vec<NodeId> = (self.wanted.iter())
            .filter(|p| !self.connected.contains(*p))
            .filter(|p| self.known.get(p).is_none_or(|k| !k.dialling && !k.lookup && k.next_at <= host.now))
            .copied()
            .collect();
        for peer in due {
            let known = self.known.entry(peer).or_default();
            known.wait = (known.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            known.next_at = host.now + known.wait;
            let addrs = known.addrs.clone();
            if addrs.is_empty() {
                self.look_up(host, peer);
            } else {
                self.dial(host, peer, addrs);
            }
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
            extensions: Default::default(),
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
            extensions: Default::default(),
        };
        let _ = self.dht.provide(host.now, Signed::sign(&host.secret, record));
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
                cs_dht::Output::Event(event) => self.on_event(host, store, event, &mut found),
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
                    self.learn(host, store, id, &addrs);
                    found.push(Found::Peer { peer: id, addrs });
                }
            }
            cs_dht::Event::Providers { lookup, records, .. } => {
                let Some(Purpose::Code(rendezvous)) = self.lookups.remove(&lookup) else { return };
                for record in records.into_iter().filter(|r| r.publisher != host.me) {
                    let Ok(addrs) = minicbor::decode::<Vec<SocketAddr>>(&record.payload) else { continue };
                    found.push(Found::Offer { rendezvous, peer: record.publisher, addrs });
                }
            }
            cs_dht::Event::NetworkConfig(config) => {
                store.put_local(NETWORK, config.bytes());
                self.bootstrap_from(host, config.bootstrap.clone());
            }
            cs_dht::Event::Expiring { .. } => self.announce_soon(host.now),
            _ => {}
        }
    }

    /// Tells the DHT that this node goes, and writes down its good peers.
    pub(crate) fn leave<D: Disk>(&mut self, host: &Host, store: &mut Archive<D>) {
        self.dht.leave(host.now);
        self.save(store);
    }

    /// For `doctor`.
    pub(crate) fn finding(&self) -> Finding {
        let contacts = self.dht.contacts().len();
        let (level, finding, advice) = if contacts > 0 {
            (Level::Fine, format!("{contacts} nodes are in the routing table: peers are found by ID."), None)
        } else {
            let advice = "Give a `--bootstrap ID@HOST:PORT`; on one local network none is needed.";
            (Level::Waiting, "No node of the DHT is known.".to_owned(), Some(advice.to_owned()))
        };
        Finding { level, subject: "dht".to_owned(), finding, advice }
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
