use std::collections::BTreeMap;

use crate::config::Config;
use crate::member::Member;
use crate::share::apportion;

/// Fractions of a partition in which fair shares are counted.
pub(crate) const FINE: u64 = 1 << 16;

/// Zones, the subnets in them, the nodes in those: limits a partition, and fair shares (SHARD-3, SHARD-5).
#[derive(Clone, Debug)]
pub(crate) struct Domains {
    /// By node: dense numbers.
    pub(crate) zone: Vec<u16>,
    pub(crate) subnet: Vec<u16>,
    /// Replicas of one partition that one zone, and one subnet, may hold.
    pub(crate) zone_limit: usize,
    pub(crate) subnet_limit: usize,
    /// By node: fair share in partitions, times [`FINE`].
    pub(crate) share: Vec<u64>,
    /// By node: the share rounded so that all of them are all replicas.
    pub(crate) target: Vec<u32>,
    /// Zones that must hold as many replicas of every partition as one may.
    pub(crate) tight: Vec<u16>,
}

/// Nodes of each subnet of each zone.
type Tree = Vec<Vec<Vec<usize>>>;

impl Domains {
    pub(crate) fn new(members: &[Member], config: &Config) -> Self {
        let mut named: BTreeMap<_, BTreeMap<_, Vec<usize>>> = BTreeMap::new();
        for (node, member) in members.iter().enumerate() {
            named.entry(member.zone).or_default().entry(member.subnet).or_default().push(node);
        }
        let tree: Tree = named.into_values().map(|zone| zone.into_values().collect()).collect();
        let (mut zone, mut subnet) = (vec![0; members.len()], vec![0; members.len()]);
        let mut subnets = 0;
        for (z, nets) in tree.iter().enumerate() {
            for nodes in nets {
                for node in nodes {
                    zone[*node] = z as u16;
                    subnet[*node] = subnets;
                }
                subnets += 1;
            }
        }
        let replicas = replicas(members, config);
        let (zone_limit, subnet_limit) = limits(&tree, replicas);
        let weights: Vec<u64> = members.iter().map(|member| u64::from(member.weight.hundredths())).collect();
        let divide = |unit| {
            divide(&tree, &weights, replicas, (zone_limit, subnet_limit), u64::from(config.partitions) * unit)
        };
        let (share, _) = divide(FINE);
        let (target, zones) = divide(1);
        let full = |(z, load): (usize, &u64)| {
            (*load == u64::from(config.partitions) * zone_limit as u64).then_some(z as u16)
        };
        let tight = zones.iter().enumerate().filter_map(full).collect();
        let target = target.into_iter().map(|load| load as u32).collect();
        Self { zone, subnet, zone_limit, subnet_limit, share, target, tight }
    }
}

/// Copies there can be of each partition: as many as there are nodes, at most.
pub(crate) fn replicas(members: &[Member], config: &Config) -> usize {
    usize::from(config.replicas).min(members.len())
}

/// The smallest limits under which a partition finds a place: one a zone and one a subnet, if there are enough of them.
fn limits(tree: &Tree, replicas: usize) -> (usize, usize) {
    let nodes = |zone: &Vec<Vec<usize>>| zone.iter().map(Vec::len).sum::<usize>();
    let by_zone = |limit: usize| tree.iter().map(|zone| nodes(zone).min(limit)).sum::<usize>();
    let zone_limit = (1..replicas).find(|limit| by_zone(*limit) >= replicas).unwrap_or(replicas);
    let by_subnet = |limit: usize| tree.iter().map(|zone| room(zone, limit).min(zone_limit)).sum::<usize>();
    let subnet_limit = (1..replicas).find(|limit| by_subnet(*limit) >= replicas).unwrap_or(replicas);
    (zone_limit, subnet_limit)
}

fn room(zone: &[Vec<usize>], subnet_limit: usize) -> usize {
    zone.iter().map(|nodes| nodes.len().min(subnet_limit)).sum()
}

/// Divides all replicas among zones, each zone's among its subnets, each subnet's among its nodes. `one` is the whole
/// of one partition number's copies: nobody holds a partition more often than its limit.
fn divide(
    tree: &Tree,
    weights: &[u64],
    replicas: usize,
    (zone_limit, subnet_limit): (usize, usize),
    one: u64,
) -> (Vec<u64>, Vec<u64>) {
    let weight = |nodes: &[usize]| nodes.iter().map(|node| weights[*node]).sum::<u64>();
    let mut shares = vec![0; weights.len()];
    let of_zone = |zone: &Vec<Vec<usize>>| {
        let heavy = zone.iter().map(|nodes| weight(nodes)).sum();
        (heavy, one * room(zone, subnet_limit).min(zone_limit) as u64)
    };
    let zones = apportion(one * replicas as u64, &tree.iter().map(of_zone).collect::<Vec<_>>());
    for (zone, share) in tree.iter().zip(&zones) {
        let of_subnet = |nodes: &Vec<usize>| (weight(nodes), one * nodes.len().min(subnet_limit) as u64);
        let subnets = apportion(*share, &zone.iter().map(of_subnet).collect::<Vec<_>>());
        for (nodes, share) in zone.iter().zip(subnets) {
            let of_node = |node: &usize| (weights[*node], one);
            for (node, share) in
                nodes.iter().zip(apportion(share, &nodes.iter().map(of_node).collect::<Vec<_>>()))
            {
                shares[*node] = share;
            }
        }
    }
    (shares, zones)
}
