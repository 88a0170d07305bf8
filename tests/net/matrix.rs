//! Every kind of home with every kind: which pairs connect directly, by which method, in what time, and that all others
//! are relayed and sync as well.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cs_node::api::{Access, Net, NetPath, Reply, Request};
use cs_tests::internet::{Home, Host, Internet, Kind};
use cs_tests::real::{Node, Setup, until_every};

use crate::lab::{Lab, arrives};
use crate::nat::PORT;

/// Pairs at a time: more than this machine has processors, since most of the time is spent waiting.
const AT_ONCE: usize = 6;
/// How long a pair may take to be connected, and then to find its best path.
const LIMIT: Duration = Duration::from_secs(60);
/// Fresh pairs at a time.
const FRESH_AT_ONCE: usize = 2;
/// Fresh pairs of each kind that is left to prediction or chance: 1, or as many as this variable says, 60 at most.
const REPEATS: &str = "COSYNC_NAT_REPEATS";
/// Names of kinds, with commas between, of which all pairs are connected; all 15 kinds make 120 pairs, which take a minute.
const ENDS: &str = "COSYNC_NAT_ENDS";

/// One end of a pair: a public host, or a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Public,
    Behind(Kind),
}

impl End {
    fn all() -> Vec<Self> {
        let names = std::env::var(ENDS).ok();
        let is_meant =
            |end: &Self| names.as_ref().is_none_or(|names| names.split(',').any(|name| name == end.name()));
        [Self::Public].into_iter().chain(Kind::ALL.map(Self::Behind)).filter(is_meant).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Public => "public".to_owned(),
            Self::Behind(kind) => kind.name(),
        }
    }

    fn families(self) -> (bool, bool) {
        match self {
            Self::Public => (true, true),
            Self::Behind(kind) => (kind.has_v4(), kind.has_v6()),
        }
    }

    /// How hard it is to reach by IPv4: 0 for whom one address that was spoken to suffices, 1 where the port must fit, 2
    /// where the port is another each time.
    fn hardness(self) -> u8 {
        match self {
            Self::Public | Self::Behind(Kind::Full | Kind::Addr | Kind::Hair | Kind::Upnp) => 0,
            Self::Behind(Kind::Sym | Kind::Seq | Kind::CgnSym) => 2,
            Self::Behind(_) => 1,
        }
    }
}

/// Whether two ends can open a direct path.
fn can_be_direct(a: End, b: End) -> bool {
    let is_blocked = |end| end == End::Behind(Kind::Block);
    if is_blocked(a) || is_blocked(b) {
        return false;
    }
    let ((a4, a6), (b4, b6)) = (a.families(), b.families());
    // A firewall for IPv6 is a port-restricted NAT that translates nothing.
    (a6 && b6) || (a4 && b4 && a.hardness() + b.hardness() < 4)
}

#[test]
fn the_table_of_what_can_be_direct_is_that_of_the_rfcs() {
    let behind = End::Behind;
    assert!(
        can_be_direct(End::Public, behind(Kind::CgnSym))
            && can_be_direct(behind(Kind::Addr), behind(Kind::Sym))
    );
    assert!(
        can_be_direct(behind(Kind::Port), behind(Kind::Cgn))
            && can_be_direct(behind(Kind::Port), behind(Kind::Sym))
    );
    assert!(
        can_be_direct(behind(Kind::Six), behind(Kind::Dual))
            && can_be_direct(behind(Kind::Upnp), behind(Kind::Seq))
    );
    assert!(
        !can_be_direct(behind(Kind::Sym), behind(Kind::Seq))
            && !can_be_direct(behind(Kind::Six), behind(Kind::Full))
    );
    assert!(!can_be_direct(End::Public, behind(Kind::Block)));
}

/// A hub that is reached by both families and over TCP, and what to give to others.
pub(crate) fn hub(lab: &Lab, host: &Host) -> (Node, Vec<String>) {
    let listen = format!(":{PORT}");
    let setup = Setup::within(host.netns().name(), lab.path("hub"));
    let node = setup.with(&["--role", "hub", "--listen", &listen]).up().unwrap();
    let id = node.status().unwrap().node;
    let v6 = host.v6().expect("it has IPv6");
    (node, vec![format!("{id}@{}:{PORT}", host.v4()[0]), format!("{id}@[{v6}]:{PORT}")])
}

/// A node on a host.
pub(crate) fn node(lab: &Lab, name: &str, host: &Host, contacts: &[String]) -> Node {
    let options: Vec<&str> = contacts.iter().flat_map(|contact| ["--bootstrap", contact]).collect();
    Setup::within(host.netns().name(), lab.path(name)).with(&options).up().unwrap()
}

/// What a node says of its own network.
pub(crate) fn net(node: &Node) -> Option<Net> {
    match node.ask(&Request::Net) {
        Ok(Reply::Net(net)) => Some(*net),
        _ => None,
    }
}

/// A machine of the matrix with its node.
struct Place {
    node: Node,
    _home: Option<Home>,
    _host: Option<Host>,
}

/// What a pair came to.
#[derive(Clone, Debug)]
struct Outcome {
    synced_after: Duration,
    path: NetPath,
    path_after: Duration,
}

struct Matrix<'a> {
    lab: &'a Lab,
    firsts: BTreeMap<End, Place>,
    seconds: BTreeMap<End, Place>,
}

impl<'a> Matrix<'a> {
    /// Two of each kind, each with a node; `None` where the lab lacks something, which is told.
    fn new(lab: &'a Lab, internet: &Internet, contacts: &[String]) -> Option<Self> {
        let place = |end: End, turn: usize| -> Option<Place> {
            let name = format!("{}{turn}", end.name());
            Some(match end {
                End::Public => {
                    let host = internet.public(&name, 1);
                    Place { node: node(lab, &name, &host, contacts), _home: None, _host: Some(host) }
                }
                End::Behind(kind) => {
                    let home = internet.home(kind, 1)?;
                    Place {
                        node: node(lab, &name, &home.hosts()[0], contacts),
                        _home: Some(home),
                        _host: None,
                    }
                }
            })
        };
        let places = |turn| {
            let (built, todo) = (Mutex::new(BTreeMap::new()), Mutex::new(VecDeque::from(End::all())));
            std::thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(|| {
                        while let Some(end) = { todo.lock().unwrap().pop_front() } {
                            if let Some(place) = place(end, turn) {
                                built.lock().unwrap().insert(end, place);
                            }
                        }
                    });
                }
            });
            let built = built.into_inner().unwrap();
            (built.len() == End::all().len()).then_some(built)
        };
        Some(Self { lab, firsts: places(1)?, seconds: places(2)? })
    }

    fn run(&self, a: End, b: End) -> Result<Outcome, String> {
        let name = format!("{}-{}", a.name(), b.name());
        connect(self.lab, &name, [&self.firsts[&a].node, &self.seconds[&b].node], can_be_direct(a, b))
    }
}

/// Connects two nodes by an invitation, and waits until there is a path that is direct, or is not, as is wished.
fn connect(lab: &Lab, name: &str, nodes: [&Node; 2], is_direct: bool) -> Result<Outcome, String> {
    let [first, second] = nodes;
    let from = lab.folder(&format!("from-{name}"), &[("hello.txt", "hello")]);
    let to = lab.folder(&format!("to-{name}"), &[]);
    let invited = first.share(&from, Access::Write).map_err(|problem| format!("share: {problem:?}"))?;
    let begun = Instant::now();
    second.join(&invited.invitation, &to).map_err(|problem| format!("join: {problem:?}"))?;
    let peer = first.status().map_err(|problem| format!("{problem:?}"))?.node;
    arrives(&to.join("hello.txt"), "hello");
    let synced_after = begun.elapsed();
    let mut last = None;
    let fits = until_every(Duration::from_millis(100), LIMIT, || {
        let path = path_to(second, &peer)?;
        last = Some(path.clone());
        (path.relay.is_none() == is_direct).then_some((path, begun.elapsed()))
    });
    match (fits, last) {
        (Some((path, path_after)), _) => Ok(Outcome { synced_after, path, path_after }),
        (None, Some(path)) => {
            let tried = [(first, second), (second, first)].map(|(of, peer)| tried(of, peer));
            Err(format!("by {} over {:?}; {tried:#?}", path.how, path.relay))
        }
        (None, None) => Err("no path".to_owned()),
    }
}

/// What a node says that it tried to reach another, and what it knows of its own network.
fn tried(node: &Node, peer: &Node) -> Vec<String> {
    let subject = peer.status().ok().map(|status| status.node);
    let findings = match node.ask(&Request::Doctor { subject }) {
        Ok(Reply::Findings { findings }) => findings,
        other => return vec![format!("{other:?}")],
    };
    let nat = net(node).map(|net| format!("{} {} {:?}", net.mapping, net.filtering, net.step));
    findings.into_iter().map(|finding| finding.finding).chain(nat).collect()
}

/// The path to a peer that data takes.
pub(crate) fn path_to(node: &Node, peer: &str) -> Option<NetPath> {
    let session = net(node)?.sessions.into_iter().find(|session| session.node == peer)?;
    session.paths.into_iter().find(|path| path.in_use)
}

#[test]
fn every_pair_of_homes_connects_and_directly_wherever_that_is_possible() {
    let Some(internet) = Internet::new() else { return };
    let lab = Lab::new();
    let public = internet.public("hub", 2);
    let (_hub, contacts) = hub(&lab, &public);
    let Some(matrix) = Matrix::new(&lab, &internet, &contacts) else { return };
    let ends = End::all();
    let pairs = ends.iter().enumerate().flat_map(|(at, a)| ends[at..].iter().map(move |b| (*a, *b)));
    let todo = Mutex::new(pairs.collect::<VecDeque<_>>());
    let done = Mutex::new(BTreeMap::<(End, End), Result<Outcome, String>>::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((a, b)) = { todo.lock().unwrap().pop_front() } {
                    let outcome = matrix.run(a, b);
                    done.lock().unwrap().insert((a, b), outcome);
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    println!("{}", shown(&ends, &done));
    let failed = done
        .iter()
        .filter_map(|((a, b), one)| Some(format!("{} with {}: {}", a.name(), b.name(), one.as_ref().err()?)));
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A row for each end: how it came to its path, and after how many seconds.
fn shown(ends: &[End], done: &BTreeMap<(End, End), Result<Outcome, String>>) -> String {
    let mut text = format!("{:9}", "");
    ends.iter().for_each(|end| _ = write!(text, "{:>15}", end.name()));
    for a in ends {
        let _ = write!(text, "\n{:9}", a.name());
        for b in ends {
            let told = done.get(&(*a, *b)).map(|outcome| match outcome {
                Ok(Outcome { path, path_after, synced_after }) => {
                    let after = if path.relay.is_some() { synced_after } else { path_after };
                    format!("{} {:.1}", path.how, after.as_secs_f64())
                }
                Err(_) => "FAILED".to_owned(),
            });
            let _ = write!(text, "{:>15}", told.unwrap_or_default());
        }
    }
    text
}

/// Pairs that have never met, each in homes of its own: what prediction and chance come to.
#[test]
fn what_is_left_to_chance_opens_a_direct_path_too() {
    let repeats = std::env::var(REPEATS).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for kinds in
        [[Kind::Port, Kind::Seq], [Kind::Seq, Kind::Port], [Kind::Port, Kind::Sym], [Kind::Sym, Kind::Port]]
    {
        let Some(internet) = Internet::new() else { return };
        let lab = Lab::new();
        let (_hub, contacts) = hub(&lab, &internet.public("hub", 2));
        let (todo, done) = (Mutex::new((0..repeats).collect::<VecDeque<u32>>()), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..FRESH_AT_ONCE {
                scope.spawn(|| {
                    while let Some(turn) = { todo.lock().unwrap().pop_front() } {
                        let homes = kinds.map(|kind| internet.home(kind, 1).expect("it needs no miniupnpd"));
                        let start =
                            |at: usize| node(&lab, &format!("{turn}-{at}"), &homes[at].hosts()[0], &contacts);
                        let nodes = [start(0), start(1)];
                        let outcome = connect(&lab, &turn.to_string(), [&nodes[0], &nodes[1]], true);
                        done.lock().unwrap().push(outcome.unwrap_or_else(|why| panic!("{kinds:?}: {why}")));
                    }
                });
            }
        });
        let mut means = BTreeMap::<String, Vec<f64>>::new();
        for Outcome { path, path_after, .. } in done.into_inner().unwrap() {
            means.entry(path.how).or_default().push((path_after.as_secs_f64() * 10.0).round() / 10.0);
        }
        println!("{kinds:?}: {means:?}");
    }
}
