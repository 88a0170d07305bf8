//! The node as a machine: everything `cosync` decides, with no socket, file, clock or thread of its own.
//!
//! [`NodeCore`] wires the machines of the crates below: what comes in is an [`Input`], what is to be done is an
//! [`Output`]. The driver runs it on a real network and disk, the simulator on modelled ones; it is the same code.
//!
//! Its store is the one thing it touches directly. Whatever changes the store is on disk before any output that
//! follows from it leaves [`NodeCore::poll_output`]: what a peer or a client is told, survives a crash (NODE-11).

mod archive;
mod claims;
mod commands;
mod devices;
mod dht;
mod discovery;
mod fetch;
mod host;
mod hubs;
mod invitations;
mod joining;
mod keys;
mod leaving;
mod network;
mod peers;
mod ports;
mod space;
mod tree;
mod trust;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cs_dht::Contact;
use cs_identity::{NodeId, SecretKey, SpaceId};
use cs_store::{Disk, Store, StoreError};
use cs_transport::net::Relay;

pub use commands::check_ticket;
pub use host::Entropy;
pub use network::Network;
pub use ports::{CommandId, Event, FolderCommand, FolderEvent, Input, Output, SessionId};

use crate::api::{Problem, ProblemCode};
use crate::core::archive::Archive;
use claims::Claims;
use commands::Creating;
use discovery::{Discovery, Found};
use host::Host;
use invitations::Invitations;
use joining::{Joining, Means};
use keys::Keyring;
use peers::Peer;
use space::{Fault, Settings, Space};

/// Where the settings of a space are kept.
const SPACE: &[u8] = b"space/";

/// A commit that failed is tried again after this long.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// Rounds of discovery in one call: each settles what the one before it made due.
const MAX_ROUNDS: usize = 4;

/// What a node is told when it starts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Addresses that others can try.
    pub addrs: Vec<SocketAddr>,
    /// Nodes of the DHT to begin with.
    pub bootstrap: Vec<Contact>,
    /// Whether this node is one that others begin with.
    pub is_bootstrap: bool,
    /// Whether it passes signals on and relays for others; who others begin with does so too.
    pub is_hub: bool,
    /// Relays to use before those of hubs.
    pub relays: Vec<Relay>,
    /// Whether strangers can hardly reach this node: told better by [`Input::Network`] later.
    pub is_hidden: bool,
    /// Whether damage was cut out of the store: members may have been lost with it, and are sought among all peers whose
    /// addresses were written down.
    pub lost_statements: bool,
    /// Unix time in milliseconds at `now`.
    pub unix_ms: u64,
}

/// A peer broke the protocol. Nothing of its message was kept; it is safe to ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PeerFault {
    /// Who.
    pub peer: NodeId,
    /// What it did.
    pub what: &'static str,
}

/// A node. See the module's own page for the rules of its six verbs.
pub struct NodeCore<D: Disk> {
    host: Host,
    store: Archive<D>,
    peers: BTreeMap<NodeId, Peer>,
    spaces: BTreeMap<SpaceId, Space>,
    creating: BTreeMap<SpaceId, Creating>,
    joins: Vec<Joining>,
    /// Joined spaces whose folder is being opened, with the command that waits for it.
    opening: BTreeMap<SpaceId, CommandId>,
    invitations: Invitations,
    claims: Claims,
    discovery: Discovery,
    network: Network,
    /// Statements known when the list of wanted peers was last made.
    statements_seen: usize,
    lost_statements: bool,
    commit_retry_at: Option<Duration>,
    /// The end was asked for, and comes then at the latest.
    leave_until: Option<Duration>,
    /// The end has come.
    stopped: bool,
}

impl<D: Disk> std::fmt::Debug for NodeCore<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCore")
            .field("me", &self.host.me)
            .field("spaces", &self.spaces.len())
            .finish_non_exhaustive()
    }
}

impl<D: Disk> NodeCore<D> {
    /// A node with what its store holds. `entropy` is where its keys come from.
    pub fn new(config: Config, secret: SecretKey, store: Store<D>, now: Duration, entropy: Entropy) -> Self {
        let mut store = Archive::new(store);
        let mut host = Host::new(secret, now, config.unix_ms, entropy);
        let lost_statements = config.lost_statements;
        let discovery = Discovery::new(&mut host, &store, config);
        let claims = Claims::new(&mut host, &mut store);
        let mut core = Self {
            invitations: Invitations::load(&store),
            claims,
            host,
            store,
            peers: BTreeMap::new(),
            spaces: BTreeMap::new(),
            creating: BTreeMap::new(),
            joins: Vec::new(),
            opening: BTreeMap::new(),
            discovery,
            network: Network::default(),
            statements_seen: 0,
            lost_statements,
            commit_retry_at: None,
            leave_until: None,
            stopped: false,
        };
        core.load_spaces();
        core.announce_codes();
        core.after();
        core
    }

    /// This node's ID.
    pub fn id(&self) -> NodeId {
        self.host.me
    }

    /// Something happened.
    ///
    /// # Errors
    /// [`PeerFault`] blames the sender of a message; nothing of it was kept.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Result<(), PeerFault> {
        self.host.now = self.host.now.max(now);
        let done = self.dispatch(input);
        self.after();
        done
    }

    fn dispatch(&mut self, input: Input<'_>) -> Result<(), PeerFault> {
        match input {
            Input::SessionUp { session, peer, addr, exporter } => {
                self.session_up(session, peer, addr, exporter)
            }
            Input::SessionDown { session, peer } => self.session_down(session, peer),
            Input::DialFailed { peer } => self.dial_failed(peer),
            Input::Message { session, peer, bytes } => return self.on_message(session, peer, bytes),
            Input::RpcRequest { from, addr, bytes, token } => {
                let input = cs_dht::Input::Request { from, addr, bytes, token };
                return self.tell_dht(from, input);
            }
            Input::RpcResponse { rpc, from, bytes } => {
                return self.tell_dht(from, cs_dht::Input::Response { rpc: cs_dht::RpcId(rpc), from, bytes });
            }
            Input::RpcFailed { rpc } => {
                let me = self.host.me;
                return self.tell_dht(me, cs_dht::Input::Failed { rpc: cs_dht::RpcId(rpc) });
            }
            Input::LanPeer { peer, addrs, codes } => self.lan_peer(peer, addrs, &codes),
            Input::AddressObserved { addr } => self.address_observed(addr),
            Input::Network(network) => {
                self.discovery.on_network(&self.host, &network);
                self.network = *network;
            }
            Input::Folder { space, event } => self.on_folder(space, event),
            Input::Command { id, request } => self.command(id, request),
            Input::WallClock { unix_ms } => {
                self.host.set_wall_clock(unix_ms);
                self.discovery.dht.set_wall_clock(self.host.now, unix_ms);
            }
        }
        Ok(())
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.host.now = self.host.now.max(now);
        let now = self.host.now;
        for space in self.spaces.values_mut().filter(|s| s.timeout().is_some_and(|at| at <= now)) {
            space.mend_keys(&mut self.host, &mut self.store);
            space.on_sync_timeout(&mut self.host);
            space.on_files_timeout(&mut self.host, &self.store);
            space.on_gossip_timeout(&mut self.host, &mut self.store);
        }
        if self.commit_retry_at.is_some_and(|at| at <= now) {
            self.commit_retry_at = None;
        }
        if self.leave_until.is_some_and(|at| at <= now) {
            self.end_leaving();
        }
        // What comes of it may be due at once: a peer that was found is dialled, a table that is full announced in.
        for _ in 0..MAX_ROUNDS {
            self.on_discovery_timeout();
            self.after();
            if self.poll_timeout().is_none_or(|at| at > now) {
                break;
            }
        }
    }

    fn on_discovery_timeout(&mut self) {
        let now = self.host.now;
        let offered = self.invitations.open_codes(self.host.unix_ms());
        let sought: Vec<[u8; 32]> = self.joins.iter().filter_map(Joining::rendezvous).collect();
        self.discovery.handle_timeout(&mut self.host, &mut self.store, &offered, &sought);
        let late = |join: &Joining| join.deadline <= now && !join.is_admitted();
        while let Some(at) = self.joins.iter().position(late) {
            let join = self.joins.remove(at);
            self.host.push(Output::Answer { id: join.command, result: Err(join.failure()) });
        }
    }

    /// The next thing to do outside, oldest first. Everything it rests on is durable by then.
    ///
    /// While the disk refuses, only refusals of commands come out; the rest waits and is lost with a crash.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.host.outbox.is_empty() {
            return None;
        }
        if self.commit_retry_at.is_some() || self.store.commit().is_err() {
            self.commit_retry_at.get_or_insert(self.host.now + COMMIT_RETRY);
            return self.refuse_for_disk();
        }
        self.host.outbox.pop_front()
    }

    /// What keeps the store from being read, if anything does: the node stops then.
    #[must_use]
    pub fn broken(&self) -> Option<StoreError> {
        self.store.broken()
    }

    /// Writes the store's index out, for a quick next start. The last call to a node.
    pub fn close(mut self) {
        // Whatever fails here is made up for by the next start, from the log.
        let _ = self.store.commit().and_then(|()| self.store.checkpoint());
    }

    /// The next deadline; after `handle_timeout(now)` it is later than `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let spaces = self.spaces.values().filter_map(Space::timeout);
        let joins = self.joins.iter().filter(|j| !j.is_admitted()).map(|j| j.deadline);
        spaces
            .chain(joins)
            .chain(self.discovery.timeout())
            .chain(self.commit_retry_at)
            .chain(self.leave_until)
            .min()
    }

    /// The first answer among the outputs that wait, turned into the reason why they wait.
    fn refuse_for_disk(&mut self) -> Option<Output> {
        let at = self.host.outbox.iter().position(|o| matches!(o, Output::Answer { .. }))?;
        let Some(Output::Answer { id, .. }) = self.host.outbox.remove(at) else { return None };
        let problem = Problem::new(
            ProblemCode::Disk,
            "The disk of the state directory does not take what was to be written.",
            "Make room on it. Nothing was lost; what waits is written as soon as there is room.",
        );
        Some(Output::Answer { id, result: Err(problem) })
    }

    /// A disk that cannot be read ends the node: to go on would be to forget.
    fn stop_if_broken(&mut self) {
        if let Some(error) = self.store.broken().filter(|_| !self.stopped) {
            self.stopped = true;
            self.host.event(Event::StoreBroken(error));
            self.host.push(Output::Stop);
        }
    }

    /// What follows from any change: who shall be connected, and what the DHT has to say.
    fn after(&mut self) {
        self.stop_if_broken();
        let statements = self.spaces.values().map(|s| s.graph.len()).sum::<usize>() + self.spaces.len();
        if statements != self.statements_seen {
            self.statements_seen = statements;
            let me = self.host.me;
            let circle = |space: &Space| -> BTreeSet<NodeId> {
                space.graph.members().into_iter().map(|(who, _)| who).filter(|who| *who != me).collect()
            };
            let circles: Vec<_> = self.spaces.values().filter(|s| !s.paused).map(circle).collect();
            let mut wanted: BTreeSet<NodeId> = circles.iter().flatten().copied().collect();
            if self.lost_statements || self.spaces.values().any(|s| s.keys.is_empty()) {
                // A damaged log may have lost who the members are. One of those that were can tell.
                wanted.extend(self.discovery.remembered(&self.store));
            }
            self.discovery.want(&mut self.store, wanted, circles);
            self.discovery.announce_soon(self.host.now);
        }
        for found in self.discovery.drain(&mut self.host, &mut self.store) {
            match found {
                Found::Peer { peer, addrs } => self.candidate(peer, addrs, Option::is_none),
                Found::Left => self.end_leaving(),
                Found::Offer { rendezvous, peer, addrs, hubs } => {
                    self.discovery.learn_hubs_of(peer, hubs);
                    self.candidate(peer, addrs, |sought| *sought == Some(rendezvous));
                }
            }
        }
    }

    fn tell_dht(&mut self, from: NodeId, input: cs_dht::Input<'_>) -> Result<(), PeerFault> {
        let done = self.discovery.dht.handle_input(self.host.now, input);
        done.map_err(|fault| PeerFault { peer: from, what: dht_fault_text(fault) })
    }

    /// Somebody who may have what a join looks for: it is asked at once if it is connected, and dialled if not.
    pub(crate) fn candidate(
        &mut self,
        peer: NodeId,
        addrs: Vec<SocketAddr>,
        offers: impl Fn(&Option<[u8; 32]>) -> bool,
    ) {
        for join in self.joins.iter_mut().filter(|join| offers(&join.rendezvous())) {
            if !join.considers(peer) {
                continue;
            }
            match self.peers.get(&peer) {
                Some(Peer { session, exporter, .. }) => {
                    if let Some(message) = join.session_up(&mut self.host, peer, exporter) {
                        self.host.send(*session, cs_transport::wire::Lane::Control, &message);
                    }
                }
                None => {
                    self.discovery.dial(&mut self.host, peer, addrs.clone());
                    self.discovery.look_up(&mut self.host, peer);
                }
            }
        }
    }

    /// Begins the search for the inviter of a new join.
    fn begin_join(&mut self, command: CommandId) {
        let Some(join) = self.joins.iter_mut().find(|j| j.command == command) else { return };
        let Means::Invitation(ticket) = &join.means else {
            self.discovery.codes_changed(self.host.now);
            return;
        };
        let (inviter, addrs) = (ticket.inviter, ticket.addrs.clone());
        let nodes =
            ticket.bootstrap.iter().map(|(id, addr)| Contact { id: *id, addrs: vec![*addr] }).collect();
        self.discovery.bootstrap_from(&mut self.host, nodes);
        self.candidate(inviter, addrs, Option::is_none);
    }

    fn on_folder(&mut self, id: SpaceId, event: FolderEvent) {
        if self.creating.contains_key(&id) {
            return self.on_created_folder(id, event);
        }
        let Some(space) = self.spaces.get_mut(&id) else { return };
        let failed = match &event {
            FolderEvent::Failed { why } => Some(why.clone()),
            _ => None,
        };
        let opened = matches!(event, FolderEvent::Opened);
        // A fault of the folder's own edits is this device's: it shows as trouble of the path.
        let _ = space.on_folder(&mut self.host, &mut self.store, event);
        if opened || failed.is_some() {
            self.answer_join(id, failed);
        }
    }

    /// Reads the spaces back when the node starts, and opens their folders.
    fn load_spaces(&mut self) {
        let kept = self.store.local_prefix(SPACE);
        for (key, bytes) in kept {
            let Some(id) = key.get(SPACE.len()..).and_then(|id| <[u8; 32]>::try_from(id).ok()) else {
                continue;
            };
            let Ok(settings) = minicbor::decode::<Settings>(&bytes) else { continue };
            let dir = settings.folder_path();
            let id = SpaceId::from_bytes(id);
            let mut space = Space::new(&mut self.host, id, settings.name, dir, Keyring::default());
            space.paused = settings.paused;
            space.load(&mut self.host, &self.store);
            space.open_folder(&mut self.host, false);
            self.spaces.insert(id, space);
        }
    }

    /// Writes down what is kept of a space beside its operations.
    fn keep_settings(&mut self, id: SpaceId) {
        if let Some(space) = self.spaces.get(&id) {
            let bytes = minicbor::to_vec(space.settings()).expect("writing to a vector cannot fail");
            self.store.put_local(&[SPACE, id.as_bytes()].concat(), &bytes);
        }
    }

    /// The directory in which a space lives here, for programs that embed a node.
    pub fn folder_of(&self, id: &SpaceId) -> Option<&PathBuf> {
        self.spaces.get(id)?.files.dir.as_ref()
    }
}

fn dht_fault_text(fault: cs_dht::PeerFault) -> &'static str {
    match fault {
        cs_dht::PeerFault::Malformed(_) => "a DHT message that does not decode",
        cs_dht::PeerFault::WrongSender => "a DHT answer to what another node was asked",
        cs_dht::PeerFault::WrongReply => "a DHT answer to another question",
        cs_dht::PeerFault::NamesItself => "a DHT answer that names its sender or its receiver",
        cs_dht::PeerFault::Amplified => "a DHT answer that is larger than its question",
        cs_dht::PeerFault::NarrowAddress => "a DHT answer with an address that its sender cannot know",
        cs_dht::PeerFault::WrongKey | cs_dht::PeerFault::BadSignature => {
            "a DHT record of another key or signer"
        }
        cs_dht::PeerFault::Expired | cs_dht::PeerFault::FromTheFuture => "a DHT record whose time is wrong",
        _ => "a DHT message that no honest peer sends",
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let (code, hint) = match fault {
            Fault::Forbidden => {
                (ProblemCode::Forbidden, "Ask somebody who manages the space: `cosync who` lists them.")
            }
            Fault::NoKey => {
                (ProblemCode::Forbidden, "Wait until a member is connected, or ask for a new invitation.")
            }
            Fault::TooLarge => (ProblemCode::Usage, "Split it, or shorten its path."),
            Fault::Disk => (ProblemCode::Disk, "Make room on the disk of the state directory and try again."),
            _ => (ProblemCode::Failed, "`cosync doctor` says more."),
        };
        Self::new(code, format!("Refused: {fault}."), hint)
    }
}
