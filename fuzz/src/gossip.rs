//! Decoders of cs-gossip, the machine behind them, and whole reconciliations.

use std::time::Duration;

use cs_gossip::reconcile::{
    Config as ReconcileConfig, Id, Index, Mode, Output as Step, Session, wire as reconcile_wire,
};
use cs_gossip::wire::{Ask, Broadcast, Message, MessageId, Way};
use cs_gossip::{Config, Gossip, Input, Lane};

use crate::identity::node;
use crate::laws::{bytes_of, join, one_encoding, split};

/// A message of a topic.
pub fn message(bytes: &[u8]) -> bool {
    one_encoding(bytes, Message::from_bytes, |message| bytes_of(|out| message.encode(out)))
}

/// Messages at a machine from four neighbours; the first byte tells who speaks.
pub fn machine(bytes: &[u8]) -> bool {
    let mut gossip =
        Gossip::new(Config::default(), node(1), Duration::ZERO, [7; 32]).expect("the default is valid");
    gossip.join(Duration::ZERO, vec![node(2)]);
    for peer in 2..6 {
        let _ = gossip.handle_input(Duration::ZERO, Input::PeerUp { peer: node(peer) });
    }
    let mut is_accepted = false;
    for (turn, message) in (1..).zip(split(bytes).into_iter().take(64)) {
        let Some((&choice, bytes)) = message.split_first() else { continue };
        let now = Duration::from_millis(turn * 50);
        let from = node(2 + choice % 4);
        is_accepted |= gossip.handle_input(now, Input::Message { from, bytes }).is_ok();
        gossip.handle_timeout(now);
        assert!(
            gossip.poll_timeout().is_none_or(|at| at > now),
            "a deadline is later than the time-out that was run"
        );
        while gossip.poll_output().is_some() {}
    }
    is_accepted
}

/// A message of a reconciliation.
pub fn reconcile_message(bytes: &[u8]) -> bool {
    one_encoding(bytes, reconcile_wire::Message::from_bytes, |message| bytes_of(|out| message.encode(out)))
}

/// A whole reconciliation with a hostile peer over channels that break: the first byte picks our side, what it spares and
/// how much we hold. An empty message is a channel that broke.
pub fn reconcile(bytes: &[u8]) -> bool {
    let Some((&choice, messages)) = bytes.split_first() else { return false };
    let index = index(0..u16::from(choice >> 2) * 16);
    let config = reconcile_config(choice & 2 != 0);
    let mut session = match choice & 1 {
        0 => Session::respond(config, &index, [3; 32]),
        _ => Session::initiate(config, &index, [3; 32]),
    };
    let mut is_accepted = false;
    for message in split(messages).into_iter().take(64) {
        if message.is_empty() {
            session.resume();
        }
        is_accepted |= session.handle_input(&index, message).is_ok();
        while let Some(step) = session.poll_output() {
            if let Step::Missing(ids) = step {
                assert!(ids.iter().all(|id| index.contains(id)), "only what we have can be missing there");
            }
        }
    }
    is_accepted
}

fn reconcile_config(is_quick: bool) -> ReconcileConfig {
    let mode = if is_quick { Mode::Quick } else { Mode::Fewest };
    ReconcileConfig { mode, since: Some(1), ..ReconcileConfig::default() }
}

/// Every third id is recent.
fn index(numbers: std::ops::Range<u16>) -> Index {
    let mut index: Index = numbers.clone().map(id).collect();
    for number in numbers.filter(|number| number % 3 == 0) {
        index.remove(&id(number));
        index.insert_at(id(number), 1 + u64::from(number));
    }
    index
}

/// Spread over the key space, and the same in every run.
fn id(number: u16) -> Id {
    let mut id = [0; 32];
    for (place, byte) in (0_u16..).zip(&mut id) {
        *byte =
            (number.wrapping_mul(40_503).rotate_left(u32::from(place % 16)) ^ (place * 7)).to_le_bytes()[0];
    }
    id[30..].copy_from_slice(&number.to_le_bytes());
    id
}

/// One message of each kind.
pub fn message_seeds() -> Vec<Vec<u8>> {
    let mut peers = vec![node(2), node(3)];
    peers.sort();
    let broadcast = Broadcast {
        origin: node(4),
        nonce: 5,
        lane: Lane::Normal,
        hops: 1,
        way: Way::Pushed,
        lifetime_ms: 0,
        payload: b"payload".to_vec(),
    };
    let id = MessageId::from_bytes([6; 16]);
    let messages = [
        Message::Neighbour { version: 1, ask: Ask::Join },
        Message::NeighbourReply { accepted: true, peers: peers.clone() },
        Message::ForwardJoin { joiner: node(5), ttl: 3 },
        Message::Disconnect { leaving: true, peers: peers.clone() },
        Message::Shuffle { peers: peers.clone() },
        Message::ShuffleReply { peers },
        Message::Ping { token: 1 },
        Message::Pong { token: 1 },
        Message::PingFor { target: node(5) },
        Message::Alive { target: node(5) },
        Message::Broadcast(broadcast),
        Message::Announce { pull: true, ids: vec![(id, 2)] },
        Message::Graft { tree: true, id: Some(id) },
        Message::Prune,
        Message::Slow,
        Message::Pull { id, offset: 16 },
        Message::Chunk { id, total: 20, offset: 16, bytes: vec![1; 4] },
    ];
    messages.iter().map(|message| bytes_of(|out| message.encode(out))).collect()
}

/// All kinds in one order, from changing neighbours.
pub fn machine_seeds() -> Vec<Vec<u8>> {
    let spoken = (0..).zip(message_seeds()).map(|(from, bytes): (u8, _)| [&[from], &bytes[..]].concat());
    vec![join(spoken)]
}

/// What each side says in reconciliations of sets that differ little, much, and in size.
fn conversations() -> Vec<[Vec<Vec<u8>>; 2]> {
    let pairs = [(0..64, 2..66), (0..512, 128..640), (0..8, 0..900), (0..64, 0..64), (1..64, 0..64)];
    let both = [false, true].into_iter().flat_map(|is_quick| pairs.clone().map(|pair| (is_quick, pair)));
    both.map(|(is_quick, (ours, theirs))| converse(is_quick, &index(ours), &index(theirs))).collect()
}

/// What the initiator and the responder say.
fn converse(is_quick: bool, ours: &Index, theirs: &Index) -> [Vec<Vec<u8>>; 2] {
    let mut initiator = Session::initiate(reconcile_config(is_quick), ours, [1; 32]);
    let mut responder = Session::respond(ReconcileConfig::default(), theirs, [2; 32]);
    let mut said = [Vec::new(), Vec::new()];
    loop {
        let before = said[0].len() + said[1].len();
        said[0].extend(pass(&mut initiator, &mut responder, theirs));
        said[1].extend(pass(&mut responder, &mut initiator, ours));
        if said[0].len() + said[1].len() == before {
            return said;
        }
    }
}

fn pass(from: &mut Session, to: &mut Session, index: &Index) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    while let Some(step) = from.poll_output() {
        if let Step::Send(bytes) = step {
            to.handle_input(index, &bytes).expect("both are honest");
            said.push(bytes);
        }
    }
    said
}

/// Every message of the conversations.
pub fn reconcile_message_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = conversations().into_iter().flatten().flatten().collect();
    seeds.retain(|bytes| bytes.len() < 4096);
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Both halves of each conversation, spoken to one who holds something else.
pub fn reconcile_seeds() -> Vec<Vec<u8>> {
    let halves = conversations().into_iter().zip([0, 0, 0, 0, 0, 2, 2, 2, 2, 2]).flat_map(
        |([initiator, responder], mode)| [(8 << 2 | mode, initiator), (8 << 2 | mode | 1, responder)],
    );
    halves.map(|(choice, said)| [&[choice], &join(said)[..]].concat()).collect()
}
