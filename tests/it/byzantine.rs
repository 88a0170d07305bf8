//! Nodes that break the rules: real members, whose signatures are good and whose rights are not.

use crate::stories::world_of;
use cs_crypto::epoch::{self, EpochSecrets};
use cs_identity::control::{Action, ControlGraph, Statement};
use cs_identity::{BlindPath, OpId, SpaceId, Tag, Unverified};
use cs_node::api::{Access, Reply, Request};
use cs_node::core::Event;
use cs_node::folder::{Content, FileVersion, RelPath};
use cs_node::wire::{Message, Set};
use cs_store::{OpenOptions, Operation, Store};
use cs_tests::sim::World;
use std::time::Duration;

/// Whose grant a forged operation claims.
#[derive(Clone, Copy, Debug)]
enum Claims {
    Own,
    Writers,
    Roots,
}

/// What a reader's own disk holds of a space: enough to seal and sign whatever it likes.
fn forged(world: &mut World, reader: usize, writer: usize, space: SpaceId, claims: Claims) -> Vec<u8> {
    let (graph, secrets, number) = secrets_of(world, reader, space);
    let tags = secrets.blind.tags(&[b"forged"]).into_iter().map(Tag::from_bytes).collect();
    let path = BlindPath::new(tags).unwrap();
    let grant = match claims {
        Claims::Own => graph.grants_of(&world.id(reader))[0].0,
        Claims::Writers => graph.grants_of(&world.id(writer))[0].0,
        Claims::Roots => OpId::from_bytes(*space.as_bytes()),
    };
    let mut operation = Operation {
        space,
        document: document_of(&path),
        path,
        author: world.id(reader),
        seq: 0,
        backlink: None,
        deps: Vec::new(),
        clock: 1_900_000_100_000 << 16,
        grant,
        control_heads: graph.heads(),
        epoch: number,
        sealed: Vec::new(),
    };
    let mut body = vec![1];
    FileVersion::new(RelPath::new("forged").unwrap(), Content::Dir).encode(&mut body);
    operation.sealed = epoch::seal_operation(&secrets.root.root_key(), &operation.aad(), &body);
    operation.sign(world.secret(reader)).unwrap().bytes().to_vec()
}

fn secrets_of(world: &mut World, node: usize, space: SpaceId) -> (ControlGraph, EpochSecrets, u64) {
    world.kill(node);
    let (store, _) = Store::open(world.disk(node), OpenOptions::default()).unwrap();
    let mut graph = ControlGraph::new(space);
    for record in store.statements(&space).unwrap() {
        let statement = Unverified::<Statement>::from_bytes(&record.unwrap().1).unwrap().verify().unwrap();
        graph.insert(statement).unwrap();
    }
    let me = world.id(node);
    let secret = world.secret(node).to_x25519();
    let found = graph.epochs().find_map(|(_, statement)| {
        let Action::Epoch { number, root_commitment, boxes } = &statement.action else { return None };
        let (_, sealed) = boxes.iter().find(|(who, _)| *who == me)?;
        let opened = EpochSecrets::open(&secret, space.as_bytes(), *number, root_commitment, sealed).ok()?;
        Some((opened, *number))
    });
    let (secrets, number) = found.expect("a reader was given the keys");
    drop(store);
    world.start_after(node, Duration::from_millis(10));
    world.run_for(Duration::from_secs(5)).unwrap();
    (graph, secrets, number)
}

/// As every node names the document of a file's path.
fn document_of(path: &BlindPath) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("cosync 2026 document of a path");
    hasher.update(&[1]);
    for tag in path.tags() {
        hasher.update(tag.as_bytes());
    }
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}

fn directory_exists(world: &World, node: usize) -> bool {
    let path = RelPath::new("forged").unwrap();
    world.directory(node, "/d").is_some_and(|vfs| vfs.contents().contains_key(&path))
}

fn operations(world: &mut World, node: usize) -> u64 {
    let Some(Ok(Reply::Status(status))) = world.ask_now(node, Request::Status) else { panic!("no status") };
    status.spaces[0].operations
}

#[test]
fn operations_that_a_reader_signs_are_refused_by_every_peer() {
    for (seed, claims) in [(20, Claims::Own), (21, Claims::Writers), (22, Claims::Roots)] {
        let (mut world, space) = world_of(seed, &[Access::Read, Access::Write]);
        let space: SpaceId = space.parse().unwrap();
        let before = operations(&mut world, 0);
        let bytes = forged(&mut world, 1, 2, space, claims);
        let answer = Message::Answer {
            space: space.into(),
            set: Set::Operations,
            items: vec![bytes.into()],
            done: true,
        };
        world.take_events();
        for to in [0, 2] {
            assert!(world.inject(1, to, answer.to_bytes()), "{claims:?}: no session");
        }
        world.run_for(Duration::from_secs(40)).unwrap();
        let blamed = |node: usize, events: &[(Duration, usize, Event)]| {
            events.iter().any(|(_, at, event)| *at == node && matches!(event, Event::Fault { .. }))
        };
        let events = world.take_events();
        for node in [0, 2] {
            assert!(blamed(node, &events), "{claims:?}: n{node} blames nobody");
            assert!(!directory_exists(&world, node), "{claims:?}");
            assert_eq!(operations(&mut world, node), before, "{claims:?}");
        }
    }
}

#[test]
fn the_same_operation_signed_by_a_writer_is_taken() {
    let (mut world, space) = world_of(23, &[Access::Write, Access::Write]);
    let space: SpaceId = space.parse().unwrap();
    let bytes = forged(&mut world, 1, 2, space, Claims::Own);
    let answer =
        Message::Answer { space: space.into(), set: Set::Operations, items: vec![bytes.into()], done: true };
    assert!(world.inject(1, 0, answer.to_bytes()));
    world.run_for(Duration::from_secs(5)).unwrap();
    assert!(directory_exists(&world, 0) && directory_exists(&world, 2), "the forgery itself is sound");
}
