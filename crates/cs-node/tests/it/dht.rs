//! The DHT, asked by people who look for a fault.

use cs_crypto::invite::Code;
use serde_json::Value;

use crate::harness::{Lab, Node, until};

/// A bootstrap node and two that begin with it.
fn network(lab: &Lab) -> [Node; 3] {
    let nodes = ["bootstrap", "a", "b"].map(|name| lab.node(name));
    nodes[0].up(&["--role", "bootstrap"]);
    let contact = contact(&nodes[0]);
    nodes[1..].iter().for_each(|node| drop(node.up(&["--bootstrap", &contact])));
    nodes
}

/// A node that others can begin with.
fn contact(node: &Node) -> String {
    let status = node.json(&["status"]);
    format!("{}@{}", text(&status["node"]), text(&status["listen"][0]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn finds(node: &Node, args: &[&str]) -> Value {
    until(&format!("{args:?}"), || {
        let done = node.run(&[args, &["--json"]].concat());
        (done.code == 0).then(|| crate::harness::object(&done.out))
    })
}

#[test]
fn a_device_is_found_by_its_id_and_the_lookup_told() {
    let lab = Lab::new();
    let [_, a, b] = network(&lab);
    let status = b.json(&["status"]);
    let found = finds(&a, &["dht", "find", text(&status["node"])]);
    let record = &found["records"][0];
    assert_eq!(record["publisher"], status["node"]);
    assert_eq!(record["addresses"], status["listen"]);
    let words = a.run(&["dht", "find", text(&status["node"])]).out;
    assert!(words.contains(text(&status["listen"][0])) && words.contains("hop"), "{words}");
    let lookups = &a.json(&["net"])["dht"]["lookups"];
    let told = lookups.as_array().unwrap().iter().find(|lookup| lookup["target"] == found["key"]);
    let steps = told.unwrap_or_else(|| panic!("{lookups}"))["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["outcome"] == "answered"), "{steps:?}");
    let words = a.run(&["net"]).out;
    assert!(words.contains("\ndht ") && words.contains("with the target"), "{words}");
    let findings = a.json(&["doctor", "dht"])["findings"].to_string();
    assert!(findings.contains("The routing table has "), "{findings}");
}

#[test]
fn a_value_is_got_by_its_hash_and_whoever_offers_a_code_by_its_place() {
    let lab = Lab::new();
    let [_, a, b] = network(&lab);
    let put = finds(&a, &["dht", "put", "hello"]);
    assert!(put["replicas"].as_u64().unwrap() > 0, "{put}");
    assert_eq!(b.json(&["dht", "get", text(&put["key"])])["records"][0]["value"], "hello");
    assert!(b.run(&["dht", "get", text(&put["key"])]).out.contains("\nvalue      hello\n"));

    let invited = b.json(&["share", lab.folder("notes", &[]).to_str().unwrap(), "--no-wait"]);
    let code: Code = text(&invited["code"]).parse().unwrap();
    let place: String = code.rendezvous().iter().map(|byte| format!("{byte:02x}")).collect();
    let found = finds(&a, &["dht", "providers", &place]);
    let status = b.json(&["status"]);
    assert_eq!(found["records"][0]["publisher"], status["node"]);
    assert_eq!(found["records"][0]["addresses"], status["listen"]);
}

#[test]
fn what_cannot_be_asked_or_is_not_there_is_told_by_its_exit_code() {
    let lab = Lab::new();
    let [_, a, b] = network(&lab);
    finds(&a, &["dht", "find", text(&b.json(&["status"])["node"])]);
    let (nothing, large) = ("0".repeat(64), "x".repeat(769));
    let stranger = lab.node("stranger").json(&["id"])["node"].clone();
    for (args, code) in [
        (["dht", "find", "nobody"], "usage"),
        (["dht", "find", text(&stranger)], "not-found"),
        (["dht", "get", "00"], "usage"),
        (["dht", "get", &nothing], "not-found"),
        (["dht", "providers", "zz"], "usage"),
        (["dht", "providers", &nothing], "not-found"),
        (["dht", "put", &large], "usage"),
    ] {
        assert_eq!(a.problem(&args)["code"], code, "{args:?}");
    }
    a.json(&["dht", "put", &large[1..]]);

    let lonely = lab.node("lonely");
    lonely.up(&[]);
    assert_eq!(lonely.problem(&["dht", "get", &nothing])["code"], "unreachable");
    assert!(lonely.json(&["doctor", "dht"])["findings"].to_string().contains("--bootstrap"));
}

#[test]
fn a_node_that_is_stopped_hands_what_it_holds_to_those_that_stay() {
    let lab = Lab::new();
    let nodes = ["holder", "publisher", "a", "b"].map(|name| lab.node(name));
    let [holder, publisher, a, b] = &nodes;
    holder.up(&["--role", "bootstrap"]);
    let contact = contact(holder);
    let (running, _) = publisher.foreground(&["up", "--bootstrap", &contact]);
    let put = finds(publisher, &["dht", "put", "hello"]);
    assert_eq!(put["replicas"], 1, "the only other node holds it");
    running.signal("KILL");
    running.end();

    [a, b].into_iter().for_each(|node| drop(node.up(&["--bootstrap", &contact])));
    for (from, to) in [(a, b), (b, a)] {
        finds(from, &["dht", "find", text(&to.json(&["status"])["node"])]);
    }
    holder.json(&["down"]);
    let got = finds(a, &["dht", "get", text(&put["key"])]);
    assert_eq!(got["records"][0]["value"], "hello");
}
