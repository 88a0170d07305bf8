//! Early data in virtual time: read once, refused without harm, and never a way around anything (TP-17).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use cs_transport::quic::{ClientCrypto, EarlyGate, HandshakeFacts};
use cs_transport::rpc::ReplayWindow;
use noq_proto::{ConnectionError, DatagramEvent, Dir, FourTuple};

use crate::world::{World, address, both_connected, end, secret};

const NOW_MS: u64 = 1_700_000_000_000;

fn window() -> EarlyGate {
    let window = Mutex::new(ReplayWindow::new(120_000, 8));
    Arc::new(move |claim| {
        assert_eq!(claim.from, secret(0).node_id());
        window.lock().expect("no panic").admit(NOW_MS, claim.unix_ms, &claim.ephemeral).is_ok()
    })
}

fn early_world(seed: u64, loss_percent: u32, gate: EarlyGate, sealed_ms: u64) -> World {
    let mut world = World::new(seed, loss_percent);
    world.ends[1] = end(1, seed, Some(gate));
    let early = |crypto: ClientCrypto| crypto.with_early(Arc::new(move || sealed_ms));
    world.dial_with(&secret(1).node_id().to_string(), early);
    world
}

fn accepted(world: &World) -> bool {
    world.ends[0].connection.as_ref().expect("a connection").1.accepted_0rtt()
}

// TP-17
#[test]
fn a_question_in_the_first_flight_is_read_before_the_handshake_is_complete() {
    let mut world = early_world(1, 0, window(), NOW_MS);
    world.ask(b"early");
    assert!(world.run(|world| world.ends[1].asked == b"early"));
    assert!(world.ends[1].asked_early, "the acceptor has yet to hear that the dialler is there");
    let facts = world.ends[1].connection.as_ref().expect("a connection").1.crypto_session().handshake_data();
    let facts = facts.expect("the peer is known").downcast::<HandshakeFacts>().expect("our own type");
    assert!(facts.early);
    assert!(world.run(both_connected));
    assert!(accepted(&world));
}

// TP-17
#[test]
fn early_data_survives_loss_and_a_demand_to_prove_the_address() {
    for seed in 0..60 {
        let mut world = early_world(seed, 20, window(), NOW_MS);
        world.retry = seed % 2 == 0;
        world.ask(&[7; 3000]);
        assert!(world.run(both_connected), "seed {seed}: {:?}", world.ends[0].lost);
        assert!(accepted(&world), "seed {seed}");
        assert!(world.run(|world| world.ends[1].asked == [7; 3000]), "seed {seed}");
    }
}

// TP-17
#[test]
fn refused_early_data_is_thrown_away_and_the_session_is_as_any_other() {
    let refusals: [(EarlyGate, u64); 3] =
        [(Arc::new(|_| false), NOW_MS), (window(), NOW_MS - 120_001), (window(), NOW_MS + 120_001)];
    for (gate, sealed_ms) in refusals {
        let mut world = early_world(3, 0, gate, sealed_ms);
        world.ask(b"early");
        assert!(world.run(both_connected), "{:?}", world.ends[0].lost);
        assert!(!accepted(&world));
        assert!(world.ends[1].asked.is_empty());
        world.ask(b"again");
        assert!(world.run(|world| world.ends[1].asked == b"again"));
        assert!(!world.ends[1].asked_early);
        assert!(world.ends.iter().all(|end| end.lost.is_none()));
    }
}

/// Gives the dialler's datagrams to another connection of the acceptor, as who recorded them would; returns what it
/// reads of them.
fn replayed(flight: &[Vec<u8>], gate: EarlyGate) -> Vec<u8> {
    let mut world = World::new(9, 0);
    world.ends[1] = end(1, 9, Some(gate));
    let path = FourTuple::new(address(0), None);
    for datagram in flight {
        let (end, mut out) = (&mut world.ends[1], Vec::new());
        match end.endpoint.handle(world.now, path, None, BytesMut::from(&datagram[..]), &mut out) {
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = end.endpoint.accept(incoming, world.now, &mut out, None);
                end.connection = Some(accepted.map_err(|error| error.cause).expect("it is authentic"));
            }
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                end.connection.as_mut().expect("it is known").1.handle_event(event);
            }
            _ => {}
        }
    }
    world.run(|world| !world.ends[1].asked.is_empty());
    assert!(!world.ends[1].connected, "whoever replays cannot answer");
    world.ends[1].asked.clone()
}

// TP-17
#[test]
fn a_replayed_first_flight_is_read_once() {
    let gate = window();
    let mut world = early_world(4, 0, gate.clone(), NOW_MS);
    world.ask(b"early");
    assert!(world.run(|world| world.ends[1].asked == b"early"));
    let flight = world.from_dialler.clone();
    assert!(replayed(&flight, gate).is_empty());
    assert_eq!(replayed(&flight, window()), b"early", "an acceptor that forgot would read it again");
}

// TP-17
#[test]
fn the_first_flight_has_one_stream_of_the_assumed_window() {
    let mut world = early_world(5, 0, window(), NOW_MS);
    let (_, connection) = world.ends[0].connection.as_mut().expect("a connection");
    assert!(connection.has_0rtt());
    let data = vec![5; (1 << 17) + 1];
    let id = connection.streams().open(Dir::Bi).expect("one stream");
    assert!(connection.streams().open(Dir::Bi).is_none(), "and no second");
    assert!(connection.streams().open(Dir::Uni).is_none());
    assert_eq!(connection.send_stream(id).write(&data), Ok(1 << 17));
}

// TP-2, TP-17: RFC 9000 section 8.1.
#[test]
fn an_unproven_address_gets_at_most_three_times_what_it_sent() {
    for early in [false, true] {
        let mut world = World::new(6, 0);
        world.dialler_falls_silent_after = 1;
        if early {
            world = early_world(6, 0, window(), NOW_MS);
            world.dialler_falls_silent_after = 1;
            world.ask(b"early");
            assert!(world.run(|world| world.ends[1].asked == b"early"));
            assert!(world.answer(&[1; 60_000]) > 50_000, "it is queued");
        } else {
            world.dial(&secret(1).node_id().to_string());
        }
        world.run(|world| world.ends[1].lost.is_some());
        let [received, sent] = world.ends[1].bytes;
        assert!(sent > received && sent <= 3 * received, "{received} in, {sent} out");
        assert!(!world.ends[1].connected);
        assert_eq!(world.ends[1].lost, Some(ConnectionError::TimedOut));
        assert!(world.now - world.started <= Duration::from_secs(60));
    }
}
