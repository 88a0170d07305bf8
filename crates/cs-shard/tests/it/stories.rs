use std::collections::BTreeSet;

use cs_shard::{Config, ConfigError, Member, PartitionMap, Plan, Ring, Subnet, Weight, Zone, hash_key};

use crate::{id, imbalance, least_movement, member, zone_violation};

fn cluster(nodes: usize, zones: u64) -> Vec<Member> {
    (0..nodes).map(|number| member(number, number as u64 % zones)).collect()
}

/// SHARD-5, SHARD-6: a thousand nodes through a day of joins, failures and changes.
#[test]
fn a_thousand_nodes_stay_balanced_through_joins_failures_and_changes() {
    let config = Config { partitions: 16_384, ..Config::default() };
    let mut members = cluster(1000, 20);
    let mut map = PartitionMap::new(config, &members).unwrap();
    assert_eq!((zone_violation(&map), imbalance(&map, 1.05, 0.95)), (None, None));
    let changes: [fn(&mut Vec<Member>); 5] = [
        |members| members.extend((1000..1100).map(|number| member(number, number as u64 % 21))),
        |members| drop(members.drain(300..380)),
        |members| {
            members.iter_mut().step_by(9).for_each(|m| m.weight = Weight::from_hundredths(250).unwrap())
        },
        |members| members.retain(|m| m.zone != Zone(4)),
        |members| members.iter_mut().step_by(30).for_each(|m| m.zone = Zone(77)),
    ];
    for (number, change) in changes.iter().enumerate() {
        change(&mut members);
        let next = map.next(&members).unwrap();
        assert_eq!((zone_violation(&next), imbalance(&next, 1.05, 0.95)), (None, None), "change {number}");
        let moved = Plan::between(&map, &next, |_| 1).bytes() as f64;
        let least = least_movement(&map, &next);
        assert!(moved <= 1.2 * least, "change {number}: {moved} of {least}");
        map = next;
    }
}

/// SHARD-5, SHARD-6: ten thousand nodes, a node holding five partitions or so, where one more is a fifth more.
#[test]
fn ten_thousand_nodes_stay_within_one_partition_of_fair_and_move_little() {
    let config = Config { partitions: 16_384, ..Config::default() };
    let members = |range: std::ops::Range<u64>| -> Vec<Member> {
        range
            .map(|number| Member { id: crate::sim::id(number as usize), ..member(0, number % 40) })
            .map(apart)
            .collect()
    };
    let map = PartitionMap::new(config, &members(0..10_000)).unwrap();
    let next = map.next(&members(300..10_300)).unwrap();
    for map in [&map, &next] {
        assert_eq!((zone_violation(map), imbalance(map, 1.07, 0.93)), (None, None));
    }
    let moved = Plan::between(&map, &next, |_| 1).bytes() as f64;
    let least = least_movement(&map, &next);
    assert!(moved <= 1.2 * least, "{moved} of {least}");
}

/// Alone in its subnet.
fn apart(member: Member) -> Member {
    let [a, b, c, d, e, f, g, h, ..] = *member.id.as_bytes();
    Member { subnet: Subnet(u64::from_le_bytes([a, b, c, d, e, f, g, h])), ..member }
}

/// SHARD-3: fewer zones than replicas, so that subnets must do; then fewer of those.
#[test]
fn replicas_spread_over_subnets_where_zones_are_too_few() {
    let config = Config { partitions: 256, replicas: 4, ..Config::default() };
    let mut members = cluster(12, 2);
    members.iter_mut().enumerate().for_each(|(i, member)| member.subnet = Subnet(i as u64 / 4));
    let map = PartitionMap::new(config, &members).unwrap();
    for partition in 0..256 {
        let zones: Vec<Zone> = map.replicas(partition).map(|member| member.zone).collect();
        let subnets: BTreeSet<_> =
            map.replicas(partition).map(|member| (member.zone, member.subnet)).collect();
        assert_eq!(zones.iter().filter(|zone| **zone == Zone(0)).count(), 2);
        assert_eq!(subnets.len(), 4);
    }
    assert_eq!(imbalance(&map, 1.05, 0.95), None);
    members.iter_mut().for_each(|member| member.subnet = Subnet(0));
    let next = map.next(&members).unwrap();
    assert_eq!(Plan::between(&map, &next, |_| 1), Plan::default());
}

/// SHARD-5: a zone that outweighs all others holds each partition once and no more.
#[test]
fn a_heavy_zone_gets_one_replica_of_each_partition() {
    let mut members = cluster(30, 5);
    members
        .iter_mut()
        .filter(|m| m.zone == Zone(2))
        .for_each(|m| m.weight = Weight::from_hundredths(10_000).unwrap());
    let map = PartitionMap::new(Config::default(), &members).unwrap();
    for partition in 0..map.config().partitions {
        assert_eq!(map.replicas(partition).filter(|member| member.zone == Zone(2)).count(), 1);
    }
    assert_eq!((zone_violation(&map), imbalance(&map, 1.05, 0.95)), (None, None));
}

/// SHARD-6: as many copies as there are nodes, and more when there are more.
#[test]
fn a_cluster_grows_from_one_node() {
    let mut map = PartitionMap::new(Config::default(), &cluster(1, 1)).unwrap();
    for nodes in 1..=12 {
        map = map.next(&cluster(nodes, 4)).unwrap();
        assert_eq!(map.replicas(7).len(), nodes.min(3));
        assert_eq!((zone_violation(&map), imbalance(&map, 1.05, 0.95)), (None, None), "{nodes} nodes");
    }
    for nodes in (1..12).rev() {
        map = map.next(&cluster(nodes, 4)).unwrap();
        assert_eq!((zone_violation(&map), imbalance(&map, 1.05, 0.95)), (None, None), "{nodes} nodes");
    }
    assert_eq!(map.epoch(), 24);
}

/// SHARD-7: a node that is gone cannot be copied from, and what nobody has is the most urgent and says so.
#[test]
fn what_has_lost_its_holders_is_first_in_the_plan() {
    let config = Config { partitions: 64, replicas: 2, ..Config::default() };
    let old = PartitionMap::new(config, &cluster(6, 6)).unwrap();
    let left: Vec<Member> = cluster(6, 6).drain(2..).collect();
    let new = old.next(&left).unwrap();
    let plan = Plan::between(&old, &new, |_| 1);
    let gone = [id(0), id(1)];
    let orphaned = |p: &u32| old.replicas(*p).all(|member| gone.contains(&member.id));
    let lost: Vec<u32> = (0..64).filter(orphaned).collect();
    assert!(!lost.is_empty());
    let first: Vec<u32> =
        plan.moves.iter().take_while(|step| step.sources.is_empty()).map(|step| step.partition).collect();
    assert_eq!(first.len(), 2 * lost.len());
    assert!(first.iter().all(|partition| lost.contains(partition)));
    assert!(plan.moves.iter().all(|step| step.sources.iter().all(|source| !gone.contains(source))));
}

/// SHARD-4.
#[test]
fn impossible_configurations_are_refused() {
    let good = Config::default();
    let refused = |config| PartitionMap::new(config, &cluster(3, 3)).unwrap_err();
    assert_eq!(refused(Config { partitions: 1000, ..good }), ConfigError::Partitions);
    assert_eq!(refused(Config { partitions: 8, ..good }), ConfigError::Partitions);
    assert_eq!(refused(Config { partitions: 1 << 17, ..good }), ConfigError::Partitions);
    assert_eq!(refused(Config { replicas: 0, ..good }), ConfigError::Replicas);
    assert_eq!(refused(Config { replicas: 17, ..good }), ConfigError::Replicas);
    assert_eq!(refused(Config { slack_percent: 0, ..good }), ConfigError::Slack);
    assert_eq!(refused(Config { tokens: 0, ..good }), ConfigError::Tokens);
    assert_eq!(PartitionMap::new(good, &[]).unwrap_err(), ConfigError::NoMembers);
    assert_eq!(PartitionMap::new(good, &[member(0, 0); 2]).unwrap_err(), ConfigError::DuplicateMember);
    assert_eq!(
        PartitionMap::new(good, &vec![member(0, 0); 65_536]).unwrap_err(),
        ConfigError::TooManyMembers
    );
}

#[test]
fn keys_fall_into_all_partitions_alike_and_unknown_partitions_are_held_by_nobody() {
    let map = PartitionMap::new(Config { partitions: 16, ..Config::default() }, &cluster(4, 4)).unwrap();
    let mut counts = [0; 16];
    for name in 0..1600u32 {
        counts[map.partition_of(&hash_key(&name.to_le_bytes())) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    assert_eq!(map.partition_of(&[255; 32]), 15);
    assert_eq!(map.holders(&[255; 32]).len(), 3);
    assert_eq!(map.replicas(16).len() + map.replicas(u32::MAX).len(), 0);
}

/// SHARD-2.
#[test]
fn nodes_stand_on_the_ring_by_their_weight() {
    let mut members = cluster(4, 1);
    members[1].weight = Weight::from_hundredths(350).unwrap();
    members[2].weight = Weight::from_hundredths(1).unwrap();
    let ring = Ring::new(&members, 8);
    let mut counts = [0; 4];
    ring.walk(&[9; 32]).for_each(|node| counts[node] += 1);
    assert_eq!(counts, [8, 28, 1, 8]);
    let heavy: Vec<Member> = (0..200)
        .map(|i| Member { weight: Weight::from_hundredths(10_000).unwrap(), ..member(i, 0) })
        .collect();
    assert_eq!(Ring::new(&heavy, 1024).len(), 200 * 100 * 32);
}

/// SHARD-6: the first map puts nearly everything where the plain ring would.
#[test]
fn the_first_map_follows_the_ring() {
    let config = Config { partitions: 4096, replicas: 1, ..Config::default() };
    let map = PartitionMap::new(config, &cluster(10, 10)).unwrap();
    let ring = Ring::new(map.members(), config.tokens);
    let follows = |partition: &u32| {
        let key = hash_key(&partition.to_le_bytes());
        let start = map.partition_of(&key).to_be_bytes();
        let mut first = [0; 32];
        first[..4].copy_from_slice(&(u32::from_be_bytes(start) << 20).to_be_bytes());
        let node = ring.walk(&first).next().map(|node| map.members()[node].id);
        map.holders(&key).next().map(|member| member.id) == node
    };
    let following = (0..1000).filter(follows).count();
    assert!(following > 800, "{following} of 1000");
}
