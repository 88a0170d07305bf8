//! What must hold for every history and every order of delivery.

use std::collections::{BTreeMap, BTreeSet};

use cs_identity::control::{
    Action, AuthorLog, ControlGraph, DataFrontier, Frontier, Grantors, Holding, Mark, OpFacts, Policy,
    Reason, Statement, StatementFault, Verdict, authorise,
};
use cs_identity::{Area, OpId, Rights, Signed};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::world::{World, path};

const DEVICES: u8 = 5;

/// One step of a history, read modulo whatever there is to choose from.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    who: u8,
    a: u8,
    b: u8,
    c: u8,
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..32_u8, 0..DEVICES, any::<u8>(), any::<u8>(), any::<u8>());
    prop::collection::vec(step.prop_map(|(kind, who, a, b, c)| Step { kind, who, a, b, c }), 0..length)
}

fn pick<T: Copy>(all: &[T], n: u8) -> Option<T> {
    all.get(usize::from(n) % all.len().max(1)).copied()
}

fn play(script: &[Step]) -> World {
    let mut world = World::new(DEVICES);
    for device in 1..usize::from(DEVICES) {
        let rights = if device < 3 { Rights::ALL } else { Rights::WRITE };
        world.grant(0, None, device, &[], rights, 4).unwrap();
    }
    world.sync_all();
    for (turn, step) in script.iter().enumerate() {
        play_step(&mut world, *step, 2000 + 10 * turn as u64);
    }
    world
}

fn play_step(world: &mut World, step: Step, now: u64) {
    let Step { kind, who, a, b, c } = step;
    let device = usize::from(who);
    let ids: Vec<OpId> = world.devices[device].graph.ids().collect();
    let grants: Vec<OpId> =
        ids.iter().copied().filter(|id| grant_holder(world, device, id).is_some()).collect();
    let own: Vec<OpId> = grants
        .iter()
        .copied()
        .filter(|id| grant_holder(world, device, id) == Some(world.id(device)))
        .collect();
    let action = match kind {
        0..=5 => {
            let parent = if device == 0 { None } else { pick(&own, a) };
            let more = if b % 5 == 0 { Rights::NONE } else { Rights::WRITE };
            let rights = Rights::from_bits(1 + b % 15).unwrap() | more;
            let area =
                Area::new(path(&[[1, 2][usize::from(a) % 2]][..usize::from(c) % 2]), 0, u64::MAX).unwrap();
            let holder = world.id(usize::from(b) % usize::from(DEVICES));
            Some(Action::Grant { parent, holder, area, rights, depth: 6_u8.saturating_sub(c % 8) })
        }
        6..=8 => pick(&grants, a).map(|grant| cut(world, device, grant, b, c)),
        9 | 10 => world.operations.get(usize::from(a) % world.operations.len().max(1)).map(endorse),
        11 => Some(Action::Epoch { number: u64::from(a % 3), root_commitment: [a; 32], boxes: vec![] }),
        12 => Some(Action::Policy {
            prefix: path(&[[1, 2][usize::from(a) % 2]][..usize::from(c) % 2]),
            body: policy(b),
        }),
        13 => Some(Action::Extension { kind: 128 | a, body: vec![b] }),
        28 => Some(Action::Guardians {
            threshold: 1 + a % 3,
            guardians: (0..usize::from(DEVICES)).filter(|n| b >> n & 1 == 1).map(|n| world.id(n)).collect(),
        })
        .filter(|_| usize::from(1 + a % 3) <= (b & 31).count_ones() as usize),
        29 | 30 => return recover(world, device, a, b, c),
        14..=20 => {
            world.sync(usize::from(a % DEVICES), device);
            None
        }
        _ => {
            write(world, device, &own, &grants, step, now);
            None
        }
    };
    match action {
        Some(action) if c % 8 == 7 => drop(world.say_instead(device, now, action)),
        Some(action) => drop(world.say(device, now, action)),
        None => {}
    }
}

/// A recovery by some of the devices, guardians or not, under some statement about guardians that the author knows.
fn recover(world: &mut World, device: usize, a: u8, b: u8, c: u8) {
    let names = |id: &OpId| {
        let known = world.devices[device].graph.get(id);
        known.is_some_and(|known| matches!(known.value().action, Action::Guardians { .. }))
    };
    let known: Vec<OpId> = world.devices[device].graph.ids().filter(names).collect();
    let Some(guardians) = pick(&known, a) else { return };
    let cosigners: Vec<u8> = (0..DEVICES).filter(|n| b >> n & 1 == 1 && usize::from(*n) != device).collect();
    let to = world.id(usize::from(c % DEVICES));
    let draft = world.recovery(device, guardians, &cosigners, to);
    let _ = world.publish(device, draft);
}

/// A policy about who may grant, or bytes that are none.
fn policy(b: u8) -> Vec<u8> {
    let mut policy = Policy::default();
    policy.grantors =
        [None, Some(Grantors::Holders), Some(Grantors::Managers), Some(Grantors::Root)][usize::from(b) % 4];
    let mut body = vec![b];
    if b < 224 {
        body.clear();
        policy.encode(&mut body);
    }
    body
}

fn endorse(op: &OpFacts) -> Action {
    Action::Endorse { operation: op.id }
}

fn grant_holder(world: &World, device: usize, id: &OpId) -> Option<cs_identity::NodeId> {
    world.devices[device].graph.get(id)?.value().action.as_grant().map(|grant| grant.holder)
}

/// A cut whose frontier keeps all, some or nothing of the devices' work.
fn cut(world: &World, device: usize, grant: OpId, b: u8, c: u8) -> Action {
    let graph = &world.devices[device].graph;
    let mut frontier = vec![];
    for of in (0..usize::from(DEVICES)).filter(|of| b >> of & 1 == 1) {
        let (author, mut kept) = world.frontier(device, of);
        let known: Vec<&Signed<Statement>> = graph.statements().filter(|s| s.author == author).collect();
        if b & 32 != 0 {
            kept.control =
                known.get(usize::from(c) % known.len().max(1)).map(|s| Mark { seq: s.seq, id: s.id() });
        }
        if b & 64 != 0 {
            kept.data = DataFrontier::ClaimedBefore(2000 + 4 * u64::from(c));
        } else if let DataFrontier::Listed(documents) = &mut kept.data
            && c & 16 != 0
        {
            let ops: Vec<&OpFacts> = world.operations.iter().filter(|op| op.author == author).collect();
            for (document, mark) in documents.iter_mut() {
                let branch: Vec<&&OpFacts> = ops.iter().filter(|op| op.document == *document).collect();
                let op = branch[usize::from(c / 32) % branch.len()];
                *mark = Mark { seq: op.seq, id: op.id };
            }
        }
        frontier.push((author, Frontier { control: kept.control, data: kept.data }));
    }
    Action::Cut { grant, frontier, cascade: c & 1 == 1 }
}

/// An operation: mostly honest, sometimes a fork, under another's grant, out of area, or with an older view.
fn write(world: &mut World, device: usize, own: &[OpId], grants: &[OpId], step: Step, now: u64) {
    let genesis = world.genesis();
    let grant = match step.c {
        0..=15 => pick(grants, step.a),
        _ if device == 0 => Some(genesis),
        _ => pick(own, step.a),
    };
    let Some(grant) = grant else { return };
    let at = if step.c & 32 == 0 { vec![1, 5] } else { vec![2] };
    let index = world.operations.len();
    world.write(device, grant, step.b % 2, &at, now);
    let (earlier, op) = world.operations.split_at_mut(index);
    let op = &mut op[0];
    if step.c % 16 == 9
        && let Some(other) = earlier.iter().rfind(|e| e.author == op.author && e.document == op.document)
    {
        (op.seq, op.backlink) = (other.seq, other.backlink);
    }
    if step.c % 32 == 11 {
        op.unix_ms = 1500;
    }
    if step.c % 16 == 13 {
        op.heads = vec![op.grant];
    }
    if step.c % 32 == 14 {
        op.heads = vec![genesis];
    }
}

fn graph_of(world: &World, order: &[Signed<Statement>]) -> ControlGraph {
    let mut graph = ControlGraph::new(world.statements[0].space());
    for statement in order {
        let _ = graph.insert(statement.clone());
    }
    graph
}

fn verdicts(graph: &ControlGraph, operations: &[OpFacts]) -> BTreeMap<OpId, Verdict> {
    AuthorLog::split(operations).values().flat_map(|log| log.verdicts(graph)).collect()
}

/// Everything observable that replicas must agree on.
fn picture(graph: &ControlGraph, world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let rights: Vec<_> = (0..usize::from(DEVICES))
        .flat_map(|device| [path(&[]), path(&[1, 5]), path(&[2])].map(|at| (world.id(device), at)))
        .map(|(id, at)| (graph.rights(&id, &at, 3000), graph.grant_for(&id, &at, 3000, Rights::WRITE)))
        .collect();
    (
        graph.heads(),
        graph.ids().collect::<BTreeSet<_>>(),
        graph.members(),
        graph.epochs().map(|(id, _)| id).collect::<Vec<_>>(),
        graph.policies().map(|(id, _)| id).collect::<Vec<_>>(),
        graph.guardians().map(|(id, ..)| id),
        rights,
        verdicts(graph, &world.operations),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// ID-12 to ID-16: the set alone decides, whatever the order, and as the reference says.
    #[test]
    fn every_order_of_delivery_gives_the_verdicts_of_the_reference(
        script in steps(100),
        keys in prop::collection::vec(any::<u32>(), 64),
        keep in prop::collection::vec(0..12_u8, 64),
    ) {
        let world = play(&script);
        // Some statements never arrive.
        let known: Vec<_> = world.statements.iter().zip(keep.iter().chain(std::iter::repeat(&1)))
            .filter(|(_, keep)| **keep > 0).map(|(s, _)| s.clone()).collect();
        let mut shuffled: Vec<_> = known.iter().cloned().zip(keys.iter().cycle()).collect();
        shuffled.sort_by_key(|(_, key)| **key);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(s, _)| s).collect();
        let reversed: Vec<_> = known.iter().rev().chain(&known).cloned().collect();

        let straight = graph_of(&world, &known);
        let expected = authorise(world.statements[0].space(), &known, &world.operations);
        prop_assert_eq!(&verdicts(&straight, &world.operations), &expected);
        for order in [shuffled, reversed] {
            prop_assert_eq!(picture(&graph_of(&world, &order), &world), picture(&straight, &world));
        }
        // One operation by itself is judged the same while its log is linear.
        for log in AuthorLog::split(&world.operations).values().filter(|log| log.is_linear()) {
            for (id, verdict) in log.verdicts(&straight) {
                let op = world.operations.iter().find(|op| op.id == id).unwrap();
                prop_assert!(verdict == straight.verdict(op) || verdict == Verdict::Quarantined(Reason::Backwards));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// ID-12, ID-13, ID-17: whatever was said, no live grant is wider, longer, stronger or deeper than the one it came from,
    /// and a cut only ever takes: from its grant, and if it cascades from all below.
    #[test]
    fn grants_only_narrow_and_cuts_only_take(script in steps(100), which in any::<u8>(), cascade in any::<bool>()) {
        let mut world = play(&script);
        world.sync_all();
        let before = world.devices[0].graph.clone();
        let live: BTreeMap<OpId, Holding> =
            (0..usize::from(DEVICES)).flat_map(|device| before.grants_of(&world.id(device))).collect();
        for (id, holding) in &live {
            let Some(parent) = holding.parent else {
                prop_assert!(Some(holding.issuer) == before.root() || is_recovery(&before, id));
                continue;
            };
            let above = before.get(&parent).unwrap().value().action.as_grant().unwrap();
            prop_assert!(above.area.contains(&holding.area) && above.rights.contains(holding.rights));
            prop_assert!(above.depth > holding.depth && above.holder == holding.issuer);
        }
        let ids: Vec<OpId> = live.keys().copied().collect();
        let Some(target) = pick(&ids, which) else { return Ok(()) };
        if world.say(0, 9000, Action::Cut { grant: target, frontier: vec![], cascade }).is_err() {
            // The root forked its own log.
            return Ok(());
        }
        let after = &world.devices[0].graph;
        for device in 0..usize::from(DEVICES) {
            let id = world.id(device);
            for at in [path(&[]), path(&[1, 5]), path(&[2])] {
                prop_assert!(before.rights(&id, &at, 3000).contains(after.rights(&id, &at, 3000)));
            }
            for (id, _) in after.grants_of(&id) {
                // Nothing below was inside the empty frontier, so it is void if it does not end.
                let mut chain = std::iter::successors(Some(id), |id| live.get(id)?.parent);
                prop_assert!(live.contains_key(&id) && !chain.any(|id| id == target));
            }
        }
    }
}

fn is_recovery(graph: &ControlGraph, id: &OpId) -> bool {
    graph.get(id).is_some_and(|statement| matches!(statement.value().action, Action::Recover { .. }))
}

/// The histories above reach every verdict there is; otherwise the property would hold for want of trying.
#[test]
fn random_histories_reach_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut lifted = 0;
    let (mut forbidden, mut recovered) = (0, 0);
    for _ in 0..300 {
        let world = play(&steps(100).new_tree(&mut runner).unwrap().current());
        let graph = graph_of(&world, &world.statements);
        recovered += graph.ids().filter(|id| is_recovery(&graph, id)).count();
        forbidden += world
            .statements
            .iter()
            .filter(|s| graph.clone().insert((*s).clone()) == Err(StatementFault::PolicyForbids.into()))
            .count();
        let plain: Vec<_> = world
            .statements
            .iter()
            .filter(|s| !matches!(s.value().action, Action::Endorse { .. }))
            .cloned()
            .collect();
        let without = verdicts(&graph_of(&world, &plain), &world.operations);
        for (id, verdict) in verdicts(&graph, &world.operations) {
            *seen.entry(verdict).or_default() += 1;
            lifted +=
                usize::from(verdict == Verdict::Valid && matches!(without[&id], Verdict::Quarantined(_)));
        }
    }
    let reasons = [
        Reason::NoSuchGrant,
        Reason::NotHolder,
        Reason::OutsidePath,
        Reason::NoWriteRight,
        Reason::Revoked,
        Reason::ChainVoid,
        Reason::Forked,
        Reason::Backwards,
    ];
    println!("{seen:?}, {lifted} lifted by endorsement");
    assert!(
        seen[&Verdict::Valid] > 0 && lifted > 0 && forbidden > 0 && recovered > 0,
        "{lifted} lifted, {forbidden} forbidden, {recovered} recovered"
    );
    for reason in reasons {
        assert!(seen.contains_key(&Verdict::Quarantined(reason)), "{reason:?} never came up: {seen:?}");
    }
}
