//! Signals and the machines of paths: what nodes tell each other through a third, and what they do then.

use std::time::Duration;

use cs_transport::punch::{Base, CheckKey, Output, Punch, PunchConfig};
use cs_transport::wire::{Candidate, CandidateSource, Connect, NatHint, SignalMessage};

use crate::laws::{bytes_of, join, one_encoding, split};

/// A message of a signal stream, or what is sealed in one.
pub fn signal(bytes: &[u8]) -> bool {
    let is_signal =
        one_encoding(bytes, SignalMessage::from_bytes, |message| bytes_of(|out| message.encode(out)));
    one_encoding(bytes, Connect::from_bytes, |connect| bytes_of(|out| connect.encode(out))) || is_signal
}

/// Each message, and both forms of a candidate.
pub fn signal_seeds() -> Vec<Vec<u8>> {
    let signals = [
        SignalMessage::Pass { to: [1; 32], id: 7, bytes: b"sealed".to_vec() },
        SignalMessage::Passed { from: [2; 32], id: 7, bytes: Vec::new() },
        SignalMessage::NoWay { id: 7 },
    ];
    let signals = signals.map(|message| bytes_of(|out| message.encode(out)));
    let connect = bytes_of(|out| connect().encode(out));
    signals.into_iter().chain([connect]).collect()
}

fn connect() -> Connect {
    let candidates = vec![
        Candidate { source: CandidateSource::Host, addr: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4433).into() },
        Candidate { source: CandidateSource::Reflexive, addr: ([192, 0, 2, 1], 4433).into() },
    ];
    Connect { nonce: [3; 16], nat: NatHint::Sequential(2), candidates }
}

fn key() -> CheckKey {
    CheckKey::derive(&[1; 16], &[2; 16])
}

/// An attempt to punch: the first message is what the peer tells of itself, the others arrive 50 ms apart from its first
/// address. Nothing that a stranger sends opens anything, and every attempt ends within its bounds.
pub fn punch(bytes: &[u8]) -> bool {
    let messages = split(bytes);
    let Some((first, arrivals)) = messages.split_first() else { return false };
    let Ok(remote) = Connect::from_bytes(first) else { return false };
    let from =
        remote.candidates.first().map_or_else(|| ([192, 0, 2, 9], 9).into(), |candidate| candidate.addr);
    let (local_nat, remote_nat) = (NatHint::Cone, remote.nat);
    let config = PunchConfig { key: key(), is_asker: true, local_nat, remote_nat, remote: remote.candidates };
    let mut machine = Punch::new(config, Duration::ZERO, [4; 32]);
    let mut is_proven = false;
    for (turn, bytes) in (1..).zip(arrivals) {
        let now = Duration::from_millis(50 * turn);
        machine.handle_timeout(now);
        is_proven |= machine.handle_input(now, Base::Main, from, bytes).is_ok();
        // A check of the other side, as only it can make them.
        let check = key().request(false, [turn as u8; 12]);
        is_proven |= bytes.is_empty() && machine.handle_input(now, Base::Main, from, &check).is_ok();
    }
    while let Some(at) = machine.poll_timeout() {
        machine.handle_timeout(at);
    }
    let outputs = std::iter::from_fn(|| machine.poll_output()).collect::<Vec<_>>();
    let opened = outputs.iter().any(|output| matches!(output, Output::Succeeded { .. }));
    assert!(is_proven || !opened, "opened without a proof");
    assert!(machine.packets() <= 2500 && outputs.last() == Some(&Output::Finished));
    true
}

/// A peer that counts ports, and one that also checks.
pub fn punch_seeds() -> Vec<Vec<u8>> {
    let connect = bytes_of(|out| connect().encode(out));
    let check = key().request(false, [9; 12]);
    vec![join([&connect[..]]), join([&connect[..], b"", b"garbage", &check])]
}
