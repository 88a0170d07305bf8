//! The four laws of every message and record (DHT-1, DHT-8 to DHT-12), and vectors that pin their layouts.

use cs_dht::wire::{
    Answer, Ask, DecodeError, Extensions, MAX_MESSAGE, Node, Reply, Request, StoreRefusal, Token,
};
use cs_dht::{
    Contact, ImmutableValue, Key, MutableValue, NetworkConfig, PeerRecord, ProviderRecord, Record, RecordKind,
};
use cs_identity::{NodeId, SecretKey, Signed};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

fn secret() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_map(SecretKey::from_bytes)
}

fn id() -> impl Strategy<Value = NodeId> {
    secret().prop_map(|secret| secret.node_id())
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    let v4 = (1_u8..224, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
    let v6 = any::<[u16; 7]>()
        .prop_map(|[b, c, d, e, f, g, h]| IpAddr::V6(Ipv6Addr::new(0x2001, b, c, d, e, f, g, h)));
    (prop_oneof![v4, v6], 1_u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn addrs(least: usize, most: usize) -> impl Strategy<Value = Vec<SocketAddr>> {
    proptest::collection::btree_set(addr(), least..=most).prop_map(|set| set.into_iter().collect())
}

fn peers() -> impl Strategy<Value = Vec<NodeId>> {
    proptest::collection::btree_set(id(), 0..=8).prop_map(|set| set.into_iter().collect())
}

fn extensions() -> impl Strategy<Value = Extensions> {
    btree_map(0_u8..0xff, vec(any::<u8>(), 0..8), 0..3).prop_map(|all| {
        let mut extensions = Extensions::default();
        all.into_iter().for_each(|(kind, bytes)| extensions.set(kind, bytes));
        extensions
    })
}

fn record() -> impl Strategy<Value = Record> {
    let peer = (secret(), addrs(0, 8), any::<(u8, u64, u64)>(), extensions()).prop_map(
        |(secret, addrs, (roles, seq, expires_unix_ms), extensions)| {
            let record = PeerRecord { id: secret.node_id(), addrs, roles, seq, expires_unix_ms, extensions };
            Record::Peer(Signed::sign(&secret, record))
        },
    );
    let provider = (secret(), any::<([u8; 32], u64, u64)>(), vec(any::<u8>(), 0..=256), extensions())
        .prop_map(|(secret, (key, seq, expires_unix_ms), payload, extensions)| {
            let publisher = secret.node_id();
            let record = ProviderRecord { key, publisher, seq, expires_unix_ms, payload, extensions };
            Record::Provider(Signed::sign(&secret, record))
        });
    let mutable =
        (secret(), vec(any::<u8>(), 0..=64), 1_u64.., any::<u64>(), vec(any::<u8>(), 0..=768), extensions())
            .prop_map(|(secret, salt, seq, expires_unix_ms, value, extensions)| {
                let publisher = secret.node_id();
                let value = MutableValue { publisher, salt, seq, expires_unix_ms, value, extensions };
                Record::Mutable(Signed::sign(&secret, value))
            });
    let immutable =
        vec(any::<u8>(), 0..=768).prop_map(|value| Record::Immutable(ImmutableValue::new(value).unwrap()));
    prop_oneof![peer, provider, mutable, immutable]
}

fn network_config() -> impl Strategy<Value = Signed<NetworkConfig>> {
    let contact = (id(), addrs(1, 4)).prop_map(|(id, addrs)| Contact { id, addrs });
    (secret(), 1_u64.., any::<u64>(), any::<(u8, u8)>(), vec(contact, 0..=4), extensions()).prop_map(
        |(secret, seq, expires_unix_ms, (a, b), bootstrap, extensions)| {
            let versions = (a.min(b), a.max(b));
            let authority = secret.node_id();
            Signed::sign(
                &secret,
                NetworkConfig { authority, seq, expires_unix_ms, versions, bootstrap, extensions },
            )
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let kind = prop_oneof![
        Just(RecordKind::Peer),
        Just(RecordKind::Provider),
        Just(RecordKind::Mutable),
        Just(RecordKind::Immutable)
    ];
    let ask =
        prop_oneof![
            Just(Ask::Ping),
            Just(Ask::Sample),
            Just(Ask::Leave),
            peers().prop_map(|peers| Ask::Down { peers }),
            any::<u64>().prop_map(|known| Ask::Config { known }),
            any::<[u8; 32]>().prop_map(|target| Ask::FindNode { target: Key::from_bytes(target) }),
            (any::<[u8; 32]>(), kind).prop_map(|(key, kind)| Ask::Get { key: Key::from_bytes(key), kind }),
            (any::<[u8; 8]>(), any::<Option<u64>>(), record())
                .prop_map(|(token, expected, record)| Ask::Store { token: Token(token), expected, record }),
        ];
    (any::<bool>(), ask, any::<bool>()).prop_map(|(is_client, ask, is_padded)| {
        let request = Request::new(is_client, ask);
        if is_padded { request.padded() } else { request }
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let token = any::<[u8; 8]>().prop_map(Token);
    let nodes = |most| {
        btree_map(id(), addr(), 0..=most)
            .prop_map(|all| all.into_iter().map(|(id, addr)| Node { id, addr }).collect::<Vec<Node>>())
    };
    let answer = prop_oneof![
        Just(Answer::Pong),
        Just(Answer::Stored),
        Just(Answer::Unsupported),
        Just(Answer::NotStored(StoreRefusal::Full)),
        (token.clone(), nodes(20)).prop_map(|(token, nodes)| Answer::Nodes { token, nodes }),
        (token, vec(record(), 0..=1), nodes(1)).prop_map(|(token, records, nodes)| Answer::Records {
            token,
            records,
            nodes
        }),
        proptest::option::of(network_config()).prop_map(Answer::Config),
    ];
    answer.prop_map(Reply::new)
}

/// The four laws, for one value and its bytes.
fn check<T: PartialEq + std::fmt::Debug>(
    value: &T,
    encode: impl Fn(&T, &mut Vec<u8>),
    from_bytes: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<(), TestCaseError> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    let decoded = from_bytes(&bytes);
    prop_assert_eq!(decoded.as_ref(), Ok(value));
    let truncated = DecodeError::Bytes(cs_identity::wire::DecodeError::Truncated);
    let step = (bytes.len() / 40).max(1);
    for length in (0..bytes.len()).step_by(step) {
        prop_assert_eq!(from_bytes(&bytes[..length]).err(), Some(truncated));
    }
    bytes.push(0);
    prop_assert!(from_bytes(&bytes).is_err());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn requests_obey_the_four_laws(request in request()) {
        check(&request, Request::encode, Request::from_bytes)?;
    }

    #[test]
    fn replies_obey_the_four_laws(reply in reply()) {
        check(&reply, Reply::encode, Reply::from_bytes)?;
    }

    #[test]
    fn records_obey_the_four_laws(record in record()) {
        check(&record, Record::encode, Record::from_bytes)?;
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(mut bytes in vec(any::<u8>(), 0..64), kind in 1_u8..8) {
        bytes.splice(0..0, [1, kind, 0]);
        if let Ok(request) = Request::from_bytes(&bytes) {
            let mut again = Vec::new();
            request.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
        bytes.remove(2);
        if let Ok(reply) = Reply::from_bytes(&bytes) {
            let mut again = Vec::new();
            reply.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
    }

    #[test]
    fn every_message_fits_a_datagram(request in request(), reply in reply()) {
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        request.encode(&mut asked);
        reply.encode(&mut answered);
        prop_assert!(asked.len() <= MAX_MESSAGE && answered.len() <= MAX_MESSAGE);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Lines of `accept|refuse request|reply hex # why`.
#[test]
fn the_vectors_are_accepted_and_refused_as_they_say() {
    let mut count = 0;
    for line in include_str!("../data/messages.txt").lines().filter(|line| !line.starts_with('#')) {
        let (vector, why) = line.split_once('#').unwrap();
        let [verdict, kind, bytes] = vector.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let bytes = hex(bytes);
        let accepted = match kind {
            "request" => Request::from_bytes(&bytes).is_ok(),
            _ => Reply::from_bytes(&bytes).is_ok(),
        };
        assert_eq!(accepted, verdict == "accept", "{why}");
        count += 1;
    }
    assert_eq!(count, 19);
}
