//! What happens to a space, told one rule at a time.

use cs_identity::control::{
    Action, AuthorLog, ControlGraph, CredentialFault, DataFrontier, Frontier, InsertError, Inserted,
    MAX_CUTS_OF_A_GRANT, Mark, OpFacts, Reason, Statement, StatementFault, Verdict, check_credentials,
};
use cs_identity::{Area, OpId, Rights, Signed};

use crate::world::{World, key, path};

const REVOKED: Verdict = Verdict::Quarantined(Reason::Revoked);

fn fault(result: Result<OpId, InsertError>) -> StatementFault {
    match result {
        Err(InsertError::Fault(fault)) => fault,
        other => panic!("not refused: {other:?}"),
    }
}

fn verdict(world: &World, device: usize, op: &OpFacts) -> Verdict {
    world.devices[device].graph.verdict(op)
}

/// Root, then 1 with everything, then 2 from 1, all in sync.
fn chain_of_two() -> (World, OpId, OpId) {
    let mut world = World::new(4);
    let first = world.grant(0, None, 1, &[1], Rights::ALL, 3).unwrap();
    world.sync_all();
    let second = world.grant(1, Some(first), 2, &[1, 2], Rights::READ | Rights::WRITE, 1).unwrap();
    world.sync_all();
    (world, first, second)
}

/// ID-12
#[test]
fn a_chain_only_narrows() {
    let (mut world, first, second) = chain_of_two();
    let wider = [
        world.grant(2, Some(second), 3, &[1], Rights::READ, 0),
        world.grant(2, Some(second), 3, &[1, 3], Rights::READ, 0),
        world.grant(2, Some(second), 3, &[1, 2], Rights::READ | Rights::MANAGE, 0),
        world.grant(2, Some(second), 3, &[1, 2], Rights::READ, 1),
    ];
    for result in wider {
        assert_eq!(fault(result), StatementFault::Widens);
    }
    assert_eq!(fault(world.grant(2, Some(first), 3, &[1, 2], Rights::READ, 0)), StatementFault::NotHolder);
    assert_eq!(fault(world.grant(2, None, 3, &[1, 2], Rights::READ, 0)), StatementFault::NoAuthority);
    assert_eq!(
        fault(world.grant(2, Some(OpId::of(b"")), 3, &[1, 2], Rights::READ, 0)),
        StatementFault::NoSuchGrant
    );
    let last = world.grant(2, Some(second), 3, &[1, 2, 5], Rights::READ, 0).unwrap();
    world.sync(2, 3);
    assert_eq!(
        fault(world.grant(3, Some(last), 0, &[1, 2, 5], Rights::READ, 0)),
        StatementFault::Widens,
        "depth"
    );
    assert_eq!(world.devices[2].graph.rights(&world.id(3), &path(&[1, 2, 5, 9]), 0), Rights::READ);
    assert_eq!(world.devices[2].graph.rights(&world.id(3), &path(&[1, 2]), 0), Rights::NONE);
}

/// ID-12: a grant that ends cannot be passed on past its end, in claimed time or in range.
#[test]
fn an_expired_grant_gives_nothing() {
    let mut world = World::new(3);
    let grant = |holder, until, parent, depth| {
        let area = Area::new(path(&[]), 0, until).unwrap();
        Action::Grant { parent, holder, area, rights: Rights::WRITE, depth }
    };
    let (one, two) = (world.id(1), world.id(2));
    let first = world.say(0, 1000, grant(one, 5000, None, 2)).unwrap();
    world.sync_all();
    assert_eq!(fault(world.say(1, 4000, grant(two, 5001, Some(first), 1))), StatementFault::Widens);
    assert_eq!(fault(world.say(1, 4000, grant(two, u64::MAX, Some(first), 1))), StatementFault::Widens);
    assert_eq!(fault(world.say(1, 5000, grant(two, 5000, Some(first), 1))), StatementFault::OutsideTime);
    let late = world.write(1, first, 0, &[], 5000);
    let early = world.write(1, first, 1, &[], 4999);
    assert_eq!(verdict(&world, 0, &late), Verdict::Quarantined(Reason::OutsideTime));
    assert_eq!(verdict(&world, 0, &early), Verdict::Valid);
    let graph = &world.devices[0].graph;
    assert_eq!(graph.rights(&one, &path(&[]), 4999), Rights::WRITE);
    assert_eq!(graph.rights(&one, &path(&[]), 5000), Rights::NONE);
}

/// ID-13: what the revoker had is kept; what comes from the revoked later, or claims to be older, is not.
#[test]
fn a_cut_keeps_what_is_inside_its_frontier_and_nothing_else() {
    let (mut world, _, second) = chain_of_two();
    let before = world.write(2, second, 0, &[1, 2], 3000);
    let frontier = vec![world.frontier(1, 2)];
    let same_document = world.write(2, second, 0, &[1, 2], 3000);
    let backdated = world.write(2, second, 1, &[1, 2], 10);
    let cut = world.say(1, 4000, Action::Cut { grant: second, frontier, cascade: false }).unwrap();
    assert_eq!(verdict(&world, 0, &same_document), Verdict::Valid, "the root has not heard of the cut");
    world.sync_all();
    let knowing = world.write(2, second, 0, &[1, 2], 3000);
    assert!(knowing.heads.contains(&cut));
    for device in 0..4 {
        assert_eq!(verdict(&world, device, &before), Verdict::Valid);
        for op in [&same_document, &backdated, &knowing] {
            assert_eq!(verdict(&world, device, op), REVOKED);
        }
        assert_eq!(
            world.devices[device].graph.rights(&world.id(2), &path(&[1, 2]), 3000),
            Rights::NONE,
            "ID-17"
        );
    }
    assert_eq!(fault(world.grant(2, Some(second), 3, &[1, 2], Rights::READ, 0)), StatementFault::Revoked);
}

/// ID-13: a frontier by claimed time is small, trusts the clock of the revoked, and still stops who knows of the cut.
#[test]
fn a_frontier_by_time_stops_at_that_time_and_at_knowledge_of_the_cut() {
    let (mut world, _, second) = chain_of_two();
    let author = world.id(2);
    let frontier = vec![(author, Frontier { control: None, data: DataFrontier::ClaimedBefore(3500) })];
    let old = world.write(2, second, 0, &[1, 2], 3499);
    let new = world.write(2, second, 1, &[1, 2], 3500);
    world.say(1, 4000, Action::Cut { grant: second, frontier, cascade: false }).unwrap();
    world.sync_all();
    let knowing = world.write(2, second, 2, &[1, 2], 3000);
    assert_eq!(verdict(&world, 0, &old), Verdict::Valid);
    assert_eq!(verdict(&world, 0, &new), REVOKED);
    assert_eq!(verdict(&world, 0, &knowing), REVOKED);
}

/// ID-13: grants given inside the frontier survive unless the cut cascades; those outside are void either way.
#[test]
fn grants_of_the_revoked_survive_inside_the_frontier_unless_the_cut_cascades() {
    for cascade in [false, true] {
        let (mut world, first, second) = chain_of_two();
        let inside = vec![world.frontier(1, 1)];
        world.sync_all();
        let late = world.grant(1, Some(first), 3, &[1, 3], Rights::WRITE, 0).unwrap();
        world.sync(1, 3);
        world.say(0, 5000, Action::Cut { grant: first, frontier: inside, cascade }).unwrap();
        world.sync_all();
        let of_second = world.write(2, second, 0, &[1, 2], 6000);
        let of_late = world.write(3, late, 0, &[1, 3], 6000);
        let expected = if cascade { REVOKED } else { Verdict::Valid };
        assert_eq!(verdict(&world, 0, &of_second), expected);
        let late_reason = if cascade { Reason::Revoked } else { Reason::ChainVoid };
        assert_eq!(verdict(&world, 0, &of_late), Verdict::Quarantined(late_reason));
        let rights = world.devices[0].graph.rights(&world.id(2), &path(&[1, 2]), 6000);
        assert_eq!(rights.is_empty(), cascade);
        assert_eq!(world.devices[0].graph.members().len(), if cascade { 1 } else { 2 });
    }
}

/// ID-12: who may cut: the root, issuers above, the holder itself, managers of the whole prefix; nobody else.
#[test]
fn only_those_above_and_managers_cut() {
    let (mut world, first, second) = chain_of_two();
    let manager_of_part = world.grant(0, None, 3, &[1, 2, 7], Rights::MANAGE, 0).unwrap();
    world.sync_all();
    let cut = |grant| Action::Cut { grant, frontier: vec![], cascade: false };
    assert_eq!(fault(world.say(3, 5000, cut(second))), StatementFault::NoAuthority, "manages only a part");
    assert_eq!(fault(world.say(2, 5000, cut(first))), StatementFault::NoAuthority, "below it");
    assert!(world.say(2, 5000, cut(second)).is_ok(), "its own");
    assert!(world.say(1, 5000, cut(second)).is_ok(), "the issuer");
    assert!(world.say(0, 5000, cut(manager_of_part)).is_ok(), "the root");
    world.grant(0, None, 3, &[1], Rights::MANAGE, 0).unwrap();
    world.sync(0, 3);
    world.sync(1, 3);
    assert!(world.say(3, 6000, cut(second)).is_ok(), "a manager of the prefix");
}

/// ID-13: of two managers that cut each other at once, both are out; the root lets one back in.
#[test]
fn mutual_cuts_both_apply_and_the_root_recovers() {
    let mut world = World::new(4);
    let a = world.grant(0, None, 1, &[], Rights::ALL, 3).unwrap();
    let b = world.grant(0, None, 2, &[], Rights::ALL, 3).unwrap();
    world.sync_all();
    let cut = |grant| Action::Cut { grant, frontier: vec![], cascade: true };
    world.say(1, 5000, cut(b)).unwrap();
    world.say(2, 5000, cut(a)).unwrap();
    world.sync_all();
    for device in 0..4 {
        assert_eq!(world.devices[device].graph.members(), [(world.id(0), Rights::ALL)]);
    }
    let back = world.grant(0, None, 1, &[], Rights::ALL, 3).unwrap();
    world.sync_all();
    let op = world.write(1, back, 0, &[4], 6000);
    assert_eq!(verdict(&world, 2, &op), Verdict::Valid);
    assert_eq!(
        fault(world.say(2, 6000, cut(back))),
        StatementFault::NoAuthority,
        "it has seen that it is out"
    );
}

/// ID-14: grants on a forked stretch of a log are void, whichever branch came first.
#[test]
fn a_fork_freezes_its_authors_log_from_there_on() {
    let (mut world, first, second) = chain_of_two();
    let good = world.grant(1, Some(first), 3, &[1, 3], Rights::WRITE, 0).unwrap();
    world.sync(1, 3);
    let op = world.write(3, good, 0, &[1, 3], 3000);
    assert_eq!(verdict(&world, 3, &op), Verdict::Valid);
    let holder = world.id(3);
    let twin = Action::Grant {
        parent: Some(first),
        holder,
        area: Area::everything(),
        rights: Rights::WRITE,
        depth: 0,
    };
    let Err(InsertError::Fault(_)) = world.say_instead(1, 3000, twin) else {
        panic!("wider than its parent")
    };
    assert_eq!(verdict(&world, 3, &op), Verdict::Valid, "a refused statement proves nothing here");
    let twin = Action::Grant {
        parent: Some(first),
        holder,
        area: Area::under(path(&[1, 9])),
        rights: Rights::WRITE,
        depth: 0,
    };
    world.say_instead(1, 3000, twin).unwrap();
    world.sync(1, 3);
    assert_eq!(verdict(&world, 3, &op), Verdict::Quarantined(Reason::ChainVoid));
    let earlier = world.write(2, second, 0, &[1, 2], 3000);
    assert_eq!(verdict(&world, 3, &earlier), Verdict::Valid, "before the fork nothing changes");
    assert_eq!(fault(world.grant(1, Some(first), 0, &[1], Rights::READ, 0)), StatementFault::Forked);
}

/// ID-14: once a cut vouches for a branch, a fork made afterwards takes nothing back.
#[test]
fn the_revoked_cannot_take_back_by_forking_what_a_cut_vouched_for() {
    let (mut world, first, second) = chain_of_two();
    let frontier = vec![world.frontier(0, 1)];
    let op = world.write(2, second, 0, &[1, 2], 3000);
    world.say(0, 5000, Action::Cut { grant: first, frontier, cascade: false }).unwrap();
    let holder = world.id(3);
    let twin = Action::Grant {
        parent: Some(first),
        holder,
        area: Area::under(path(&[1])),
        rights: Rights::ALL,
        depth: 0,
    };
    let twin = world.say_instead(1, 3000, twin).unwrap();
    assert_eq!(verdict(&world, 1, &op), Verdict::Quarantined(Reason::ChainVoid), "before the cut is known");
    world.sync_all();
    for device in 0..4 {
        assert_eq!(verdict(&world, device, &op), Verdict::Valid);
        let by_twin = OpFacts { grant: twin, author: holder, path: path(&[1]), ..op.clone() };
        let by_twin = OpFacts { heads: world.devices[device].graph.heads(), ..by_twin };
        assert_eq!(verdict(&world, device, &by_twin), Verdict::Quarantined(Reason::ChainVoid));
    }
}

/// ID-15: two operations at one place of a log freeze it there, unless a cut names the branch.
#[test]
fn a_forked_document_log_is_frozen_but_for_the_branch_a_cut_vouches_for() {
    let (mut world, _, second) = chain_of_two();
    let ops: Vec<OpFacts> = (0..3).map(|n| world.write(2, second, 0, &[1, 2], 3000 + n)).collect();
    let twin = OpFacts { id: OpId::of(b"twin"), ..ops[1].clone() };
    let all: Vec<OpFacts> = ops.iter().chain([&twin]).cloned().collect();
    let judge = |world: &World| {
        let log = AuthorLog::new(&all);
        assert!(!log.is_linear());
        let verdicts = log.verdicts(&world.devices[0].graph);
        [&ops[0], &ops[1], &ops[2], &twin].map(|op| verdicts[&op.id])
    };
    let forked = Verdict::Quarantined(Reason::Forked);
    assert_eq!(judge(&world), [Verdict::Valid, forked, forked, forked]);
    let author = world.id(2);
    let data = DataFrontier::Listed(vec![([0; 16], Mark { seq: 2, id: ops[2].id })]);
    let frontier = vec![(author, Frontier { control: None, data })];
    world.say(0, 5000, Action::Cut { grant: second, frontier, cascade: false }).unwrap();
    assert_eq!(judge(&world), [Verdict::Valid, Verdict::Valid, Verdict::Valid, REVOKED]);
}

/// ID-15: a backlink to an operation never seen proves a fork as well as the operation would.
#[test]
fn a_backlink_beside_a_known_operation_is_a_fork() {
    let (mut world, _, second) = chain_of_two();
    let first = world.write(2, second, 0, &[1, 2], 3000);
    let mut next = world.write(2, second, 0, &[1, 2], 3000);
    next.backlink = Some(OpId::of(b"another first"));
    let ops = [first.clone(), next.clone()];
    let verdicts = AuthorLog::new(&ops).verdicts(&world.devices[0].graph);
    assert!(verdicts.values().all(|verdict| *verdict == Verdict::Quarantined(Reason::Forked)));
}

/// ID-15: time and control past only go forwards in a log.
#[test]
fn a_log_that_goes_backwards_is_frozen_there() {
    let (mut world, _, second) = chain_of_two();
    let first = world.write(2, second, 0, &[1, 2], 3000);
    world.grant(0, None, 3, &[], Rights::READ, 0).unwrap();
    world.sync(0, 2);
    let second_op = world.write(2, second, 0, &[1, 2], 3000);
    let graph = &world.devices[2].graph;
    assert_eq!(graph.continues(&first, &second_op), Some(Ok(())));
    let backwards = Some(Err(Reason::Backwards));
    assert_eq!(graph.continues(&first, &OpFacts { unix_ms: 2999, ..second_op.clone() }), backwards);
    assert_eq!(graph.continues(&first, &OpFacts { seq: 2, ..second_op.clone() }), backwards);
    assert_eq!(graph.continues(&first, &OpFacts { document: [9; 16], ..second_op.clone() }), backwards);
    let third = OpFacts {
        seq: 2,
        id: OpId::of(b"3"),
        backlink: Some(second_op.id),
        heads: first.heads.clone(),
        ..first.clone()
    };
    assert_eq!(graph.continues(&second_op, &third), backwards, "it forgets what it had seen");
    assert_eq!(world.devices[0].graph.continues(&second_op, &third), backwards);
    let ops = [first, second_op, third];
    let verdicts = AuthorLog::new(&ops).verdicts(graph);
    assert_eq!(
        ops.each_ref().map(|op| verdicts[&op.id]),
        [Verdict::Valid, Verdict::Valid, Verdict::Quarantined(Reason::Backwards)]
    );
}

/// ID-16: a writer takes a quarantined operation in; the revoked does not help itself, and later cuts apply anew.
#[test]
fn a_writer_that_knows_of_the_cut_may_endorse_what_it_left_outside() {
    let (mut world, _, second) = chain_of_two();
    let op = world.write(2, second, 0, &[1, 2], 3000);
    let endorse = Action::Endorse { operation: op.id };
    world.say(2, 3500, endorse.clone()).unwrap();
    world.say(0, 4000, Action::Cut { grant: second, frontier: vec![], cascade: false }).unwrap();
    world.say(1, 4000, endorse.clone()).unwrap();
    world.sync_all();
    assert_eq!(
        verdict(&world, 3, &op),
        REVOKED,
        "endorsed by the revoked, and by one that had not seen the cut"
    );
    world.say(1, 5000, endorse).unwrap();
    world.say(0, 5000, Action::Cut { grant: second, frontier: vec![], cascade: true }).unwrap();
    assert_eq!(verdict(&world, 1, &op), Verdict::Valid);
    world.sync_all();
    assert_eq!(verdict(&world, 1, &op), REVOKED, "a concurrent cut that the endorser had not seen");
    let elsewhere = OpFacts { path: path(&[2]), ..op };
    assert_eq!(verdict(&world, 1, &elsewhere), Verdict::Quarantined(Reason::OutsidePath), "never covered");
}

/// ID-13: an operation is judged by what its author had seen.
#[test]
fn operations_wait_for_the_heads_they_name_and_name_the_grant_they_use() {
    let (mut world, first, second) = chain_of_two();
    let op = world.write(2, second, 0, &[1, 2], 3000);
    let unknown = OpFacts { heads: vec![OpId::of(b"later")], ..op.clone() };
    assert_eq!(verdict(&world, 0, &unknown), Verdict::Pending);
    let cases = [
        (OpFacts { heads: vec![first], ..op.clone() }, Reason::NoSuchGrant),
        (OpFacts { heads: vec![], ..op.clone() }, Reason::NoSuchGrant),
        (OpFacts { grant: OpId::of(b"?"), ..op.clone() }, Reason::NoSuchGrant),
        (OpFacts { grant: first, ..op.clone() }, Reason::NotHolder),
        (OpFacts { grant: world.genesis(), ..op.clone() }, Reason::NotHolder),
        (OpFacts { path: path(&[1]), ..op.clone() }, Reason::OutsidePath),
    ];
    for (op, reason) in cases {
        assert_eq!(verdict(&world, 0, &op), Verdict::Quarantined(reason));
        assert!(reason.is_final());
    }
    let by_root = world.write(0, world.genesis(), 0, &[9], 3000);
    assert_eq!(verdict(&world, 1, &by_root), Verdict::Valid);
    world
        .grant(0, None, 3, &[1], Rights::READ | Rights::MANAGE, 0)
        .map(|grant| {
            let reading = world.write(3, grant, 0, &[1], 3000);
            let reading = OpFacts { heads: vec![grant], ..reading };
            assert_eq!(verdict(&world, 0, &reading), Verdict::Quarantined(Reason::NoWriteRight));
        })
        .unwrap();
}

/// ID-12: what is said without a right to say it.
#[test]
fn strangers_and_the_unentitled_are_refused() {
    let (mut world, _, second) = chain_of_two();
    let epoch = Action::Epoch { number: 1, root_commitment: [0; 32], boxes: vec![] };
    assert_eq!(
        fault(world.say(3, 5000, Action::Extension { kind: 130, body: vec![] })),
        StatementFault::NoAuthority
    );
    assert_eq!(fault(world.say(2, 5000, epoch.clone())), StatementFault::NoAuthority);
    assert_eq!(fault(world.say(1, 5000, epoch.clone())), StatementFault::NoAuthority, "manages only a part");
    let policy = |prefix: &[u8]| Action::Policy { prefix: path(prefix), body: vec![] };
    assert_eq!(fault(world.say(1, 5000, policy(&[2]))), StatementFault::NoAuthority);
    assert!(world.say(1, 5000, policy(&[1, 4])).is_ok());
    assert!(world.say(0, 5000, epoch).is_ok());
    let unseen = Mark { seq: 9, id: OpId::of(b"unseen") };
    let frontier =
        vec![(world.id(2), Frontier { control: Some(unseen), data: DataFrontier::ClaimedBefore(0) })];
    let cut = Action::Cut { grant: second, frontier, cascade: false };
    assert_eq!(fault(world.say(0, 6000, cut)), StatementFault::BadFrontier);
    let other = World::new(1);
    let foreign =
        Statement::sign(&key(1), world.devices[1].graph.next_draft(world.id(1), policy(&[1]), 0)).unwrap();
    let mut graph = ControlGraph::new(cs_identity::SpaceId::from_bytes([1; 32]));
    assert_eq!(graph.insert(foreign), Err(StatementFault::WrongSpace.into()));
    assert_eq!(graph.insert(other.statements[0].clone()), Err(StatementFault::WrongSpace.into()));
}

/// ID-12: a mark is a statement of that author, by its number, that who cuts had seen.
#[test]
fn a_frontier_marks_only_what_its_author_had_seen_of_whom_it_names() {
    let (mut world, _, second) = chain_of_two();
    let late = world.say(1, 3000, Action::Extension { kind: 128, body: vec![] }).unwrap();
    world.sync(1, 0);
    let cut = |author, seq, id| {
        let control = Some(Mark { seq, id });
        let frontier = vec![(author, Frontier { control, data: DataFrontier::ClaimedBefore(0) })];
        Action::Cut { grant: second, frontier, cascade: false }
    };
    let (one, two) = (world.id(1), world.id(2));
    assert_eq!(fault(world.say(0, 6000, cut(one, 1, second))), StatementFault::BadFrontier, "another number");
    assert_eq!(fault(world.say(0, 6000, cut(two, 0, second))), StatementFault::BadFrontier, "another's");
    let mut blind = world.devices[0].graph.next_draft(world.id(0), cut(one, 1, late), 6000);
    blind.heads = vec![second];
    assert_eq!(
        fault(world.publish(0, blind)),
        StatementFault::BadFrontier,
        "known here, and not in its past"
    );
    assert!(world.say(0, 6000, cut(one, 1, late)).is_ok());
}

/// ID-16: who may not write at the path endorses in vain, whatever it may elsewhere.
#[test]
fn an_endorsement_counts_only_from_who_may_write_there() {
    let (mut world, _, second) = chain_of_two();
    let elsewhere = world.grant(0, None, 3, &[9], Rights::WRITE, 0).unwrap();
    let op = world.write(2, second, 0, &[1, 2], 3000);
    world.say(0, 4000, Action::Cut { grant: second, frontier: vec![], cascade: false }).unwrap();
    world.sync_all();
    let endorse = || Action::Endorse { operation: op.id };
    assert!(world.devices[3].graph.get(&elsewhere).is_some());
    world.say(3, 5000, endorse()).unwrap();
    world.sync_all();
    assert_eq!(verdict(&world, 0, &op), REVOKED);
    world.say(1, 5000, endorse()).unwrap();
    world.sync_all();
    assert_eq!(verdict(&world, 0, &op), Verdict::Valid);
}

/// ID-10: one log per author, numbered without gaps, whose clock does not go back.
#[test]
fn a_statement_out_of_its_authors_order_is_refused() {
    let mut world = World::new(2);
    world.grant(0, None, 1, &[], Rights::ALL, 9).unwrap();
    let graph = world.devices[0].graph.clone();
    let draft = graph.next_draft(world.id(0), Action::Extension { kind: 128, body: vec![] }, 9000);
    let refused = |change: &dyn Fn(&mut cs_identity::control::Draft)| {
        let mut draft = draft.clone();
        change(&mut draft);
        graph.clone().insert(Statement::sign(&key(0), draft).unwrap())
    };
    assert_eq!(refused(&|_| ()), Ok(Inserted::New));
    assert_eq!(refused(&|draft| draft.seq += 1), Err(StatementFault::BadBacklink.into()));
    assert_eq!(refused(&|draft| draft.unix_ms = 1), Err(StatementFault::Backwards.into()));
}

/// ID-12: cuts of one grant are limited, by what each had seen of the others.
#[test]
fn a_grant_is_cut_a_limited_number_of_times() {
    let (mut world, first, _) = chain_of_two();
    let cut = || Action::Cut { grant: first, frontier: vec![], cascade: false };
    for _ in 0..MAX_CUTS_OF_A_GRANT {
        world.say(0, 5000, cut()).unwrap();
    }
    assert_eq!(fault(world.say(0, 5000, cut())), StatementFault::TooManyCuts);
}

/// ID-12: statements that come early wait, what they wait for can be asked for, and what can never be is let go.
#[test]
fn early_statements_wait_within_bounds() {
    let (mut world, first, _) = chain_of_two();
    world.grant(1, Some(first), 3, &[], Rights::ALL, 9).unwrap_err();
    let wide = world.statements.pop().unwrap();
    let mut graph = ControlGraph::new(world.statements[0].space());
    for statement in world.statements[1..].iter().rev() {
        assert_eq!(graph.insert(statement.clone()), Ok(Inserted::Buffered));
        assert_eq!(graph.insert(statement.clone()), Ok(Inserted::Duplicate));
    }
    assert_eq!(graph.wanted().collect::<Vec<_>>(), [world.genesis()]);
    assert!(graph.is_empty() && graph.root().is_none());
    assert_eq!(graph.rights(&world.id(0), &path(&[]), 0), Rights::NONE);
    assert_eq!(graph.insert(world.statements[0].clone()), Ok(Inserted::New));
    assert_eq!(graph.len(), 3);
    assert_eq!(graph.wanted().count(), 0);

    let mut on_wide = graph.next_draft(world.id(1), Action::Extension { kind: 128, body: vec![] }, 9000);
    (on_wide.seq, on_wide.backlink, on_wide.heads) = (wide.seq + 1, Some(wide.id()), vec![]);
    assert_eq!(graph.insert(Statement::sign(&key(1), on_wide).unwrap()), Ok(Inserted::Buffered));
    assert_eq!(graph.insert(wide), Err(StatementFault::Widens.into()));
    assert_eq!(graph.wanted().count(), 0, "what builds on a refused statement is forgotten");

    let mut full = ControlGraph::new(world.statements[0].space());
    let template = graph.next_draft(world.id(0), Action::Extension { kind: 128, body: vec![] }, 9000);
    let early = |n: u64| {
        Statement::sign(&key(0), cs_identity::control::Draft { unix_ms: 9000 + n, ..template.clone() })
    };
    let taken = (0..1100).map(|n| full.insert(early(n).unwrap())).filter(Result::is_ok).count();
    assert_eq!(taken, 1024);
    assert_eq!(full.insert(early(1100).unwrap()), Err(InsertError::Full));
    assert_eq!(
        full.insert(world.statements[0].clone()),
        Ok(Inserted::New),
        "what is in order is still taken"
    );
}

/// ID-17: a chain proves membership to who knows only the name of the space.
#[test]
fn credentials_convince_a_stranger_and_broken_ones_do_not() {
    let (mut world, first, second) = chain_of_two();
    world.grant(0, None, 2, &[7], Rights::READ, 0).unwrap();
    world.sync_all();
    let (space, holder) = (world.statements[0].space(), world.id(2));
    let chain = world.devices[0].graph.credentials(&holder);
    assert_eq!(chain.len(), 4);
    let check =
        |chain: &[Signed<Statement>], at: &[u8]| check_credentials(space, chain, &holder, &path(at), 3000);
    assert_eq!(check(&chain, &[1, 2, 3]), Ok(Rights::READ | Rights::WRITE));
    assert_eq!(check(&chain, &[7]), Ok(Rights::READ));
    assert_eq!(check(&chain, &[1]), Ok(Rights::NONE));
    assert_eq!(check(&chain[1..], &[1, 2]), Err(CredentialFault::NotGenesis));
    assert_eq!(check(&[], &[1, 2]), Err(CredentialFault::NotGenesis));
    let without_first: Vec<_> = chain.iter().filter(|s| s.id() != first).cloned().collect();
    let missing = Err(CredentialFault::BrokenLink(StatementFault::NoSuchGrant));
    assert_eq!(check(&without_first, &[1, 2]), missing);
    world.grant(2, Some(second), 3, &[], Rights::ALL, 0).unwrap_err();
    let wide: Vec<_> = chain.iter().chain(world.statements.last()).cloned().collect();
    assert_eq!(check(&wide, &[1, 2]), Err(CredentialFault::BrokenLink(StatementFault::Widens)));
    let cut = Action::Cut { grant: second, frontier: vec![], cascade: false };
    world.say(0, 5000, cut).unwrap();
    assert_eq!(world.devices[0].graph.credentials(&holder).len(), 2, "cut chains are no longer given out");
    let not_a_grant: Vec<_> = chain.iter().chain(world.statements.last()).cloned().collect();
    assert_eq!(check(&not_a_grant, &[1, 2]), Err(CredentialFault::NotAGrant));
}

/// ID-13: epochs and policies of who was cut outside the frontier do not count, and the order is the same for all.
#[test]
fn epochs_and_policies_stand_and_fall_with_their_authors_grants() {
    let mut world = World::new(3);
    let manager = world.grant(0, None, 1, &[], Rights::ALL, 3).unwrap();
    world.sync_all();
    let epoch = |number| Action::Epoch { number, root_commitment: [number as u8; 32], boxes: vec![] };
    let policy = |body| Action::Policy { prefix: path(&[1]), body: vec![body] };
    let first = world.say(1, 3000, epoch(1)).unwrap();
    let old = world.say(1, 3000, policy(1)).unwrap();
    let frontier = vec![world.frontier(1, 1)];
    world.sync(1, 0);
    let newer = world.say(0, 3000, policy(2)).unwrap();
    world.say(1, 3000, epoch(2)).unwrap();
    world.say(0, 4000, Action::Cut { grant: manager, frontier, cascade: false }).unwrap();
    let third = world.say(0, 4000, epoch(2)).unwrap();
    world.sync_all();
    for device in &world.devices {
        assert_eq!(device.graph.epochs().map(|(id, _)| id).collect::<Vec<_>>(), [first, third]);
        assert_eq!(device.graph.policies().map(|(id, _)| id).collect::<Vec<_>>(), [old, newer]);
    }
}

#[test]
fn the_grant_to_write_under_is_the_deepest_that_fits() {
    let mut world = World::new(2);
    let (id, write) = (world.id(1), Rights::WRITE);
    world.grant(0, None, 1, &[], Rights::WRITE, 0).unwrap();
    let deep = world.grant(0, None, 1, &[1], Rights::WRITE, 0).unwrap();
    world.grant(0, None, 1, &[1, 2], Rights::READ, 0).unwrap();
    let graph = &world.devices[0].graph;
    assert_eq!(graph.grant_for(&id, &path(&[1, 2]), 0, write), Some(deep));
    assert_eq!(graph.grant_for(&id, &path(&[1, 2]), 0, Rights::MANAGE), None);
    assert_eq!(graph.grant_for(&world.id(0), &path(&[1, 2]), 0, Rights::MANAGE), Some(world.genesis()));
    assert_eq!(graph.grants_of(&id).len(), 3);
}

#[test]
fn catching_up_from_heads_takes_what_they_had_not_seen_and_no_more() {
    let (mut world, first, second) = chain_of_two();
    let behind = world.devices[3].graph.heads();
    assert_eq!(behind, [second]);
    let late = world.grant(0, None, 3, &[], Rights::READ, 0).unwrap();
    let graph = &world.devices[0].graph;
    let lacking = |heads: &[OpId]| graph.since(heads).map(Signed::id).collect::<Vec<_>>();
    assert_eq!(lacking(&behind), [late]);
    assert_eq!(lacking(&[OpId::of(b"unknown"), first]), [second, late]);
    assert_eq!(lacking(&[]).len(), 4);
    assert_eq!(lacking(&graph.heads()), []);
}
