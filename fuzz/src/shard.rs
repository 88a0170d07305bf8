//! Decoders of cs-shard, and the machines behind them.

use std::collections::BTreeMap;
use std::time::Duration;

use cs_shard::wire::{Attach, Hint, Probe, Reply, Report, RolesMessage, TreeMessage};
use cs_shard::{
    Config, CountMin, HyperLogLog, Limits, Member, PartitionMap, Quantiles, Role, Roles, RolesConfig,
    RolesInput, Subnet, Summary, Top, Tree, TreeConfig, TreeInput, Weight, Zone,
};

use crate::identity::node;
use crate::laws::{bytes_of, join, one_encoding, split};

/// A partition map.
pub fn map(bytes: &[u8]) -> bool {
    one_encoding(bytes, PartitionMap::from_bytes, |map| bytes_of(|out| map.encode(out)))
}

/// A summary; what is accepted merges and answers.
pub fn summary(bytes: &[u8]) -> bool {
    let is_accepted = one_encoding(bytes, Summary::from_bytes, |summary| bytes_of(|out| summary.encode(out)));
    if let Ok(mut summary) = Summary::from_bytes(bytes) {
        let other = summary.clone();
        summary.merge(&other);
        summary.distinct.values().for_each(|sketch| assert!(sketch.estimate() >= 0.0));
        summary
            .quantiles
            .values()
            .for_each(|sketch| assert_eq!(sketch.quantile(0.5).is_none(), sketch.count() == 0));
        summary.top.values().for_each(|top| assert!(top.error() <= top.total()));
    }
    is_accepted
}

/// A message of the aggregation tree.
pub fn tree_message(bytes: &[u8]) -> bool {
    one_encoding(bytes, TreeMessage::from_bytes, |message| bytes_of(|out| message.encode(out)))
}

/// A message about roles.
pub fn roles_message(bytes: &[u8]) -> bool {
    one_encoding(bytes, RolesMessage::from_bytes, |message| bytes_of(|out| message.encode(out)))
}

/// Messages at a hub of the tree, from its parent, its child and a stranger.
pub fn tree(bytes: &[u8]) -> bool {
    let config = TreeConfig { limits: limits(), ..TreeConfig::default() };
    let mut tree = Tree::new(config, node(1), Duration::ZERO, [7; 32]).expect("the default is valid");
    tree.set_place(Duration::ZERO, 1, Some(node(2)));
    tree.admit(Duration::ZERO, node(3), 0);
    let mut is_accepted = false;
    for (turn, message) in (1..).zip(split(bytes).into_iter().take(64)) {
        let Some((&choice, bytes)) = message.split_first() else { continue };
        let now = Duration::from_secs(turn * 4);
        is_accepted |=
            tree.handle_input(now, TreeInput::Message { from: node(2 + choice % 3), bytes }).is_ok();
        tree.handle_timeout(now);
        assert!(
            tree.poll_timeout().is_none_or(|at| at > now),
            "a deadline is later than the time-out that was run"
        );
        while tree.poll_output().is_some() {}
    }
    is_accepted
}

/// Messages at a hub, from other hubs and leaves.
pub fn roles(bytes: &[u8]) -> bool {
    let config = RolesConfig { initial: Role::Hub, ..RolesConfig::default() };
    let mut roles = Roles::new(config, node(1), Duration::ZERO, [7; 32]).expect("the default is valid");
    roles.learn(Duration::ZERO, &[node(2), node(3)]);
    let mut is_accepted = false;
    for (turn, message) in (1..).zip(split(bytes).into_iter().take(64)) {
        let Some((&choice, bytes)) = message.split_first() else { continue };
        let now = Duration::from_secs(turn * 4);
        let (from, subnet) = (node(2 + choice % 4), Subnet(u64::from(choice)));
        is_accepted |= roles.handle_input(now, RolesInput::Message { from, subnet, bytes }).is_ok();
        roles.handle_timeout(now);
        assert!(
            roles.poll_timeout().is_none_or(|at| at > now),
            "a deadline is later than the time-out that was run"
        );
        while roles.poll_output().is_some() {}
    }
    is_accepted
}

fn limits() -> Limits {
    let most = BTreeMap::from([(7, 1 << 20)]);
    Limits {
        sums: most.clone(),
        distinct: most.clone(),
        quantiles: most.clone(),
        counts: most.clone(),
        top: most,
    }
}

fn whole_summary() -> Summary {
    let (mut distinct, mut quantiles) = (HyperLogLog::default(), Quantiles::default());
    let (mut counts, mut top) = (CountMin::default(), Top::default());
    for item in 0..40u64 {
        distinct.insert(&item.to_be_bytes());
        quantiles.insert(item * item * 977);
        counts.insert(&item.to_be_bytes(), item + 1);
        top.insert(&item.to_be_bytes(), 41 - item);
    }
    Summary {
        nodes: 1,
        sums: BTreeMap::from([(7, 99)]),
        distinct: BTreeMap::from([(7, distinct)]),
        quantiles: BTreeMap::from([(7, quantiles)]),
        counts: BTreeMap::from([(7, counts)]),
        top: BTreeMap::from([(7, top)]),
    }
}

/// Maps of one and of five nodes.
pub fn map_seeds() -> Vec<Vec<u8>> {
    let member = |number: u8| Member {
        id: node(number),
        weight: Weight::ONE,
        zone: Zone(u64::from(number) % 3),
        subnet: Subnet(u64::from(number)),
    };
    let map = |count: u8| {
        let config = Config { partitions: 16, ..Config::default() };
        let members: Vec<Member> = (1..=count).map(member).collect();
        let map = PartitionMap::new(config, &members).expect("there are members");
        bytes_of(|out| map.encode(out))
    };
    vec![map(1), map(5)]
}

/// An empty summary and one of every kind.
pub fn summary_seeds() -> Vec<Vec<u8>> {
    [Summary::of_one(), whole_summary()].map(|summary| bytes_of(|out| summary.encode(out))).into()
}

/// One of each kind.
pub fn tree_message_seeds() -> Vec<Vec<u8>> {
    let mut tree =
        Tree::new(TreeConfig::default(), node(1), Duration::ZERO, [7; 32]).expect("the default is valid");
    tree.set_local(Duration::ZERO, whole_summary());
    let report = Report { epoch: 1, version: 2, age_ms: 3, summary: whole_summary() };
    let messages = [
        TreeMessage::Report(report),
        TreeMessage::Still { epoch: 1, version: 2, age_ms: 300 },
        TreeMessage::Bye { epoch: 1, version: 2 },
        TreeMessage::Ask,
        TreeMessage::Digest(tree.view(Duration::ZERO)),
    ];
    messages.map(|message| bytes_of(|out| message.encode(out))).into()
}

/// One of each kind.
pub fn roles_message_seeds() -> Vec<Vec<u8>> {
    let mut hubs: Vec<Hint> =
        (4..8).map(|number| Hint { id: node(number), zone: Zone(u64::from(number)) }).collect();
    hubs.sort_by_key(|hint| hint.id);
    let probe = Probe {
        nonce: 5,
        attach: Attach::Home,
        level: 0,
        is_stranded: true,
        wants_hubs: true,
        is_eligible: false,
        zone: Zone(3),
    };
    let reply = Reply {
        nonce: 5,
        level: 2,
        is_accepted: true,
        leaves: 90,
        zone: Zone(4),
        hubs: hubs.clone(),
        lead: Some(node(9)),
        root: None,
    };
    let messages = [
        RolesMessage::Probe(probe),
        RolesMessage::Reply(reply),
        RolesMessage::Leaving { hubs },
        RolesMessage::Detach,
        RolesMessage::Invite,
        RolesMessage::DialMe { nonce: 6 },
        RolesMessage::Dial { candidate: node(2), nonce: 6 },
        RolesMessage::Vouch { nonce: 6 },
    ];
    messages.map(|message| bytes_of(|out| message.encode(out))).into()
}

/// All messages of the tree, from the child and from the parent.
pub fn tree_seeds() -> Vec<Vec<u8>> {
    [0, 1].map(|choice| join(&from(choice, tree_message_seeds()))).into()
}

/// All messages about roles, from a leaf.
pub fn roles_seeds() -> Vec<Vec<u8>> {
    vec![join(&from(0, roles_message_seeds()))]
}

fn from(choice: u8, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.into_iter().map(|message| [vec![choice], message].concat()).collect()
}
