//! Whole conversations of cs-transport's QUIC: two endpoints in virtual time, and a network that the input commands.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cs_identity::SecretKey;
use cs_transport::LocalKey;
use cs_transport::quic::{ClientCrypto, EarlyGate, Entropy, QUIC_VERSION, ResetKey, ServerCrypto, TokenKey};
use cs_transport::rpc::ReplayWindow;
use noq_proto::{
    ClientConfig, Connection, ConnectionHandle, ConnectionId, ConnectionIdGenerator, DatagramEvent, Dir,
    Endpoint, EndpointConfig, Event, FourTuple, InvalidCid, ServerConfig, StreamId, TransportConfig,
};

const NOW_MS: u64 = 1_700_000_000_000;
/// Longest conversation, in datagrams and time-outs.
const STEPS: usize = 400;
const QUESTION: &[u8] = b"a question of the first flight";

/// A dial with early data; each byte of the input decides what becomes of the next datagram, and what it makes of it
/// is run through both machines. True if the handshake completes and the question is read.
pub fn conversation(bytes: &[u8]) -> bool {
    let mut talk = Talk::new();
    let mut commands = bytes.iter().copied();
    for _ in 0..STEPS {
        talk.drive(0);
        talk.drive(1);
        if talk.ends.iter().all(|end| end.connected) && talk.ends[1].read == QUESTION {
            return true;
        }
        if !talk.step(&mut commands) {
            break;
        }
    }
    assert!(QUESTION.starts_with(&talk.ends[1].read), "what is read was sent");
    false
}

/// A network that delivers, and others that lose, repeat, cut and alter.
pub fn conversation_seeds() -> Vec<Vec<u8>> {
    vec![vec![], vec![1, 1, 0, 2, 0, 0, 2], vec![0, 3, 200, 7, 0, 4, 90, 0, 5, 20, 0xff], vec![6, 0, 6, 0]]
}

struct End {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    connected: bool,
    read: Vec<u8>,
}

struct Talk {
    now: Instant,
    ends: [End; 2],
    /// On the way, with whom it is for.
    wire: Vec<(usize, Vec<u8>)>,
}

impl Talk {
    fn new() -> Self {
        let gate: EarlyGate = {
            let window = Mutex::new(ReplayWindow::new(1000, 8));
            Arc::new(move |claim| {
                let mut window = window.lock().expect("no panic");
                window.admit(NOW_MS, claim.unix_ms, &claim.ephemeral).is_ok()
            })
        };
        let mut ends = [1, 2].map(|seed| end(seed, gate.clone()));
        let now = Instant::now();
        let crypto = ClientCrypto::new(key(1), 1, entropy(100)).with_early(Arc::new(|| NOW_MS));
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.version(QUIC_VERSION).transport_config(transport(false));
        config.initial_dst_cid_provider(Arc::new(|| ConnectionId::new(&[9; 8])));
        let name = SecretKey::from_bytes([2; 32]).node_id().to_string();
        let dialled = ends[0].endpoint.connect(now, config, address(1), &name);
        let (handle, mut connection) = dialled.expect("the name is valid");
        let id = connection.streams().open(Dir::Bi).expect("one stream is assumed");
        let mut stream = connection.send_stream(id);
        assert_eq!(stream.write(QUESTION), Ok(QUESTION.len()));
        stream.finish().expect("it is open");
        ends[0].connection = Some((handle, connection));
        Self { now, ends, wire: Vec::new() }
    }

    /// One datagram meets its fate, or the clock runs to the next time-out. False when nothing is left to happen.
    fn step(&mut self, commands: &mut impl Iterator<Item = u8>) -> bool {
        if self.wire.is_empty() {
            let timers = self.ends.iter().filter_map(|end| end.connection.as_ref()?.1.poll_timeout());
            let Some(next) = timers.min() else { return false };
            self.now = self.now.max(next);
            for (_, connection) in self.ends.iter_mut().filter_map(|end| end.connection.as_mut()) {
                connection.handle_timeout(self.now);
            }
            return true;
        }
        let command = commands.next().unwrap_or_default();
        let mut argument = || usize::from(commands.next().unwrap_or_default());
        match command {
            1 => drop(self.wire.remove(0)),
            2 => self.wire.push(self.wire[0].clone()),
            3 => {
                let (at, bit) = (argument() * 6, argument() % 8);
                if let Some(byte) = self.wire[0].1.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            4 => {
                let length = argument() * 5;
                self.wire[0].1.truncate(length);
            }
            5 => {
                let rest = argument();
                let first = self.wire.remove(0);
                self.wire.insert(rest.min(self.wire.len()), first);
            }
            6 => {
                let (to, datagram) = self.wire[0].clone();
                self.wire.push((1 - to, datagram));
            }
            _ => {
                let (to, datagram) = self.wire.remove(0);
                self.deliver(to, &datagram);
            }
        }
        true
    }

    fn deliver(&mut self, to: usize, datagram: &[u8]) {
        let (end, mut response) = (&mut self.ends[to], Vec::new());
        let path = FourTuple::new(address(1 - to), None);
        match end.endpoint.handle(self.now, path, None, BytesMut::from(datagram), &mut response) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let known = end.connection.as_mut().filter(|(known, _)| *known == handle);
                if let Some((_, connection)) = known {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) if end.connection.is_some() => {
                end.endpoint.ignore(incoming);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                match end.endpoint.accept(incoming, self.now, &mut response, None) {
                    Ok(connection) => end.connection = Some(connection),
                    Err(error) => {
                        if let Some(transmit) = error.response {
                            self.wire.push((1 - to, response[..transmit.size].to_vec()));
                        }
                    }
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.wire.push((1 - to, response[..transmit.size].to_vec()));
            }
            None => {}
        }
    }

    fn drive(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let Some((handle, connection)) = &mut end.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = end.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            end.connected |= matches!(event, Event::Connected);
        }
        while connection.streams().accept(Dir::Bi).is_some() {}
        let mut stream = connection.recv_stream(StreamId::new(!connection.side(), Dir::Bi, 0));
        if let Ok(mut chunks) = stream.read(true) {
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                end.read.extend_from_slice(&chunk.bytes);
            }
            let _ = chunks.finalize();
        }
        let mut buffer = Vec::new();
        while let Some(transmit) = connection.poll_transmit(self.now, NonZeroUsize::MIN, &mut buffer) {
            self.wire.push((1 - side, buffer[..transmit.size].to_vec()));
            buffer.clear();
        }
    }
}

/// Connection IDs in their order: chance has no part in a run.
struct Counted(u64);

impl ConnectionIdGenerator for Counted {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0 += 1;
        ConnectionId::new(&self.0.to_be_bytes())
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

fn address(side: usize) -> SocketAddr {
    ([192, 0, 2, side as u8 + 1], 4433).into()
}

fn key(seed: u8) -> Arc<LocalKey> {
    Arc::new(LocalKey::new(&SecretKey::from_bytes([seed; 32]), 2))
}

/// Different at every call, and the same in every run.
fn entropy(seed: u8) -> Entropy {
    let calls = AtomicU64::new(0);
    Arc::new(move || {
        let mut bytes = [seed; 32];
        bytes[..8].copy_from_slice(&calls.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        bytes
    })
}

/// Early data needs an acceptor that reports addresses, and a dialler that does not.
fn transport(reports: bool) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.send_observed_address_reports(reports).receive_observed_address_reports(true);
    transport.max_idle_timeout(Some(Duration::from_secs(10).try_into().expect("it is short")));
    Arc::new(transport)
}

fn end(seed: u8, gate: EarlyGate) -> End {
    let crypto = ServerCrypto::new(key(seed), 1, entropy(seed)).with_early(gate);
    let mut server = ServerConfig::new(Arc::new(crypto), Arc::new(TokenKey::new([seed; 32])));
    server.transport_config(transport(true));
    let mut config = EndpointConfig::new(Arc::new(ResetKey::new([seed; 32])));
    config
        .supported_versions(vec![QUIC_VERSION])
        .grease_quic_bit(false)
        .rng_seed(Some([seed; 32]))
        .cid_generator(Arc::new(move || Box::new(Counted(u64::from(seed) << 32))));
    let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)), true);
    End { endpoint, connection: None, connected: false, read: Vec::new() }
}
