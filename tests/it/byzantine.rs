//! Nodes that break the rules: real members, whose signatures are good and whose rights are not.

use crate::stories::{file, put, world_of};
use cs_crypto::epoch::{self, EpochSecrets};
use cs_gossip::wire as gossip;
use cs_identity::control::{Action, ControlGraph, Statement};
use cs_identity::{BlindPath, OpId, SpaceId, Tag, Unverified};
use cs_node::api::{Access, Reply, Request};
use cs_node::core::Event;
use cs_node::folder::{Content, FileVersion, RelPath};
use cs_node::wire::{Message, Set};
use cs_store::{MemDisk, OpenOptions, Operation, Store};
use cs_tests::sim::World;
use std::collections::BTreeMap;
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

/// Every operation that `node` holds, and whether somebody can open it who has every key that was ever sealed to `thief`.
fn opened_by(world: &mut World, thief: usize, node: usize, space: SpaceId) -> BTreeMap<OpId, bool> {
    world.kill(node);
    let (store, _) = Store::open(world.disk(node), OpenOptions::default()).unwrap();
    let (me, secret) = (world.id(thief), world.secret(thief).to_x25519());
    let mut roots = Vec::new();
    for record in store.statements(&space).unwrap() {
        let statement = Unverified::<Statement>::from_bytes(&record.unwrap().1).unwrap().verify().unwrap();
        let Action::Epoch { number, root_commitment, boxes } = &statement.action else { continue };
        let mine = boxes.iter().filter(|(who, _)| *who == me);
        roots.extend(mine.filter_map(|(_, sealed)| {
            EpochSecrets::open(&secret, space.as_bytes(), *number, root_commitment, sealed).ok()
        }));
    }
    let ids: Vec<OpId> = store.operations(&space).unwrap().map(|id| id.unwrap()).collect();
    let opens = |id: &OpId| {
        let bytes = store.operation(id).unwrap().unwrap();
        let operation = Unverified::<Operation>::from_bytes(&bytes).unwrap().verify().unwrap();
        let open = |secrets: &EpochSecrets| {
            epoch::open_operation(&secrets.root.root_key(), &operation.aad(), &operation.sealed)
        };
        roots.iter().any(|root| open(root).is_ok())
    };
    let opened = ids.iter().map(|id| (*id, opens(id))).collect();
    drop(store);
    world.start_after(node, Duration::from_millis(10));
    world.run_for(Duration::from_secs(5)).unwrap();
    opened
}

/// Two managers each revoke somebody, and neither knows of the other: of the two epochs that begin, each is sealed to one
/// who was revoked.
#[test]
fn after_concurrent_revocations_nothing_is_written_that_either_victim_could_read() {
    let (mut world, id) = world_of(24, &[Access::Manage, Access::Write, Access::Write]);
    let space: SpaceId = id.parse().unwrap();
    put(&mut world, 0, "before", b"readable by all");
    world.run_for(Duration::from_secs(5)).unwrap();
    world.partition(|node| node == 1);
    for (manager, victim) in [(0, 2), (1, 3)] {
        let node = world.id(victim).to_string();
        world.ask(manager, Request::Revoke { space: None, node }).unwrap().unwrap();
        world.expel(&id, victim);
    }
    world.heal();
    world.run_for(Duration::from_secs(60)).unwrap();
    let before = opened_by(&mut world, 3, 0, space);
    assert!(before.values().any(|is_open| *is_open), "what was written before, it could read");
    put(&mut world, 0, "after", b"readable by two");
    put(&mut world, 1, "after too", b"readable by two");
    world.run_for(Duration::from_secs(20)).unwrap();
    world.converge(Duration::from_secs(300)).unwrap();
    assert_eq!(file(&world, 1, "after").unwrap(), b"readable by two");
    assert_eq!(file(&world, 0, "after too").unwrap(), b"readable by two");
    for victim in [2, 3] {
        let mut after = opened_by(&mut world, victim, 0, space);
        after.retain(|id, _| !before.contains_key(id));
        assert_eq!(after.into_values().collect::<Vec<_>>(), [false, false], "victim {victim}");
    }
}

#[test]
fn gossip_that_does_not_verify_goes_no_further_and_who_keeps_on_is_left_out() {
    let (mut world, space) = world_of(24, &[Access::Write, Access::Write]);
    let space: SpaceId = space.parse().unwrap();
    world.take_events();
    for nonce in 0..6 {
        let body = gossip::Message::Broadcast(gossip::Broadcast {
            origin: world.id(1),
            nonce,
            lane: gossip::Lane::Urgent,
            hops: 0,
            way: gossip::Way::Pushed,
            lifetime_ms: 0,
            payload: b"no change at all".to_vec(),
        });
        let message = Message::Gossip { space: space.into(), body: body.to_bytes() };
        assert!(world.inject(1, 0, message.to_bytes()));
    }
    world.run_for(Duration::from_secs(5)).unwrap();
    let faults: Vec<_> = world
        .take_events()
        .into_iter()
        .filter_map(|(_, at, event)| match event {
            Event::Fault { peer, what } => Some((at, peer, what.contains("ten minutes"))),
            _ => None,
        })
        .collect();
    let liar = world.id(1);
    // The fourth time ends it (GOS-16); the rest is not looked at. Nobody but the first receiver saw any of it.
    let expected = [false, false, false, true, false].map(|is_end| (0, liar, is_end));
    assert_eq!(faults, expected);
}

/// NODE-13: a thief with a copy of a writer's disk signs another first operation of a document. Whichever comes first, all nodes
/// freeze both, and say whose key it is.
#[test]
fn a_key_at_work_on_two_machines_is_frozen_where_its_log_forks() {
    let (mut world, space) = world_of(25, &[Access::Write, Access::Write]);
    let space: SpaceId = space.parse().unwrap();
    let answer = |bytes: Vec<u8>| {
        let items = vec![bytes.into()];
        Message::Answer { space: space.into(), set: Set::Operations, items, done: true }.to_bytes()
    };
    let own = forged(&mut world, 1, 2, space, Claims::Own);
    let mut twin = Unverified::<Operation>::from_bytes(&own).unwrap().verify().unwrap().into_value();
    twin.clock += 1;
    let twin = twin.sign(world.secret(1)).unwrap().bytes().to_vec();
    assert!(world.inject(1, 0, answer(own)));
    world.run_for(Duration::from_secs(5)).unwrap();
    assert!(directory_exists(&world, 0) && directory_exists(&world, 2), "one history alone counts");
    assert!(!warned(&mut world, 0, 1));
    assert!(world.inject(1, 2, answer(twin)));
    world.run_for(Duration::from_secs(20)).unwrap();
    for node in [0, 2] {
        assert!(!directory_exists(&world, node), "n{node} lets a fork count");
        assert!(warned(&mut world, node, 1), "n{node} does not tell");
        assert_eq!(operations(&mut world, node), operations(&mut world, 1));
    }
    world.kill(0);
    world.start_after(0, Duration::from_millis(10));
    world.run_for(Duration::from_secs(5)).unwrap();
    assert!(!directory_exists(&world, 0) && warned(&mut world, 0, 1), "nor after a restart");
}

/// NODE-14: a backup of a device's disk runs beside it. The first member that meets both has the proof, and so has either machine
/// once it is told what was heard of it.
#[test]
fn a_copied_disk_is_noticed_by_who_meets_both_machines() {
    let (mut world, _) = world_of(26, &[Access::Write]);
    world.run_for(Duration::from_secs(5)).unwrap();
    let restart = |world: &mut World, disk: Option<MemDisk>| {
        world.kill(1);
        if let Some(disk) = disk {
            world.put_back(1, disk);
        }
        world.start_after(1, Duration::from_millis(10));
        world.run_for(Duration::from_secs(40)).unwrap();
    };
    world.kill(1);
    let copy = world.disk(1).crash(1);
    restart(&mut world, None);
    let in_doctor = |world: &mut World, node: usize| {
        let asked = world.ask_now(node, Request::Doctor { subject: None });
        let Some(Ok(Reply::Findings { findings })) = asked else { panic!("no findings") };
        findings.iter().any(|finding| finding.finding.contains("Two machines use its key"))
    };
    assert!(!in_doctor(&mut world, 0) && !in_doctor(&mut world, 1));
    restart(&mut world, Some(copy));
    assert!(in_doctor(&mut world, 0), "the member met both");
    assert!(in_doctor(&mut world, 1), "the copy was told");
    world.kill(0);
    world.start_after(0, Duration::from_millis(10));
    world.run_for(Duration::from_secs(5)).unwrap();
    assert!(in_doctor(&mut world, 0), "it is not forgotten");
}

/// Whether `who` and `doctor` of a node warn of another's key.
fn warned(world: &mut World, node: usize, of: usize) -> bool {
    let id = world.id(of).to_string();
    let Some(Ok(Reply::Members { members })) = world.ask_now(node, Request::Who { space: None }) else {
        panic!("no members")
    };
    let Some(Ok(Reply::Findings { findings })) = world.ask_now(node, Request::Doctor { subject: None })
    else {
        panic!("no findings")
    };
    let in_who = members.iter().any(|member| member.node == id && member.warning.is_some());
    assert_eq!(in_who, findings.iter().any(|finding| finding.finding.contains("signed two histories")));
    in_who
}
