//! QUIC over Noise in virtual time: two noq-proto endpoints and a network of lists.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cs_crypto::noise::{Hash, Pattern, Protocol, Setup};
use cs_identity::{NodeId, SecretKey};
use cs_transport::quic::{ClientCrypto, Entropy, Peer, QUIC_VERSION, ResetKey, ServerCrypto, TokenKey};
use cs_transport::wire::{Frame, FrameKind, Hello};
use noq_proto::crypto::{ClientConfig as _, ServerConfig as _, Session};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, ConnectionId, ConnectionIdGenerator,
    DatagramEvent, Dir, Endpoint, EndpointConfig, Event, FourTuple, InvalidCid, ServerConfig, Side,
    StreamEvent, TransportConfig, VarInt,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Chance = Arc<Mutex<ChaCha8Rng>>;

fn chance(seed: u64) -> Chance {
    Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
}

fn entropy(chance: &Chance) -> Entropy {
    let chance = chance.clone();
    Arc::new(move || {
        let mut bytes = [0; 32];
        chance.lock().unwrap().fill_bytes(&mut bytes);
        bytes
    })
}

struct SeededIds(Chance);

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

fn secret(side: usize) -> SecretKey {
    SecretKey::from_bytes([side as u8 + 1; 32])
}

/// One end: an endpoint, its connection, and what came of it.
struct End {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    connected: bool,
    lost: Option<ConnectionError>,
    received: Vec<u8>,
}

impl End {
    fn peer(&self) -> Option<NodeId> {
        let (_, connection) = self.connection.as_ref()?;
        connection.crypto_session().peer_identity()?.downcast::<Peer>().ok().map(|peer| peer.node)
    }

    fn export(&self, label: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        let (_, connection) = self.connection.as_ref().expect("a connection");
        connection.crypto_session().export_keying_material(&mut out, label, b"").expect("handshake done");
        out
    }
}

struct World {
    started: Instant,
    now: Instant,
    ends: [End; 2],
    wire: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    rng: ChaCha8Rng,
    loss_percent: u32,
    retry: bool,
    /// FNV-1a over all datagrams and their times.
    trace: u64,
}

impl World {
    fn new(seed: u64, loss_percent: u32) -> Self {
        let ends = [0, 1].map(|side| end(side, seed));
        let now = Instant::now();
        Self {
            started: now,
            now,
            ends,
            wire: BTreeMap::new(),
            sent: 0,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xabcd),
            loss_percent,
            retry: false,
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    fn dial(&mut self, name: &str) {
        let chance = chance(99);
        let crypto = ClientCrypto::new(Arc::new(secret(0)), 1, entropy(&chance));
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.version(QUIC_VERSION).transport_config(transport());
        config.initial_dst_cid_provider(Arc::new(move || SeededIds(chance.clone()).generate_cid()));
        let connection =
            self.ends[0].endpoint.connect(self.now, config, address(1), name).expect("a valid name");
        self.ends[0].connection = Some(connection);
    }

    /// Runs until `done`, or nothing is left to happen, or a virtual minute passed. Returns whether it was done.
    fn run(&mut self, done: impl Fn(&Self) -> bool) -> bool {
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
                    while connection.streams().accept(Dir::Uni).is_some() {}
                    let id = noq_proto::StreamId::new(!connection.side(), Dir::Uni, 0);
                    let mut stream = connection.recv_stream(id);
                    if let Ok(mut chunks) = stream.read(true) {
                        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                            end.received.extend_from_slice(&chunk.bytes);
                        }
                        let _ = chunks.finalize();
                    }
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
        let delay = Duration::from_micros(self.rng.random_range(10_000..50_000));
        if self.rng.random_range(0..100) >= self.loss_percent {
            self.sent += 1;
            self.wire.insert((self.now + delay, self.sent), (1 - from, datagram.to_vec()));
        }
    }

    /// Writes as much of `data` as fits now on the first stream; returns how much that was.
    fn write(&mut self, side: usize, data: &[u8]) -> usize {
        let (_, connection) = self.ends[side].connection.as_mut().expect("a connection");
        let id = noq_proto::StreamId::new(connection.side(), Dir::Uni, 0);
        if connection.send_stream(id).write(b"").is_err() {
            connection.streams().open(Dir::Uni).expect("streams are allowed");
        }
        connection.send_stream(id).write(data).unwrap_or(0)
    }
}

fn address(side: usize) -> SocketAddr {
    ([10, 0, 0, side as u8 + 1], 4433).into()
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(VarInt::from_u32(30_000).into()));
    transport.mtu_discovery_config(None);
    Arc::new(transport)
}

fn end(side: usize, seed: u64) -> End {
    let chance = chance(seed.wrapping_mul(2) + side as u64);
    let crypto = ServerCrypto::new(Arc::new(secret(side)), 1, entropy(&chance));
    let mut server = ServerConfig::new(Arc::new(crypto), Arc::new(TokenKey::new([5; 32])));
    server.transport_config(transport());
    let mut config = EndpointConfig::new(Arc::new(ResetKey::new([side as u8; 32])));
    let ids = chance.clone();
    config
        .supported_versions(vec![QUIC_VERSION])
        .grease_quic_bit(false)
        .rng_seed(Some([seed as u8; 32]))
        .cid_generator(Arc::new(move || Box::new(SeededIds(ids.clone()))));
    let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)), true);
    End { endpoint, connection: None, connected: false, lost: None, received: Vec::new() }
}

fn both_connected(world: &World) -> bool {
    world.ends.iter().all(|end| end.connected)
}

// TP-2, TP-3
#[test]
fn the_handshake_completes_on_a_lossy_reordering_network() {
    for seed in 0..200 {
        let mut world = World::new(seed, 25);
        world.dial(&secret(1).node_id().to_string());
        assert!(world.run(both_connected), "seed {seed}: {:?} {:?}", world.ends[0].lost, world.ends[1].lost);
        assert_eq!(world.ends[0].peer(), Some(secret(1).node_id()));
        assert_eq!(world.ends[1].peer(), Some(secret(0).node_id()));
        assert_eq!(world.ends[0].export(b"x"), world.ends[1].export(b"x"));
        assert_ne!(world.ends[0].export(b"x"), world.ends[0].export(b"y"));
    }
}

// TP-5
#[test]
fn data_survives_loss_and_key_updates() {
    let mut world = World::new(7, 3);
    world.dial(&secret(1).node_id().to_string());
    assert!(world.run(both_connected));
    let data = (0..400_000u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>();
    let mut written = 0;
    while written < data.len() {
        written += world.write(0, &data[written..]);
        let (_, connection) = world.ends[0].connection.as_mut().unwrap();
        connection.force_key_update();
        let target = written;
        assert!(world.run(|world| world.ends[1].received.len() >= target), "{:?}", world.ends[0].lost);
        world.started = world.now;
    }
    assert!(world.ends[1].received == data);
}

// TP-2
#[test]
fn an_address_is_validated_by_retry() {
    let mut world = World::new(3, 10);
    world.retry = true;
    world.dial(&secret(1).node_id().to_string());
    assert!(world.run(both_connected));
}

// TP-4
#[test]
fn a_node_with_another_key_is_refused() {
    let mut world = World::new(4, 0);
    world.dial(&SecretKey::from_bytes([77; 32]).node_id().to_string());
    assert!(world.run(|world| world.ends[0].lost.is_some()));
    match &world.ends[0].lost {
        Some(ConnectionError::ConnectionClosed(close)) => assert_eq!(u64::from(close.error_code), 0x133),
        other => panic!("the acceptor refuses, not {other:?}"),
    }
    assert!(!world.ends[0].connected && !world.ends[1].connected);
}

#[test]
fn equal_seeds_give_equal_datagrams_at_equal_times() {
    let trace = |seed| {
        let mut world = World::new(seed, 10);
        world.dial(&secret(1).node_id().to_string());
        assert!(world.run(both_connected));
        world.write(0, &[1; 5000]);
        assert!(world.run(|world| world.ends[1].received.len() == 5000));
        world.trace
    };
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12), "the trace sees differences");
}

/// Both sessions of a handshake, before any byte was moved.
fn sessions() -> (Box<dyn Session>, Box<dyn Session>) {
    let source = entropy(&chance(1));
    let client = ClientCrypto::new(Arc::new(secret(0)), 10, source.clone());
    let server = ServerCrypto::new(Arc::new(secret(1)), 20, source);
    let name = secret(1).node_id().to_string();
    let client = client.start_session(QUIC_VERSION, &name, &parameters()).expect("a valid name");
    (client, server.start_session(QUIC_VERSION, &parameters()))
}

fn parameters() -> TransportParameters {
    TransportParameters::read(Side::Server, &mut &[][..]).expect("all parameters are optional")
}

fn written(session: &mut dyn Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    while {
        let before = bytes.len();
        session.write_handshake(&mut bytes).is_some() || bytes.len() > before
    } {}
    bytes
}

// TP-4: transport parameters ride in the payloads, so a flip anywhere in either message must end the handshake.
#[test]
fn no_byte_of_the_handshake_can_be_altered() {
    let (mut client, _) = sessions();
    let initiate = written(&mut *client);
    for at in 0..initiate.len() {
        let mut altered = initiate.clone();
        altered[at] ^= 1;
        let (_, mut server) = sessions();
        let read = server.read_handshake(&altered);
        // A length made longer waits for bytes that never come; everything else is an error.
        assert!(read.is_err() || server.peer_identity().is_none(), "byte {at} of the first message");
    }
    let respond = |client: &mut dyn Session, alter: usize| {
        let (_, mut server) = sessions();
        server.read_handshake(&written(client)).expect("our own message");
        let mut bytes = Vec::new();
        let _ = server.write_handshake(&mut bytes);
        if let Some(byte) = bytes.get_mut(alter) {
            *byte ^= 1;
        }
        bytes
    };
    for at in 0..respond(&mut *sessions().0, usize::MAX).len() {
        let (mut client, _) = sessions();
        let altered = respond(&mut *client, at);
        let read = client.read_handshake(&altered);
        assert!(read.is_err() || client.peer_identity().is_none(), "byte {at} of the second message");
    }
}

// TP-4
#[test]
fn a_dialler_that_claims_another_ones_id_is_refused() {
    let (me, server) = (secret(0), secret(1).node_id());
    let claim = |node: NodeId| {
        let prologue = [&b"cosmic-sync session v1"[..], server.as_bytes()].concat();
        let hello = Hello { node: *node.as_bytes(), incarnation: 1, parameters: &[] };
        let mut payload = Vec::new();
        hello.encode(&mut payload);
        let initiator = Setup::new(Protocol::new(Pattern::IK, Hash::Sha256), [8; 32])
            .prologue(&prologue)
            .local(*me.to_x25519())
            .remote(server.to_x25519())
            .initiate()
            .expect("the keys fit");
        let (message, _) = initiator.write(&payload).expect("it fits");
        let mut bytes = Vec::new();
        Frame { kind: FrameKind::Initiate, body: &message }.encode(&mut bytes);
        sessions().1.read_handshake(&bytes)
    };
    assert_eq!(claim(me.node_id()), Ok(true));
    assert!(claim(secret(5).node_id()).is_err());
}

// TP-3: whoever sees Initial packets can forge them, so a confirmation counts only at its own level.
#[test]
fn a_confirmation_before_the_handshake_keys_is_refused() {
    let (mut client, mut server) = sessions();
    server.read_handshake(&written(&mut *client)).expect("our own message");
    let mut respond = Vec::new();
    let _ = server.write_handshake(&mut respond);
    let mut confirm = Vec::new();
    let _ = server.write_handshake(&mut confirm);
    assert_eq!(Frame::from_bytes(&confirm).expect("a frame").kind, FrameKind::Confirm);
    assert!(client.read_handshake(&[respond, confirm].concat()).is_err());
}

// TP-3
#[test]
fn a_wrong_confirmation_is_refused_and_the_right_one_ends_the_handshake() {
    let (mut client, mut server) = sessions();
    server.read_handshake(&written(&mut *client)).expect("our own message");
    let mut respond = Vec::new();
    let _ = server.write_handshake(&mut respond);
    client.read_handshake(&respond).expect("our own message");
    assert!(client.write_handshake(&mut Vec::new()).is_some(), "handshake keys, and silence");
    let mut wrong = Vec::new();
    Frame { kind: FrameKind::Confirm, body: &[0; 32] }.encode(&mut wrong);
    let mut right = Vec::new();
    let _ = server.write_handshake(&mut right);
    assert!(client.is_handshaking());
    client.read_handshake(&right).expect("the acceptor's proof");
    assert!(!client.is_handshaking());
    assert!(server.is_handshaking(), "the acceptor waits for the dialler's proof");
    assert!(server.read_handshake(&wrong).is_err());
    assert!(server.read_handshake(&written(&mut *client)).is_err(), "failed once is failed for good");
}

// TP-2
#[test]
fn another_version_and_a_name_that_is_no_node_are_refused() {
    let crypto = ClientCrypto::new(Arc::new(secret(0)), 1, entropy(&chance(1)));
    let parameters = parameters();
    let name = secret(1).node_id().to_string();
    assert!(crypto.start_session(1, &name, &parameters).is_err());
    assert!(crypto.start_session(QUIC_VERSION, "example.org", &parameters).is_err());
    assert!(crypto.start_session(QUIC_VERSION, &name, &parameters).is_ok());
}
