//! What strangers can make a node spend: a million spoofed first packets, and ten thousand handshakes that are left half open.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cs_identity::NodeId;
use cs_peers::{Better, Row};
use cs_transport::quic::{ClientCrypto, QUIC_VERSION, ServerCrypto};
use cs_transport::wire::{Frame, FrameKind};
use noq_proto::crypto::{ClientConfig as _, ServerConfig as _};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectionId, PathId, Side as End};

use crate::idle::resident;
use crate::ours::{self, chance, fresh_key};
use crate::side::{Side, runtime};

const SPOOFED: usize = 1_000_000;
const HALF_OPEN: usize = 10_000;
const HONEST: usize = 200;
const PATIENCE: Duration = Duration::from_secs(20);
/// Addresses of the loopback's network that strangers send from.
const SOURCES: usize = 64;
/// Packets between two looks at whether the node has read them, so that few are lost before it.
const BURST: usize = 32;

pub(crate) fn run() {
    let (_node, (address, id)) = Side::start(|| async {
        let (endpoint, events) = ours::node(|config| config.connections = 1 << 20).await;
        let at = (endpoint.local_addrs()[0], endpoint.node_id());
        tokio::spawn(ours::serve(endpoint, events));
        at
    });
    let before_attack = honest(address, id, HONEST);
    spoofed(address);
    let stopped = Arc::new(AtomicBool::new(false));
    let attack = {
        let stopped = stopped.clone();
        std::thread::spawn(move || half_open(address, id, &stopped))
    };
    let meanwhile = honest(address, id, HONEST);
    stopped.store(true, Ordering::Relaxed);
    let opened = attack.join().expect("the attacker does not fail");
    eprintln!("transport: {opened} handshakes were left half open meanwhile");
    let [before, during] = [before_attack, meanwhile].map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() * 99 / 100] * 1e3
    });
    let row = Row::new("half-open handshakes", "p99 of an honest dial", "ms", Better::Less, during);
    Row { peer: Some(("without them", before)), goal: Some(2.0 * before), ..row }.print();
}

/// Seconds that each of some dials took, every one by a stranger.
fn honest(address: SocketAddr, id: NodeId, count: usize) -> Vec<f64> {
    runtime().block_on(async {
        let client = ours::bare_client();
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let config = ours::bare_config(fresh_key(), false);
            let began = Instant::now();
            let connection = ours::bare_connect(&client, &config, id, address).await;
            times.push(began.elapsed().as_secs_f64());
            connection.close(noq::VarInt::from_u32(0), b"");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        times
    })
}

fn sources() -> Vec<UdpSocket> {
    let at = |host: usize| SocketAddr::from(([127, 0, 1, host as u8], 0));
    (1..=SOURCES).map(|host| UdpSocket::bind(at(host)).expect("the loopback is a /8")).collect()
}

/// The outer layer right, as everybody can make it, and inside nothing that any key made.
fn spoofed(address: SocketAddr) {
    let (sources, mut packets) = (sources(), Vec::new());
    let body: Vec<u8> = (0..300).map(|at| at as u8).collect();
    for _ in 0..4096 {
        let mut frame = Vec::new();
        Frame { kind: FrameKind::Initiate, body: &body }.encode(&mut frame);
        packets.push(initial(chance(), chance(), &frame));
    }
    let before = resident();
    let (began, mut most) = (Instant::now(), before);
    let mut runs = 0;
    runtime().block_on(async {
        let (probe, _events) = ours::node(|_| {}).await;
        for at in 0..SPOOFED {
            let source = &sources[at % SOURCES];
            let _ = source.send_to(&packets[at % packets.len()], address);
            if at % BURST == 0 {
                let _ = probe.observe(address, PATIENCE).await;
                runs += 1;
            }
            if at % 4096 == 0 {
                most = most.max(resident());
            }
        }
    });
    most = most.max(resident());
    eprintln!("transport: {SPOOFED} spoofed first packets in {:?}, {runs} bursts", began.elapsed());
    let growth = Row::new(
        "1,000,000 spoofed first packets",
        "growth",
        "MB",
        Better::Less,
        (most - before) as f64 / 1e6,
    );
    Row { goal: Some(32.0), ..growth }.print();
}

/// Authentic first messages whose senders then fall silent.
fn half_open(address: SocketAddr, id: NodeId, stopped: &AtomicBool) -> usize {
    let sources = sources();
    let mut opened = 0;
    while opened < HALF_OPEN && !stopped.load(Ordering::Relaxed) {
        let source_id: [u8; 8] = chance();
        let parameters = [&[0x0f, 8][..], &source_id].concat();
        let parameters = TransportParameters::read(End::Server, &mut &parameters[..]).expect("one parameter");
        let crypto = ClientCrypto::new(fresh_key(), 1, Arc::new(chance));
        let mut session = crypto.start_session(QUIC_VERSION, &id.to_string(), &parameters).expect("a name");
        let mut frame = Vec::new();
        let _ = session.write_handshake(&mut frame);
        let _ = sources[opened % SOURCES].send_to(&initial(chance(), source_id, &frame), address);
        opened += 1;
    }
    opened
}

/// An Initial packet of 1,200 bytes with `crypto` in its CRYPTO frame (RFC 9000 section 17.2.2).
fn initial(destination: [u8; 8], source: [u8; 8], crypto: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc3];
    packet.extend_from_slice(&QUIC_VERSION.to_be_bytes());
    packet.push(8);
    packet.extend_from_slice(&destination);
    packet.push(8);
    packet.extend_from_slice(&source);
    packet.push(0);
    let number_at = packet.len() + 2;
    packet.extend_from_slice(&(0x4000 | (1200 - number_at) as u16).to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    let header = packet.len();
    packet.extend_from_slice(&[6, 0]);
    packet.extend_from_slice(&(0x4000 | crypto.len() as u16).to_be_bytes());
    packet.extend_from_slice(crypto);
    packet.resize(1200, 0);
    let keys = ServerCrypto::new(KEY.with(Arc::clone), 1, Arc::new(chance));
    let keys = keys.initial_keys(QUIC_VERSION, ConnectionId::new(&destination)).expect("our version");
    keys.packet.remote.encrypt(PathId::ZERO, 0, &mut packet, header);
    keys.header.remote.encrypt(number_at, &mut packet);
    packet
}

thread_local! {
    /// Whose it is does not matter: the keys of Initial packets are everybody's.
    static KEY: Arc<cs_transport::LocalKey> = fresh_key();
}
