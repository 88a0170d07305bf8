//! What a network of machines does, told in virtual time.

use std::time::Duration;

use cs_gossip::wire::{Broadcast, Message, Way};
use cs_gossip::{Config, Lane, MessageId};

use crate::network::Network;

const SECOND: Duration = Duration::from_secs(1);

fn network(count: usize, seed: u64) -> Network {
    let mut network = Network::new(count, Config::default(), seed);
    network.join_all();
    network.run(10 * SECOND);
    network
}

/// Publishes one message from each of `count` random living nodes, a tenth of a second apart.
fn publish_some(network: &mut Network, count: usize, lane: Lane, bytes: usize) -> Vec<MessageId> {
    let ids = publish_every(network, SECOND / 10, count, lane, bytes);
    network.run(5 * SECOND);
    ids
}

fn publish_every(
    network: &mut Network,
    interval: Duration,
    count: usize,
    lane: Lane,
    bytes: usize,
) -> Vec<MessageId> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let place = network.below(network.nodes.len() as u64) as usize;
        if network.nodes[place].alive {
            ids.push(network.publish(place, lane, &vec![ids.len() as u8; bytes]));
            network.run(interval);
        }
    }
    ids
}

fn copies(network: &Network) -> (u64, u64) {
    let totals = network.nodes.iter().map(|node| node.gossip.counters());
    totals.fold((0, 0), |(delivered, duplicates), counters| {
        (delivered + counters.delivered, duplicates + counters.duplicates)
    })
}

#[test]
fn small_networks_form_a_full_mesh_and_every_lane_reaches_everyone() {
    for count in 2..=5 {
        let mut network = network(count, 7);
        for node in &network.nodes {
            assert_eq!(node.gossip.neighbours().count(), count - 1, "{count} nodes");
        }
        for lane in [Lane::Control, Lane::Urgent, Lane::Normal, Lane::Bulk] {
            for bytes in [0, 100, 20_000] {
                let id = network.publish(count - 1, lane, &vec![1; bytes]);
                network.run(SECOND);
                assert_eq!(network.reached(&id), count - 1, "{lane:?} {bytes} among {count}");
            }
        }
    }
}

#[test]
fn five_hundred_nodes_get_everything_at_little_more_than_one_copy_each() {
    let mut network = network(500, 11);
    assert_eq!(network.components(), [500]);
    publish_some(&mut network, 50, Lane::Normal, 100);
    let before = copies(&network);
    let mut delays = Vec::new();
    for _ in 0..20 {
        let published_at = network.now;
        let id = publish_some(&mut network, 1, Lane::Normal, 100)[0];
        assert_eq!(network.reached(&id), 499);
        let arrivals = network.nodes.iter().filter_map(|node| node.delivered.get(&id));
        delays.extend(arrivals.map(|(at, _)| *at - published_at));
    }
    let after = copies(&network);
    let redundancy = (after.1 - before.1) as f64 / (after.0 - before.0) as f64;
    delays.sort_unstable();
    let (median, late) = (delays[delays.len() / 2], delays[delays.len() * 99 / 100]);
    println!("redundancy {redundancy:.3}, delay {median:?}, p99 {late:?}");
    assert!(redundancy < 0.1, "{redundancy}");
    assert!(median < SECOND / 2 && late < SECOND * 3 / 2, "{median:?} {late:?}");
}

/// GOS-9
#[test]
fn urgent_messages_take_the_shortest_way() {
    let mut network = network(200, 12);
    let ids = publish_some(&mut network, 10, Lane::Urgent, 100);
    for id in &ids {
        assert_eq!(network.reached(id), 199);
        let hops_max =
            network.nodes.iter().filter_map(|node| node.delivered.get(id)).map(|(_, hops)| *hops).max();
        assert!(hops_max <= Some(7), "{hops_max:?}");
    }
}

/// GOS-9
#[test]
fn bulk_is_pulled_once_by_each() {
    let mut network = network(100, 13);
    let before = copies(&network);
    let ids = publish_some(&mut network, 10, Lane::Bulk, 50_000);
    let after = copies(&network);
    for id in &ids {
        assert_eq!(network.reached(id), 99);
    }
    assert_eq!((after.0 - before.0, after.1 - before.1), (990, 0));
}

#[test]
fn a_third_dies_at_once_and_the_rest_goes_on() {
    let mut network = network(300, 14);
    publish_some(&mut network, 20, Lane::Normal, 100);
    for place in (0..300).filter(|place| place % 3 == 1) {
        network.kill(place);
    }
    let during = publish_some(&mut network, 10, Lane::Normal, 100);
    network.run(20 * SECOND);
    assert_eq!(network.components(), [200]);
    let reached: usize = during.iter().map(|id| network.reached(id)).sum();
    println!("during: {reached} of 1990");
    assert!(reached >= 1970, "{reached} of 1990");
    let after = publish_some(&mut network, 10, Lane::Normal, 100);
    assert!(after.iter().all(|id| network.reached(id) == 199));
}

/// GOS-4 and GOS-6: long before the transport notices.
#[test]
fn four_of_five_die_and_four_seconds_later_the_rest_is_one_again() {
    for seed in [21, 22] {
        let mut network = Network::new(300, Config::default(), seed);
        network.delay_us = 37_000;
        network.detection = 10 * SECOND;
        network.join_all();
        network.run(10 * SECOND);
        publish_some(&mut network, 20, Lane::Normal, 100);
        for place in (0..300).filter(|place| place % 5 != 0) {
            network.kill(place);
        }
        publish_every(&mut network, SECOND / 2, 8, Lane::Normal, 100);
        assert_eq!(network.components(), [60]);
        let ids = publish_every(&mut network, SECOND / 2, 4, Lane::Normal, 100);
        let reached: Vec<usize> = ids.iter().map(|id| network.reached(id)).collect();
        println!("reached within 2, 1.5, 1 and 0.5 s: {reached:?} of 59");
        assert!(reached[0] == 59 && reached[1] >= 58, "{reached:?}");
    }
}

#[test]
fn lost_payloads_and_announcements_are_made_up_for() {
    let mut network = network(200, 16);
    network.loss = 50;
    publish_some(&mut network, 20, Lane::Normal, 100);
    let ids = publish_some(&mut network, 40, Lane::Normal, 100);
    let reached: usize = ids.iter().map(|id| network.reached(id)).sum();
    println!("{reached} of {}", 40 * 199);
    assert!(reached * 1000 >= 40 * 199 * 995, "{reached} of {}", 40 * 199);
}

/// GOS-4
#[test]
fn two_halves_that_were_apart_for_two_minutes_find_together_again() {
    for count in [4, 100] {
        let mut network = network(count, 17);
        network.split(count / 2);
        network.run(120 * SECOND);
        let lonely = publish_some(&mut network, 1, Lane::Normal, 10);
        assert!(network.reached(&lonely[0]) < count / 2);
        network.split_at = None;
        network.run(120 * SECOND);
        assert_eq!(network.components(), [count]);
        let ids = publish_some(&mut network, 10, Lane::Normal, 100);
        assert!(ids.iter().all(|id| network.reached(id) == count - 1));
    }
}

/// GOS-5
#[test]
fn those_who_leave_hand_their_neighbours_over() {
    let mut network = network(60, 18);
    for place in (0..60).filter(|place| place % 2 == 0) {
        network.act(place, |gossip, now| gossip.leave(now));
        assert_eq!(network.nodes[place].gossip.neighbours().count(), 0);
        network.nodes[place].alive = false;
        network.run(SECOND / 5);
    }
    network.run(5 * SECOND);
    assert_eq!(network.components(), [30]);
    assert_eq!(network.alive(), 30);
    let ids = publish_some(&mut network, 5, Lane::Normal, 100);
    assert!(ids.iter().all(|id| network.reached(id) == 29));
}

/// GOS-16
#[test]
fn floods_storms_lies_and_rubbish_end_every_neighbourhood_within_thirty_seconds() {
    let mut network = network(60, 20);
    publish_some(&mut network, 10, Lane::Normal, 100);
    let old = Message::Broadcast(Broadcast {
        origin: network.nodes[9].id,
        nonce: 1,
        lane: Lane::Normal,
        hops: 0,
        way: Way::Pushed,
        lifetime_ms: 0,
        payload: vec![1; 50],
    });
    network.hostile = (10..14).collect();
    let before = [10, 11, 12, 13].map(|place| network.friends(place));
    for turn in 0..600_u32 {
        let lie = std::iter::repeat_n(turn.to_le_bytes(), 4).flatten().collect::<Vec<u8>>();
        let lie = MessageId::from_bytes(lie.try_into().unwrap());
        (0..40).for_each(|token| network.say_all(10, &Message::Ping { token }.to_bytes()));
        (0..20).for_each(|_| network.say_all(11, &old.to_bytes()));
        network.say_all(12, &Message::Announce { pull: false, ids: vec![(lie, 0)] }.to_bytes());
        network.say_all(13, &[0xee; 20]);
        network.run(SECOND / 20);
    }
    for (place, before) in (10..14).zip(before) {
        // Who is sent away finds new ones to plague, for as long each.
        assert!(!before.is_empty() && network.friends(place).is_disjoint(&before), "{place}");
    }
    let shunned = |node: &crate::network::Node| node.gossip.counters().shunned;
    assert!(network.nodes.iter().map(shunned).sum::<u64>() >= 4);
    let honest: Vec<usize> = (0..60)
        .filter(|place| !network.hostile.contains(place) && !network.friends(*place).is_empty())
        .collect();
    assert_eq!(honest.len(), 56, "nobody else is blamed");
}

#[test]
fn a_quiet_network_sends_little() {
    let mut network = network(50, 19);
    let sent =
        |network: &Network| network.nodes.iter().map(|node| node.gossip.counters().bytes_sent).sum::<u64>();
    let before = sent(&network);
    network.run(100 * SECOND);
    let rate = (sent(&network) - before) / 100 / 50;
    println!("{rate} bytes a second and node");
    assert!(rate < 44, "{rate}");
}
