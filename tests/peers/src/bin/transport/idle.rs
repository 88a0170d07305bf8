//! What ten thousand idle peers cost a node: memory, and the bytes that keep them alive.
//!
//! The node is a process of its own, a real endpoint. The peers are connections of this process, each with a key of its own, that
//! speak the session's first words and then nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use cs_identity::NodeId;
use cs_peers::{Better, Row};
use cs_transport::net::Event;
use cs_transport::wire::{LinkMessage, StreamKind, encode_length};

use crate::ours;
use crate::side::runtime;

/// The argument that makes this program the node.
pub(crate) const CHILD: &str = "--hold";
const PEERS: usize = 10_000;
/// Dials under way: fewer than the node wants proof of address for.
const AT_ONCE: usize = 32;
/// Idle for two keep-alives and a half.
const IDLE: Duration = Duration::from_secs(30);

pub(crate) fn run() {
    let program = std::env::current_exe().expect("the system tells");
    let mut child = Command::new(program)
        .args([CHILD, &PEERS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut line = move || lines.next().expect("the node lives").expect("it speaks text");
    let (address, id): (SocketAddr, NodeId) =
        (line().parse().expect("an address"), line().parse().expect("an ID"));
    let empty: f64 = line().parse().expect("a number");
    let mut sent = 0;
    let mut received = 0;
    let mut full = 0.0;
    runtime().block_on(async {
        let client = ours::bare_client();
        let mut peers = Vec::with_capacity(PEERS);
        let mut dials = tokio::task::JoinSet::new();
        for _ in 0..PEERS {
            let client = client.clone();
            dials.spawn(async move { peer(&client, address, id).await });
            if dials.len() >= AT_ONCE {
                peers.extend(dials.join_next().await.map(|dialled| dialled.expect("no dial fails")));
            }
        }
        peers.extend(dials.join_all().await);
        assert_eq!(line(), "all");
        let before: Vec<_> = peers.iter().map(|peer| peer.stats()).collect();
        tokio::time::sleep(IDLE).await;
        for (peer, before) in peers.iter().zip(before) {
            let now = peer.stats();
            assert!(peer.close_reason().is_none(), "{:?}", peer.close_reason());
            sent += now.udp_tx.bytes - before.udp_tx.bytes;
            received += now.udp_rx.bytes - before.udp_rx.bytes;
        }
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(b"\n").expect("the node lives");
        full = line().parse().expect("a number");
    });
    let _ = child.kill();
    let _ = child.wait();
    let row = "10,000 idle peers";
    let memory = Row::new(row, "resident memory of the node", "MB", Better::Less, full / 1e6);
    Row { goal: Some(300.0), ..memory }.print();
    Row::new(row, "of that, a session", "kB", Better::Less, (full - empty) / PEERS as f64 / 1e3).print();
    let per_peer = |bytes: u64| bytes as f64 / PEERS as f64 / IDLE.as_secs_f64() * 60.0;
    Row::new(row, "keep-alives to the node, a peer", "B/min", Better::Less, per_peer(sent)).print();
    Row::new(row, "keep-alives from the node, a peer", "B/min", Better::Less, per_peer(received)).print();
}

/// The node: tells its address, its ID and its memory, then "all" when all are there, and its memory again when asked.
pub(crate) fn hold(mut arguments: impl Iterator<Item = String>) {
    let expected: usize = arguments.next().and_then(|count| count.parse().ok()).expect("how many");
    runtime().block_on(async {
        let (endpoint, mut events) = ours::node(|_| {}).await;
        println!("{}\n{}\n{}", endpoint.local_addrs()[0], endpoint.node_id(), resident());
        let mut up = 0;
        while up < expected {
            up += usize::from(matches!(events.recv().await, Some(Event::Up { .. })));
        }
        println!("all");
        let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_exact(&mut [0]));
        tokio::pin!(asked);
        loop {
            tokio::select! {
                event = events.recv() => {
                    assert!(!matches!(event, Some(Event::Down { .. })), "{event:?}");
                }
                _ = &mut asked => break,
            }
        }
        println!("{}", resident());
    });
}

/// A session, as the node sees it: the lower ID decides, the higher one offers (TP-7).
async fn peer(client: &noq::Endpoint, address: SocketAddr, id: NodeId) -> noq::Connection {
    let local = ours::fresh_key();
    let me = local.node_id();
    let connection = ours::bare_connect(client, &ours::bare_config(local, false), id, address).await;
    let message = if me < id { LinkMessage::Decide { number: 1 } } else { LinkMessage::Offer { seen: 0 } };
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let framed = [&[StreamKind::Link.to_byte()][..], &encode_length(bytes.len()), &bytes].concat();
    let mut stream = connection.open_uni().await.expect("a stream");
    stream.write_all(&framed).await.expect("the node reads");
    stream.finish().expect("it is open");
    connection
}

/// Bytes of memory of this process, as the kernel counts them.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}
