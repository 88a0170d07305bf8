//! The handle that everything is done through.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cs_identity::{NodeId, SecretKey};
use noq::{Connection, Incoming, PathId, SendDatagramError, TokioRuntime, VarInt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::addresses::{canonical, reachable};
use super::allocations::{self, Allocations};
use super::ask::{self, ASKS, AskError};
use super::change;
use super::cids::ConnectionIds;
use super::config::{BindError, EndpointConfig};
use super::connection;
use super::counters::{Counters, Tally};
use super::datagrams;
use super::dial;
use super::event::{self, DialId, EventSender, Events, RpcToken, SendRefused, SessionId, Slot};
use super::handshakes::{Admission, HANDSHAKES_MAX, Handshakes, Place};
use super::lanes::BULK_STREAMS;
use super::peers::Peers;
use super::punching::Attempts;
use super::reach::Reach;
use super::relay::RelayService;
use super::report::{NatReport, PathReport, Relay, Tried, Via};
use super::routes::Routes;
use super::rpc::{self, Calls, RpcError, unix_ms};
use super::signal::Signals;
use super::socket::{DatagramSender, SharedSocket};
use super::stun::{self, Bindings};
use crate::LocalKey;
use crate::quic::{ClientCrypto, Entropy, QUIC_VERSION, ResetKey, ServerCrypto, TokenKey};
use crate::turn::server::ServerCounters as RelayCounters;
use crate::wire::{Answer, EARLY_WINDOW, Lane, MAX_MESSAGE};

/// Bytes in flight on one stream; see `BULK_STREAMS`.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes in flight on one connection (TP-9): all bulk streams full, and room for the other lanes, so that bulk never
/// holds back what is urgent.
pub(crate) const WINDOW: u32 = STREAM_WINDOW * 12;
/// Bytes of unread datagrams a session may hold (TP-19).
const DATAGRAMS: usize = 32 << 10;
/// Peers whose product of keys is remembered: 800 kB.
const KNOWN_PEERS: usize = 4096;
/// Streams that a peer may have open: the lanes, and link messages.
const STREAMS: u32 = 16;
/// Paths that a session may have at a time: over a relay, by each address family, and one that takes over.
const PATHS: u32 = 4;
/// How long an accepted handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long QUIC keeps what is left of a handshake that failed: three probe time-outs (RFC 9000 section 10.2), each
/// of a second as long as no round trip was measured. It keeps its place for that long, so that failing costs memory
/// only within the limits.
const REMAINS: Duration = Duration::from_secs(3);
/// How long a shutdown waits for peers to acknowledge what was sent.
const FLUSH: Duration = Duration::from_secs(5);
/// How long a shutdown waits for the packets that say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// A node's place on the network. Cheap to clone; when the last clone is dropped, all sessions are closed.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.quic.close(VarInt::from_u32(0), b"");
    }
}

/// What all tasks of an endpoint share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) secret: SecretKey,
    pub(crate) local_key: Arc<LocalKey>,
    pub(crate) quic: noq::Endpoint,
    pub(crate) client: noq::ClientConfig,
    /// For dials with early data (TP-17).
    pub(crate) early_client: noq::ClientConfig,
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) datagrams: DatagramSender,
    pub(crate) events: EventSender,
    pub(crate) tally: Arc<Tally>,
    pub(crate) calls: Calls,
    pub(crate) bindings: Bindings,
    pub(crate) relay: Option<Arc<RelayService>>,
    pub(crate) dial_timeout: Duration,
    pub(crate) reach: Reach,
    pub(crate) routes: Arc<Routes>,
    pub(crate) signals: Signals,
    pub(crate) attempts: Attempts,
    pub(crate) allocations: Allocations,
    /// Counts sessions that came up, for those who wait for one.
    pub(crate) ups: watch::Sender<u64>,
    peers: Mutex<Peers>,
    handshakes: Arc<Handshakes>,
    connections: usize,
}

impl Shared {
    pub(crate) fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remote_of(&self, connection: &Connection) -> SocketAddr {
        let path = connection.path(PathId::ZERO).and_then(|path| path.remote_address().ok());
        let addr = canonical(path.unwrap_or_else(|| SocketAddr::from(([0; 4], 0))));
        self.routes.behind(addr).map_or(addr, |(_, peer)| peer)
    }

    /// Whether the sockets speak IPv4, and IPv6. A wildcard of IPv6 without one of IPv4 beside it speaks both.
    pub(crate) fn families(&self) -> (bool, bool) {
        let is_both = |local: &SocketAddr| local.is_ipv4() || local.ip().is_unspecified();
        (self.local.iter().any(is_both), self.local.iter().any(SocketAddr::is_ipv6))
    }

    /// Whether the sockets and this machine speak the family of this address: one without an address of its own in that
    /// family reaches nobody there.
    pub(crate) fn speaks(&self, addr: SocketAddr) -> bool {
        let (v4, v6) = self.families();
        let has_socket = if addr.is_ipv4() { v4 } else { v6 };
        let bound =
            self.local.iter().any(|local| local.is_ipv4() == addr.is_ipv4() && local.ip().is_loopback());
        has_socket && (bound || change::addresses().iter().any(|own| own.is_ipv4() == addr.is_ipv4()))
    }
}

impl Endpoint {
    /// Binds the sockets and starts to listen. Must run inside a tokio runtime with its time and I/O drivers.
    ///
    /// # Errors
    /// [`BindError`]; nothing is left open then.
    #[expect(clippy::unused_async, reason = "binding may have to wait once ports are mapped")]
    pub async fn bind(config: EndpointConfig) -> Result<(Self, Events), BindError> {
        check(&config)?;
        let tally = Arc::new(Tally::default());
        let (socket, side) = SharedSocket::bind(&config.listen, tally.clone())?;
        let routes = socket.routes();
        let (local, datagrams) = (socket.local_addrs(), DatagramSender::start(socket.sender()));
        let local_key = Arc::new(LocalKey::new(&config.secret, KNOWN_PEERS));
        let incarnation = u64::from_be_bytes(entropy()?);
        let source: Entropy = Arc::new(|| entropy().expect("the operating system gave randomness before"));
        let transport = Arc::new(transport(&config)?);
        let crypto = || ClientCrypto::new(local_key.clone(), incarnation, source.clone());
        let mut silent = (*transport).clone();
        // noq 1.4 would report the address in early data, where its acceptor takes that for a fault.
        silent.send_observed_address_reports(false);
        let early_client = client(crypto().with_early(Arc::new(unix_ms)), &Arc::new(silent));
        let client = client(crypto(), &transport);
        let server = ServerCrypto::new(local_key.clone(), incarnation, source).with_early(ask::gate());
        let server = self::server(server, &transport)?;
        let mut endpoint = noq::EndpointConfig::new(Arc::new(ResetKey::new(entropy()?)));
        endpoint.supported_versions(vec![QUIC_VERSION]).grease_quic_bit(false);
        endpoint.cid_generator(Arc::new(|| Box::new(ConnectionIds::new())));
        let runtime = Arc::new(TokioRuntime);
        let quic = noq::Endpoint::new_with_abstract_socket(endpoint, Some(server), Box::new(socket), runtime);
        let quic = quic.map_err(|source| BindError::Socket { address: first(&local), source })?;
        let (events, receiver) = event::channel(config.event_bytes);
        let relay = config.relay.map(|relay| {
            let per_second = config.requests_per_second;
            RelayService::start(relay, &config.secret, &local, datagrams.clone(), tally.clone(), per_second)
        });
        let relay = relay.transpose()?;
        let me = local_key.node_id();
        let shared = Arc::new(Shared {
            me,
            secret: config.secret.clone(),
            local_key,
            quic,
            client,
            early_client,
            local,
            datagrams,
            events,
            tally,
            calls: Calls::default(),
            bindings: Bindings::default(),
            relay,
            dial_timeout: config.dial_timeout,
            reach: Reach::default(),
            routes,
            signals: Signals::default(),
            attempts: Attempts::default(),
            allocations: Allocations::default(),
            ups: watch::Sender::new(0),
            peers: Mutex::new(Peers::new(me)),
            handshakes: Arc::new(Handshakes::new(config.unvalidated_handshakes)),
            connections: config.connections,
        });
        tokio::spawn(change::watch(Arc::downgrade(&shared)));
        tokio::spawn(accept_all(shared.clone()));
        let since_ms = unix_ms().saturating_sub(1);
        tokio::spawn(datagrams::run(shared.clone(), side, config.requests_per_second, since_ms));
        Ok((Self(Arc::new(Handle(shared))), receiver))
    }

    /// This node's ID.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared().me
    }

    /// The addresses that were bound, with their ports; a wildcard stays a wildcard.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.shared().local.clone()
    }

    /// Addresses that others on the same network may dial: as bound, wildcards replaced by those of all interfaces.
    #[must_use]
    pub fn reachable_addrs(&self) -> Vec<SocketAddr> {
        self.shared().local.iter().flat_map(|address| reachable(*address)).collect()
    }

    /// Dials `peer` at all of `addrs`, the first ones first; at most 16 are tried. Nodes of `via` are asked at the same
    /// time to pass signals on, so that both sides learn of each other's addresses and send at once; at most 3 are asked.
    /// The answer is an [`Event::Up`](super::Event::Up) or an [`Event::DialFailed`](super::Event::DialFailed) with the
    /// ID returned. While a dial to this peer is under way, its ID is returned, and it tries `addrs` as well.
    pub fn dial(&self, peer: NodeId, addrs: Vec<SocketAddr>, via: Vec<Via>) -> DialId {
        dial::start(self.shared(), peer, addrs, via)
    }

    /// Queues a message of at most [`MAX_MESSAGE`] bytes. Never waits: watch [`Self::queued`].
    ///
    /// # Errors
    /// [`SendRefused`].
    pub fn send(&self, session: SessionId, lane: Lane, message: Bytes) -> Result<(), SendRefused> {
        let link = self.shared().peers().session(session).cloned().ok_or(SendRefused::Gone)?;
        if message.len() > MAX_MESSAGE {
            return Err(SendRefused::TooLong);
        }
        link.lanes.send(lane, message)
    }

    /// Bytes of messages that QUIC has not taken over yet; zero for a session that is gone.
    #[must_use]
    pub fn queued(&self, session: SessionId) -> usize {
        self.shared().peers().session(session).map_or(0, |link| link.lanes.queued())
    }

    /// Ends a session at once; what is queued is lost. The peer is told `reason`.
    pub fn close(&self, session: SessionId, reason: u32) {
        let link = self.shared().peers().session(session).cloned();
        if let Some(link) = link {
            link.close(reason);
        }
    }

    /// Asks `peer` at `addr` with one sealed datagram, and again with backoff until `timeout`: it may be asked more
    /// than once, so ask only what may be asked twice. Padded so that any answer fits.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn rpc(
        &self,
        peer: NodeId,
        addr: SocketAddr,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RpcError> {
        rpc::call(self.shared(), peer, addr, request, timeout).await
    }

    /// Asks `peer` on its session; without one, dials `addr` with the question in the first flight (0-RTT), so that
    /// the answer is there after one round trip, and a session with it. The question may arrive more than once, and
    /// may be sent again by whoever saw the flight: ask only what may be asked twice. Question and answer have at
    /// most [`MAX_ASK`](crate::wire::MAX_ASK) bytes.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        peer: NodeId,
        addr: SocketAddr,
        question: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, AskError> {
        ask::ask(self.shared(), peer, addr, question, timeout).await
    }

    /// Answers a request. An answer above [`RpcToken::room`] is not sent. Must run inside a tokio runtime.
    pub fn reply(&self, token: RpcToken, answer: Bytes) {
        let room = token.room();
        match token.0 {
            Slot::Datagram { slot, addr } => {
                if let Ok(datagram) = slot.seal(Answer::Body(&answer)) {
                    self.shared().datagrams.send(addr, datagram);
                }
            }
            Slot::Stream { stream, .. } if answer.len() <= room => stream.send(answer),
            Slot::Stream { .. } => {}
        }
    }

    /// Sends a datagram on a session: at once or never, in no order, and not again if it is lost. Where the path is
    /// full, the oldest that wait make room.
    ///
    /// # Errors
    /// [`SendRefused`].
    pub fn send_datagram(&self, session: SessionId, datagram: Bytes) -> Result<(), SendRefused> {
        let link = self.shared().peers().session(session).cloned().ok_or(SendRefused::Gone)?;
        link.connection.send_datagram(datagram).map_err(|error| match error {
            SendDatagramError::TooLarge => SendRefused::TooLong,
            SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => SendRefused::NoDatagrams,
            SendDatagramError::ConnectionLost(_) => SendRefused::Gone,
        })
    }

    /// The longest datagram that [`Self::send_datagram`] takes now, in bytes: about 1,150, and more once the path has
    /// shown that it carries more. `None` without a session, or if the peer takes none.
    #[must_use]
    pub fn max_datagram(&self, session: SessionId) -> Option<usize> {
        self.shared().peers().session(session)?.connection.max_datagram_size()
    }

    /// Asks a STUN server (any node is one) from which address it sees this endpoint; repeats until `timeout`. The
    /// answer also arrives as an [`Event::AddressObserved`](super::Event::AddressObserved).
    ///
    /// # Errors
    /// [`RpcError::Timeout`].
    pub async fn observe(&self, server: SocketAddr, timeout: Duration) -> Result<SocketAddr, RpcError> {
        stun::observe(self.shared(), server, timeout).await
    }

    /// The relays from which this node may take an address, best first; at most 12. They replace those given before.
    pub fn set_relays(&self, relays: Vec<Relay>) {
        self.shared().reach.set_relays(relays.clone());
        allocations::set(self.shared(), &relays);
    }

    /// The outside addresses that routers have mapped to this endpoint; at most 8. They replace those given before.
    pub fn set_mapped(&self, addrs: Vec<SocketAddr>) {
        self.shared().reach.set_mapped(addrs);
    }

    /// Says that the network is another one now, or may be: a new address, a wake from sleep. Outside addresses are
    /// asked for again and every session's paths are tried anew. Found out without being told too, some seconds
    /// later.
    pub fn network_changed(&self) {
        change::changed(self.shared());
    }

    /// The paths of a session, the one in use first; none for a session that is gone.
    #[must_use]
    pub fn paths(&self, session: SessionId) -> Vec<PathReport> {
        let link = self.shared().peers().session(session).cloned();
        link.map(|link| link.ways.reports(&link.connection)).unwrap_or_default()
    }

    /// The addresses at which `peer` was tried since its last dial began, and what became of each: at most 64, of the
    /// 256 peers dialled last.
    #[must_use]
    pub fn tried(&self, peer: NodeId) -> Vec<Tried> {
        self.shared().reach.tried(&peer)
    }

    /// What is known of this node's own network.
    #[must_use]
    pub fn nat(&self) -> NatReport {
        self.shared().reach.nat()
    }

    /// What happened so far, in numbers.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared().tally.snapshot()
    }

    /// Where clients of the relay come to over TCP, with the ports that were bound.
    #[must_use]
    pub fn relay_tcp_addrs(&self) -> Vec<SocketAddr> {
        self.shared().relay.as_ref().map(|relay| relay.tcp_addrs()).unwrap_or_default()
    }

    /// What the relay has done so far; `None` if this endpoint is none.
    #[must_use]
    pub fn relay_counters(&self) -> Option<RelayCounters> {
        self.shared().relay.as_ref().map(|relay| relay.counters())
    }

    /// Waits until peers have acknowledged what was queued (5 s at most), closes every session and tells the peers. Then
    /// [`Events`] end.
    pub async fn shutdown(&self) {
        let sessions = self.shared().peers().all_sessions();
        let flush = futures::future::join_all(sessions.iter().map(|link| link.lanes.finish()));
        let _ = timeout(FLUSH, flush).await;
        self.shared().quic.close(VarInt::from_u32(0), b"");
        let _ = timeout(FAREWELL, self.shared().quic.wait_all_draining()).await;
        self.shared().events.finish().await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        let Handle(shared) = &*self.0;
        shared
    }
}

async fn accept_all(shared: Arc<Shared>) {
    while let Some(incoming) = shared.quic.accept().await {
        if shared.peers().connections() >= shared.connections {
            shared.tally.refused.add();
            incoming.refuse();
            continue;
        }
        match shared.handshakes.admit(incoming.remote_address(), incoming.remote_address_validated()) {
            Admission::Ignore => {
                shared.tally.ignored.add();
                incoming.ignore();
            }
            Admission::Retry => {
                shared.tally.retries.add();
                let _ = incoming.retry();
            }
            Admission::Accept(place) => {
                tokio::spawn(accept(shared.clone(), incoming, place));
            }
        }
    }
}

async fn accept(shared: Arc<Shared>, incoming: Incoming, place: Place) {
    let accepted = incoming.accept().ok().and_then(|connecting| connecting.into_0rtt().ok());
    // A forged first message leaves nothing behind, but it cost a multiplication: its place limits how many may.
    let Some((connection, complete)) = accepted else { return sleep(REMAINS).await };
    let handshake = ask::handshake(&shared, &connection, complete);
    if timeout(HANDSHAKE, handshake).await.ok().flatten().is_none() {
        connection.close(VarInt::from_u32(0), b"");
        drop(connection);
        return sleep(REMAINS).await;
    }
    drop(place);
    connection::run(shared, connection, false).await;
}

fn check(config: &EndpointConfig) -> Result<(), BindError> {
    let idle = config.idle_timeout;
    if config.listen.is_empty() {
        return Err(BindError::NoAddress);
    }
    if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&idle) {
        return Err(BindError::OutOfRange("idle_timeout"));
    }
    if config.keep_alive * 2 > idle {
        return Err(BindError::OutOfRange("keep_alive"));
    }
    if config.event_bytes < MAX_MESSAGE {
        return Err(BindError::OutOfRange("event_bytes"));
    }
    Ok(())
}

/// Windows and streams of TP-6, TP-9, TP-18 and TP-19; the path's own probing of TP-50.
fn transport(config: &EndpointConfig) -> Result<noq::TransportConfig, BindError> {
    let mut transport = noq::TransportConfig::default();
    let idle = config.idle_timeout.try_into().map_err(|_| BindError::OutOfRange("idle_timeout"))?;
    debug_assert!(BULK_STREAMS as u32 * STREAM_WINDOW < WINDOW, "bulk leaves room for the other lanes");
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(config.keep_alive).filter(|interval| !interval.is_zero()))
        .max_concurrent_multipath_paths(PATHS)
        .default_path_max_idle_timeout(Some(config.idle_timeout))
        .default_path_keep_alive_interval(Some(config.keep_alive).filter(|interval| !interval.is_zero()))
        .max_concurrent_bidi_streams(VarInt::from_u32(ASKS))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(EARLY_WINDOW))
        .send_window(WINDOW.into())
        .mtu_discovery_config(Some(noq::MtuDiscoveryConfig::default()))
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .send_observed_address_reports(true)
        .receive_observed_address_reports(true);
    Ok(transport)
}

fn client(crypto: ClientCrypto, transport: &Arc<noq::TransportConfig>) -> noq::ClientConfig {
    let mut config = noq::ClientConfig::new(Arc::new(crypto));
    config.version(QUIC_VERSION).transport_config(transport.clone());
    config
}

fn server(
    crypto: ServerCrypto,
    transport: &Arc<noq::TransportConfig>,
) -> Result<noq::ServerConfig, BindError> {
    let mut config = noq::ServerConfig::new(Arc::new(crypto), Arc::new(TokenKey::new(entropy()?)));
    config
        .transport_config(transport.clone())
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(16 << 10)
        .incoming_buffer_size_total(8 << 20);
    Ok(config)
}

/// Fresh bytes from the operating system.
pub(crate) fn entropy<const N: usize>() -> Result<[u8; N], BindError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| BindError::Entropy)?;
    Ok(bytes)
}

fn first(local: &[SocketAddr]) -> SocketAddr {
    local.first().copied().unwrap_or_else(|| SocketAddr::from(([0; 4], 0)))
}
