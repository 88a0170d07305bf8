//! The small model: every history of a few moves, delivered in every order, against the rules as they are told (ID-12 to ID-16).

use std::collections::{BTreeMap, BTreeSet};

use cs_identity::control::{
    Action, AuthorLog, ControlGraph, Grantors, OpFacts, Policy, Reason, Verdict, authorise,
};
use cs_identity::{Area, OpId, Rights};

use crate::world::{World, path};

/// What somebody may do next, each from what it has heard so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Move {
    AllHear,
    OneCutsTwo,
    OneCutsTwoCascading,
    TwoCutsOne,
    TwoCutsOneCascading,
    RootCutsThree,
    OneGrants,
    OneForks,
    RootEndorsesTwo,
    TwoEndorsesOne,
    TwoWrites,
    ThreeWrites,
    TwoForksItsDocument,
    OneAndThreeRecover,
    RootReplacesGuardians,
    RootGrantsAlone,
}

use Move::*;

const MOVES: [Move; 16] = [
    AllHear,
    OneCutsTwo,
    OneCutsTwoCascading,
    TwoCutsOne,
    TwoCutsOneCascading,
    RootCutsThree,
    OneGrants,
    OneForks,
    RootEndorsesTwo,
    TwoEndorsesOne,
    TwoWrites,
    ThreeWrites,
    TwoForksItsDocument,
    OneAndThreeRecover,
    RootReplacesGuardians,
    RootGrantsAlone,
];

/// Grants from the root to managers 1 and 2, from 1 to writer 3, and the statement about guardians.
struct Start {
    a: OpId,
    b: OpId,
    c: OpId,
    guardians: OpId,
}

fn start() -> (World, Start) {
    let mut world = World::new(4);
    let a = world.grant(0, None, 1, &[], Rights::ALL, 3).unwrap();
    let b = world.grant(0, None, 2, &[], Rights::ALL, 3).unwrap();
    let who = [1, 2, 3].map(|n| world.id(n)).to_vec();
    let guardians = world.say(0, 2000, Action::Guardians { threshold: 2, guardians: who }).unwrap();
    world.sync_all();
    let c = world.grant(1, Some(a), 3, &[], Rights::WRITE, 0).unwrap();
    world.sync_all();
    world.write(1, a, 0, &[1], 2500);
    world.write(2, b, 0, &[1], 2500);
    world.write(3, c, 0, &[1], 2500);
    (world, Start { a, b, c, guardians })
}

fn play(world: &mut World, start: &Start, step: Move, now: u64) {
    let cut = |grant, frontier, cascade| Action::Cut { grant, frontier, cascade };
    let Start { a, b, c, guardians } = *start;
    // What a device may not say is said all the same, and refused by all.
    let _ = match step {
        AllHear => return world.sync_all(),
        OneCutsTwo => world.say(1, now, cut(b, vec![world.frontier(1, 2)], false)),
        OneCutsTwoCascading => world.say(1, now, cut(b, vec![], true)),
        TwoCutsOne => world.say(2, now, cut(a, vec![world.frontier(2, 1)], false)),
        TwoCutsOneCascading => world.say(2, now, cut(a, vec![], true)),
        RootCutsThree => world.say(0, now, cut(c, vec![], false)),
        OneGrants => world.grant(1, Some(a), 2, &[1], Rights::WRITE, 0),
        OneForks => {
            let (parent, holder) = (Some(a), world.id(3));
            let area = Area::under(path(&[9]));
            let twin = Action::Grant { parent, holder, area, rights: Rights::WRITE, depth: 0 };
            world.say_instead(1, now, twin)
        }
        RootEndorsesTwo => {
            world.sync(1, 0);
            world.sync(2, 0);
            let operation = first_of(world, 2);
            world.say(0, now, Action::Endorse { operation })
        }
        TwoEndorsesOne => {
            let operation = first_of(world, 1);
            world.say(2, now, Action::Endorse { operation })
        }
        TwoWrites => return drop(world.write(2, b, 0, &[1], now)),
        ThreeWrites => return drop(world.write(3, c, 0, &[1], now)),
        TwoForksItsDocument => {
            let mut twin = world.write(2, b, 0, &[1], now);
            (twin.seq, twin.backlink) = (0, None);
            *world.operations.last_mut().unwrap() = twin;
            return;
        }
        OneAndThreeRecover => {
            let draft = world.recovery(1, guardians, &[3], world.id(2));
            world.publish(1, draft)
        }
        RootReplacesGuardians => {
            let who = vec![world.id(0)];
            world.say(0, now, Action::Guardians { threshold: 1, guardians: who })
        }
        RootGrantsAlone => {
            let mut policy = Policy::default();
            policy.grantors = Some(Grantors::Root);
            let mut body = vec![];
            policy.encode(&mut body);
            world.say(0, now, Action::Policy { prefix: path(&[]), body })
        }
    };
}

fn first_of(world: &World, device: usize) -> OpId {
    let author = world.id(device);
    world.operations.iter().find(|op| op.author == author).expect("everyone wrote once").id
}

fn verdicts(graph: &ControlGraph, operations: &[OpFacts]) -> BTreeMap<OpId, Verdict> {
    AuthorLog::split(operations).values().flat_map(|log| log.verdicts(graph)).collect()
}

/// What the histories came to, so that none of it holds for want of trying.
#[derive(Debug, Default)]
struct Seen {
    histories: usize,
    orders: usize,
    verdicts: BTreeSet<Verdict>,
    endorsed: usize,
    recovered: usize,
    nobody_left: usize,
}

/// Plays every sequence of `length` of these moves, and delivers what came of each in every order: to a replica that knows
/// the start, and to one that hears of the start last.
fn deliver_everything(moves: &[Move], length: usize) -> Seen {
    let mut seen = Seen::default();
    let mut choice = vec![0; length];
    loop {
        let (mut world, begun) = start();
        let told = world.statements.len();
        for (turn, &n) in choice.iter().enumerate() {
            play(&mut world, &begun, moves[n], 3000 + 100 * turn as u64);
        }
        judge(&world, told, &begun, &mut seen);
        let Some(digit) = choice.iter().rposition(|n| n + 1 < moves.len()) else { return seen };
        choice[digit] += 1;
        choice[digit + 1..].fill(0);
    }
}

fn judge(world: &World, told: usize, begun: &Start, seen: &mut Seen) {
    let space = world.statements[0].space();
    let expected = authorise(space, &world.statements, &world.operations);
    let mut base = ControlGraph::new(space);
    for statement in &world.statements[..told] {
        base.insert(statement.clone()).unwrap();
    }
    let backwards: Vec<OpFacts> = world.operations.iter().rev().cloned().collect();
    let mut members = None;
    let mut order: Vec<usize> = (told..world.statements.len()).collect();
    permute(&mut order, 0, &mut |order| {
        let mut informed = base.clone();
        let mut ignorant = ControlGraph::new(space);
        for &n in order {
            let _ = informed.insert(world.statements[n].clone());
            let _ = ignorant.insert(world.statements[n].clone());
        }
        for statement in &world.statements[..told] {
            ignorant.insert(statement.clone()).unwrap();
        }
        assert_eq!(verdicts(&informed, &world.operations), expected, "{order:?}");
        assert_eq!(verdicts(&ignorant, &backwards), expected, "{order:?}");
        let now = (informed.members(), informed.heads(), informed.guardians().map(|(id, ..)| id));
        let then = (ignorant.members(), ignorant.heads(), ignorant.guardians().map(|(id, ..)| id));
        assert_eq!(now, then);
        assert_eq!(members.get_or_insert_with(|| now.clone()), &now);
        seen.orders += 1;
    });
    seen.histories += 1;
    seen.verdicts.extend(expected.values());
    let (members, ..) = members.expect("there is one order at least");
    seen.nobody_left += usize::from(members.len() == 1);
    let new = &world.statements[told..];
    seen.recovered += new
        .iter()
        .filter(|s| {
            matches!(s.value().action, Action::Recover { .. }) && base.clone().insert((*s).clone()).is_ok()
        })
        .count();
    let plain: Vec<_> = world
        .statements
        .iter()
        .filter(|s| !matches!(s.value().action, Action::Endorse { .. }))
        .cloned()
        .collect();
    if plain.len() < world.statements.len() {
        let without = authorise(space, &plain, &world.operations);
        seen.endorsed += expected.iter().filter(|(id, verdict)| **verdict != without[*id]).count();
    }
    assert!(base.get(&begun.c).is_some());
}

fn permute(order: &mut Vec<usize>, from: usize, visit: &mut impl FnMut(&[usize])) {
    if from == order.len() {
        return visit(order);
    }
    for n in from..order.len() {
        order.swap(from, n);
        permute(order, from + 1, visit);
        order.swap(from, n);
    }
}

/// ID-12 to ID-16, ID-30, ID-32: cuts with and without frontier and cascade, both ways at once, forks of statements and of
/// documents, endorsements, recoveries, policies.
#[test]
fn every_history_of_three_moves_is_judged_alike_in_every_order() {
    let seen = deliver_everything(&MOVES, 3);
    println!("{seen:?}");
    assert_eq!(seen.histories, 4096);
    for reason in [Reason::Revoked, Reason::ChainVoid, Reason::Forked] {
        assert!(seen.verdicts.contains(&Verdict::Quarantined(reason)), "{reason:?}");
    }
    assert!(seen.endorsed > 0 && seen.recovered > 0 && seen.nobody_left > 0);
}

/// ID-13 to ID-16: what takes a move more, such as an endorsement of what mutual cuts left outside after a fork.
#[test]
fn every_history_of_four_moves_about_revocation_is_judged_alike_in_every_order() {
    let moves =
        [AllHear, OneCutsTwo, TwoCutsOneCascading, OneForks, RootEndorsesTwo, TwoWrites, OneAndThreeRecover];
    let seen = deliver_everything(&moves, 4);
    println!("{seen:?}");
    assert_eq!(seen.histories, 2401);
    assert!(seen.endorsed > 0 && seen.recovered > 0 && seen.nobody_left > 0);
}

/// ID-12 to ID-16: all 5,040 orders of a whole history, genesis and all, with a fork, two mutual cuts and an endorsement.
#[test]
fn every_order_of_seven_statements_agrees() {
    let mut world = World::new(4);
    let a = world.grant(0, None, 1, &[], Rights::ALL, 3).unwrap();
    let b = world.grant(0, None, 2, &[], Rights::ALL, 3).unwrap();
    world.sync_all();
    world.write(1, a, 0, &[1], 3000);
    let kept = world.write(2, b, 0, &[1], 3000);
    let frontier = vec![world.frontier(1, 2)];
    world.write(2, b, 0, &[1], 3001);
    world.say(1, 5000, Action::Cut { grant: b, frontier, cascade: false }).unwrap();
    world.say(2, 5000, Action::Cut { grant: a, frontier: vec![], cascade: false }).unwrap();
    let holder = world.id(3);
    let fork =
        Action::Grant { parent: Some(b), holder, area: Area::everything(), rights: Rights::WRITE, depth: 0 };
    let forked = world.say_instead(2, 5000, fork).unwrap();
    world.sync(2, 3);
    world.write(3, forked, 0, &[1], 6000);
    world.sync_all();
    let first = world.operations[0].id;
    world.say(0, 7000, Action::Endorse { operation: first }).unwrap();
    assert_eq!(world.statements.len(), 7);

    let expected = authorise(world.statements[0].space(), &world.statements, &world.operations);
    assert_eq!(expected[&first], Verdict::Valid, "endorsed");
    assert_eq!(expected[&kept.id], Verdict::Valid, "inside the frontier");
    assert_eq!(expected.values().collect::<BTreeSet<_>>().len(), 3, "{expected:?}");
    let mut order: Vec<usize> = (0..7).collect();
    let mut orders = 0;
    permute(&mut order, 0, &mut |order| {
        let mut graph = ControlGraph::new(world.statements[0].space());
        for &n in order {
            assert!(graph.insert(world.statements[n].clone()).is_ok());
        }
        for op in &world.operations {
            assert_eq!(graph.verdict(op), expected[&op.id], "{order:?}");
        }
        orders += 1;
    });
    assert_eq!(orders, 5040);
}
