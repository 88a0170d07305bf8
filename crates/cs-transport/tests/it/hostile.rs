//! Floods from strangers, small enough for every run: bounded, counted, and honest peers are served meanwhile. `cargo
//! xtask bench transport hostile` has them in full size.

use std::net::UdpSocket;
use std::sync::Arc;

use bytes::Bytes;
use cs_transport::quic::{Entropy, QUIC_VERSION, ServerCrypto};
use cs_transport::wire::{Frame, FrameKind};
use noq_proto::crypto::ServerConfig as _;
use noq_proto::{ConnectionId, PathId};
use rand::RngExt;

use crate::stories::{Node, PATIENCE, connected};
use crate::world::local;

/// An Initial packet as anybody can make it: protected well, with `crypto` in its CRYPTO frame, and 1,200 bytes long.
fn initial(version: u32, crypto: &[u8]) -> Vec<u8> {
    const NUMBER: usize = 4;
    let destination = ConnectionId::new(&rand::random::<[u8; 8]>());
    let mut packet = vec![0xc3];
    packet.extend_from_slice(&version.to_be_bytes());
    packet.push(8);
    packet.extend_from_slice(&destination);
    packet.push(8);
    packet.extend_from_slice(&rand::random::<[u8; 8]>());
    // No token, and the length of the rest.
    packet.push(0);
    let number_at = packet.len() + 2;
    packet.extend_from_slice(&(0x4000 | (1200 - number_at) as u16).to_be_bytes());
    packet.extend_from_slice(&[0; NUMBER]);
    let header = packet.len();
    packet.extend_from_slice(&[6, 0]);
    packet.extend_from_slice(&(0x4000 | crypto.len() as u16).to_be_bytes());
    packet.extend_from_slice(crypto);
    packet.resize(1200, 0);
    let entropy: Entropy = Arc::new(rand::random);
    let keys = ServerCrypto::new(local(0), 1, entropy).initial_keys(QUIC_VERSION, destination);
    let keys = keys.expect("the version is ours");
    keys.packet.remote.encrypt(PathId::ZERO, 0, &mut packet, header);
    keys.header.remote.encrypt(number_at, &mut packet);
    packet
}

fn forged_initiate() -> Vec<u8> {
    let body: Vec<u8> = (0..300).map(|_| rand::random()).collect();
    let mut frame = Vec::new();
    Frame { kind: FrameKind::Initiate, body: &body }.encode(&mut frame);
    frame
}

// TP-2
#[tokio::test]
async fn spoofed_first_packets_take_a_bounded_number_of_places_and_honest_peers_still_connect() {
    let (mut node, mut honest) = (Node::new(1).await, Node::new(2).await);
    let spoofer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = rand::rng();
    for round in 0..600 {
        let mut packet = initial(QUIC_VERSION, &forged_initiate());
        if round % 4 == 0 {
            // Not even the outer layer is right.
            let at = rng.random_range(30..packet.len());
            packet[at] ^= 1;
        }
        spoofer.send_to(&packet, node.addr).unwrap();
        if round % 50 == 0 {
            // The node answers: what was sent so far is read, but for what the kernel had no room for.
            honest.endpoint.observe(node.addr, PATIENCE).await.expect("the node is alive");
        }
    }
    connected(&mut honest, &mut node).await;
    let counters = node.endpoint.counters();
    assert!(counters.retries > 0, "{counters:?}");
    assert_eq!(counters.peer_faults, 0);
}

// TP-2
#[tokio::test]
async fn a_first_packet_of_another_version_is_told_ours_and_costs_nothing_more() {
    let node = Node::new(1).await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let packet = initial(0x1a2a_3a4a, &forged_initiate());
    stranger.send_to(&packet, node.addr).await.unwrap();
    let mut answer = [0; 1500];
    let length = tokio::time::timeout(PATIENCE, stranger.recv(&mut answer)).await.expect("in time").unwrap();
    assert!(length <= packet.len());
    assert_eq!(answer[1..5], [0; 4], "Version Negotiation, RFC 9000 section 17.2.1");
    assert!(answer[..length].windows(4).any(|version| version == QUIC_VERSION.to_be_bytes()));
    let counters = node.endpoint.counters();
    assert_eq!((counters.retries, counters.refused, counters.ignored), (0, 0, 0));
}

// TP-13
#[tokio::test]
async fn datagrams_of_any_length_and_floods_beside_quic_are_counted_and_dropped() {
    let (mut node, mut honest) = (Node::new(1).await, Node::new(2).await);
    let (session, _) = connected(&mut honest, &mut node).await;
    let flooder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for round in 0..40 {
        for first in [0x00, 0x40, 0x80, 0x81, 0x90, 0xc0, 0xff] {
            for length in [1, 1501, 9000, 65_507] {
                let mut datagram = vec![first; length];
                if first == 0 {
                    let known = datagram.len().min(8);
                    datagram[..known].copy_from_slice(&stun[..known]);
                }
                flooder.send_to(&datagram, node.addr).unwrap();
            }
        }
        for _ in 0..40 {
            flooder.send_to(&stun, node.addr).unwrap();
        }
        honest.endpoint.send(session, cs_transport::net::Lane::Normal, Bytes::from(vec![round; 10])).unwrap();
        assert_eq!(node.message().await.1, vec![round; 10]);
    }
    let counters = node.endpoint.counters();
    assert!(counters.garbage > 0, "{counters:?}");
    assert!(counters.rate_limited > 0 && counters.stun_served <= 1000, "{counters:?}");
    assert_eq!(counters.peer_faults, 0);
}
