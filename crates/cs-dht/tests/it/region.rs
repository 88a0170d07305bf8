//! Peers that crowd around one key, or around a newcomer.

use crate::net::Net;
use cs_dht::wire::Extensions;
use cs_dht::{Event, Key, MutableValue};
use cs_identity::Signed;
use std::time::Duration;

/// Lets a peer learn how large the network is.
fn measure_size(net: &mut Net, index: usize) {
    for round in 0..6_u8 {
        let target = Key::of_immutable(&[round]);
        net.ask(index, |dht, now| dht.find_node(now, target));
    }
}

/// DHT-21.
#[test]
fn a_key_that_40_sybils_crowd_is_stored_at_and_found_among_the_honest() {
    let mut net = Net::filled(31, 160, 0);
    let (writer, reader) = (3, 120);
    measure_size(&mut net, writer);
    measure_size(&mut net, reader);
    let key = Key::of_mutable(&net.id(writer), b"");
    net.crowd(&key, 8, 40);
    net.run(Duration::from_secs(30));
    let value = MutableValue {
        publisher: net.id(writer),
        salt: Vec::new(),
        seq: 1,
        expires_unix_ms: net.unix_ms() + 3_600_000,
        value: b"still here".to_vec(),
        extensions: Extensions::default(),
    };
    let value = Signed::sign(&net.peers[writer].secret, value);
    let Event::Stored { replicas, key: stored, .. } = net.ask(writer, |dht, now| dht.put(now, value, None))
    else {
        panic!("another event")
    };
    assert_eq!(stored, key);
    assert!(replicas > 20, "{replicas} replicas, the sybils' among them");
    let honest = (0..160).filter(|index| net.dht(*index).records_held().0 > 0).count();
    assert!(honest >= 8, "{honest} honest holders");
    let id = net.id(writer);
    let Event::Mutable { value, .. } = net.ask(reader, |dht, now| dht.get(now, &id, b"")) else {
        panic!("another event")
    };
    assert_eq!(value.map(|value| value.value.clone()).as_deref(), Some(&b"still here"[..]));
    assert_eq!(net.dht(writer).counters().regions, 1);
    assert_eq!(net.dht(reader).counters().regions, 1);
}

/// DHT-21: without a crowd nobody pays for the defence.
#[test]
fn an_honest_network_is_never_taken_for_a_crowd() {
    let mut net = Net::filled(32, 200, 0);
    for index in 0..20 {
        measure_size(&mut net, index);
        net.announce(index, 1);
        net.run(Duration::from_secs(2));
        assert!(net.locate(index, (index * 3) / 4).is_some());
    }
    assert!((0..20).all(|index| net.dht(index).counters().regions == 0));
}

/// DHT-3: who comes into a network full of sybils that stand around it still finds the honest.
#[test]
fn a_newcomer_that_sybils_surround_still_finds_what_is_elsewhere() {
    let mut net = Net::filled(33, 160, 0);
    net.announce(17, 1);
    net.run(Duration::from_secs(10));
    let newcomer = net.add();
    let place = net.key(newcomer);
    let sybils = net.crowd(&place, 7, 30);
    let entries = vec![net.contact(sybils[0]), net.contact(5), net.contact(9)];
    net.with(newcomer, |dht, now| dht.bootstrap(now, entries));
    net.run(Duration::from_secs(60));
    assert_eq!(net.locate(newcomer, 17), Some(net.peers[17].addr));
}
