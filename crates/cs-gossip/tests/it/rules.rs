//! Rules of PROTOCOL.md that one machine can show.

use std::time::Duration;

use cs_gossip::wire::{Ask, Broadcast, DecodeError, MAX_CHUNK, Message, VERSION, Way};
use cs_gossip::{Config, Event, Gossip, Input, Lane, MessageId, Output, PeerFault, Refused, Verdict};
use cs_identity::NodeId;

use crate::network::{EPOCH, node_id};

/// One machine, number 0, and what it says to peers 1, 2, 3, ..
struct Bench {
    now: Duration,
    gossip: Gossip,
    said: Vec<(NodeId, Message)>,
    events: Vec<Event>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let gossip = Gossip::new(config, node_id(0), EPOCH, [3; 32]).unwrap();
        Self { now: EPOCH, gossip, said: Vec::new(), events: Vec::new() }
    }

    /// With peers 1 to `count` as neighbours, and everything said so far forgotten.
    fn with_neighbours(config: Config, count: u32) -> Self {
        let mut bench = Self::new(config);
        for peer in 1..=count {
            bench.up(peer);
            bench.hear(peer, &Message::Neighbour { version: VERSION, ask: Ask::High }).unwrap();
        }
        assert_eq!(bench.gossip.neighbours().count(), count as usize);
        bench.pong_all();
        bench.said.clear();
        bench.events.clear();
        bench
    }

    fn up(&mut self, peer: u32) {
        self.gossip.handle_input(self.now, Input::PeerUp { peer: node_id(peer) }).unwrap();
        self.drain();
    }

    fn backlog(&mut self, peer: u32, bytes: usize) {
        self.gossip.handle_input(self.now, Input::Backlog { peer: node_id(peer), bytes }).unwrap();
        self.drain();
    }

    fn hear(&mut self, peer: u32, message: &Message) -> Result<(), PeerFault> {
        let input = Input::Message { from: node_id(peer), bytes: &message.to_bytes() };
        let result = self.gossip.handle_input(self.now, input);
        self.drain();
        result
    }

    /// Every peer answers every open ping, 40 ms later.
    fn pong_all(&mut self) {
        self.now += Duration::from_millis(40);
        for (peer, message) in std::mem::take(&mut self.said) {
            if let Message::Ping { token } = message {
                let bytes = Message::Pong { token }.to_bytes();
                self.gossip.handle_input(self.now, Input::Message { from: peer, bytes: &bytes }).unwrap();
            }
        }
        self.drain();
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.gossip.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.gossip.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.gossip.poll_output() {
            match output {
                Output::Send { to, bytes, .. } => self.said.push((to, Message::from_bytes(&bytes).unwrap())),
                Output::Event(event) => self.events.push(event),
                Output::Connect { .. } | Output::Disconnect { .. } => {}
            }
        }
    }

    /// What was said to a peer since the last look.
    fn said_to(&mut self, peer: u32) -> Vec<Message> {
        let peer = node_id(peer);
        let (here, rest) = std::mem::take(&mut self.said).into_iter().partition(|(to, _)| *to == peer);
        self.said = rest;
        let here: Vec<(NodeId, Message)> = here;
        here.into_iter().map(|(_, message)| message).collect()
    }

    fn delivered(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Deliver { .. })).count()
    }
}

fn broadcast(lane: Lane, payload: &[u8]) -> Broadcast {
    Broadcast {
        origin: node_id(99),
        nonce: 1,
        lane,
        hops: 3,
        way: Way::Pushed,
        lifetime_ms: 0,
        payload: payload.to_vec(),
    }
}

fn announce(id: MessageId, hops: u8) -> Message {
    Message::Announce { pull: false, ids: vec![(id, hops)] }
}

/// GOS-1
#[test]
fn unknown_kinds_and_version_zero_are_refused() {
    assert_eq!(Message::from_bytes(&[0x7f]), Err(DecodeError::Unknown));
    assert_eq!(Message::from_bytes(&[0x01, 0, 0]), Err(DecodeError::Unknown));
    let tomorrow = Message::Neighbour { version: VERSION + 1, ask: Ask::Low };
    let mut bench = Bench::new(Config::default());
    bench.up(1);
    bench.hear(1, &tomorrow).unwrap();
    assert_eq!(bench.gossip.neighbours().count(), 1);
}

/// GOS-2
#[test]
fn a_full_node_refuses_low_asks_and_makes_room_for_high_ones() {
    let mut bench = Bench::with_neighbours(Config::default(), 9);
    bench.up(10);
    bench.hear(10, &Message::Neighbour { version: VERSION, ask: Ask::Low }).unwrap();
    let reply = bench.said_to(10);
    assert!(matches!(&reply[..], [Message::NeighbourReply { accepted: false, peers }] if !peers.is_empty()));
    bench.hear(10, &Message::Neighbour { version: VERSION, ask: Ask::High }).unwrap();
    assert!(matches!(bench.said_to(10)[0], Message::NeighbourReply { accepted: true, .. }));
    assert_eq!(bench.gossip.neighbours().count(), 9);
    let sent_away =
        bench.said.iter().filter(|(_, said)| matches!(said, Message::Disconnect { leaving: false, .. }));
    assert_eq!(sent_away.count(), 1);
}

/// GOS-3
#[test]
fn a_join_is_passed_on_to_all_neighbours_and_a_second_one_at_once_is_a_fault() {
    let mut bench = Bench::with_neighbours(Config::default(), 6);
    bench.up(7);
    let join = Message::Neighbour { version: VERSION, ask: Ask::Join };
    bench.hear(7, &join).unwrap();
    for peer in 1..=6 {
        let walk = Message::ForwardJoin { joiner: node_id(7), ttl: 6 };
        assert!(bench.said_to(peer).contains(&walk));
    }
    assert_eq!(bench.hear(7, &join), Err(PeerFault::TooMuch));
    bench.hear(1, &Message::ForwardJoin { joiner: node_id(20), ttl: 4 }).unwrap();
    let onward =
        |(_, said): &(NodeId, Message)| *said == Message::ForwardJoin { joiner: node_id(20), ttl: 3 };
    assert_eq!(bench.said.iter().filter(|said| onward(said)).count(), 1);
}

/// GOS-4
#[test]
fn a_shuffle_is_answered_with_other_peers_and_never_too_often() {
    let mut bench = Bench::with_neighbours(Config::default(), 4);
    let mut peers: Vec<NodeId> = (30..38).map(node_id).collect();
    peers.sort();
    bench.hear(1, &Message::Shuffle { peers: peers.clone() }).unwrap();
    let answer = bench.said_to(1);
    assert!(matches!(&answer[..], [Message::ShuffleReply { peers }] if !peers.contains(&node_id(1))));
    assert!(peers.iter().all(|peer| bench.gossip.known_peers().any(|known| known == *peer)));
    assert_eq!(bench.hear(1, &Message::Shuffle { peers }), Err(PeerFault::TooMuch));
}

/// GOS-6
#[test]
fn a_silent_neighbour_is_dropped_unless_another_vouches_for_it() {
    for vouched in [false, true] {
        let mut bench = Bench::with_neighbours(Config::default(), 3);
        let mut asked_others = false;
        for _ in 0..200 {
            bench.wait(Duration::from_millis(50));
            for (peer, message) in std::mem::take(&mut bench.said) {
                let answer = match message {
                    Message::Ping { token } if peer != node_id(1) => Message::Pong { token },
                    Message::PingFor { target } if vouched => Message::Alive { target },
                    _ => {
                        asked_others |= matches!(message, Message::PingFor { .. });
                        continue;
                    }
                };
                asked_others |= matches!(answer, Message::Alive { .. });
                let input = Input::Message { from: peer, bytes: &answer.to_bytes() };
                bench.gossip.handle_input(bench.now, input).unwrap();
            }
        }
        assert!(asked_others);
        assert_eq!(bench.gossip.neighbours().any(|peer| peer == node_id(1)), vouched);
        assert!(bench.gossip.neighbours().any(|peer| peer == node_id(2)));
    }
}

/// GOS-6
#[test]
fn a_helper_asks_once_and_passes_the_sign_of_life_on() {
    let mut bench = Bench::with_neighbours(Config::default(), 3);
    bench.hear(1, &Message::PingFor { target: node_id(2) }).unwrap();
    bench.hear(1, &Message::PingFor { target: node_id(2) }).unwrap();
    let asked = bench.said_to(2);
    let [Message::Ping { token }] = asked[..] else { panic!("{asked:?}") };
    bench.hear(2, &Message::Pong { token }).unwrap();
    assert_eq!(bench.said_to(1), [Message::Alive { target: node_id(2) }]);
}

/// GOS-7
#[test]
fn an_id_names_publisher_nonce_lane_and_payload_and_not_the_way() {
    let one = broadcast(Lane::Normal, b"x");
    let others = [
        Broadcast { origin: node_id(98), ..one.clone() },
        Broadcast { nonce: 2, ..one.clone() },
        Broadcast { lane: Lane::Urgent, ..one.clone() },
        Broadcast { payload: b"y".to_vec(), ..one.clone() },
    ];
    assert!(others.iter().all(|other| other.id() != one.id()));
    assert_eq!(Broadcast { hops: 9, way: Way::Pulled, ..one.clone() }.id(), one.id());
}

/// GOS-8: what came long ago is still known.
#[test]
fn a_duplicate_is_never_delivered_again_however_old() {
    let mut bench = Bench::with_neighbours(Config::default(), 1);
    let nth = |nonce| Message::Broadcast(Broadcast { nonce, ..broadcast(Lane::Urgent, b"") });
    (0..6000).for_each(|nonce| bench.hear(1, &nth(nonce)).unwrap());
    assert_eq!(bench.delivered(), 6000);
    (0..60).for_each(|nonce| bench.hear(1, &nth(nonce)).unwrap());
    assert_eq!((bench.delivered(), bench.gossip.counters().duplicates), (6000, 60));
}

/// GOS-15
#[test]
fn what_a_slow_link_cannot_take_waits_then_is_announced_and_then_refused() {
    let mut bench = Bench::with_neighbours(Config::default(), 1);
    bench.backlog(1, 1 << 20);
    let publish = |bench: &mut Bench, lane| bench.gossip.publish(bench.now, lane, vec![7; 8000]);
    let taken = (0..100).take_while(|_| publish(&mut bench, Lane::Normal).is_ok()).count();
    assert!((16..=18).contains(&taken), "{taken} of 128 KiB");
    assert_eq!(publish(&mut bench, Lane::Normal), Err(Refused::Congested));
    publish(&mut bench, Lane::Urgent).expect("another lane");
    bench.drain();
    assert!(bench.said.is_empty(), "the transport is full");
    bench.backlog(1, 0);
    let said = bench.said_to(1);
    assert!(
        matches!(&said[..], [Message::Broadcast(sent)] if sent.lane == Lane::Urgent),
        "the urgent one first"
    );
    assert_eq!(bench.gossip.publish(bench.now, Lane::Normal, vec![0; 300_000]), Err(Refused::TooLarge));
}

/// GOS-15
#[test]
fn a_slow_neighbour_is_told_and_gets_announcements() {
    let mut bench = Bench::with_neighbours(Config::default(), 2);
    bench.backlog(1, 1 << 20);
    let publish = |bench: &mut Bench| bench.gossip.publish(bench.now, Lane::Normal, vec![7; 8000]).unwrap();
    for peer in [1, 2] {
        bench.hear(peer, &Message::Graft { tree: true, id: None }).unwrap();
    }
    let ids: Vec<MessageId> = (0..20).map(|_| publish(&mut bench)).collect();
    bench.drain();
    assert_eq!(bench.gossip.counters().demoted, 1);
    let mut said = Vec::new();
    for _ in 0..60 {
        bench.wait(Duration::from_millis(10));
        bench.backlog(1, 0);
        said.extend(bench.said_to(1));
    }
    assert_eq!(said.iter().filter(|said| **said == Message::Slow).count(), 1);
    let announced =
        |id| said.iter().any(|said| matches!(said, Message::Announce { ids, .. } if ids.contains(&(id, 0))));
    assert!(announced(ids[19]) && !announced(ids[0]));
}

/// GOS-15
#[test]
fn a_peer_that_takes_nothing_in_costs_no_more_than_its_queue() {
    let config = Config { backlog_bytes: 1000, ..Config::default() };
    let mut bench = Bench::with_neighbours(config, 1);
    bench.backlog(1, 1 << 20);
    for token in 0..300 {
        bench.hear(1, &Message::Ping { token }).unwrap();
    }
    assert!(bench.said.is_empty(), "the transport is full");
    assert_eq!(bench.gossip.counters().dropped, 300 - 201, "pongs of five bytes");
    bench.backlog(1, 0);
    assert_eq!(bench.said_to(1).len(), 201);
}

/// GOS-15: a parent that says so is replaced.
#[test]
fn who_is_told_to_be_slow_has_another_neighbour_push() {
    let mut bench = Bench::with_neighbours(Config::default(), 2);
    bench.hear(1, &Message::Slow).unwrap();
    assert_eq!(bench.said_to(2), [Message::Graft { tree: true, id: None }]);
}

/// GOS-15
#[test]
fn what_has_outlived_its_use_is_not_passed_on() {
    let mut bench = Bench::with_neighbours(Config::default(), 1);
    bench.backlog(1, 1 << 20);
    let id =
        bench.gossip.publish_for(bench.now, Lane::Urgent, b"x".to_vec(), Duration::from_secs(1)).unwrap();
    bench.wait(Duration::from_secs(2));
    bench.backlog(1, 0);
    bench.hear(1, &Message::Graft { tree: false, id: Some(id) }).unwrap();
    assert!(!bench.said_to(1).iter().any(|said| matches!(said, Message::Broadcast(_))));
}

/// GOS-17
#[test]
fn a_transfer_goes_on_with_another_holder_where_the_first_one_stopped() {
    let mut bench = Bench::with_neighbours(Config::default(), 2);
    let message = broadcast(Lane::Bulk, &[9; 200_000]);
    let (id, whole) = (message.id(), Message::Broadcast(message).to_bytes());
    for peer in [1, 2] {
        bench.hear(peer, &Message::Announce { pull: true, ids: vec![(id, 0)] }).unwrap();
    }
    let first = bench.said.clone();
    let [(from, Message::Pull { offset: 0, .. })] = first[..] else { panic!("{first:?}") };
    let [one, other] = if from == node_id(1) { [1, 2] } else { [2, 1] };
    let chunk = |offset: usize| {
        let bytes = whole[offset..whole.len().min(offset + MAX_CHUNK)].to_vec();
        Message::Chunk { id, total: whole.len() as u32, offset: offset as u32, bytes }
    };
    bench.hear(one, &chunk(0)).unwrap();
    bench.hear(one, &chunk(MAX_CHUNK)).unwrap();
    bench.said.clear();
    bench.wait(Duration::from_secs(1));
    let resumed = Message::Pull { id, offset: 2 * MAX_CHUNK as u32 };
    assert!(bench.said_to(other).contains(&resumed));
    for offset in (2 * MAX_CHUNK..whole.len()).step_by(MAX_CHUNK) {
        bench.hear(other, &chunk(offset)).unwrap();
        // A hedge: what the first one still sends is of no use, and no harm.
        bench.hear(one, &chunk(offset)).unwrap();
    }
    assert_eq!(bench.delivered(), 1);
}

/// GOS-17 and GOS-16
#[test]
fn who_sends_all_of_something_else_is_blamed_until_it_is_shunned() {
    let mut bench = Bench::with_neighbours(Config::default(), 2);
    for nonce in 0..5 {
        let message = Broadcast { nonce, ..broadcast(Lane::Bulk, &[9; 2000]) };
        bench.hear(1, &Message::Announce { pull: true, ids: vec![(message.id(), 0)] }).unwrap();
        let bytes = vec![0; 100];
        bench.hear(1, &Message::Chunk { id: message.id(), total: 100, offset: 0, bytes }).unwrap();
    }
    assert!(bench.events.contains(&Event::Shunned { peer: node_id(1) }));
    assert_eq!((bench.delivered(), bench.gossip.neighbours().count()), (0, 1));
    bench.hear(1, &Message::Neighbour { version: VERSION, ask: Ask::Join }).unwrap();
    assert_eq!(bench.gossip.neighbours().count(), 1, "and does not come back");
}

/// GOS-18
#[test]
fn a_survey_takes_every_link_and_its_first_bringer_into_the_tree() {
    let mut bench = Bench::with_neighbours(Config::default(), 3);
    let survey = Broadcast { way: Way::Survey, ..broadcast(Lane::Normal, b"x") };
    bench.hear(3, &Message::Broadcast(survey.clone())).unwrap();
    assert!(bench.said_to(3).contains(&Message::Graft { tree: true, id: None }));
    for peer in [1, 2] {
        let said = bench.said_to(peer);
        assert!(matches!(&said[..], [Message::Broadcast(sent)] if sent.way == Way::Survey), "{said:?}");
    }
    bench.hear(1, &Message::Broadcast(Broadcast { hops: 0, ..survey })).unwrap();
    assert!(bench.said_to(3).contains(&Message::Prune), "three links less are worth a moment");
    let another = Broadcast { nonce: 2, way: Way::Survey, ..broadcast(Lane::Normal, b"x") };
    bench.hear(1, &Message::Broadcast(another)).unwrap();
    assert!(bench.said_to(2).is_empty(), "too soon for another one");
}

/// GOS-10 and GOS-11
#[test]
fn what_was_announced_and_does_not_come_is_asked_for_where_it_has_come_least_far() {
    let mut bench = Bench::with_neighbours(Config::default(), 4);
    let message = broadcast(Lane::Normal, b"x");
    bench.hear(1, &announce(message.id(), 7)).unwrap();
    bench.hear(2, &announce(message.id(), 2)).unwrap();
    bench.hear(3, &announce(message.id(), 5)).unwrap();
    assert!(bench.said.is_empty());
    bench.wait(Duration::from_millis(999));
    let graft = Message::Graft { tree: true, id: Some(message.id()) };
    assert_eq!(bench.said.remove(0), (node_id(2), graft.clone()));
    bench.wait(Duration::from_secs(1));
    assert!(bench.said_to(3).contains(&graft));
    bench.hear(3, &Message::Broadcast(Broadcast { way: Way::Pulled, ..message })).unwrap();
    assert_eq!(bench.delivered(), 1);
}

/// GOS-11
#[test]
fn a_payload_is_served_sixty_four_times_whole_or_in_parts() {
    let mut bench = Bench::with_neighbours(Config::default(), 1);
    let ids =
        [100, 150_000].map(|bytes| bench.gossip.publish(bench.now, Lane::Bulk, vec![7; bytes]).unwrap());
    let asks =
        [Message::Graft { tree: false, id: Some(ids[0]) }, Message::Pull { id: ids[1], offset: 90_000 }];
    let answers = asks.map(|ask| {
        bench.said.clear();
        (0..160)
            .filter(|_| {
                bench.hear(1, &ask).unwrap();
                !bench.said_to(1).is_empty()
            })
            .count()
    });
    // Each part is counted as 64 KiB of 150,000 bytes.
    assert_eq!(answers, [64, 147]);
}

/// GOS-10
#[test]
fn a_liar_cannot_make_us_wait_for_more_than_its_quota() {
    let mut bench = Bench::with_neighbours(Config::default(), 2);
    for batch in 0..20u64 {
        let ids = (0..64u64).map(|number| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(batch * 64 + number).to_le_bytes());
            (MessageId::from_bytes(id), 0)
        });
        bench.hear(1, &Message::Announce { pull: false, ids: ids.collect() }).unwrap();
    }
    assert_eq!(bench.gossip.counters().ignored, 20 * 64 - 512);
    bench.wait(Duration::from_secs(20));
    assert!(bench.gossip.counters().grafts >= 512);
    assert!(bench.events.contains(&Event::Shunned { peer: node_id(1) }));
}

/// GOS-12
#[test]
fn a_duplicate_is_answered_by_a_prune_and_its_bringer_gets_announcements_from_then_on() {
    let mut bench = Bench::with_neighbours(Config::default(), 3);
    let message = broadcast(Lane::Normal, b"x");
    bench.hear(1, &Message::Broadcast(Broadcast { way: Way::Survey, ..message.clone() })).unwrap();
    bench.hear(2, &Message::Broadcast(message.clone())).unwrap();
    assert!(bench.said_to(2).contains(&Message::Prune));
    bench.hear(1, &Message::Broadcast(message)).unwrap();
    assert!(!bench.said_to(1).contains(&Message::Prune), "the first bringer stays");
    let id = bench.gossip.publish(bench.now, Lane::Normal, b"y".to_vec()).unwrap();
    bench.wait(Duration::from_millis(100));
    assert_eq!(bench.said_to(2), [announce(id, 0)]);
    bench.hear(2, &Message::Graft { tree: true, id: Some(id) }).unwrap();
    assert!(
        matches!(&bench.said_to(2)[..], [Message::Broadcast(sent)] if sent.way == Way::Pulled && sent.id() == id)
    );
}

/// GOS-13
#[test]
fn a_new_neighbour_hears_of_the_recent_past() {
    let mut bench = Bench::new(Config::default());
    let id = bench.gossip.publish(bench.now, Lane::Normal, b"x".to_vec()).unwrap();
    bench.up(1);
    bench.hear(1, &Message::Neighbour { version: VERSION, ask: Ask::Low }).unwrap();
    assert!(bench.said_to(1).contains(&announce(id, 0)));
    bench.wait(Duration::from_secs(61));
    bench.up(2);
    bench.hear(2, &Message::Neighbour { version: VERSION, ask: Ask::Low }).unwrap();
    assert!(!bench.said_to(2).contains(&announce(id, 0)), "forgotten after a minute");
}

/// GOS-14
#[test]
fn strangers_garbage_and_giants_are_faults() {
    let mut bench = Bench::with_neighbours(Config { payload_bytes: 100, ..Config::default() }, 1);
    assert_eq!(bench.hear(9, &Message::Prune), Err(PeerFault::NotConnected));
    let giant = Message::Broadcast(broadcast(Lane::Normal, &[0; 101]));
    assert_eq!(bench.hear(1, &giant), Err(PeerFault::Payload));
    let garbage = Input::Message { from: node_id(1), bytes: &[0xff, 0xff] };
    let fault = bench.gossip.handle_input(bench.now, garbage);
    assert_eq!(fault, Err(PeerFault::Malformed(DecodeError::Unknown)));
}

#[test]
fn a_payload_that_needs_a_verdict_goes_on_only_after_it() {
    let mut bench = Bench::with_neighbours(Config { validate: true, ..Config::default() }, 2);
    for (payload, verdict) in [(b"good", Verdict::Accept), (b"evil", Verdict::Reject)] {
        let message = broadcast(Lane::Urgent, payload);
        bench.hear(1, &Message::Broadcast(message.clone())).unwrap();
        assert!(bench.said_to(2).is_empty());
        bench.gossip.validate(bench.now, message.id(), verdict).unwrap();
        assert_eq!(bench.gossip.validate(bench.now, message.id(), verdict), Err(Refused::Unknown));
        bench.drain();
        assert_eq!(bench.said_to(2).len(), usize::from(verdict == Verdict::Accept));
    }
    assert_eq!(bench.delivered(), 2);
}
