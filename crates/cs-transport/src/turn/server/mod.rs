//! A relay (RFC 8656, the server's side): who may have an address on it, and what passes through. Rules TP-24 to TP-27.

mod allocation;
mod auth;
mod policy;
mod requests;
mod table;
#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use thiserror::Error;

use self::allocation::{Allocation, Bucket};
use self::auth::Nonces;
use self::policy::allows_port;
use self::table::Table;
use super::{CHANNEL_HEADER, ChannelData, Family, MAX_FRAME, Transport};
use crate::stun::{AttributeKind, Builder, Class, Message, Method, answer_binding, encode_xor_address};
use crate::wire::DecodeError;

pub use self::auth::Accounts;

/// Settings of a [`Server`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// What users are told that their names belong to. Short: the answer to a stranger carries it. Default `cosync`.
    pub realm: String,
    /// How long an allocation lives without being refreshed, if nothing longer is asked for. Default 600 s.
    pub lifetime: Duration,
    /// The longest that is granted. Default 3,600 s.
    pub lifetime_max: Duration,
    /// Allocations at a time. Default 1,024.
    pub allocations_max: usize,
    /// Of one user. Default 8.
    pub allocations_per_user_max: usize,
    /// Of one IPv4 address or IPv6 /56, since names cost nothing. Default 64.
    pub allocations_per_source_max: usize,
    /// Permissions, and likewise channels, of one allocation. Default 128.
    pub peers_per_allocation_max: usize,
    /// What passes through one allocation, both ways together, in bytes a second. Default 4 MiB.
    pub bytes_per_second: u64,
    /// How much more at once, in bytes. Default 4 MiB.
    pub burst_bytes: u64,
    /// What passes through all together, in bytes a second, and as much at once. Default 64 MiB.
    pub bytes_per_second_in_all: u64,
    /// Whether peers may be in private networks or on this host, at any port. Default no.
    pub allow_private: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            realm: "cosync".to_owned(),
            lifetime: Duration::from_secs(600),
            lifetime_max: Duration::from_secs(3600),
            allocations_max: 1024,
            allocations_per_user_max: 8,
            allocations_per_source_max: 64,
            peers_per_allocation_max: 128,
            bytes_per_second: 4 << 20,
            burst_bytes: 4 << 20,
            bytes_per_second_in_all: 64 << 20,
            allow_private: false,
        }
    }
}

/// A client as the server tells it from others: how and between which addresses they talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FiveTuple {
    /// Over what.
    pub transport: Transport,
    /// This side's address.
    pub local: SocketAddr,
    /// The client's.
    pub remote: SocketAddr,
}

/// Names an allocation; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllocationId(pub(crate) u64);

/// What a server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send this to a client: a datagram, or on a stream the next bytes.
    Send {
        /// Which client.
        to: FiveTuple,
        /// What.
        bytes: Vec<u8>,
    },
    /// Bind a socket on which peers reach this client, and tell by [`Server::handle_bound`].
    Bind {
        /// For which allocation.
        allocation: AllocationId,
        /// Whose it is: the address should be reachable where `local` is.
        client: FiveTuple,
        /// Of which family.
        family: Family,
        /// Whether the port must be even.
        even_port: bool,
    },
    /// Close that socket.
    Close(AllocationId),
}

/// Why no socket was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindFault {
    /// This host has no address of that family.
    Family,
    /// No port is free.
    Full,
}

/// Data for a peer, borrowed from what the client sent: to be sent from the allocation's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToPeer<'a> {
    /// From which socket.
    pub allocation: AllocationId,
    /// To whom.
    pub peer: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

/// A client's input did no good. Nothing changed but counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// Neither STUN nor data on a channel, or without what it must have.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// It has no allocation, or none that is bound yet.
    #[error("no allocation")]
    NoAllocation,
    /// The peer has no permission, or may have none.
    #[error("not permitted")]
    NotPermitted,
    /// More than its share: dropped.
    #[error("too fast")]
    TooFast,
}

/// What happened so far, in numbers; all but `allocations` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerCounters {
    /// Allocations there are now.
    pub allocations: usize,
    /// Allocations granted.
    pub granted: u64,
    /// Requests of proven users that were refused: by quota, by rule, or as senseless.
    pub refused: u64,
    /// Requests answered by a wish for credentials, or for better ones.
    pub challenged: u64,
    /// Requests with a wrong integrity check.
    pub unauthentic: u64,
    /// Input that was malformed.
    pub malformed: u64,
    /// Datagrams dropped for want of a permission.
    pub not_permitted: u64,
    /// Datagrams dropped because an allocation, or all together, passed their rate.
    pub too_fast: u64,
    /// Datagrams passed on, either way.
    pub relayed: u64,
    /// Bytes in them.
    pub relayed_bytes: u64,
}

/// A relay for many clients. A machine: it binds, sends and waits through its caller.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    accounts: Accounts,
    now: Duration,
    nonces: Nonces,
    table: Table,
    /// This host's addresses.
    own: BTreeSet<IpAddr>,
    own_ports: BTreeSet<u16>,
    total: Bucket,
    outbox: VecDeque<Output>,
    counters: ServerCounters,
}

impl Server {
    /// `seed`: 32 bytes of entropy; whoever knows them can forge nonces. A realm above 128 bytes is cut.
    #[must_use]
    pub fn new(mut config: ServerConfig, accounts: Accounts, seed: [u8; 32]) -> Self {
        let end = config.realm.floor_char_boundary(128);
        config.realm.truncate(end);
        let total = config.bytes_per_second_in_all;
        Self {
            config,
            accounts,
            now: Duration::ZERO,
            nonces: Nonces::new(seed),
            table: Table::default(),
            own: BTreeSet::new(),
            own_ports: BTreeSet::new(),
            total: Bucket::new(Duration::ZERO, total, total),
            outbox: VecDeque::new(),
            counters: ServerCounters::default(),
        }
    }

    /// Which addresses this host has: nothing is sent there but to other allocations.
    pub fn set_own(&mut self, own: impl IntoIterator<Item = IpAddr>) {
        self.own = own.into_iter().map(|ip| ip.to_canonical()).collect();
    }

    /// Ports of this host at which everybody may ask, and so the relay's clients too: the node's own, say. None at first.
    pub fn set_own_ports(&mut self, ports: impl IntoIterator<Item = u16>) {
        self.own_ports = ports.into_iter().collect();
    }

    /// Whether an address is one that this relay gave out.
    #[must_use]
    pub fn is_relayed(&self, addr: SocketAddr) -> bool {
        self.table.at(addr).is_some()
    }

    fn is_own_service(&self, peer: SocketAddr) -> bool {
        self.own.contains(&peer.ip()) && self.own_ports.contains(&peer.port())
    }

    /// Takes a datagram, or a message of a stream, from a client. What is for a peer is handed back.
    ///
    /// # Errors
    /// [`PeerFault`]; nothing changed but the clock and the counters.
    pub fn handle_input<'a>(
        &mut self,
        now: Duration,
        from: FiveTuple,
        input: &'a [u8],
    ) -> Result<Option<ToPeer<'a>>, PeerFault> {
        self.tick(now);
        let taken = self.take_input(from, input);
        match taken {
            Err(PeerFault::Malformed(_) | PeerFault::NoAllocation) => self.counters.malformed += 1,
            Err(PeerFault::NotPermitted) => self.counters.not_permitted += 1,
            Err(PeerFault::TooFast) => self.counters.too_fast += 1,
            Ok(_) => {}
        }
        taken
    }

    /// Takes a datagram of a peer on an allocation's socket, and appends it to `out` as it goes to the client, which is
    /// returned. `None`: it is dropped, for want of a permission or of bandwidth.
    #[must_use]
    pub fn handle_peer(
        &mut self,
        now: Duration,
        allocation: AllocationId,
        peer: SocketAddr,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<FiveTuple> {
        self.tick(now);
        let (now, peer) = (self.now, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        let allocation = self.table.get_mut(allocation)?;
        if !allocation.permits(now, peer.ip()) {
            self.counters.not_permitted += 1;
            return None;
        }
        if !(allocation.bucket.admit(now, bytes.len()) && self.total.admit(now, bytes.len())) {
            self.counters.too_fast += 1;
            return None;
        }
        let start = out.len();
        wrap(now, allocation, peer, bytes, out)?;
        let client = allocation.client;
        if client.transport == Transport::Tcp && out.len() - start > MAX_FRAME {
            out.truncate(start);
            return None;
        }
        self.counters.relayed += 1;
        self.counters.relayed_bytes += bytes.len() as u64;
        Some(client)
    }

    /// Tells of a socket that was asked for: its address as peers know it.
    pub fn handle_bound(
        &mut self,
        now: Duration,
        allocation: AllocationId,
        bound: Result<SocketAddr, BindFault>,
    ) {
        self.tick(now);
        self.bound(allocation, bound);
    }

    /// A client's stream ended: its allocation ends with it.
    pub fn handle_gone(&mut self, now: Duration, client: FiveTuple) {
        self.tick(now);
        if let Some(id) = self.table.id_of(&client) {
            self.end(id);
        }
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.tick(now);
        while let Some((_, id)) = self.table.first_deadline().filter(|(at, _)| *at <= self.now) {
            self.end(id);
        }
    }

    /// The next deadline; after [`Self::handle_timeout`] it is later than its `now`. `None` is never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.table.first_deadline().map(|(at, _)| at)
    }

    /// Oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        ServerCounters { allocations: self.table.len(), ..self.counters }
    }

    /// Whether this client has an allocation.
    #[must_use]
    pub fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.table.of(client).is_some()
    }

    fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn end(&mut self, id: AllocationId) {
        if self.table.remove(id).is_some() {
            self.outbox.push_back(Output::Close(id));
        }
    }

    fn take_input<'a>(&mut self, from: FiveTuple, input: &'a [u8]) -> Result<Option<ToPeer<'a>>, PeerFault> {
        if input.first().is_some_and(|first| first & 0xc0 == 0x40) {
            let data = ChannelData::from_bytes(input)?;
            let allocation = self.table.of(&from).ok_or(PeerFault::NoAllocation)?;
            let peer = allocation.of_channel(self.now, data.channel).ok_or(PeerFault::NotPermitted)?;
            return self.pass_on(from, peer, data.bytes);
        }
        let message = Message::from_bytes(input)?;
        if message.fingerprint() == Some(false) {
            return Err(PeerFault::Malformed(DecodeError::OutOfRange));
        }
        match (message.class(), message.method()) {
            (Class::Indication, Method::SEND) => {
                let attribute = |kind| message.attribute(kind).ok_or(DecodeError::Truncated);
                let peer = attribute(AttributeKind::XOR_PEER_ADDRESS)?.xor_address(&message)?;
                let bytes = attribute(AttributeKind::DATA)?.value;
                self.pass_on(from, SocketAddr::new(peer.ip().to_canonical(), peer.port()), bytes)
            }
            // Keeps NATs on the way open.
            (Class::Indication, Method::BINDING) => Ok(None),
            (Class::Request, Method::BINDING) => {
                let answer = answer_binding(&message, from.remote).ok_or(DecodeError::OutOfRange)?;
                self.outbox.push_back(Output::Send { to: from, bytes: answer });
                Ok(None)
            }
            (Class::Request, _) => {
                self.serve(from, &message);
                Ok(None)
            }
            _ => Err(PeerFault::Malformed(DecodeError::UnknownKind)),
        }
    }

    fn pass_on<'a>(
        &mut self,
        from: FiveTuple,
        peer: SocketAddr,
        bytes: &'a [u8],
    ) -> Result<Option<ToPeer<'a>>, PeerFault> {
        let now = self.now;
        let (id, allocation) = self.table.of_mut(&from).ok_or(PeerFault::NoAllocation)?;
        let relayed = allocation.relayed.ok_or(PeerFault::NoAllocation)?;
        if !allocation.permits(now, peer.ip()) {
            return Err(PeerFault::NotPermitted);
        }
        if !(allocation.bucket.admit(now, bytes.len()) && self.total.admit(now, bytes.len())) {
            return Err(PeerFault::TooFast);
        }
        if let Some(other) = self.table.at(peer) {
            // To another client of this relay: no socket needs to carry it.
            let mut out = Vec::new();
            if let Some(to) = self.handle_peer(now, other, relayed, bytes, &mut out) {
                self.outbox.push_back(Output::Send { to, bytes: out });
            }
            return Ok(None);
        }
        let private = self.config.allow_private;
        let is_own = self.own.contains(&peer.ip()) || self.table.is_relay(peer.ip());
        if (is_own && !private && !self.is_own_service(peer)) || !allows_port(peer.port(), private) {
            return Err(PeerFault::NotPermitted);
        }
        self.counters.relayed += 1;
        self.counters.relayed_bytes += bytes.len() as u64;
        Ok(Some(ToPeer { allocation: id, peer, bytes }))
    }
}

/// `None` if it does not fit into a message.
fn wrap(
    now: Duration,
    allocation: &Allocation,
    peer: SocketAddr,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    if let Some(channel) = allocation.channel(now, peer) {
        out.reserve(CHANNEL_HEADER + bytes.len() + 3);
        out.extend_from_slice(&ChannelData::header(channel, bytes.len())?);
        out.extend_from_slice(bytes);
        if allocation.client.transport == Transport::Tcp {
            out.resize(out.len() + bytes.len().next_multiple_of(4) - bytes.len(), 0);
        }
        return Some(());
    }
    // An indication has no answer that its transaction would have to be secret for.
    let transaction = [0; 12];
    let message = Builder::new(Class::Indication, Method::DATA, transaction)
        .attribute(AttributeKind::XOR_PEER_ADDRESS, &encode_xor_address(peer, &transaction))
        .attribute(
            AttributeKind::DATA,
            bytes.get(..bytes.len().min(65_000)).filter(|cut| cut.len() == bytes.len())?,
        )
        .finish();
    out.extend_from_slice(&message);
    Some(())
}
