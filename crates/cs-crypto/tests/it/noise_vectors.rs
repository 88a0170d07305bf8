//! The vectors of cacophony and snow, for every protocol that this crate speaks.

use cs_crypto::noise::{Pattern, Protocol, ReadTurn, Receiver, Sender, Setup, Step, WriteTurn};
use serde_json::Value;

use crate::vectors::{array, hex, load};

fn setup<'a>(protocol: Protocol, vector: &Value, side: &str, prologue: &'a [u8]) -> Setup<'a> {
    let field = |name: &str| vector.get(format!("{side}_{name}")).filter(|value| !value.is_null());
    let entropy = field("ephemeral").map_or([0; 32], array);
    let mut setup = Setup::new(protocol, entropy).prologue(prologue);
    // The vectors of one-way patterns name an ephemeral of the responder, and some a static key that has no part.
    if let Some(local) = field("static") {
        setup = setup.local(array(local));
    }
    if let Some(remote) = field("remote_static").filter(|_| side == "init") {
        setup = setup.remote(array(remote));
    }
    let psks = field("psks").and_then(Value::as_array).cloned().unwrap_or_default();
    psks.iter().fold(setup, |setup, psk| setup.psk(array(psk)))
}

/// One message; gives the reader's next step and the writer's.
fn play(writer: WriteTurn, reader: ReadTurn, message: &Value) -> (Step<WriteTurn>, Step<ReadTurn>) {
    let (ciphertext, next_reader) = writer.write(&hex(&message["payload"])).unwrap();
    assert_eq!(ciphertext, hex(&message["ciphertext"]));
    let (payload, next_writer) = reader.read(&ciphertext).unwrap();
    assert_eq!(payload, hex(&message["payload"]));
    (next_writer, next_reader)
}

fn check(protocol: Protocol, vector: &Value) {
    let (init_prologue, resp_prologue) = (hex(&vector["init_prologue"]), hex(&vector["resp_prologue"]));
    let writer = setup(protocol, vector, "init", &init_prologue).initiate().unwrap();
    let reader = setup(protocol, vector, "resp", &resp_prologue).respond().unwrap();
    let mut messages = vector["messages"].as_array().unwrap().iter();
    let (mut steps, mut sent) = ((Step::Turn(writer), Step::Turn(reader)), 0);
    let (last_reader, last_writer) = loop {
        steps = match steps {
            (Step::Turn(writer), Step::Turn(reader)) => play(writer, reader, messages.next().unwrap()),
            (Step::Done(read), Step::Done(wrote)) => break (read, wrote),
            _ => panic!("the sides disagree about the end"),
        };
        sent += 1;
    };
    assert_eq!(last_writer.handshake_hash, last_reader.handshake_hash);
    assert_eq!(last_writer.export(b"label", b""), last_reader.export(b"label", b""));
    if let Some(hash) = vector.get("handshake_hash") {
        assert_eq!(last_writer.handshake_hash.to_vec(), hex(hash));
    }
    let one_way =
        matches!(protocol.pattern().to_string().as_bytes()[..], [b'N' | b'X'] | [b'N' | b'X', b'p', ..]);
    let (mut writer, mut reader) = (last_writer.into_transport(), last_reader.into_transport());
    if !one_way {
        // After a handshake, the side that read last speaks first.
        (writer, reader) = (reader, writer);
    }
    for message in messages {
        transport(&mut writer.0, &mut reader.1, message);
        if !one_way {
            (writer, reader) = (reader, writer);
        }
        sent += 1;
    }
    assert_eq!(sent, vector["messages"].as_array().unwrap().len());
}

fn transport(sender: &mut Sender, receiver: &mut Receiver, message: &Value) {
    let ciphertext = sender.seal(b"", &hex(&message["payload"])).unwrap();
    assert_eq!(ciphertext, hex(&message["ciphertext"]));
    assert_eq!(receiver.open(b"", &ciphertext).unwrap(), hex(&message["payload"]));
}

fn check_file(name: &str) -> Vec<Protocol> {
    let Some(file) = load(&format!("noise/{name}.json")) else { return Vec::new() };
    let mut played = Vec::new();
    for vector in file["vectors"].as_array().unwrap() {
        let name = vector["protocol_name"].as_str().or(vector["name"].as_str()).unwrap();
        if let Ok(protocol) = name.parse() {
            println!("{name}");
            check(protocol, vector);
            played.push(protocol);
        }
    }
    assert!(!played.is_empty());
    played
}

// CRYPTO-4
#[test]
fn every_vector_of_cacophony_for_our_protocols_is_reproduced() {
    let played = check_file("cacophony");
    for pattern in [Pattern::IK, Pattern::XX, Pattern::IK_PSK2, Pattern::XX_PSK3, Pattern::N, Pattern::X] {
        let times = played.iter().filter(|protocol| protocol.pattern() == pattern).count();
        assert!(played.is_empty() || times >= 2, "{pattern} with both hashes");
    }
}

// CRYPTO-4
#[test]
fn every_vector_of_snow_for_our_protocols_is_reproduced() {
    check_file("snow");
}

/// Its protocols all have a cipher or a curve that this crate does not speak; the names are refused, not misread.
#[test]
fn no_protocol_of_snows_extended_vectors_is_mistaken_for_ours() {
    let Some(file) = load("noise/snow-extended.json") else { return };
    for vector in file["vectors"].as_array().unwrap() {
        let name = vector["protocol_name"].as_str().unwrap();
        assert!(!name.contains("25519_ChaChaPoly") && name.parse::<Protocol>().is_err(), "{name}");
    }
}
