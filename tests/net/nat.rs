//! Nodes behind routers of every kind.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use cs_node::api::Access;
use cs_tests::internet::{Home, Host, Internet, Kind};
use cs_tests::real::{Node, Setup, until};

use crate::lab::{LIMIT, Lab, arrives, become_equal};
use crate::matrix::{self, net};
use crate::observer::{From, Observer, seen_by, told_from};

/// The port of nodes that others begin with.
pub(crate) const PORT: u16 = 4040;

/// What RFC 4787 says of a router: whether the outer port is the same for all, whether it is the next one each time,
/// and who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judgement {
    same_port: bool,
    next_port: bool,
    other_port_answers: bool,
    other_address_answers: bool,
}

/// Judges the router between a host and the observer.
fn judge(host: &Host, observer: &Observer) -> Judgement {
    let places = observer.places();
    host.netns().enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let ports: Vec<u16> = (places.iter())
            .map(|place| seen_by(&socket, *place).expect("the observer answers").port())
            .collect();
        let fresh = UdpSocket::bind("0.0.0.0:0").unwrap();
        let steps = |step: u16| ports.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
        Judgement {
            same_port: steps(0),
            next_port: steps(1),
            other_port_answers: told_from(&fresh, places[0], From::OtherPort).is_some(),
            other_address_answers: told_from(&fresh, places[0], From::OtherAddress).is_some(),
        }
    })
}

#[test]
fn every_kind_of_router_is_what_it_is_called() {
    let Some(internet) = Internet::new() else { return };
    let observer = Observer::start(&internet.public("observer", 2));
    let endpoint = Judgement {
        same_port: true,
        next_port: false,
        other_port_answers: true,
        other_address_answers: true,
    };
    let address = Judgement { other_address_answers: false, ..endpoint };
    let port = Judgement { other_port_answers: false, ..address };
    let symmetric = Judgement { same_port: false, ..port };
    let sequential = Judgement { next_port: true, ..symmetric };
    let check = |kind: Kind| {
        let Some(home) = internet.home(kind, 1) else { return };
        let expected = match kind {
            Kind::Full | Kind::Hair => endpoint,
            Kind::Addr => address,
            Kind::Sym | Kind::CgnSym => symmetric,
            Kind::Seq => sequential,
            _ => port,
        };
        assert_eq!(judge(&home.hosts()[0], &observer), expected, "{kind:?}");
    };
    std::thread::scope(|scope| {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.has_v4() && *kind != Kind::Block) {
            let check = &check;
            scope.spawn(move || check(kind));
        }
    });
}

/// Whether the second host of a home reaches the outer address of the first.
fn hairpins(home: &Home, observer: &Observer) -> bool {
    let (first, second) = (&home.hosts()[0], &home.hosts()[1]);
    let inside = first.netns().enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let outer = seen_by(&inside, observer.places()[0]).expect("the observer answers");
    let other = second.netns().enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    other.send_to(b"here", outer).unwrap();
    let (mut buffer, mut heard) = ([0; 16], None);
    if let Ok((_, from)) = inside.recv_from(&mut buffer) {
        inside.send_to(b"back", from).unwrap();
        heard = seen_back(&other);
    }
    // The answer comes from where the question went to, or it would be dropped as a stranger's.
    heard == Some(outer)
}

fn seen_back(socket: &UdpSocket) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    socket.recv_from(&mut [0; 16]).ok().map(|(_, from)| from)
}

#[test]
fn one_router_alone_lets_its_own_outer_address_be_used_from_inside() {
    let Some(internet) = Internet::new() else { return };
    let observer = Observer::start(&internet.public("observer", 2));
    for (kind, expected) in [(Kind::Hair, true), (Kind::Full, false), (Kind::Port, false)] {
        let home = internet.home(kind, 2).expect("it needs no miniupnpd");
        assert_eq!(hairpins(&home, &observer), expected, "{kind:?}");
    }
}

#[test]
fn a_blocked_home_gets_out_by_tcp_443_alone() {
    let Some(internet) = Internet::new() else { return };
    let server = internet.public("server", 2);
    let observer = Observer::start(&server);
    let home = internet.home(Kind::Block, 1).expect("it needs no miniupnpd");
    let listen = |port| TcpListener::bind((server.v4()[0], port)).unwrap();
    let _listeners = server.netns().enter(|| [listen(443), listen(80)]);
    home.hosts()[0].netns().enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(told_from(&socket, observer.places()[0], From::SamePlace), None);
        let connect = |port| {
            let address = SocketAddr::from((server.v4()[0], port));
            TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop)
        };
        assert!(connect(443).is_ok());
        assert_eq!(connect(80).unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn what_is_cut_is_cut_both_ways_and_heals() {
    let Some(internet) = Internet::new() else { return };
    let server = internet.public("server", 2);
    let observer = Observer::start(&server);
    let mut home = internet.home(Kind::Linux, 1).expect("it needs no miniupnpd");
    let socket = home.hosts()[0].netns().enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let seen = || seen_by(&socket, observer.places()[0]);
    let unseen = || told_from(&socket, observer.places()[0], From::SamePlace);
    let (ours, theirs) = (home.seen_as()[0], server.v4()[0].into());
    assert_eq!(seen().map(|seen| seen.ip()), Some(ours));
    internet.cut(ours, theirs);
    assert_eq!(unseen(), None);
    internet.heal(ours, theirs);
    assert_eq!(seen().map(|seen| seen.ip()), Some(ours));
    home.renumber(&internet);
    assert_ne!(home.seen_as()[0], ours);
    assert_eq!(seen().map(|seen| seen.ip()), Some(home.seen_as()[0]), "the router took another address");
    internet.lose(9_999);
    assert_eq!(unseen(), None);
}

#[test]
fn ipv6_gets_out_and_strangers_do_not_get_in() {
    let Some(internet) = Internet::new() else { return };
    let server = internet.public("server", 1);
    let bind = |host: &Host| {
        let address = SocketAddr::from((host.v6().expect("it has IPv6"), 0));
        let socket = host.netns().enter(|| UdpSocket::bind(address).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        socket
    };
    let outside = bind(&server);
    for kind in [Kind::Six, Kind::Dual] {
        let home = internet.home(kind, 1).expect("it needs no miniupnpd");
        let inside = bind(&home.hosts()[0]);
        let (there, here) = (outside.local_addr().unwrap(), inside.local_addr().unwrap());
        outside.send_to(b"in", here).unwrap();
        assert!(inside.recv_from(&mut [0; 16]).is_err(), "{kind:?} lets a stranger in");
        inside.send_to(b"out", there).unwrap();
        let (_, from) = outside.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from, here, "{kind:?} translates nothing");
        outside.send_to(b"answer", from).unwrap();
        assert!(inside.recv_from(&mut [0; 16]).is_ok(), "{kind:?}");
    }
}

/// A node that others begin with, and what to give them.
fn hub(lab: &Lab, host: &Host) -> (Node, String) {
    let listen = format!(":{PORT}");
    let setup = Setup::within(host.netns().name(), lab.path("hub"));
    let node = setup.with(&["--role", "bootstrap", "--listen", &listen]).up().unwrap();
    let at = host.v4()[0];
    let contact = format!("{}@{at}:{PORT}", node.status().unwrap().node);
    (node, contact)
}

/// A node on a host, and a folder for it.
fn node(lab: &Lab, name: &str, host: &Host, contact: &str) -> Node {
    let setup = Setup::within(host.netns().name(), lab.path(name));
    setup.with(&["--bootstrap", contact]).up().unwrap()
}

/// `a` shares a folder, `b` joins by the code; then an edit of each arrives at the other.
fn sync(lab: &Lab, a: &Node, b: &Node) {
    let (from, to) = (lab.folder("from", &[("hello.txt", "hello")]), lab.folder("to", &[]));
    let invited = a.share(&from, Access::Write).unwrap();
    b.join(&invited.code, &to).unwrap();
    become_equal(&from, &to);
    fs::write(to.join("back.txt"), "back").unwrap();
    arrives(&from.join("back.txt"), "back");
}

#[test]
fn public_hosts_meet_by_a_code() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let hosts = ["hub", "alice", "bob"].map(|name| internet.public(name, 1));
    let (_hub, contact) = hub(&lab, &hosts[0]);
    let (a, b) = (node(&lab, "a", &hosts[1], &contact), node(&lab, "b", &hosts[2], &contact));
    sync(&lab, &a, &b);
}

#[test]
fn a_device_behind_a_router_joins_a_public_one() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let hosts = ["hub", "alice"].map(|name| internet.public(name, 1));
    let home = internet.home(Kind::Port, 1).expect("it needs no miniupnpd");
    let (_hub, contact) = hub(&lab, &hosts[0]);
    let (a, b) = (node(&lab, "a", &hosts[1], &contact), node(&lab, "b", &home.hosts()[0], &contact));
    sync(&lab, &a, &b);
}

/// Two homes, the nodes in them, and the hub between.
struct Homes {
    homes: [Home; 2],
    nodes: [Node; 2],
    _hub: Node,
    _public: Host,
}

impl Homes {
    fn new(internet: &Internet, lab: &Lab, kinds: [Kind; 2]) -> Option<Self> {
        let public = internet.public("hub", 1);
        let homes = [internet.home(kinds[0], 1)?, internet.home(kinds[1], 1)?];
        let (hub, contact) = hub(lab, &public);
        let node = |at: usize| node(lab, ["a", "b"][at], &homes[at].hosts()[0], &contact);
        Some(Self { nodes: [node(0), node(1)], homes, _hub: hub, _public: public })
    }

    /// `a` shares, `b` joins by the invitation; then the path that `b` has to `a` is direct.
    fn sync_directly(&self, lab: &Lab) {
        let [a, b] = &self.nodes;
        let (from, to) = (lab.folder("from", &[("hello.txt", "hello")]), lab.folder("to", &[]));
        let invited = a.share(&from, Access::Write).unwrap();
        b.join(&invited.invitation, &to).unwrap();
        become_equal(&from, &to);
        let peer = a.status().unwrap().node;
        let path = until(LIMIT, || {
            let session = net(b)?.sessions.into_iter().find(|session| session.node == peer)?;
            session.paths.into_iter().find(|path| path.in_use)
        });
        let path = path.expect("there is a path");
        assert_eq!(path.relay, None);
        let outer = self.homes[0].outer().expect("it has IPv4").to_string();
        assert!(path.address.starts_with(&outer), "{path:?}");
    }
}

#[test]
fn a_device_whose_router_maps_a_port_is_reached_from_behind_another_router() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let Some(homes) = Homes::new(&internet, &lab, [Kind::Upnp, Kind::Port]) else { return };
    let mapped = until(LIMIT, || {
        let net = net(&homes.nodes[0])?;
        let mapping = net.port_mapping?;
        (mapping.state == "mapped" && net.reachable).then_some(mapping)
    });
    let mapping = mapped.unwrap_or_else(|| panic!("not mapped: {:?}", net(&homes.nodes[0])));
    let outer = homes.homes[0].outer().expect("it has IPv4").to_string();
    assert!(mapping.external.as_ref().is_some_and(|external| external.starts_with(&outer)), "{mapping:?}");
    homes.sync_directly(&lab);
}

#[test]
fn a_device_behind_an_open_router_is_reached_where_its_hub_sees_it() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let Some(homes) = Homes::new(&internet, &lab, [Kind::Full, Kind::Port]) else { return };
    let outer = homes.homes[0].outer().expect("it has IPv4").to_string();
    let seen = until(LIMIT, || {
        let status = homes.nodes[0].status().ok()?;
        status.listen.iter().any(|address| address.starts_with(&outer)).then_some(())
    });
    assert!(seen.is_some(), "nobody tells it: {:?}", homes.nodes[0].status());
    let hubs = net(&homes.nodes[0]).expect("it answers").hubs;
    assert!(hubs.len() == 1 && hubs[0].connected, "{hubs:?}");
    homes.sync_directly(&lab);
}

/// What a router does, in the words of `net`: how it maps, and whom it lets in.
fn kind_of(kind: Kind) -> (&'static str, &'static str) {
    let (open, strict) = ("endpoint-independent", "address-and-port-dependent");
    match kind {
        Kind::Full | Kind::Hair => (open, open),
        Kind::Addr => (open, "address-dependent"),
        Kind::Sym | Kind::Seq | Kind::CgnSym => (strict, strict),
        _ => (open, strict),
    }
}

#[test]
fn each_device_knows_what_kind_of_router_it_is_behind() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let [public, other] = ["hub", "public"].map(|name| internet.public(name, 2));
    let (_hub, contacts) = matrix::hub(&lab, &public);
    let knows = |node: &Node, expected: (&str, &str)| {
        let known = until(LIMIT, || {
            let net = net(node)?;
            ((&*net.mapping, &*net.filtering) == expected).then_some(net)
        });
        known.ok_or_else(|| format!("{expected:?}: {:?}", net(node)))
    };
    std::thread::scope(|scope| {
        let is_asked = |kind: &Kind| kind.has_v4() && *kind != Kind::Block;
        for kind in Kind::ALL.into_iter().filter(is_asked) {
            let (internet, lab, contacts, knows) = (&internet, &lab, &contacts, &knows);
            scope.spawn(move || {
                let Some(home) = internet.home(kind, 1) else { return };
                let node = matrix::node(lab, &kind.name(), &home.hosts()[0], contacts);
                let net = knows(&node, kind_of(kind)).unwrap_or_else(|why| panic!("{kind:?}: {why}"));
                assert_eq!(net.step, (kind == Kind::Seq).then_some(1), "{kind:?}");
            });
        }
        scope.spawn(|| {
            let node = matrix::node(&lab, "public", &other, &contacts);
            let known = until(LIMIT, || net(&node).filter(|net| net.mapping == "public"));
            assert!(known.is_some_and(|net| net.reachable), "{:?}", net(&node));
        });
    });
}

/// With one address of one hub, what can be known is known, and nothing else is claimed.
#[test]
fn a_hub_with_one_address_shows_whether_ports_matter_and_no_more() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let (_hub, contacts) = matrix::hub(&lab, &internet.public("hub", 1));
    let (same, strict) = ("port-independent", "address-and-port-dependent");
    for (kind, expected) in [
        (Kind::Full, (same, same)),
        (Kind::Addr, (same, same)),
        (Kind::Port, (same, strict)),
        // What the hub's own port is mapped to says nothing of the port that would be let in.
        (Kind::Sym, (strict, "unknown")),
        (Kind::Seq, (strict, "unknown")),
    ] {
        let home = internet.home(kind, 1).expect("it needs no miniupnpd");
        let node = matrix::node(&lab, &kind.name(), &home.hosts()[0], &contacts);
        let known = until(LIMIT, || net(&node).filter(|net| (&*net.mapping, &*net.filtering) == expected));
        assert!(known.is_some(), "{kind:?}: {:?}", net(&node));
    }
}

#[test]
fn where_udp_is_blocked_a_code_is_met_and_folders_sync_over_tcp() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let public = internet.public("hub", 1);
    let homes = [Kind::Block, Kind::Port].map(|kind| internet.home(kind, 1).expect("it needs no miniupnpd"));
    let (_hub, contacts) = matrix::hub(&lab, &public);
    let [a, b] = [0, 1].map(|at| matrix::node(&lab, ["a", "b"][at], &homes[at].hosts()[0], &contacts));
    sync(&lab, &a, &b);
    let relays = net(&a).expect("it answers").relays;
    assert!(relays.iter().any(|relay| relay.transport == "tcp" && relay.state == "allocated"), "{relays:?}");
}
