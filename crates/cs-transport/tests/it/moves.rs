//! A path that changes under a session, and one that carries more than was assumed.

use bytes::Bytes;
use cs_transport::net::{Event, Lane};

use crate::proxy::Proxy;
use crate::stories::pair;
use crate::world::{World, both_connected, secret};

// TP-50: RFC 9000 section 9.
#[tokio::test]
async fn a_session_survives_its_dialler_moving_to_other_ports_with_its_streams_intact() {
    let (mut dialler, mut node) = pair().await;
    let proxy = Proxy::start(node.addr, usize::MAX).await;
    dialler.endpoint.dial(node.id, vec![proxy.addr], vec![]);
    let (session, _, _) = dialler.up().await;
    node.up().await;
    let (messages, length) = (96u8, 128 << 10);
    for number in 0..messages {
        dialler.endpoint.send(session, Lane::Normal, vec![number; length].into()).unwrap();
    }
    for number in 0..messages {
        match node.next().await {
            Event::Message { lane: Lane::Normal, bytes, .. } => {
                assert_eq!(bytes.len(), length);
                assert!(bytes.iter().all(|byte| *byte == number), "message {number}");
            }
            other => panic!("message {number} was due, not {other:?}"),
        }
        if number % 32 == 8 {
            proxy.move_dialler();
        }
    }
    let passed = proxy.passed();
    assert_eq!(passed.moves, 3);
    // QUIC probed the path, which says that it carries 1,452 bytes and more.
    assert!(passed.longest >= 1400, "{passed:?}");
    dialler.endpoint.send(session, Lane::Control, Bytes::from_static(b"same session")).unwrap();
    assert_eq!(node.message().await.1, "same session");
}

// TP-50: RFC 8899.
#[test]
fn the_largest_datagram_that_the_path_carries_is_found() {
    for (mtu, expected) in [(1200, 1200..=1200), (1300, 1220..=1300), (9000, 1452..=1452)] {
        let mut world = World::new(8, 0);
        world.mtu = mtu;
        world.dial(&secret(1).node_id().to_string());
        assert!(world.run(both_connected));
        let data = vec![1; 300_000];
        let mut written = 0;
        while written < data.len() {
            written += world.write(0, &data[written..]);
            let target = written;
            assert!(world.run(|world| world.ends[1].received.len() >= target), "{:?}", world.ends[0].lost);
        }
        assert!(expected.contains(&world.path_mtu(0)), "{} of {mtu}", world.path_mtu(0));
    }
}

// TP-5: RFC 9000 section 12.3.
#[test]
fn packets_that_come_twice_count_once() {
    let mut world = World::new(10, 10);
    world.duplicate_percent = 60;
    world.dial(&secret(1).node_id().to_string());
    assert!(world.run(both_connected));
    let data = (0..20_000u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>();
    let mut written = 0;
    while written < data.len() {
        written += world.write(0, &data[written..]);
        let target = written;
        assert!(world.run(|world| world.ends[1].received.len() >= target));
    }
    assert!(world.ends[1].received == data);
}
