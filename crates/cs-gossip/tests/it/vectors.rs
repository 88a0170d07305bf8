//! Formats that must not change: messages accepted and refused, and one whole conversation.

use cs_gossip::reconcile::{Config, Index, Output, Session, wire as reconcile_wire};
use cs_gossip::wire;

use crate::reconciling::ids;

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines of `ok HEX # why` or `FAULT HEX # why`.
fn check(table: &str, decode: impl Fn(&[u8]) -> Result<Vec<u8>, wire::DecodeError>) {
    let mut lines = 0;
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (vector, why) = line.split_once('#').expect("every vector says why");
        let (verdict, hex) = vector.trim().split_once(' ').unwrap();
        let bytes = from_hex(hex);
        match decode(&bytes) {
            Ok(again) => assert_eq!((verdict, again), ("ok", bytes), "{why}"),
            Err(fault) => assert_eq!(verdict, format!("{fault:?}"), "{why}"),
        }
        lines += 1;
    }
    assert!(lines >= 10);
}

/// GOS-1
#[test]
fn gossip_messages_are_read_as_they_always_were() {
    check(include_str!("../data/gossip.hex"), |bytes| wire::Message::from_bytes(bytes).map(|m| m.to_bytes()));
}

/// REC-1
#[test]
fn reconciliation_messages_are_read_as_they_always_were() {
    check(include_str!("../data/reconcile.hex"), |bytes| {
        reconcile_wire::Message::from_bytes(bytes).map(|m| m.to_bytes())
    });
}

/// REC-2, REC-3 and REC-9: hashes, partitions and sums are part of the format.
#[test]
fn a_conversation_goes_as_it_always_went() {
    let ours: Index = ids(0..60).collect();
    let theirs: Index = ids(6..64).collect();
    let mut a = Session::initiate(Config::default(), &ours, [1; 32]);
    let mut b = Session::respond(Config::default(), &theirs, [2; 32]);
    let mut said = String::new();
    loop {
        let before = said.len();
        said += &speak("I", &mut a, &mut b, &theirs);
        said += &speak("R", &mut b, &mut a, &ours);
        if said.len() == before {
            break;
        }
    }
    let expected = include_str!("../data/conversation.hex");
    let expected: String =
        expected.lines().filter(|line| !line.starts_with('#')).map(|l| format!("{l}\n")).collect();
    assert_eq!(said, expected, "\n{said}");
}

/// Delivers what one side has to say, and writes it down.
fn speak(name: &str, from: &mut Session, to: &mut Session, to_index: &Index) -> String {
    let mut said = String::new();
    while let Some(output) = from.poll_output() {
        if let Output::Send(bytes) = output {
            said += &format!("{name} {}\n", to_hex(&bytes));
            to.handle_input(to_index, &bytes).unwrap();
        }
    }
    said
}
