//! Decoders of cs-dht, and the machine behind them.

use std::net::SocketAddr;
use std::time::Duration;

use cs_dht::wire::{Answer, Ask, Node, Reply, Request, Token};
use cs_dht::{
    Config, Dht, ImmutableValue, Input, Key, MutableValue, Output, PeerRecord, ProviderRecord, Record,
    RecordKind,
};
use cs_identity::Signed;

use crate::identity::{key, node};
use crate::laws::{bytes_of, join, one_encoding, split};

const NOW_MS: u64 = 1_700_000_000_000;

/// A question.
pub fn request(bytes: &[u8]) -> bool {
    one_encoding(bytes, Request::from_bytes, |request| bytes_of(|out| request.encode(out)))
}

/// An answer.
pub fn reply(bytes: &[u8]) -> bool {
    one_encoding(bytes, Reply::from_bytes, |reply| bytes_of(|out| reply.encode(out)))
}

/// A record with its signature.
pub fn record(bytes: &[u8]) -> bool {
    one_encoding(bytes, Record::from_bytes, |record| bytes_of(|out| record.encode(out)))
}

/// Messages at a machine: the first byte of each tells whether it asks or answers what was asked last.
pub fn machine(bytes: &[u8]) -> bool {
    let mut dht =
        Dht::new(Config::new(NOW_MS), node(1), Duration::ZERO, [7; 32]).expect("the default is valid");
    let mut asked = Vec::new();
    let mut is_accepted = false;
    for (turn, message) in (1..).zip(split(bytes).into_iter().take(64)) {
        let Some((&choice, bytes)) = message.split_first() else { continue };
        let now = Duration::from_millis(turn * 100);
        let from = node(2 + (choice >> 1) % 4);
        let addr = SocketAddr::from(([192, 0, 2, choice], 4433));
        let last = asked.pop();
        let input = match last {
            Some((rpc, from)) if choice & 1 == 1 => Input::Response { rpc, from, bytes },
            _ => Input::Request { from, addr, bytes, token: turn },
        };
        is_accepted |= dht.handle_input(now, input).is_ok();
        let _ = dht.find_node(now, Key::from_bytes([choice; 32]));
        dht.handle_timeout(now);
        assert!(
            dht.poll_timeout().is_none_or(|at| at > now),
            "a deadline is later than the time-out that was run"
        );
        while let Some(output) = dht.poll_output() {
            if let Output::Request { rpc, to, .. } = output {
                asked.push((rpc, to));
            }
        }
    }
    is_accepted
}

fn addrs() -> Vec<SocketAddr> {
    vec![
        SocketAddr::from(([192, 0, 2, 1], 4433)),
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4433)),
    ]
}

fn records() -> Vec<Record> {
    let (signer, expires_unix_ms) = (key(3), 1_800_000_000_000);
    let (id, publisher) = (signer.node_id(), signer.node_id());
    let peer =
        PeerRecord { id, addrs: addrs(), roles: 1, seq: 2, expires_unix_ms, extensions: Default::default() };
    let provider = ProviderRecord {
        key: [4; 32],
        publisher,
        seq: 5,
        expires_unix_ms,
        payload: b"here".to_vec(),
        extensions: Default::default(),
    };
    let mutable = MutableValue {
        publisher,
        salt: b"salt".to_vec(),
        seq: 6,
        expires_unix_ms,
        value: b"value".to_vec(),
        extensions: Default::default(),
    };
    vec![
        Record::Peer(Signed::sign(&signer, peer)),
        Record::Provider(Signed::sign(&signer, provider)),
        Record::Mutable(Signed::sign(&signer, mutable)),
        Record::Immutable(ImmutableValue::new(b"value".to_vec()).expect("it is short")),
    ]
}

fn requests() -> Vec<Request> {
    let key = Key::from_bytes([8; 32]);
    let store = |record| Ask::Store { token: Token([9; 8]), expected: None, record };
    let asks = [Ask::Ping, Ask::FindNode { target: key }, Ask::Config { known: 1 }, Ask::Sample, Ask::Leave];
    let mut peers = vec![node(4), node(5)];
    peers.sort();
    let asks = asks
        .into_iter()
        .chain([Ask::Down { peers }])
        .chain([Ask::Get { key, kind: RecordKind::Peer }])
        .chain(records().into_iter().map(store));
    asks.map(|ask| Request::new(false, ask)).collect()
}

fn replies() -> Vec<Reply> {
    let nodes = || {
        let mut nodes: Vec<Node> = (4..8)
            .map(|number| Node { id: node(number), addr: SocketAddr::from(([192, 0, 2, number], 4433)) })
            .collect();
        nodes.sort_by_key(|node| node.id);
        nodes
    };
    let token = Token([9; 8]);
    let records = records().into_iter().take(1).collect();
    [
        Answer::Pong,
        Answer::Nodes { token, nodes: nodes() },
        Answer::Records { token, records, nodes: nodes() },
        Answer::Stored,
        Answer::Config(None),
        Answer::Unsupported,
    ]
    .map(Reply::new)
    .to_vec()
}

/// One of each kind.
pub fn request_seeds() -> Vec<Vec<u8>> {
    requests().iter().map(|request| bytes_of(|out| request.encode(out))).collect()
}

/// One of each kind.
pub fn reply_seeds() -> Vec<Vec<u8>> {
    replies().iter().map(|reply| bytes_of(|out| reply.encode(out))).collect()
}

/// One of each kind.
pub fn record_seeds() -> Vec<Vec<u8>> {
    records().iter().map(|record| bytes_of(|out| record.encode(out))).collect()
}

/// Questions and answers in turn.
pub fn machine_seeds() -> Vec<Vec<u8>> {
    let questions = request_seeds().into_iter().map(|bytes| [&[0], &bytes[..]].concat());
    let answers = reply_seeds().into_iter().map(|bytes| [&[1], &bytes[..]].concat());
    vec![
        join(questions.clone()),
        join(questions.zip(answers).flat_map(|(asked, answered)| [asked, answered])),
    ]
}
