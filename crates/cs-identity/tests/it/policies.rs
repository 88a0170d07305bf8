//! Policies: who may grant where, and how parts of a space complete each other.

use cs_identity::Rights;
use cs_identity::control::{
    Action, Grantors, InsertError, MAX_POLICIES_OF_A_PREFIX, Policy, Redundancy, StatementFault,
};
use cs_identity::wire::{self, DecodeError};

use crate::world::{World, path};

/// ID-30: the strictest policy around decides who passes on grants; the root always may, and replaces what others set.
#[test]
fn a_policy_says_who_may_grant_below_its_prefix() {
    let mut world = World::new(4);
    let holder = world.grant(0, None, 1, &[1], Rights::READ | Rights::WRITE, 3).unwrap();
    let manager = world.grant(0, None, 2, &[1], Rights::ALL, 3).unwrap();
    world.sync_all();
    let set = |at: &[u8], grantors| {
        let mut policy = Policy::default();
        policy.grantors = grantors;
        let mut body = vec![];
        policy.encode(&mut body);
        Action::Policy { prefix: path(at), body }
    };
    let give = |world: &mut World, from, parent, at: &[u8]| {
        world.sync_all();
        world.grant(from, Some(parent), 3, at, Rights::READ, 0).map_err(|_| ())
    };
    assert!(give(&mut world, 1, holder, &[1]).is_ok());
    world.say(0, 3000, set(&[1], Some(Grantors::Managers))).unwrap();
    assert!(give(&mut world, 1, holder, &[1, 2]).is_err());
    assert!(give(&mut world, 2, manager, &[1, 2]).is_ok());
    world.say(2, 3000, set(&[1, 2], Some(Grantors::Holders))).unwrap();
    assert!(give(&mut world, 1, holder, &[1, 2]).is_err(), "a part does not loosen what is around it");
    world.say(2, 3000, set(&[1, 2], Some(Grantors::Root))).unwrap();
    assert!(give(&mut world, 2, manager, &[1, 2, 3]).is_err());
    assert!(give(&mut world, 2, manager, &[1, 3]).is_ok(), "beside it");
    world.say(0, 3000, set(&[1, 2], None)).unwrap();
    assert!(give(&mut world, 2, manager, &[1, 2, 3]).is_ok(), "the root replaced it");
    let refused = world.grant(1, Some(holder), 3, &[1, 2], Rights::READ, 0);
    assert_eq!(refused, Err(InsertError::Fault(StatementFault::PolicyForbids)));
    world.sync_all();
    for device in &world.devices {
        assert_eq!(device.graph.policy_at(&path(&[1, 2, 9])).grantors, Some(Grantors::Managers));
        assert_eq!(device.graph.policy_at(&path(&[2])), Policy::default());
    }
}

/// ID-30: policies of one prefix are limited, since every grant below is judged by them.
#[test]
fn a_prefix_has_a_limited_number_of_policies() {
    let mut world = World::new(1);
    let policy = |at: &[u8]| Action::Policy { prefix: path(at), body: vec![1, 0] };
    for _ in 0..MAX_POLICIES_OF_A_PREFIX {
        world.say(0, 3000, policy(&[1])).unwrap();
    }
    let refused = world.say(0, 3000, policy(&[1]));
    assert_eq!(refused, Err(InsertError::Fault(StatementFault::TooManyPolicies)));
    assert!(world.say(0, 3000, policy(&[1, 2])).is_ok());
}

/// ID-30: the deeper part decides, but for who may grant; what is not set comes from around; later fields are kept.
#[test]
fn a_policy_is_completed_by_those_around_it() {
    let (mut outer, mut inner) = (Policy::default(), Policy::default());
    outer.redundancy = Some(Redundancy { data: 4, parity: 2 });
    (outer.merge, outer.retention_days) = (Some(7), Some(30));
    outer.grantors = Some(Grantors::Root);
    (inner.merge, inner.history_for_newcomers) = (Some(1), Some(false));
    inner.grantors = Some(Grantors::Holders);
    let both = inner.clone().within(&outer);
    assert_eq!((both.merge, both.retention_days, both.redundancy), (Some(1), Some(30), outer.redundancy));
    assert_eq!((both.grantors, both.history_for_newcomers), (Some(Grantors::Root), Some(false)));
    for policy in [Policy::default(), outer, inner, both] {
        let mut bytes = vec![];
        policy.encode(&mut bytes);
        assert_eq!(wire::whole(&bytes, Policy::decode), Ok(policy));
        for end in 0..bytes.len() {
            assert_eq!(wire::whole(&bytes[..end], Policy::decode), Err(DecodeError::Truncated));
        }
    }
    let later = [1, 2, 2, 1, 9, 200, 3, 1, 2, 3];
    let mut again = vec![];
    wire::whole(&later, Policy::decode).unwrap().encode(&mut again);
    assert_eq!(again, later);
    for bad in [
        &[2, 0][..],
        &[1, 1, 5, 0],
        &[1, 2, 2, 1, 9, 2, 1, 9],
        &[1, 1, 1, 2, 0, 2],
        &[1, 1, 0, 1, 3],
        &[1, 1, 2, 2, 1, 1],
    ] {
        assert!(wire::whole(bad, Policy::decode).is_err(), "{bad:?}");
    }
}
