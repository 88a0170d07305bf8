//! Recovery of a space by its guardians (rule ID-32).

use cs_identity::control::{
    Action, Chain, ChainFault, CredentialFault, Draft, InsertError, MAX_GUARDIANS, Statement, StatementFault,
    Verdict,
};
use cs_identity::wire::{self, DecodeError};
use cs_identity::{OpId, Rights, Signable, Signature};

use crate::world::{World, key, path};

const NOBODY: StatementFault = StatementFault::NotGuardians;
const TOO_FEW: StatementFault = StatementFault::TooFewGuardians;

fn guardians(world: &World, threshold: u8, devices: &[usize]) -> Action {
    Action::Guardians { threshold, guardians: devices.iter().map(|n| world.id(*n)).collect() }
}

/// Devices 1 and 2 manage, 3 and 4 are strangers; two of 2, 3 and 4 recover the space.
fn guarded() -> (World, OpId, [OpId; 2]) {
    let mut world = World::new(6);
    let managers = [1, 2].map(|n| world.grant(0, None, n, &[], Rights::ALL, 3).unwrap());
    let named = world.say(0, 3000, guardians(&world, 2, &[2, 3, 4])).unwrap();
    world.sync_all();
    (world, named, managers)
}

fn refused(world: &World, device: usize, draft: Draft) -> Option<StatementFault> {
    let mut graph = world.devices[device].graph.clone();
    let statement = Statement::sign(&key(device as u8), draft).unwrap();
    graph.insert(statement).err().map(|error| match error {
        InsertError::Fault(fault) => fault,
        InsertError::Full => panic!("there is room"),
    })
}

/// ID-32: the managers revoked each other and the root is gone; two guardians, one a stranger to the space, bring it back.
#[test]
fn guardians_bring_back_a_space_that_nobody_can_manage() {
    let (mut world, named, [a, b]) = guarded();
    for (by, grant) in [(1, b), (2, a)] {
        world.say(by, 3500, Action::Cut { grant, frontier: vec![], cascade: true }).unwrap();
    }
    world.sync_all();
    assert_eq!(world.devices[3].graph.members().len(), 1, "the root alone");

    let heir = world.id(5);
    let recovered = world.publish(3, world.recovery(3, named, &[4], heir)).unwrap();
    world.sync_all();
    let back = world.grant(5, Some(recovered), 1, &[7], Rights::WRITE, 0).unwrap();
    let epoch = Action::Epoch { number: 1, root_commitment: [0; 32], boxes: vec![] };
    world.say(5, 5000, epoch).unwrap();
    world.sync_all();
    let written = [world.write(1, back, 0, &[7], 6000), world.write(5, recovered, 0, &[], 6000)];
    for device in &world.devices {
        assert_eq!(device.graph.rights(&heir, &path(&[9]), 6000), Rights::ALL);
        assert_eq!(device.graph.epochs().count(), 1);
        assert!(written.iter().all(|op| device.graph.verdict(op) == Verdict::Valid));
    }
}

/// ID-32: the author guards, the others guard and are others, all mean this recovery, and there are enough of them.
#[test]
fn a_recovery_takes_enough_guardians_that_agree_to_just_this() {
    let (mut world, named, _) = guarded();
    let heir = world.id(5);
    let good = world.recovery(3, named, &[4], heir);
    assert_eq!(refused(&world, 3, good.clone()), None);
    assert_eq!(refused(&world, 3, world.recovery(3, named, &[2, 4], heir)), None, "more than enough");
    let other_author = world.recovery(4, named, &[], heir);
    let mut borrowed = world.recovery(3, named, &[], heir);
    set(&mut borrowed, vec![(world.id(4), other_author.proposed_by(world.id(4)).cosign(&key(4)))]);
    let mut redirected = good.clone();
    let Action::Recover { holder, .. } = &mut redirected.action else { unreachable!() };
    *holder = world.id(1);
    let mut doubled = world.recovery(3, named, &[], heir);
    let own = doubled.clone().proposed_by(world.id(3)).cosign(&key(3));
    set(&mut doubled, vec![(world.id(3), own)]);
    let cases = [
        ("alone", 3, world.recovery(3, named, &[], heir), TOO_FEW),
        ("with oneself", 3, doubled, TOO_FEW),
        ("with the root, which guards nothing", 3, world.recovery(3, named, &[0], heir), TOO_FEW),
        ("with one stranger too many", 3, world.recovery(3, named, &[1, 4], heir), TOO_FEW),
        ("by a manager", 1, world.recovery(1, named, &[2, 3], heir), NOBODY),
        ("for another's proposal", 3, borrowed, TOO_FEW),
        ("for another heir", 3, redirected, TOO_FEW),
        ("at another time", 3, Draft { unix_ms: 4001, ..good.clone() }, TOO_FEW),
        ("with other heads", 3, Draft { heads: vec![world.genesis(), named], ..good.clone() }, TOO_FEW),
        ("under no statement", 3, world.recovery(3, OpId::of(b"?"), &[4], heir), NOBODY),
        ("under one about something else", 3, world.recovery(3, world.genesis(), &[4], heir), NOBODY),
    ];
    for (title, device, draft, fault) in cases {
        assert_eq!(refused(&world, device, draft), Some(fault), "{title}");
    }
    let unseen = Draft { heads: vec![world.genesis()], ..world.recovery(3, named, &[4], heir) };
    assert_eq!(refused(&world, 3, unseen), Some(NOBODY), "not in its past");
    for bit in 0..512 {
        let mut flipped = good.clone();
        let Action::Recover { cosigned, .. } = &mut flipped.action else { unreachable!() };
        let mut bytes = *cosigned[0].1.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        cosigned[0].1 = Signature::from_bytes(bytes);
        assert_eq!(refused(&world, 3, flipped), Some(TOO_FEW), "bit {bit}");
    }

    world.say(0, 5000, guardians(&world, 1, &[1])).unwrap();
    world.sync_all();
    assert_eq!(refused(&world, 3, world.recovery(3, named, &[4], heir)), Some(NOBODY), "they were replaced");
    let (newer, threshold, who) = world.devices[1].graph.guardians().unwrap();
    assert_eq!((threshold, who), (1, &[world.id(1)][..]));
    assert_eq!(refused(&world, 1, world.recovery(1, newer, &[], heir)), None);
}

fn set(draft: &mut Draft, signatures: Vec<(cs_identity::NodeId, Signature)>) {
    let Action::Recover { cosigned, .. } = &mut draft.action else { return };
    *cosigned = signatures;
}

/// ID-32: only the root names guardians; and it cannot take back by forking its log what they decide.
#[test]
fn only_the_root_names_guardians_and_a_fork_of_its_log_disarms_none() {
    let (mut world, named, _) = guarded();
    let by_manager = world.say(1, 4000, guardians(&world, 1, &[1]));
    assert_eq!(by_manager, Err(InsertError::Fault(StatementFault::NoAuthority)));
    world.say_instead(0, 3000, guardians(&world, 1, &[5])).unwrap();
    world.sync_all();
    assert_eq!(world.devices[3].graph.guardians(), None, "two of one number");
    let heir = world.id(5);
    let recovered = world.publish(3, world.recovery(3, named, &[2], heir)).unwrap();
    world.sync_all();
    assert_eq!(world.devices[1].graph.rights(&heir, &path(&[]), 5000), Rights::ALL);
    let cut = Action::Cut { grant: recovered, frontier: vec![], cascade: true };
    world.say(1, 6000, cut).unwrap();
    assert_eq!(world.devices[1].graph.rights(&heir, &path(&[]), 7000), Rights::NONE, "cut as any grant");
}

/// ID-28, ID-32: a stranger that knows the genesis alone is shown no recovery, and takes none for a grant.
#[test]
fn strangers_are_not_shown_recoveries() {
    let (mut world, named, [a, _]) = guarded();
    let heir = world.id(1);
    world.publish(2, world.recovery(2, named, &[3], heir)).unwrap();
    world.sync_all();
    let shown = world.devices[0].graph.credentials(&heir);
    assert_eq!(shown.iter().map(|statement| statement.id()).collect::<Vec<_>>(), [world.genesis(), a]);
    let recovery = world.statements.last().cloned().unwrap();
    assert!(Chain::new(shown.into_iter().chain([recovery]).collect()).is_err());
}

/// ID-28, ID-32: not even one that the root itself published, since nobody could check who co-signed it.
#[test]
fn a_recovery_by_the_root_is_no_link_of_a_chain() {
    let mut world = World::new(3);
    let named = world.say(0, 3000, guardians(&world, 2, &[0, 1])).unwrap();
    let heir = world.id(2);
    world.publish(0, world.recovery(0, named, &[1], heir)).unwrap();
    assert_eq!(world.devices[0].graph.rights(&heir, &path(&[]), 5000), Rights::ALL);
    assert_eq!(world.devices[0].graph.credentials(&heir).len(), 1, "the genesis");
    let forged = vec![world.statements[0].clone(), world.statements.last().cloned().unwrap()];
    assert_eq!(Chain::new(forged), Err(ChainFault::Broken(CredentialFault::NotAGrant)));
}

/// ID-11: at least one guardian, a threshold among them, no more than there may be; ascending.
#[test]
fn guardians_that_could_never_or_always_recover_are_refused() {
    let world = World::new(1);
    let ids = |count: usize| (0..count).map(|n| key(n as u8).node_id()).collect::<Vec<_>>();
    let sign = |threshold, guardians| {
        let action = Action::Guardians { threshold, guardians };
        Statement::sign(&key(0), world.devices[0].graph.next_draft(world.id(0), action, 1)).map_err(|e| e.0)
    };
    assert!(sign(MAX_GUARDIANS as u8, ids(MAX_GUARDIANS)).is_ok());
    assert_eq!(sign(1, ids(MAX_GUARDIANS + 1)), Err(DecodeError::TooLong));
    assert_eq!(sign(0, ids(2)), Err(DecodeError::OutOfRange));
    assert_eq!(sign(3, ids(2)), Err(DecodeError::OutOfRange));
    assert_eq!(sign(0, ids(0)), Err(DecodeError::OutOfRange));
    assert_eq!(sign(2, vec![key(1).node_id(); 2]), Err(DecodeError::NotCanonical));
    // What a guardian is sent decodes to what the author means to sign.
    let draft = world.recovery(0, world.genesis(), &[1], key(2).node_id());
    let proposed = draft.proposed_by(world.id(0));
    let mut bytes = vec![];
    proposed.encode(&mut bytes);
    assert_eq!(wire::whole(&bytes, Statement::decode), Ok(proposed));
}
