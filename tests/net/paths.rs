//! Real nodes whose direct path is cut and comes back, and whose router changes its address.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cs_node::api::{Access, NetPath};
use cs_tests::internet::{Home, Internet, Kind};
use cs_tests::real::{Node, until};

use crate::lab::{LIMIT, Lab, arrives};
use crate::matrix::{hub, net, node, path_to};

/// Two nodes at home with a folder in sync, and the hub between.
struct Pair {
    homes: [Home; 2],
    nodes: [Node; 2],
    folders: [PathBuf; 2],
    _hub: Node,
}

impl Pair {
    fn in_sync(internet: &Internet, lab: &Lab, kinds: [Kind; 2]) -> Self {
        let (hub, contacts) = hub(lab, &internet.public("hub", 2));
        let homes = kinds.map(|kind| internet.home(kind, 1).expect("it needs no miniupnpd"));
        let nodes = [0, 1].map(|at| node(lab, ["a", "b"][at], &homes[at].hosts()[0], &contacts));
        let folders = [lab.folder("from", &[("hello.txt", "hello")]), lab.folder("to", &[])];
        let invited = nodes[0].share(&folders[0], Access::Write).unwrap();
        nodes[1].join(&invited.invitation, &folders[1]).unwrap();
        arrives(&folders[1].join("hello.txt"), "hello");
        Self { homes, nodes, folders, _hub: hub }
    }

    /// The path from the second to the first, once it is as wished; and how long that took.
    fn path(&self, is_direct: bool) -> (NetPath, Duration) {
        let peer = self.nodes[0].status().unwrap().node;
        let begun = Instant::now();
        let fits = |path: &NetPath| path.relay.is_none() == is_direct;
        let path = until(LIMIT, || path_to(&self.nodes[1], &peer).filter(fits));
        (path.unwrap_or_else(|| panic!("{:?}", net(&self.nodes[1]))), begun.elapsed())
    }

    fn outer(&self) -> [IpAddr; 2] {
        [0, 1].map(|at| self.homes[at].outer().expect("it has IPv4").into())
    }

    /// An edit of each arrives at the other.
    fn talk(&self, name: &str) {
        for (from, to) in [(0, 1), (1, 0)] {
            let file = format!("{name}-{from}.txt");
            fs::write(self.folders[from].join(&file), name).unwrap();
            arrives(&self.folders[to].join(&file), name);
        }
    }

    /// The sessions of the second node with the first: one, while nothing broke.
    fn paths(&self) -> Vec<NetPath> {
        let peer = self.nodes[0].status().unwrap().node;
        let sessions = net(&self.nodes[1]).expect("it answers").sessions;
        sessions
            .into_iter()
            .find(|session| session.node == peer)
            .map(|session| session.paths)
            .unwrap_or_default()
    }
}

#[test]
fn a_cut_path_is_left_for_the_relay_and_taken_again_when_it_heals() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let pair = Pair::in_sync(&internet, &lab, [Kind::Port, Kind::Port]);
    pair.path(true);
    let standby = until(LIMIT, || pair.paths().into_iter().find(|path| path.relay.is_some()));
    assert!(standby.is_some_and(|path| !path.in_use), "a relay stands by: {:?}", pair.paths());
    let [ours, theirs] = pair.outer();
    internet.cut(ours, theirs);
    fs::write(pair.folders[0].join("cut.txt"), "cut").unwrap();
    let (relayed, after) = pair.path(false);
    println!("on the relay {} ms after the cut: {relayed:?}", after.as_millis());
    arrives(&pair.folders[1].join("cut.txt"), "cut");
    pair.talk("relayed");
    internet.heal(ours, theirs);
    let (direct, after) = pair.path(true);
    println!("direct again {} ms after it healed: {direct:?}", after.as_millis());
    pair.talk("direct");
}

#[test]
fn a_router_that_takes_another_address_ends_no_session() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let mut pair = Pair::in_sync(&internet, &lab, [Kind::Port, Kind::Linux]);
    pair.path(true);
    pair.homes[1].renumber(&internet);
    pair.talk("renumbered");
    let outer = pair.homes[1].outer().expect("it has IPv4").to_string();
    let peer = pair.nodes[1].status().unwrap().node;
    let path = until(LIMIT, || {
        path_to(&pair.nodes[0], &peer).filter(|path| path.relay.is_none() && path.address.starts_with(&outer))
    });
    assert!(path.is_some(), "no direct path to the new address: {:?}", net(&pair.nodes[0]));
    pair.talk("direct");
}
