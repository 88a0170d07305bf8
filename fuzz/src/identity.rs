//! Decoders of cs-identity: paths, areas, statements, and the graph that statements enter.

use cs_identity::control::{Action, ControlGraph, Draft, Inserted, Statement};
use cs_identity::wire::whole;
use cs_identity::{
    Area, BlindPath, NodeId, OpId, Rights, SecretKey, Signed, SpaceId, TIME_END_MS, Tag, Unverified,
};

use crate::laws::{bytes_of, encoded, join, one_encoding, split, unverified};

/// A blinded path.
pub fn path(bytes: &[u8]) -> bool {
    one_encoding(bytes, |bytes| whole(bytes, BlindPath::decode), |path| bytes_of(|out| path.encode(out)))
}

/// An area.
pub fn area(bytes: &[u8]) -> bool {
    one_encoding(bytes, |bytes| whole(bytes, Area::decode), |area| bytes_of(|out| area.encode(out)))
}

/// A signed statement. The signature is not checked: the fuzzer cannot make one.
pub fn statement(bytes: &[u8]) -> bool {
    one_encoding(bytes, unverified::<Statement>, encoded)
}

/// Statements into a control graph, as if their signatures held: an author may be hostile.
pub fn graph(bytes: &[u8]) -> bool {
    let mut graph = ControlGraph::new(space());
    let mut is_accepted = false;
    for message in split(bytes).into_iter().take(32) {
        let Ok(statement) = Unverified::<Statement>::from_bytes(message) else { continue };
        let author = statement.value().author;
        is_accepted |= matches!(graph.insert(statement.assume_verified()), Ok(Inserted::New));
        graph.rights(&author, &place(3), 5);
        graph.credentials(&author);
    }
    assert_eq!(graph.ids().count(), graph.len());
    graph.members();
    is_accepted
}

/// Paths of no, few and the most components.
pub fn path_seeds() -> Vec<Vec<u8>> {
    [0, 1, 3, 255].map(|depth| bytes_of(|out| place(depth).encode(out))).to_vec()
}

/// Areas with and without an end.
pub fn area_seeds() -> Vec<Vec<u8>> {
    let areas = [(0, 0, u64::MAX), (2, 1_000, 2_000), (1, 7, TIME_END_MS - 1)];
    let area = |(depth, from, until)| Area::new(place(depth), from, until).expect("it is a range");
    areas.map(|one| bytes_of(|out| area(one).encode(out))).to_vec()
}

/// One statement of each kind.
pub fn statement_seeds() -> Vec<Vec<u8>> {
    history().iter().map(|statement| statement.bytes().to_vec()).collect()
}

/// The history of a space, in order and in reverse.
pub fn graph_seeds() -> Vec<Vec<u8>> {
    let history = history();
    vec![join(history.iter().map(Signed::bytes)), join(history.iter().rev().map(Signed::bytes))]
}

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

pub(crate) fn node(number: u8) -> NodeId {
    key(number).node_id()
}

pub(crate) fn place(depth: u8) -> BlindPath {
    BlindPath::new((0..depth).map(|number| Tag::from_bytes([number; 16])).collect()).expect("255 are allowed")
}

fn space() -> SpaceId {
    genesis().space()
}

fn genesis() -> Signed<Statement> {
    Statement::sign(&key(1), Draft::genesis([9; 16], 1)).expect("it is a statement")
}

fn history() -> Vec<Signed<Statement>> {
    let mut history = vec![genesis()];
    let mut graph = ControlGraph::new(space());
    graph.insert(genesis()).expect("it founds the space");
    let area = Area::new(place(1), 0, u64::MAX).expect("it is a range");
    let grant =
        Action::Grant { parent: None, holder: node(2), area, rights: Rights::READ | Rights::WRITE, depth: 2 };
    let actions = |granted: OpId| {
        [
            Action::Policy { prefix: place(1), body: b"merge".to_vec() },
            Action::Epoch { number: 1, root_commitment: [4; 32], boxes: vec![(node(2), vec![5; 64])] },
            Action::Endorse { operation: granted },
            Action::Cut { grant: granted, frontier: Vec::new(), cascade: true },
        ]
    };
    let mut say = |graph: &mut ControlGraph, action| {
        let draft = graph.next_draft(node(1), action, 5);
        let statement = Statement::sign(&key(1), draft).expect("it is a statement");
        graph.insert(statement.clone()).expect("the root may say so");
        history.push(statement.clone());
        statement.id()
    };
    let granted = say(&mut graph, grant);
    for action in actions(granted) {
        say(&mut graph, action);
    }
    history
}
