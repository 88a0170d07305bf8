//! Fifty real nodes that find each other by ID alone.

use std::time::Duration;

use cs_node::api::{DhtAsk, DhtFound, Net, Reply, Request};
use cs_tests::real::{Node, Setup, until_every};

use crate::lab::{LIMIT, Lab};

const NODES: usize = 50;

fn find(from: &Node, node: &str) -> Option<DhtFound> {
    match from.ask(&Request::Dht(DhtAsk::Find { node: node.to_owned() })) {
        Ok(Reply::Dht(found)) => Some(found),
        _ => None,
    }
}

fn net(node: &Node) -> Net {
    match node.ask(&Request::Net) {
        Ok(Reply::Net(net)) => *net,
        other => panic!("{other:?}"),
    }
}

fn identity(node: &Node) -> (String, String) {
    let status = node.status().unwrap();
    (status.node, status.listen.first().cloned().expect("it listens"))
}

/// Each node finds another one where that one is now.
fn everybody_is_found(nodes: &[Node]) {
    let known: Vec<(String, String)> = nodes.iter().map(identity).collect();
    for (index, from) in nodes.iter().enumerate() {
        let (id, address) = &known[(index * 7 + 3) % nodes.len()];
        let mut last = None;
        let found = until_every(Duration::from_millis(200), LIMIT, || {
            last = find(from, id);
            last.as_ref()?.records.first()?.addresses.contains(address).then_some(())
        });
        assert!(
            found.is_some(),
            "node {index} does not find {id} at {address}: {last:?}, {:?}",
            net(from).dht
        );
    }
}

#[test]
fn all_of_fifty_are_found_by_id_after_half_were_killed_and_came_back_on_other_ports() {
    let lab = Lab::new();
    let bootstrap = lab.setup("bootstrap").with(&["--role", "bootstrap"]).up().unwrap();
    let (id, address) = identity(&bootstrap);
    let contact = format!("{id}@{address}");
    let setup = |number: usize| lab.setup(&format!("n{number}")).with(&["--bootstrap", &contact]);
    let setups: Vec<Setup> = (0..NODES).map(setup).collect();
    let mut nodes: Vec<Node> = setups.iter().map(|setup| setup.up().unwrap()).collect();
    everybody_is_found(&nodes);

    let before: Vec<(String, String)> = nodes.iter().map(identity).collect();
    nodes.drain(..NODES / 2).for_each(|node| node.kill().unwrap());
    let again: Vec<Node> = setups[..NODES / 2].iter().map(|setup| setup.up().unwrap()).collect();
    nodes.splice(0..0, again);
    for (node, (id, address)) in nodes.iter().zip(&before).take(NODES / 2) {
        let now = identity(node);
        assert_eq!(now.0, *id);
        assert_ne!(now.1, *address, "the port is another");
    }
    everybody_is_found(&nodes);
    let view = net(&nodes[NODES - 1]).dht;
    assert!(view.table as usize >= NODES / 2, "{} nodes in the table", view.table);
    let lookup = view.lookups.iter().find(|lookup| !lookup.steps.is_empty()).expect("lookups are remembered");
    assert!(lookup.steps.iter().any(|step| step.outcome == "answered"), "{lookup:?}");
}

#[test]
fn a_value_put_at_one_node_is_got_at_another_by_its_hash() {
    let lab = Lab::new();
    let bootstrap = lab.setup("bootstrap").with(&["--role", "bootstrap"]).up().unwrap();
    let (id, address) = identity(&bootstrap);
    let contact = format!("{id}@{address}");
    let nodes: Vec<Node> =
        (0..3).map(|n| lab.setup(&format!("n{n}")).with(&["--bootstrap", &contact]).up().unwrap()).collect();
    let put = until_every(Duration::from_millis(100), LIMIT, || {
        match nodes[0].ask(&Request::Dht(DhtAsk::Put { value: "hello".into() })) {
            Ok(Reply::Dht(found)) => Some(found),
            _ => None,
        }
    });
    let put = put.expect("it is stored");
    assert!(put.replicas.is_some_and(|replicas| replicas > 0), "{put:?}");
    match nodes[2].ask(&Request::Dht(DhtAsk::Get { key: put.key.clone() })) {
        Ok(Reply::Dht(found)) => assert_eq!(found.records[0].value.as_deref(), Some("hello")),
        other => panic!("{other:?}"),
    }
    let wrong = nodes[2].ask(&Request::Dht(DhtAsk::Get { key: "0".repeat(64) })).unwrap_err();
    assert_eq!(wrong.code.exit_code(), 3, "{wrong:?}");
    let wrong = nodes[2].ask(&Request::Dht(DhtAsk::Find { node: "nobody".into() })).unwrap_err();
    assert_eq!(wrong.code.exit_code(), 2, "{wrong:?}");
}
