//! Hubs and leaves: a few step by step, and some hundreds that sort themselves out.

use std::time::Duration;

use cs_shard::wire::{Attach, DecodeError, Hint, Probe, Reply, RolesMessage};
use cs_shard::{
    Facts, Role, Roles, RolesConfig, RolesConfigError, RolesEvent, RolesFault, RolesInput, RolesOutput,
    Subnet, Zone,
};
use proptest::prelude::*;

use crate::id;
use crate::sim::roles::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// SHARD-21 to SHARD-24, SHARD-26: hundreds of nodes with sessions of four hours end up with hubs near them, few change their
/// role, and when half of the hubs die at once nobody is without one for more than one probe interval.
#[test]
fn some_hundred_nodes_keep_their_hubs_and_survive_the_death_of_half_of_them() {
    let mut world = World::new(400, 4.0, 1);
    world.pass(MINUTE * 20);
    let seen = world.watch(MINUTE * 15);
    assert!(seen.stranded_s[1] <= 30.0, "{seen:?}");
    assert!(seen.flips_per_node_hour < 0.5 && seen.rtt_ratio[0] < 1.5, "{seen:?}");
    assert_eq!(seen.roots, 1, "{seen:?}");
    assert!(world.kill_half_of_the_hubs() > 0);
    let seen = world.watch(MINUTE * 3);
    assert!(seen.stranded > 0 && seen.stranded_s[1] <= 30.0, "{seen:?}");
    let [none, ..] = world.attachments();
    assert_eq!(none, 0);
}

/// SHARD-22: a hub measures at once whoever makes itself known as a hub, and only then names it.
#[test]
fn a_hub_that_probes_another_is_probed_back_and_named() {
    let mut few = Few::new(1, |_| ());
    few.pass(MINUTE);
    let probe = |nonce, level, wants_hubs| {
        let zone = Zone(9);
        let (attach, is_stranded, is_eligible) = (Attach::None, false, false);
        RolesMessage::Probe(Probe { nonce, attach, level, is_stranded, wants_hubs, is_eligible, zone })
    };
    let said = |few: &mut Few, from: usize, message: RolesMessage| {
        few.hand(0, from, &message).unwrap();
        let outputs = std::iter::from_fn(|| few.nodes[0].poll_output());
        let sent = outputs.filter_map(|output| match output {
            RolesOutput::Send { to, bytes } => Some((to, RolesMessage::from_bytes(&bytes).unwrap())),
            RolesOutput::Event(_) => None,
        });
        sent.collect::<Vec<_>>()
    };
    let names = |sent: &[(cs_identity::NodeId, RolesMessage)]| match &sent[0].1 {
        RolesMessage::Reply(reply) => reply.hubs.iter().map(|hint| hint.id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(&mut few, 3, probe(1, 0, true)).len(), 1, "a leaf is not probed back");
    let sent = said(&mut few, 5, probe(2, 1, false));
    let [(_, RolesMessage::Reply(_)), (to, RolesMessage::Probe(back))] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(*to, id(5));
    assert_eq!(said(&mut few, 5, probe(3, 1, false)).len(), 1, "once is enough");
    assert_eq!(names(&said(&mut few, 3, probe(4, 0, true))), []);
    let hubs = Vec::new();
    let (nonce, zone, lead, root) = (back.nonce, Zone(9), None, None);
    let reply = Reply { nonce, level: 1, is_accepted: false, leaves: 0, zone, hubs, lead, root };
    said(&mut few, 5, RolesMessage::Reply(reply));
    assert_eq!(names(&said(&mut few, 3, probe(5, 0, true))), [id(5)]);
}

/// What the machines below are: hub 0, and leaves.
struct Few {
    nodes: Vec<Roles>,
    now: Duration,
    events: Vec<(usize, RolesEvent)>,
}

const FIT: Facts = Facts {
    uptime: Duration::from_secs(86_400),
    bandwidth_p10: 4 << 20,
    headroom_percent: 90,
    errors_permille: 0,
};

impl Few {
    fn new(leaves: usize, change: impl Fn(&mut RolesConfig)) -> Self {
        let build = |number: usize| {
            let initial = if number == 0 { Role::Hub } else { Role::Leaf };
            let mut config = RolesConfig { initial, zone: Zone(number as u64), ..RolesConfig::default() };
            change(&mut config);
            let mut roles = Roles::new(config, id(number), Duration::ZERO, [number as u8; 32]).unwrap();
            roles.set_facts(Duration::ZERO, FIT);
            if number > 0 {
                roles.learn(Duration::ZERO, &[id(0)]);
            }
            roles
        };
        Self { nodes: (0..=leaves).map(build).collect(), now: Duration::ZERO, events: Vec::new() }
    }

    /// Everything arrives 20 ms after it was sent.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            let mut sent = Vec::new();
            for from in 0..self.nodes.len() {
                while let Some(output) = self.nodes[from].poll_output() {
                    match output {
                        RolesOutput::Send { to, bytes } => sent.push((from, to, bytes)),
                        RolesOutput::Event(event) => self.events.push((from, event)),
                    }
                }
            }
            let next = self.nodes.iter().filter_map(Roles::poll_timeout).min().unwrap_or(end);
            self.now = if sent.is_empty() { next.clamp(self.now, end) } else { self.now + SECOND / 50 };
            for (from, to, bytes) in sent {
                let to = (0..self.nodes.len()).find(|number| id(*number) == to);
                let Some(to) = to else { continue };
                let input =
                    RolesInput::Message { from: id(from), subnet: Subnet(from as u64), bytes: &bytes };
                self.nodes[to].handle_input(self.now, input).unwrap();
            }
            for node in &mut self.nodes {
                if node.poll_timeout().is_some_and(|at| at <= self.now) {
                    node.handle_timeout(self.now);
                }
            }
        }
    }

    fn hand(&mut self, to: usize, from: usize, message: &RolesMessage) -> Result<(), RolesFault> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let input = RolesInput::Message { from: id(from), subnet: Subnet(from as u64), bytes: &bytes };
        self.nodes[to].handle_input(self.now, input)
    }
}

/// SHARD-23: a full hub takes those that have no other one, until there is no room at all.
#[test]
fn a_full_hub_takes_only_who_has_no_other() {
    let mut few = Few::new(6, |config| {
        (config.merge_at, config.split_at, config.capacity, config.emergency_capacity) = (1, 2, 2, 4);
    });
    few.pass(MINUTE);
    assert_eq!(few.nodes[0].leaves(), 4);
    let held = |few: &Few| few.nodes[1..].iter().filter(|leaf| leaf.home() == Some(id(0))).count();
    assert_eq!(held(&few), 4);
    assert!(
        few.events.iter().any(|(_, event)| *event == RolesEvent::Isolated),
        "two find nobody, and say so"
    );
    let children = few
        .events
        .iter()
        .filter(|(node, event)| *node == 0 && matches!(event, RolesEvent::Child { level: 0, .. }));
    assert_eq!(children.count(), 4);
}

/// SHARD-20, SHARD-24: the crowded hub draws a leaf that is fit, long known, and was dialled by strangers; nobody before that.
#[test]
fn a_crowded_hub_makes_one_of_its_proven_leaves_a_hub() {
    let crowded =
        |config: &mut RolesConfig| (config.merge_at, config.split_at, config.capacity) = (1, 6, 100);
    let mut few = Few::new(8, crowded);
    few.pass(MINUTE * 19);
    assert!(few.nodes[1..].iter().all(|leaf| leaf.role() == Role::Leaf), "not before they proved themselves");
    few.pass(MINUTE * 30);
    let hubs = few.nodes.iter().filter(|node| node.role() == Role::Hub).count();
    assert!((2..=4).contains(&hubs), "{hubs}");
    assert!(few.nodes[0].counters().invited >= 1);
    let mut weak = Few::new(8, crowded);
    weak.nodes.iter_mut().skip(1).for_each(|leaf| {
        leaf.set_facts(Duration::ZERO, Facts { uptime: MINUTE, bandwidth_p10: 1 << 20, ..FIT })
    });
    weak.pass(MINUTE * 50);
    assert!(weak.nodes[1..].iter().all(|leaf| leaf.role() == Role::Leaf), "nobody is fit");
}

/// SHARD-24: a hub whose score falls is one for five more minutes; one that goes to sleep sends its leaves away at once.
#[test]
fn hubs_stop_when_they_are_unfit_for_long_or_asleep() {
    let mut few = Few::new(3, |config| config.merge_at = 0);
    few.pass(MINUTE);
    few.nodes[0].set_facts(MINUTE, Facts::default());
    few.pass(MINUTE * 4);
    assert_eq!(few.nodes[0].role(), Role::Hub);
    few.pass(MINUTE * 3);
    assert_eq!((few.nodes[0].role(), few.nodes[1].home()), (Role::Leaf, None));

    let mut few = Few::new(3, |config| config.merge_at = 0);
    few.pass(MINUTE);
    assert_eq!(few.nodes[1].home(), Some(id(0)));
    few.nodes[0].suspend(few.now);
    few.pass(SECOND);
    assert_eq!((few.nodes[1].home(), few.nodes[0].place()), (None, (0, None)));
}

/// SHARD-21: a hub that falls silent is given up within a probe interval, and the transport's word is enough.
#[test]
fn a_silent_hub_is_given_up_within_a_probe_interval() {
    let mut few = Few::new(1, |_| ());
    few.pass(MINUTE);
    assert_eq!(few.nodes[1].place(), (0, Some(id(0))));
    few.nodes.truncate(1);
    let mut few = Few { nodes: vec![few.nodes.remove(0)], ..few };
    assert_eq!(few.nodes[0].leaves(), 1);
    few.pass(MINUTE * 2);
    assert_eq!(few.nodes[0].leaves(), 0, "forgotten after 2.5 intervals");

    let mut alone = Few::new(1, |_| ());
    alone.pass(MINUTE);
    let began = alone.now;
    let mut leaf = alone.nodes.remove(1);
    while leaf.home().is_some() {
        let at = leaf.poll_timeout().unwrap();
        assert!(at <= began + SECOND * 30, "still attached to a dead hub");
        leaf.handle_timeout(at);
    }

    let mut told = Few::new(1, |_| ());
    told.pass(MINUTE);
    let gone = RolesInput::Unreachable { peer: id(0) };
    told.nodes[1].handle_input(told.now, gone).unwrap();
    assert_eq!(told.nodes[1].home(), None);
}

/// SHARD-25: who may say what.
#[test]
fn strangers_are_blamed_by_name() {
    let mut few = Few::new(2, |_| ());
    few.pass(MINUTE);
    let reply = Reply {
        nonce: 1,
        level: 1,
        is_accepted: true,
        leaves: 0,
        zone: Zone(1),
        hubs: Vec::new(),
        lead: None,
        root: None,
    };
    assert_eq!(few.hand(1, 0, &RolesMessage::Reply(reply)), Err(RolesFault::Unasked));
    assert_eq!(few.hand(1, 0, &RolesMessage::Vouch { nonce: 1 }), Err(RolesFault::Unasked));
    assert_eq!(few.hand(1, 2, &RolesMessage::Leaving { hubs: Vec::new() }), Err(RolesFault::NotMyHub));
    assert_eq!(few.hand(1, 2, &RolesMessage::Invite), Err(RolesFault::NotMyHub));
    assert_eq!(few.hand(1, 2, &RolesMessage::Dial { candidate: id(5), nonce: 1 }), Err(RolesFault::NotMyHub));
    assert_eq!(few.hand(0, 9, &RolesMessage::DialMe { nonce: 1 }), Err(RolesFault::NotMyLeaf));
    assert_eq!(few.hand(1, 0, &RolesMessage::Invite), Ok(()));
    assert_eq!(few.nodes[1].role(), Role::Leaf, "it is not fit yet");
}

/// SHARD-22: a flood of false hubs displaces what was only heard of.
#[test]
fn hubs_that_were_reached_outlast_those_that_somebody_named() {
    let mut few = Few::new(1, |_| ());
    few.pass(MINUTE);
    let names: Vec<_> = (100..400).map(id).collect();
    few.nodes[1].learn(few.now, &names);
    few.pass(MINUTE * 5);
    assert_eq!(few.nodes[1].home(), Some(id(0)));
}

/// SHARD-20, SHARD-21, SHARD-23: each setting that cannot work is named.
#[test]
fn roles_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut RolesConfig)| {
        let mut config = RolesConfig::default();
        change(&mut config);
        Roles::new(config, id(0), SECOND, [0; 32]).err()
    };
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|config| config.explore_interval = SECOND / 2), Some(RolesConfigError::Intervals));
    assert_eq!(refused(|config| config.probe_limit = SECOND * 4), Some(RolesConfigError::ProbeLimit));
    assert_eq!(refused(|config| config.attachments = 4), Some(RolesConfigError::Attachments));
    assert_eq!(refused(|config| config.merge_at = 100), Some(RolesConfigError::Capacities));
    assert_eq!(refused(|config| config.threshold = 980), Some(RolesConfigError::Threshold));
}

fn hints() -> impl Strategy<Value = Vec<Hint>> {
    prop::collection::btree_map(0usize..40, any::<u64>(), 0..=6).prop_map(|hubs| {
        let mut hints: Vec<Hint> =
            hubs.into_iter().map(|(number, zone)| Hint { id: id(number), zone: Zone(zone) }).collect();
        hints.sort_by_key(|hint| hint.id);
        hints
    })
}

fn message() -> impl Strategy<Value = RolesMessage> {
    let attach = prop_oneof![Just(Attach::None), Just(Attach::Backup), Just(Attach::Home)];
    let probe = (any::<u32>(), attach, 0u8..4, any::<[bool; 3]>(), any::<u64>()).prop_map(
        |(nonce, attach, level, flags, zone)| {
            let [is_stranded, wants_hubs, is_eligible] = flags;
            RolesMessage::Probe(Probe {
                nonce,
                attach,
                level,
                is_stranded,
                wants_hubs,
                is_eligible,
                zone: Zone(zone),
            })
        },
    );
    let named = prop::option::of((0usize..40).prop_map(id));
    let reply = (any::<u32>(), 0u8..4, any::<bool>(), any::<u16>(), hints(), named.clone(), named);
    let reply = reply.prop_map(|(nonce, level, is_accepted, leaves, hubs, lead, root)| {
        let zone = Zone(u64::from(leaves));
        RolesMessage::Reply(Reply { nonce, level, is_accepted, leaves, zone, hubs, lead, root })
    });
    prop_oneof![
        probe,
        reply,
        hints().prop_map(|hubs| RolesMessage::Leaving { hubs }),
        Just(RolesMessage::Detach),
        Just(RolesMessage::Invite),
        any::<u64>().prop_map(|nonce| RolesMessage::DialMe { nonce }),
        any::<u64>().prop_map(|nonce| RolesMessage::Dial { candidate: id(3), nonce }),
        any::<u64>().prop_map(|nonce| RolesMessage::Vouch { nonce }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// SHARD-25: the four laws of an encoding.
    #[test]
    fn a_message_about_roles_has_one_encoding(
        message in message(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1u8..,
    ) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        prop_assert!(bytes.len() <= 350);
        prop_assert_eq!(RolesMessage::from_bytes(&bytes), Ok(message));
        prop_assert_eq!(RolesMessage::from_bytes(&bytes[..cut.index(bytes.len())]), Err(DecodeError::Truncated));
        let mut altered = bytes.clone();
        altered[at.index(bytes.len())] ^= flip;
        if let Ok(other) = RolesMessage::from_bytes(&altered) {
            let mut again = Vec::new();
            other.encode(&mut again);
            prop_assert_eq!(again, altered);
        }
        bytes.push(0);
        prop_assert_eq!(RolesMessage::from_bytes(&bytes), Err(DecodeError::Trailing));
    }
}
