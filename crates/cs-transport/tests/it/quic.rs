//! QUIC over Noise in virtual time.

use cs_crypto::noise::{Hash, Pattern, Protocol, Setup};
use cs_identity::{NodeId, SecretKey};
use cs_transport::quic::{ClientCrypto, QUIC_VERSION, ServerCrypto};
use cs_transport::wire::{Frame, FrameKind, Hello};
use noq_proto::crypto::{ClientConfig as _, ServerConfig as _, Session};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectionError, Side};

use crate::world::{World, both_connected, chance, entropy, local, secret};

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
    let (mut written, mut side) = (0, 0);
    while written < data.len() {
        written += world.write(0, &data[written..]);
        // Each side in its turn begins a new phase while the other's packets are under way.
        side = 1 - side;
        world.ends[side].connection.as_mut().expect("a connection").1.force_key_update();
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
    let client = ClientCrypto::new(local(0), 10, source.clone());
    let server = ServerCrypto::new(local(1), 20, source);
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
        let hello = Hello { node: *node.as_bytes(), incarnation: 1, parameters: &[], early_ms: None };
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
    let crypto = ClientCrypto::new(local(0), 1, entropy(&chance(1)));
    let parameters = parameters();
    let name = secret(1).node_id().to_string();
    assert!(crypto.start_session(1, &name, &parameters).is_err());
    assert!(crypto.start_session(QUIC_VERSION, "example.org", &parameters).is_err());
    assert!(crypto.start_session(QUIC_VERSION, &name, &parameters).is_ok());
}
