//! Two noq-proto endpoints and a network of lists, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cs_identity::{NodeId, SecretKey};
use cs_transport::LocalKey;
use cs_transport::quic::{
    ClientCrypto, EarlyGate, Entropy, Peer, QUIC_VERSION, ResetKey, ServerCrypto, TokenKey,
};
use noq_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, ConnectionId, ConnectionIdGenerator,
    DatagramEvent, Dir, Endpoint, EndpointConfig, Event, FourTuple, InvalidCid, MtuDiscoveryConfig, PathId,
    ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) type Chance = Arc<Mutex<ChaCha8Rng>>;

pub(crate) fn chance(seed: u64) -> Chance {
    Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
}

pub(crate) fn entropy(chance: &Chance) -> Entropy {
    let chance = chance.clone();
    Arc::new(move || {
        let mut bytes = [0; 32];
        chance.lock().unwrap().fill_bytes(&mut bytes);
        bytes
    })
}

pub(crate) struct SeededIds(Chance);

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; 8];
        self.0.lock().unwrap().fill_bytes(&mut bytes);
        ConnectionId::new(&bytes)
    }
    fn validate(&self, _: ConnectionId) -> Result<(), InvalidCid> {
        Ok(())
    }
    fn cid_len(&self) -> usize {
        8
    }
    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

pub(crate) fn secret(side: usize) -> SecretKey {
    SecretKey::from_bytes([side as u8 + 1; 32])
}

pub(crate) fn local(side: usize) -> Arc<LocalKey> {
    Arc::new(LocalKey::new(&secret(side), 8))
}

/// One end: an endpoint, its connection, and what came of it.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: Option<(ConnectionHandle, Connection)>,
    pub(crate) connected: bool,
    pub(crate) lost: Option<ConnectionError>,
    pub(crate) received: Vec<u8>,
    /// What came on the first two-way stream, and whether any of it came before the handshake was complete.
    pub(crate) asked: Vec<u8>,
    pub(crate) asked_early: bool,
    /// Bytes of all datagrams that came and went.
    pub(crate) bytes: [usize; 2],
}

impl End {
    pub(crate) fn peer(&self) -> Option<NodeId> {
        let (_, connection) = self.connection.as_ref()?;
        connection.crypto_session().peer_identity()?.downcast::<Peer>().ok().map(|peer| peer.node)
    }

    pub(crate) fn export(&self, label: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        let (_, connection) = self.connection.as_ref().expect("a connection");
        connection.crypto_session().export_keying_material(&mut out, label, b"").expect("handshake done");
        out
    }
}

pub(crate) struct World {
    pub(crate) started: Instant,
    pub(crate) now: Instant,
    pub(crate) ends: [End; 2],
    wire: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    rng: ChaCha8Rng,
    pub(crate) loss_percent: u32,
    /// Datagrams that come twice.
    pub(crate) duplicate_percent: u32,
    pub(crate) retry: bool,
    /// Datagrams above this many bytes are lost.
    pub(crate) mtu: usize,
    /// After this many datagrams, the dialler's are lost.
    pub(crate) dialler_falls_silent_after: usize,
    /// What the dialler sent so far.
    pub(crate) from_dialler: Vec<Vec<u8>>,
    /// FNV-1a over all datagrams and their times.
    pub(crate) trace: u64,
}

impl World {
    pub(crate) fn new(seed: u64, loss_percent: u32) -> Self {
        let ends = [0, 1].map(|side| end(side, seed, None));
        let now = Instant::now();
        Self {
            started: now,
            now,
            ends,
            wire: BTreeMap::new(),
            sent: 0,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xabcd),
            loss_percent,
            duplicate_percent: 0,
            retry: false,
            mtu: usize::MAX,
            dialler_falls_silent_after: usize::MAX,
            from_dialler: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(crate) fn dial(&mut self, name: &str) {
        self.dial_with(name, |crypto| crypto);
    }

    pub(crate) fn dial_with(&mut self, name: &str, change: impl FnOnce(ClientCrypto) -> ClientCrypto) {
        let chance = chance(99);
        let crypto = change(ClientCrypto::new(local(0), 1, entropy(&chance)));
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.version(QUIC_VERSION).transport_config(transport(0));
        config.initial_dst_cid_provider(Arc::new(move || SeededIds(chance.clone()).generate_cid()));
        let connection =
            self.ends[0].endpoint.connect(self.now, config, address(1), name).expect("a valid name");
        self.ends[0].connection = Some(connection);
    }

    /// Runs until `done`, or nothing is left to happen, or a virtual minute passed. Returns whether it was done.
    pub(crate) fn run(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        while self.now - self.started < Duration::from_secs(60) {
            self.drive(0);
            self.drive(1);
            if done(self) {
                return true;
            }
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let timers = self.ends.iter_mut().filter_map(|end| end.connection.as_mut()?.1.poll_timeout());
            let Some(next) = timers.chain(arrival).min() else { return false };
            self.now = self.now.max(next);
            self.deliver();
            for end in &mut self.ends {
                if let Some((_, connection)) = &mut end.connection {
                    connection.handle_timeout(self.now);
                }
            }
        }
        false
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, datagram) = entry.remove();
            self.ends[to].bytes[0] += datagram.len();
            let path = FourTuple::new(address(1 - to), None);
            let mut response = Vec::new();
            let end = &mut self.ends[to];
            match end.endpoint.handle(self.now, path, None, BytesMut::from(&datagram[..]), &mut response) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    if let Some((_, connection)) =
                        end.connection.as_mut().filter(|(known, _)| *known == handle)
                    {
                        connection.handle_event(event);
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    if self.retry && !incoming.remote_address_validated() {
                        let transmit = end.endpoint.retry(incoming, &mut response).expect("first attempt");
                        self.send(to, &response[..transmit.size]);
                    } else {
                        match end.endpoint.accept(incoming, self.now, &mut response, None) {
                            Ok(connection) => end.connection = Some(connection),
                            Err(error) => {
                                if let Some(transmit) = error.response {
                                    self.send(to, &response[..transmit.size]);
                                }
                            }
                        }
                    }
                }
                Some(DatagramEvent::Response(transmit)) => self.send(to, &response[..transmit.size]),
                None => {}
            }
        }
    }

    fn drive(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let Some((handle, mut connection)) = end.connection.take() else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = end.endpoint.handle_event(handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => end.connected = true,
                Event::ConnectionLost { reason } => end.lost = Some(reason),
                Event::Stream(StreamEvent::Opened { .. } | StreamEvent::Readable { .. }) => {
                    read(&mut connection, Dir::Uni, &mut end.received);
                    let before = end.asked.len();
                    read(&mut connection, Dir::Bi, &mut end.asked);
                    end.asked_early |= end.asked.len() > before && !end.connected;
                }
                _ => {}
            }
        }
        let mut buffer = Vec::new();
        let mut datagrams = Vec::new();
        while let Some(transmit) = connection.poll_transmit(self.now, NonZeroUsize::MIN, &mut buffer) {
            datagrams.push(buffer[..transmit.size].to_vec());
            buffer.clear();
        }
        self.ends[side].connection = Some((handle, connection));
        for datagram in datagrams {
            self.send(side, &datagram);
        }
    }

    /// Loses, delays (10 to 50 ms) and thereby reorders.
    fn send(&mut self, from: usize, datagram: &[u8]) {
        let at = u64::try_from((self.now - self.started).as_nanos()).unwrap();
        for byte in at.to_be_bytes().iter().chain(datagram) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.ends[from].bytes[1] += datagram.len();
        if from == 0 {
            self.from_dialler.push(datagram.to_vec());
            if self.from_dialler.len() > self.dialler_falls_silent_after {
                return;
            }
        }
        let delay = Duration::from_micros(self.rng.random_range(10_000..50_000));
        let is_lost = self.rng.random_range(0..100) < self.loss_percent || datagram.len() > self.mtu;
        let copies = 1 + u32::from(self.duplicate_percent > self.rng.random_range(0..100));
        for copy in (0..copies).filter(|_| !is_lost) {
            self.sent += 1;
            self.wire.insert((self.now + delay * (copy + 1), self.sent), (1 - from, datagram.to_vec()));
        }
    }

    /// Asks on the first two-way stream; before the handshake is complete, that is early data.
    pub(crate) fn ask(&mut self, data: &[u8]) {
        let (_, connection) = self.ends[0].connection.as_mut().expect("a connection");
        let id = connection.streams().open(Dir::Bi).expect("a stream is granted");
        let mut stream = connection.send_stream(id);
        assert_eq!(stream.write(data), Ok(data.len()));
        stream.finish().expect("it is open");
    }

    /// Answers on the stream of the question, as much as there is room for.
    pub(crate) fn answer(&mut self, data: &[u8]) -> usize {
        let (_, connection) = self.ends[1].connection.as_mut().expect("a connection");
        let id = StreamId::new(!connection.side(), Dir::Bi, 0);
        connection.send_stream(id).write(data).unwrap_or(0)
    }

    /// The largest datagram that the path of an end is known to carry.
    pub(crate) fn path_mtu(&mut self, side: usize) -> u16 {
        let (_, connection) = self.ends[side].connection.as_mut().expect("a connection");
        connection.path_stats(PathId::ZERO).expect("the first path").current_mtu
    }

    /// Writes as much of `data` as fits now on the first stream; returns how much that was.
    pub(crate) fn write(&mut self, side: usize, data: &[u8]) -> usize {
        let (_, connection) = self.ends[side].connection.as_mut().expect("a connection");
        let id = StreamId::new(connection.side(), Dir::Uni, 0);
        if connection.send_stream(id).write(b"").is_err() {
            connection.streams().open(Dir::Uni).expect("streams are allowed");
        }
        connection.send_stream(id).write(data).unwrap_or(0)
    }
}

fn read(connection: &mut Connection, direction: Dir, into: &mut Vec<u8>) {
    while connection.streams().accept(direction).is_some() {}
    let mut stream = connection.recv_stream(StreamId::new(!connection.side(), direction, 0));
    if let Ok(mut chunks) = stream.read(true) {
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            into.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
    }
}

pub(crate) fn address(side: usize) -> SocketAddr {
    ([10, 0, 0, side as u8 + 1], 4433).into()
}

pub(crate) fn transport(side: usize) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.send_observed_address_reports(side == 1).receive_observed_address_reports(true);
    transport.max_idle_timeout(Some(VarInt::from_u32(30_000).into()));
    transport.mtu_discovery_config(Some(MtuDiscoveryConfig::default()));
    Arc::new(transport)
}

pub(crate) fn end(side: usize, seed: u64, gate: Option<EarlyGate>) -> End {
    let chance = chance(seed.wrapping_mul(2) + side as u64);
    let crypto = ServerCrypto::new(local(side), 1, entropy(&chance));
    let crypto = gate.into_iter().fold(crypto, ServerCrypto::with_early);
    let mut server = ServerConfig::new(Arc::new(crypto), Arc::new(TokenKey::new([5; 32])));
    server.transport_config(transport(side));
    let mut config = EndpointConfig::new(Arc::new(ResetKey::new([side as u8; 32])));
    let ids = chance.clone();
    config
        .supported_versions(vec![QUIC_VERSION])
        .grease_quic_bit(false)
        .rng_seed(Some([seed as u8; 32]))
        .cid_generator(Arc::new(move || Box::new(SeededIds(ids.clone()))));
    let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)), true);
    End {
        endpoint,
        connection: None,
        connected: false,
        lost: None,
        received: Vec::new(),
        asked: Vec::new(),
        asked_early: false,
        bytes: [0; 2],
    }
}

pub(crate) fn both_connected(world: &World) -> bool {
    world.ends.iter().all(|end| end.connected)
}
