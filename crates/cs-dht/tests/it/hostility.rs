//! What peers try that want to harm: each is refused, by name, and without a trace.

use crate::net::{Net, START_MS};
use cs_dht::wire::{
    Answer, Ask, DecodeError, Extensions, MAX_MESSAGE, Node, Reply, Request, StoreRefusal, Token,
};
use cs_dht::{
    Config, Contact, Dht, Event, Input, K, Key, LIFETIME_MAX, Mode, MutableValue, NetworkConfig, Output,
    PeerFault, Record, RpcId,
};
use cs_identity::{NodeId, SecretKey, Signed};
use std::net::SocketAddr;
use std::time::Duration;

const NOW: Duration = Duration::from_secs(7);

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

fn id(seed: u8) -> NodeId {
    secret(seed).node_id()
}

fn node(seed: u8, addr: &str) -> Node {
    Node { id: id(seed), addr: addr.parse().unwrap() }
}

/// The node under attack, which trusts `authority` and knows nobody.
fn victim() -> Dht {
    let mut config = Config::new(START_MS);
    config.mode = Mode::Server;
    config.authorities = vec![id(200)];
    Dht::new(config, id(1), NOW, [3; 32]).unwrap()
}

fn requests(dht: &mut Dht) -> Vec<(RpcId, NodeId, SocketAddr, Request)> {
    std::iter::from_fn(|| dht.poll_output())
        .filter_map(|output| match output {
            Output::Request { rpc, to, addr, bytes } => {
                Some((rpc, to, addr, Request::from_bytes(&bytes).unwrap()))
            }
            _ => None,
        })
        .collect()
}

fn encode(answer: Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    Reply::new(answer).encode(&mut bytes);
    bytes
}

fn nodes(list: &[Node]) -> Answer {
    let mut nodes = list.to_vec();
    nodes.sort_by_key(|node| node.id);
    Answer::Nodes { token: Token([0; 8]), nodes }
}

/// A victim that has just asked a public peer for others.
fn asked_for_sample() -> (Dht, RpcId, NodeId) {
    let mut dht = victim();
    dht.bootstrap(NOW, vec![Contact { id: id(2), addrs: vec!["8.8.8.8:53".parse().unwrap()] }]);
    let (rpc, to, _, request) = requests(&mut dht).remove(0);
    assert_eq!(request.ask, Ask::Sample);
    (dht, rpc, to)
}

/// What a victim says to an answer, and a check that a refused one left no trace.
fn verdict(dht: &mut Dht, rpc: RpcId, from: NodeId, bytes: &[u8]) -> Result<(), PeerFault> {
    let before = format!("{dht:?}");
    let result = dht.handle_input(NOW, Input::Response { rpc, from, bytes });
    if result.is_err() {
        assert_eq!(before, format!("{dht:?}"), "a refused answer leaves no trace");
    }
    result
}

/// DHT-4.
#[test]
fn replies_that_name_whom_they_must_not_are_refused() {
    let (mut dht, rpc, from) = asked_for_sample();
    let mut refused = |list: &[Node]| verdict(&mut dht, rpc, from, &encode(nodes(list)));
    let honest = node(9, "9.9.9.9:1");
    assert_eq!(refused(&[honest, node(1, "9.9.9.8:1")]), Err(PeerFault::NamesItself));
    assert_eq!(refused(&[honest, node(2, "9.9.9.8:1")]), Err(PeerFault::NamesItself));
    assert_eq!(refused(&[honest, node(3, "192.168.1.7:1")]), Err(PeerFault::NarrowAddress));
    assert_eq!(refused(&[honest, node(3, "127.0.0.1:1")]), Err(PeerFault::NarrowAddress));
    let many: Vec<Node> = (10..10 + K as u8 + 1).map(|seed| node(seed, "9.9.9.9:1")).collect();
    assert!(matches!(refused(&many), Err(PeerFault::Malformed(DecodeError::Bytes(_)))));
    assert_eq!(refused(&many[..K]), Ok(()));
}

/// DHT-2, DHT-5.
#[test]
fn answers_from_somebody_else_or_to_something_else_are_refused() {
    let (mut dht, rpc, from) = asked_for_sample();
    let good = encode(nodes(&[]));
    assert_eq!(verdict(&mut dht, rpc, id(5), &good), Err(PeerFault::WrongSender));
    assert_eq!(verdict(&mut dht, rpc, from, &encode(Answer::Stored)), Err(PeerFault::WrongReply));
    assert_eq!(verdict(&mut dht, rpc, from, &encode(Answer::Pong)), Err(PeerFault::WrongReply));
    assert_eq!(verdict(&mut dht, rpc, from, &vec![1; MAX_MESSAGE + 1]), Err(PeerFault::Amplified));
    assert_eq!(verdict(&mut dht, RpcId(999), from, &good), Ok(()), "an answer to nothing may just be late");
    assert_eq!(verdict(&mut dht, rpc, from, &good), Ok(()));
    assert_eq!(verdict(&mut dht, rpc, from, &[]), Ok(()), "and so may one that comes twice");
}

fn mutable(signer: u8, seq: u64, expires_unix_ms: u64) -> Record {
    let value = MutableValue {
        publisher: id(signer),
        salt: vec![],
        seq,
        expires_unix_ms,
        value: vec![1],
        extensions: Extensions::default(),
    };
    Record::Mutable(Signed::sign(&secret(signer), value))
}

/// A victim that has joined through one peer and has asked it for a value of publisher 4.
fn asked_for_value() -> (Dht, RpcId, NodeId) {
    let (mut dht, rpc, from) = asked_for_sample();
    verdict(&mut dht, rpc, from, &encode(nodes(&[]))).unwrap();
    for (rpc, to, _, request) in requests(&mut dht) {
        if matches!(request.ask, Ask::FindNode { .. }) {
            verdict(&mut dht, rpc, to, &encode(nodes(&[]))).unwrap();
        }
    }
    requests(&mut dht);
    dht.get(NOW, &id(4), b"").unwrap();
    let (rpc, to, _, request) = requests(&mut dht).remove(0);
    assert!(matches!(request.ask, Ask::Get { .. }));
    (dht, rpc, to)
}

/// DHT-13.
#[test]
fn records_that_are_void_or_misplaced_are_refused() {
    let (mut dht, rpc, from) = asked_for_value();
    let answer = |record: Record| {
        encode(Answer::Records { token: Token([0; 8]), records: vec![record], nodes: vec![] })
    };
    let soon = START_MS + 60_000;
    let too_late = START_MS + LIFETIME_MAX.as_millis() as u64 + 3_600_000;
    let mut refused = |record| verdict(&mut dht, rpc, from, &answer(record));
    assert_eq!(refused(mutable(5, 1, soon)), Err(PeerFault::WrongKey));
    assert_eq!(refused(mutable(4, 1, START_MS)), Err(PeerFault::Expired));
    assert_eq!(refused(mutable(4, 1, too_late)), Err(PeerFault::FromTheFuture));
    let mut forged = answer(mutable(4, 1, soon));
    let last_of_signature = forged.len() - 3;
    forged[last_of_signature] ^= 1;
    let bad_signature = Err(PeerFault::Malformed(DecodeError::Signature));
    assert_eq!(verdict(&mut dht, rpc, from, &forged), bad_signature);
    assert_eq!(verdict(&mut dht, rpc, from, &answer(mutable(4, 1, soon))), Ok(()));
}

/// DHT-12.
#[test]
fn a_network_configuration_by_nobody_known_is_refused() {
    let (mut dht, rpc, from) = asked_for_sample();
    verdict(&mut dht, rpc, from, &encode(nodes(&[]))).unwrap();
    let asked = requests(&mut dht);
    let (rpc, ..) = asked.iter().find(|(.., request)| matches!(request.ask, Ask::Config { .. })).unwrap();
    let config = |seed: u8, expires_unix_ms: u64| {
        let config = NetworkConfig {
            authority: id(seed),
            seq: 1,
            expires_unix_ms,
            versions: (1, 1),
            bootstrap: vec![],
            extensions: Extensions::default(),
        };
        encode(Answer::Config(Some(Signed::sign(&secret(seed), config))))
    };
    let untrusted = Err(PeerFault::UntrustedConfig);
    assert_eq!(verdict(&mut dht, *rpc, from, &config(201, START_MS + 1_000)), untrusted);
    assert_eq!(verdict(&mut dht, *rpc, from, &config(200, START_MS)), untrusted, "it has ended");
    assert_eq!(verdict(&mut dht, *rpc, from, &config(200, START_MS + 1_000)), Ok(()));
}

fn reply_to(dht: &mut Dht, from: Node, request: &Request) -> Option<Answer> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    dht.handle_input(NOW, Input::Request { from: from.id, addr: from.addr, bytes: &bytes, token: 5 })
        .unwrap();
    std::iter::from_fn(|| dht.poll_output()).find_map(|output| match output {
        Output::Reply { token: 5, bytes: reply } => {
            assert!(reply.len() <= bytes.len(), "no answer is larger than its question");
            Some(Reply::from_bytes(&reply).unwrap().answer)
        }
        _ => None,
    })
}

/// DHT-7.
#[test]
fn a_store_needs_the_token_that_was_sent_to_its_address() {
    let mut dht = victim();
    let (here, there) = (node(7, "8.8.8.8:1"), node(7, "9.9.9.9:1"));
    let record = mutable(4, 1, START_MS + 60_000);
    let get = Request::new(true, Ask::Get { key: record.key(), kind: record.kind() }).padded();
    let Some(Answer::Records { token, .. }) = reply_to(&mut dht, here, &get) else { panic!("no answer") };
    let store = |token| Request::new(true, Ask::Store { token, expected: None, record: record.clone() });
    let refused = |why| Some(Answer::NotStored(why));
    assert_eq!(reply_to(&mut dht, here, &store(Token([0; 8]))), refused(StoreRefusal::Token));
    assert_eq!(reply_to(&mut dht, there, &store(token)), refused(StoreRefusal::Token));
    assert_eq!(reply_to(&mut dht, here, &store(token)), Some(Answer::Stored));
    let old = Request::new(true, Ask::Store { token, expected: None, record: mutable(4, 2, START_MS) });
    assert_eq!(reply_to(&mut dht, here, &old), refused(StoreRefusal::Invalid));
    let Some(Answer::Records { records, .. }) = reply_to(&mut dht, here, &get) else { panic!("no answer") };
    assert_eq!(records, [record]);
}

/// DHT-18.
#[test]
fn a_flood_from_one_source_is_dropped_above_its_rate() {
    let mut dht = victim();
    let ping = Request::new(true, Ask::Ping);
    let answered = (0..200).filter(|_| reply_to(&mut dht, node(7, "8.8.8.8:1"), &ping).is_some()).count();
    assert_eq!(answered, 64);
    assert_eq!(dht.counters().requests_limited, 136);
    assert_eq!(reply_to(&mut dht, node(8, "9.9.9.9:1"), &ping), Some(Answer::Pong));
}

/// DHT-1.
#[test]
fn a_question_of_a_later_version_is_told_so() {
    let mut dht = victim();
    for bytes in [&[2, 1, 0, 0][..], &[1, 77, 0, 0][..]] {
        let input = Input::Request { from: id(7), addr: "8.8.8.8:1".parse().unwrap(), bytes, token: 0 };
        assert_eq!(dht.handle_input(NOW, input), Ok(()));
        assert_eq!(dht.poll_output(), Some(Output::Reply { token: 0, bytes: encode(Answer::Unsupported) }));
    }
}

/// DHT-2.
#[test]
fn a_small_question_gets_a_small_answer() {
    let mut net = Net::grown(20, 30, 0);
    let ask = Ask::FindNode { target: Key::from_bytes([0; 32]) };
    let asker = node(7, "127.9.9.9:1");
    let named = |net: &mut Net, request: Request| {
        let answer = net.with(3, |dht, _| {
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            dht.handle_input(
                Duration::MAX / 2,
                Input::Request { from: asker.id, addr: asker.addr, bytes: &bytes, token: 5 },
            )
            .unwrap();
            let Some(Output::Reply { bytes: reply, .. }) = dht.poll_output() else { panic!("no answer") };
            assert!(reply.len() <= bytes.len());
            Reply::from_bytes(&reply).unwrap().answer
        });
        let Answer::Nodes { nodes, .. } = answer else { panic!("another answer") };
        nodes.len()
    };
    assert_eq!(named(&mut net, Request::new(true, ask.clone())), 0);
    assert_eq!(named(&mut net, Request::new(true, ask).padded()), K);
}

/// DHT-3, DHT-19.
#[test]
fn nobody_enters_a_table_by_asking_alone() {
    let mut dht = victim();
    let stranger = node(7, "8.8.8.8:1");
    reply_to(&mut dht, stranger, &Request::new(false, Ask::Ping));
    assert_eq!(dht.table_len(), 0);
    let mut bytes = Vec::new();
    Request::new(false, Ask::Ping).encode(&mut bytes);
    dht.handle_input(NOW, Input::Request { from: id(8), addr: stranger.addr, bytes: &bytes, token: 0 })
        .unwrap();
    let (rpc, to, addr, request) = requests(&mut dht).remove(0);
    assert_eq!((to, addr, request.ask), (id(8), stranger.addr, Ask::Ping));
    dht.handle_input(NOW, Input::Response { rpc, from: to, bytes: &encode(Answer::Pong) }).unwrap();
    assert_eq!(dht.table_len(), 1);
}

/// DHT-6.
#[test]
fn with_a_fifth_of_the_network_hostile_the_closest_are_still_found() {
    let mut net = Net::grown(21, 100, 0);
    for _ in 0..25 {
        let index = net.add_sybil();
        let entry = net.contact(0);
        net.with(index, |dht, now| dht.bootstrap(now, vec![entry]));
        net.run(Duration::from_millis(500));
    }
    for index in 0..100 {
        net.announce(index, 1);
    }
    net.run(Duration::from_secs(60));
    let (mut found, mut closest) = (0, 0);
    for index in 0..50 {
        found += usize::from(net.locate(index, 99 - index) == Some(net.peers[99 - index].addr));
        let target = Key::from_bytes([index as u8 * 5; 32]);
        let Event::Nodes { closest: list, .. } = net.ask(index, |dht, now| dht.find_node(now, target)) else {
            panic!("another event")
        };
        let honest = (0..100).filter(|peer| *peer != index);
        let best = honest.min_by_key(|peer| Key::of_peer(&net.id(*peer)).distance(&target)).unwrap();
        closest += usize::from(list.iter().any(|contact| contact.id == net.id(best)));
    }
    assert_eq!((found, closest), (50, 50));
}

/// DHT-16.
#[test]
fn one_hostile_bootstrap_node_among_three_does_not_capture_a_newcomer() {
    let mut net = Net::grown(22, 60, 0);
    let sybils: Vec<usize> = (0..30).map(|_| net.add_sybil()).collect();
    net.announce(17, 1);
    net.run(Duration::from_secs(60));
    let newcomer = net.add();
    let entries = [sybils[0], 5, 9].map(|index| net.contact(index)).to_vec();
    net.with(newcomer, |dht, now| dht.bootstrap(now, entries));
    net.run(Duration::from_secs(60));
    let honest: Vec<NodeId> = (0..60).map(|index| net.id(index)).collect();
    let known = net.dht(newcomer).contacts();
    assert!(known.iter().filter(|contact| honest.contains(&contact.id)).count() >= 20);
    assert_eq!(net.locate(newcomer, 17), Some(net.peers[17].addr));
}
