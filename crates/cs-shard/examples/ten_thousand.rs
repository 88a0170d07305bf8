//! A map of 16,384 partitions, three replicas each, on ten thousand nodes of five weights in forty zones, through joins,
//! failures, and changes of weight and zone: how balanced it stays, and how little moves.
//!
//! `cargo run --release -p cs-shard --example ten_thousand [NODES]`

use cs_identity::SecretKey;
use cs_shard::{Config, Member, PartitionMap, Plan, Subnet, Weight, Zone};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes: u64 = std::env::args().nth(1).map_or(Ok(10_000), |text| text.parse())?;
    let config = Config { partitions: 16_384, ..Config::default() };
    let mut members: Vec<Member> = (0..nodes).map(member).collect();
    let mut map = PartitionMap::new(config, &members)?;
    report("first map", None, &map);
    let tenth = (nodes / 10).max(1) as usize;
    let mut number = nodes;
    for (what, count) in [("one joins", 1), ("a tenth joins", tenth)] {
        members.extend((number..number + count as u64).map(member));
        number += count as u64;
        map = advance(what, &map, &members)?;
    }
    members.remove(tenth / 2);
    map = advance("one leaves", &map, &members)?;
    members.drain(..tenth);
    map = advance("a tenth leaves", &map, &members)?;
    members.iter_mut().step_by(21).for_each(|member| member.weight = Weight::ONE);
    map = advance("a twentieth is weighed anew", &map, &members)?;
    members.iter_mut().step_by(50).for_each(|member| member.zone = Zone(99));
    map = advance("a fiftieth moves into a new zone", &map, &members)?;
    advance("nothing happens", &map, &members)?;
    Ok(())
}

fn member(number: u64) -> Member {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let hundredths = [50, 100, 100, 200, 400][number as usize % 5];
    Member {
        id: SecretKey::from_bytes(seed).node_id(),
        weight: Weight::from_hundredths(hundredths).unwrap_or_default(),
        zone: Zone(number / 3 % 40),
        subnet: Subnet(number / 2),
    }
}

fn advance(
    what: &str,
    map: &PartitionMap,
    members: &[Member],
) -> Result<PartitionMap, cs_shard::ConfigError> {
    let next = map.next(members)?;
    report(what, Some(map), &next);
    Ok(next)
}

fn report(what: &str, before: Option<&PartitionMap>, map: &PartitionMap) {
    let loads = map.loads();
    let ratio = |load: &cs_shard::Load| f64::from(load.partitions) / load.fair;
    let most = loads.iter().map(ratio).fold(0.0, f64::max);
    let least = loads.iter().map(ratio).fold(f64::MAX, f64::min);
    print!("{what:<34} {} nodes, load {least:.3} to {most:.3} of fair", loads.len());
    if let Some(before) = before {
        let plan = Plan::between(before, map, |_| 64 << 20);
        let had = before.loads();
        let fair = |id| had.binary_search_by_key(&id, |load| load.id).map_or(0.0, |at| had[at].fair);
        let needed: f64 = loads.iter().map(|load| (load.fair - fair(load.id)).max(0.0)).sum();
        print!(", {} replicas moved ({needed:.0} by shares), {} GiB", plan.moves.len(), plan.bytes() >> 30);
    }
    println!();
}
