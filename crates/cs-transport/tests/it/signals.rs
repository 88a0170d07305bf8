//! Laws of signals and of the punching machine over arbitrary bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cs_transport::paths::{Output as PathOutput, Paths, Sample};
use cs_transport::punch::{Base, CheckKey, Output, Punch, PunchConfig};
use cs_transport::wire::{Candidate, CandidateSource, Connect, MAX_CANDIDATES, NatHint, SignalMessage};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::properties::{edges, encoded};

fn signal() -> impl Strategy<Value = SignalMessage> {
    (0u8..3, any::<[u8; 32]>(), any::<u32>(), vec(any::<u8>(), 0..300)).prop_map(|(kind, node, id, bytes)| {
        match kind {
            0 => SignalMessage::Pass { to: node, id, bytes },
            1 => SignalMessage::Passed { from: node, id, bytes },
            _ => SignalMessage::NoWay { id },
        }
    })
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let source = prop::sample::select(vec![
        CandidateSource::Host,
        CandidateSource::Reflexive,
        CandidateSource::Mapped,
        CandidateSource::Relayed,
    ]);
    let ip = prop_oneof![
        (1u8..224, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d])),
        any::<[u16; 7]>().prop_map(|[b, c, d, e, f, g, h]| IpAddr::from([0x2001, b, c, d, e, f, g, h])),
    ];
    (source, ip, 1u16..).prop_map(|(source, ip, port)| Candidate { source, addr: SocketAddr::new(ip, port) })
}

fn connect() -> impl Strategy<Value = Connect> {
    let nat = prop_oneof![
        Just(NatHint::Unknown),
        Just(NatHint::Cone),
        Just(NatHint::Symmetric),
        (1i16..).prop_map(NatHint::Sequential),
        (i16::MIN..0).prop_map(NatHint::Sequential),
    ];
    (any::<[u8; 16]>(), nat, prop::collection::btree_set(candidate(), 0..MAX_CANDIDATES)).prop_map(
        |(nonce, nat, candidates)| Connect { nonce, nat, candidates: candidates.into_iter().collect() },
    )
}

fn punch(key: &CheckKey, remote: Vec<Candidate>, seed: [u8; 32]) -> Punch {
    let (local_nat, remote_nat) = (NatHint::Cone, NatHint::Symmetric);
    let config = PunchConfig { key: key.clone(), is_asker: true, local_nat, remote_nat, remote };
    Punch::new(config, Duration::ZERO, seed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    // TP-31
    #[test]
    fn tp_31_signals_obey_the_four_laws(message in signal()) {
        let bytes = encoded(|out| message.encode(out));
        prop_assert_eq!(SignalMessage::from_bytes(&bytes), Ok(message));
        edges(&bytes, SignalMessage::from_bytes)?;
    }

    // TP-31
    #[test]
    fn tp_31_a_signal_that_decodes_is_the_only_encoding_of_its_value(bytes in vec(0u8..4, 0..80)) {
        if let Ok(message) = SignalMessage::from_bytes(&bytes) {
            prop_assert_eq!(encoded(|out| message.encode(out)), bytes);
        }
    }

    // TP-32
    #[test]
    fn tp_32_connects_obey_the_four_laws(connect in connect()) {
        let bytes = encoded(|out| connect.encode(out));
        prop_assert!(bytes.len() <= 520, "there is room for it in an answer");
        prop_assert_eq!(Connect::from_bytes(&bytes), Ok(connect));
        edges(&bytes, Connect::from_bytes)?;
    }

    // TP-33, TP-34: whatever arrives, nothing is called open that did not prove it, and the bounds hold.
    #[test]
    fn tp_34_bytes_of_strangers_open_nothing_and_an_attempt_ends(
        seed: [u8; 32],
        remote in vec(candidate(), 0..8),
        noise in vec((0u64..8000, vec(any::<u8>(), 0..60), any::<u16>()), 0..40),
    ) {
        let key = CheckKey::derive(&[1; 16], &[2; 16]);
        let stranger = CheckKey::derive(&[1; 16], &[3; 16]);
        let mut machine = punch(&key, remote, seed);
        let mut noise = noise;
        noise.sort_by_key(|(at, ..)| *at);
        for (at, bytes, port) in noise {
            let (now, from) = (Duration::from_millis(at), SocketAddr::from(([192, 0, 2, 1], port)));
            prop_assert!(machine.handle_input(now, Base::Main, from, &bytes).is_err());
            let forged = stranger.request(false, [7; 12]);
            prop_assert!(machine.handle_input(now, Base::Main, from, &forged).is_err());
            machine.handle_timeout(now);
        }
        while let Some(at) = machine.poll_timeout() {
            machine.handle_timeout(at);
            prop_assert!(machine.poll_timeout().is_none_or(|next| next > at), "a deadline is later than now");
        }
        let mut is_finished = false;
        while let Some(output) = machine.poll_output() {
            let is_open = matches!(output, Output::Succeeded { .. });
            prop_assert!(!is_open && !is_finished);
            is_finished = output == Output::Finished;
        }
        prop_assert!(is_finished && machine.packets() <= 2500);
    }

    // TP-34
    #[test]
    fn tp_34_equal_seeds_give_equal_attempts(seed: [u8; 32], remote in vec(candidate(), 0..8)) {
        let key = CheckKey::derive(&[1; 16], &[2; 16]);
        let run = || {
            let (mut machine, mut trace) = (punch(&key, remote.clone(), seed), Vec::new());
            while let Some(at) = machine.poll_timeout() {
                machine.handle_timeout(at);
                trace.extend(core::iter::from_fn(|| machine.poll_output()).map(|output| (at, output)));
            }
            trace
        };
        prop_assert_eq!(run(), run());
    }

    // TP-37, TP-38: one path is in use while there is any, and only known ones are named.
    #[test]
    fn tp_37_some_path_is_in_use_while_there_is_one(
        steps in vec((0u8..5, 0u32..4, 1u64..200, any::<bool>(), any::<bool>()), 0..80),
    ) {
        let (mut paths, mut open, mut now) = (Paths::new(), BTreeMap::new(), Duration::ZERO);
        for (step, path, ms, is_sent, is_heard) in steps {
            now += Duration::from_millis(ms);
            let mut sample = open.get(&path).copied().unwrap_or(Sample::default());
            sample.rtt = Duration::from_millis(ms);
            sample.sent += u64::from(is_sent) * 30;
            sample.heard += u64::from(is_heard);
            match step {
                0 => {
                    if let Entry::Vacant(place) = open.entry(path) {
                        place.insert(sample);
                        paths.opened(now, path, path == 0, sample);
                    }
                }
                1 => {
                    open.remove(&path);
                    paths.closed(now, path);
                }
                2 | 3 => {
                    if let Some(known) = open.get_mut(&path) {
                        *known = sample;
                        paths.sampled(now, path, sample);
                    }
                }
                _ => {
                    paths.handle_timeout(now);
                    prop_assert!(paths.poll_timeout().is_none_or(|at| at > now));
                }
            }
            while let Some(output) = paths.poll_output() {
                match output {
                    PathOutput::Dead(path) => prop_assert!(open.remove(&path).is_some()),
                    PathOutput::Use(path) | PathOutput::Probe(path) => prop_assert!(open.contains_key(&path)),
                    _ => {}
                }
            }
            prop_assert_eq!(paths.in_use().is_some(), !open.is_empty());
            prop_assert!(paths.in_use().is_none_or(|path| open.contains_key(&path)));
        }
    }
}
