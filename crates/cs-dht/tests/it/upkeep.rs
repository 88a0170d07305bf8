//! What keeps records and tables good while nobody asks: sweeps, hints, copies, and goodbyes.

use crate::net::Net;
use cs_dht::wire::{Answer, Ask, Extensions, Reply, Request, Token};
use cs_dht::{Config, Dht, Event, Input, Key, Mode, MutableValue, Outcome, Output, Record, RpcId};
use cs_identity::{NodeId, SecretKey, Signed};
use std::net::SocketAddr;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const START_MS: u64 = crate::net::START_MS;

fn id(seed: u8) -> NodeId {
    SecretKey::from_bytes([seed; 32]).node_id()
}

fn addr(seed: u8) -> SocketAddr {
    SocketAddr::from(([8, 8, seed, 8], 53))
}

fn server() -> Dht {
    let mut config = Config::new(START_MS);
    config.mode = Mode::Server;
    Dht::new(config, id(1), Duration::ZERO, [3; 32]).unwrap()
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes
}

/// What is sent in answer to a request, and the questions that it leads to.
fn ask(dht: &mut Dht, now: Duration, from: u8, request: &Request) -> (Answer, Vec<(RpcId, NodeId, Ask)>) {
    let bytes = encoded(request);
    dht.handle_input(now, Input::Request { from: id(from), addr: addr(from), bytes: &bytes, token: 7 })
        .unwrap();
    let (mut answer, mut asked) = (None, Vec::new());
    while let Some(output) = dht.poll_output() {
        match output {
            Output::Reply { token: 7, bytes } => answer = Some(Reply::from_bytes(&bytes).unwrap().answer),
            Output::Request { rpc, to, bytes, .. } => {
                asked.push((rpc, to, Request::from_bytes(&bytes).unwrap().ask));
            }
            _ => {}
        }
    }
    (answer.expect("it is answered"), asked)
}

fn answer_with(dht: &mut Dht, now: Duration, rpc: RpcId, from: NodeId, answer: Answer) {
    let mut bytes = Vec::new();
    Reply::new(answer).encode(&mut bytes);
    dht.handle_input(now, Input::Response { rpc, from, bytes: &bytes }).unwrap();
}

/// A server that knows peer 2, and has looked around with nobody else to find.
fn acquainted() -> Dht {
    let mut dht = server();
    let (_, mut asked) = ask(&mut dht, Duration::ZERO, 2, &Request::new(false, Ask::Ping));
    while let Some((rpc, to, question)) = asked.pop() {
        let answer = match question {
            Ask::Ping => Answer::Pong,
            _ => Answer::Nodes { token: Token([0; 8]), nodes: Vec::new() },
        };
        answer_with(&mut dht, Duration::ZERO, rpc, to, answer);
        while let Some(output) = dht.poll_output() {
            if let Output::Request { rpc, to, bytes, .. } = output {
                asked.push((rpc, to, Request::from_bytes(&bytes).unwrap().ask));
            }
        }
    }
    assert_eq!(dht.table_len(), 1);
    dht
}

/// DHT-20.
#[test]
fn a_peer_that_is_said_to_be_down_is_asked_once_and_named_no_more() {
    let mut dht = acquainted();
    let down = Request::new(true, Ask::Down { peers: vec![id(2)] });
    let (answer, asked) = ask(&mut dht, Duration::from_secs(20), 3, &down);
    assert_eq!((answer, asked.len()), (Answer::Pong, 0), "it answered a moment ago");
    let now = Duration::from_secs(90);
    let (_, asked) = ask(&mut dht, now, 3, &down);
    let [(rpc, to, Ask::Ping)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(to, id(2));
    assert_eq!(ask(&mut dht, now, 4, &down).1.len(), 0, "it is being asked");
    let stranger = Request::new(true, Ask::Down { peers: vec![id(9)] });
    assert_eq!(ask(&mut dht, now, 4, &stranger).1.len(), 0, "who is not in the table is not asked");
    let named = |dht: &mut Dht| {
        let find = Request::new(true, Ask::FindNode { target: Key::from_bytes([0; 32]) }).padded();
        match ask(dht, now, 5, &find).0 {
            Answer::Nodes { nodes, .. } => nodes.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(named(&mut dht), 1, "hearsay alone changes nothing");
    dht.handle_input(now, Input::Failed { rpc }).unwrap();
    while dht.poll_output().is_some() {}
    // Whoever hears nobody at all does not blame the peers: a fresh answer shows that this node is on the network.
    let (_, asked) = ask(&mut dht, now, 6, &Request::new(false, Ask::Ping));
    answer_with(&mut dht, now, asked[0].0, asked[0].1, Answer::Pong);
    let (_, asked) = ask(&mut dht, now, 3, &down);
    dht.handle_input(now, Input::Failed { rpc: asked[0].0 }).unwrap();
    assert_eq!(named(&mut dht), 1, "only the one that answers is named");
}

/// DHT-20.
#[test]
fn dead_peers_leave_tables_sooner_where_lookups_meet_them() {
    // Those that ask find out by themselves; here it is about the others, beside how they fare when nobody asks.
    let vouched_for = |askers: usize| -> usize {
        let mut net = Net::filled(41, 120, 0);
        net.run(2 * MINUTE);
        (60..90).for_each(|index| net.stop(index));
        net.run(MINUTE);
        let dead: Vec<NodeId> = (60..90).map(|index| net.id(index)).collect();
        for index in 0..askers {
            let target = net.key(60 + index);
            net.with(index, |dht, now| dht.find_node(now, target)).unwrap();
        }
        net.run(Duration::from_secs(12));
        let of =
            |index| net.dht(index).contacts().iter().filter(|contact| dead.contains(&contact.id)).count();
        (20..60).map(of).sum()
    };
    let (told, untold) = (vouched_for(20), vouched_for(0));
    assert!(told + 10 < untold, "{told} dead peers are vouched for, {untold} where nobody asked");
}

fn values(net: &Net, index: usize, count: u8) -> Vec<Signed<MutableValue>> {
    let value = |salt| MutableValue {
        publisher: net.id(index),
        salt: vec![salt],
        seq: 1,
        expires_unix_ms: net.unix_ms() + 24 * 3_600_000,
        value: vec![salt],
        extensions: Extensions::default(),
    };
    (0..count).map(|salt| Signed::sign(&net.peers[index].secret, value(salt))).collect()
}

/// DHT-15.
#[test]
fn many_records_are_stored_anew_with_few_lookups() {
    let mut net = Net::grown(42, 30, 0);
    for value in values(&net, 3, 24) {
        net.with(3, |dht, now| dht.put(now, value, None)).unwrap();
        net.run(Duration::from_secs(3));
    }
    net.run(30 * MINUTE);
    let before = net.dht(3).counters();
    net.events.clear();
    net.run(20 * MINUTE);
    let renewed: Vec<usize> = net
        .events
        .iter()
        .filter_map(|(index, event)| match event {
            Event::Stored { replicas, .. } if *index == 3 => Some(*replicas),
            _ => None,
        })
        .collect();
    assert_eq!(renewed, [20; 24]);
    let after = net.dht(3).counters();
    assert!(after.swept - before.swept >= 12, "{} of 24 were swept", after.swept - before.swept);
}

/// DHT-22.
#[test]
fn a_copy_is_held_for_as_long_as_its_bearer_says_and_a_record_for_good() {
    let mut dht = server();
    let value = cs_dht::ImmutableValue::new(vec![7; 40]).unwrap();
    let record = Record::Immutable(value);
    let get = Request::new(true, Ask::Get { key: record.key(), kind: record.kind() }).padded();
    let (Answer::Records { token, .. }, _) = ask(&mut dht, Duration::ZERO, 5, &get) else {
        panic!("no records")
    };
    let store = Request::new(true, Ask::Store { token, expected: None, record });
    assert_eq!(ask(&mut dht, Duration::ZERO, 5, &store.clone().held_for(60)).0, Answer::Stored);
    let run = |dht: &mut Dht, from: u64, to: u64| {
        (from..to).for_each(|second| dht.handle_timeout(Duration::from_secs(second)));
    };
    run(&mut dht, 0, 50);
    assert_eq!(dht.records_held().0, 1);
    run(&mut dht, 50, 100);
    assert_eq!(dht.records_held(), (0, 0));
    let now = Duration::from_secs(100);
    assert_eq!(ask(&mut dht, now, 5, &store).0, Answer::Stored);
    assert_eq!(ask(&mut dht, now, 5, &store.held_for(60)).0, Answer::Stored);
    run(&mut dht, 100, 300);
    assert_eq!(dht.records_held().0, 1, "a copy's end is not the record's");
}

/// DHT-22.
#[test]
fn a_value_that_is_asked_for_leaves_a_copy_on_the_way() {
    let mut net = Net::filled(43, 400, 0);
    let (key, _) = net.with(5, |dht, now| dht.put_immutable(now, vec![7; 100])).unwrap();
    net.run(Duration::from_secs(10));
    let holders = |net: &Net| (0..400).filter(|index| net.dht(*index).records_held().0 > 0).count();
    let before = holders(&net);
    assert!((18..=20).contains(&before), "{before} holders");
    for reader in 300..330 {
        let event = net.ask(reader, |dht, now| dht.get_immutable(now, key));
        assert!(matches!(event, Event::Immutable { value: Some(_), .. }), "{event:?}");
    }
    net.run(Duration::from_secs(2));
    assert!(holders(&net) > before, "{before} holders, and no copy");
}

/// DHT-23.
#[test]
fn whoever_leaves_hands_what_it_holds_to_those_that_take_its_place() {
    let mut net = Net::grown(44, 60, 0);
    for value in values(&net, 3, 4) {
        net.with(3, |dht, now| dht.put(now, value, None)).unwrap();
    }
    net.run(MINUTE);
    let held = |net: &Net| -> usize {
        (0..60)
            .filter(|index| net.peers[*index].dht.is_some())
            .map(|index| net.dht(index).records_held().0)
            .sum()
    };
    let before = held(&net);
    assert_eq!(before, 80);
    let leaving: Vec<usize> = (10..60).filter(|index| net.dht(*index).records_held().0 > 0).take(6).collect();
    for index in &leaving {
        net.with(*index, |dht, now| dht.leave(now));
        net.run(Duration::from_secs(3));
        assert!(net.events.contains(&(*index, Event::Left)));
        net.stop(*index);
    }
    assert!(held(&net) * 100 >= before * 95, "{} of {before} copies", held(&net));
    let idle = net.add();
    net.with(idle, |dht, now| dht.leave(now));
    assert!(net.events.contains(&(idle, Event::Left)), "with nothing to hand over it is done at once");
}

#[test]
fn a_traced_lookup_tells_whom_it_asked_and_why() {
    let mut net = Net::filled(45, 300, 0);
    let mut config = net.config();
    config.is_traced = true;
    let index = net.add_with(config);
    let entry = net.contact(0);
    net.with(index, |dht, now| dht.bootstrap(now, vec![entry]));
    net.run(MINUTE);
    net.events.clear();
    let target = Key::of_immutable(b"traced");
    let Event::Nodes { lookup, closest, effort } = net.ask(index, |dht, now| dht.find_node(now, target))
    else {
        panic!("another event")
    };
    let trace = net.events.iter().find_map(|(_, event)| match event {
        Event::Traced(trace) if trace.lookup == lookup => Some(trace.clone()),
        _ => None,
    });
    let trace = trace.expect("it is traced");
    let repeats = trace.steps.iter().filter(|step| step.is_repeated).count();
    assert_eq!((trace.effort, trace.target), (effort, target));
    assert_eq!(trace.steps.len() + repeats, effort.rpcs as usize);
    let best = trace.steps.iter().find(|step| step.peer.id == closest[0].id).expect("it was asked");
    assert_eq!(best.outcome, Outcome::Answered);
    assert_eq!(best.shared_bits, trace.steps.iter().map(|step| step.shared_bits).max().unwrap());
    for step in trace.steps.iter().filter(|step| step.hop > 1) {
        let namer =
            trace.steps.iter().find(|other| Some(other.peer.id) == step.named_by).expect("it was asked");
        assert_eq!((namer.hop + 1, namer.path, namer.outcome), (step.hop, step.path, Outcome::Answered));
    }
}
