//! What must hold for any input.

use std::time::Duration;

use cs_gossip::{Config, Gossip, Input, Output, wire};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::network::{EPOCH, node_id};

fn gossip_message() -> impl Strategy<Value = wire::Message> {
    use wire::{Ask, Broadcast, Lane, Message, MessageId, Way};
    let node = || (0u32..30).prop_map(node_id);
    let peers = || {
        proptest::collection::btree_set(node(), 0..wire::MAX_PEERS).prop_map(|set| set.into_iter().collect())
    };
    let ask = prop_oneof![Just(Ask::Join), Just(Ask::High), Just(Ask::Low)];
    let lane = prop_oneof![Just(Lane::Control), Just(Lane::Urgent), Just(Lane::Normal), Just(Lane::Bulk)];
    let way = prop_oneof![Just(Way::Pushed), Just(Way::Pulled), Just(Way::Survey)];
    let id = || any::<[u8; 16]>().prop_map(MessageId::from_bytes);
    prop_oneof![
        (1u8.., ask).prop_map(|(version, ask)| Message::Neighbour { version, ask }),
        (any::<bool>(), peers()).prop_map(|(accepted, peers)| Message::NeighbourReply { accepted, peers }),
        (node(), 0u8..=wire::MAX_TTL).prop_map(|(joiner, ttl)| Message::ForwardJoin { joiner, ttl }),
        (any::<bool>(), peers()).prop_map(|(leaving, peers)| Message::Disconnect { leaving, peers }),
        peers().prop_map(|peers| Message::Shuffle { peers }),
        peers().prop_map(|peers| Message::ShuffleReply { peers }),
        any::<u32>().prop_map(|token| Message::Ping { token }),
        any::<u32>().prop_map(|token| Message::Pong { token }),
        node().prop_map(|target| Message::PingFor { target }),
        node().prop_map(|target| Message::Alive { target }),
        (node(), any::<u64>(), lane, any::<u8>(), way, any::<u32>(), vec(any::<u8>(), 0..50)).prop_map(
            |(origin, nonce, lane, hops, way, lifetime_ms, payload)| {
                Message::Broadcast(Broadcast { origin, nonce, lane, hops, way, lifetime_ms, payload })
            }
        ),
        (id(), any::<u32>()).prop_map(|(id, offset)| Message::Pull { id, offset }),
        (id(), 0u32..900_000, vec(any::<u8>(), 1..50))
            .prop_map(|(id, offset, bytes)| { Message::Chunk { id, total: offset + 50, offset, bytes } }),
        Just(Message::Slow),
        (any::<bool>(), vec((id(), any::<u8>()), 1..5))
            .prop_map(|(pull, ids)| Message::Announce { pull, ids }),
        (any::<bool>(), id()).prop_map(|(tree, id)| Message::Graft { tree, id: Some(id) }),
        Just(Message::Graft { tree: true, id: None }),
        Just(Message::Prune),
    ]
}

/// The four laws of a message, GOS-1 and REC-1.
macro_rules! four_laws {
    ($message:expr, $type:ty, $error:ty) => {{
        let message = $message;
        let bytes = message.to_bytes();
        prop_assert_eq!(<$type>::from_bytes(&bytes), Ok(message));
        for len in 0..bytes.len() {
            prop_assert_eq!(<$type>::from_bytes(&bytes[..len]), Err(<$error>::Truncated));
        }
        let mut longer = bytes;
        longer.push(0);
        prop_assert_eq!(<$type>::from_bytes(&longer), Err(<$error>::Trailing));
    }};
}
pub(crate) use four_laws;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn gossip_messages_have_one_encoding(message in gossip_message()) {
        four_laws!(message, wire::Message, wire::DecodeError);
    }

    #[test]
    fn decoding_and_encoding_any_bytes_gives_them_back(bytes in vec(any::<u8>(), 0..200), kind in 0u8..0x60) {
        let bytes = [vec![kind], bytes].concat();
        if let Ok(message) = wire::Message::from_bytes(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }
}

/// One step of a script against a single machine.
#[derive(Clone, Debug)]
enum Step {
    Up(u32),
    Down(u32),
    Say(u32, wire::Message),
    Noise(u32, Vec<u8>),
    Publish(Vec<u8>),
    Join(u32),
    Leave,
    Backlog(u32, usize),
    Blame(u32),
    Wait(u64),
    Early,
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let peer = || 1u32..12;
    let step = prop_oneof![
        3 => peer().prop_map(Step::Up),
        1 => peer().prop_map(Step::Down),
        8 => (peer(), gossip_message()).prop_map(|(peer, message)| Step::Say(peer, message)),
        1 => (peer(), vec(any::<u8>(), 0..40)).prop_map(|(peer, bytes)| Step::Noise(peer, bytes)),
        1 => vec(any::<u8>(), 0..20).prop_map(Step::Publish),
        1 => peer().prop_map(Step::Join),
        1 => Just(Step::Leave),
        1 => (peer(), any::<usize>()).prop_map(|(peer, bytes)| Step::Backlog(peer, bytes)),
        1 => peer().prop_map(Step::Blame),
        3 => (0u64..20_000_000_000).prop_map(Step::Wait),
        1 => Just(Step::Early),
    ];
    vec(step, 0..60)
}

/// Runs a script; `shift` moves the epoch, `pester` adds early and repeated timeouts and a clock that steps
/// back. Returns every output, and the last deadline relative to the epoch.
fn trace(script: &[Step], shift: Duration, pester: bool) -> (Vec<Output>, Option<Duration>) {
    let epoch = EPOCH + shift;
    let mut now = epoch;
    let mut gossip = Gossip::new(Config::default(), node_id(0), now, [5; 32]).unwrap();
    let mut outputs = Vec::new();
    for step in script {
        match step {
            Step::Up(peer) => gossip.handle_input(now, Input::PeerUp { peer: node_id(*peer) }).unwrap(),
            Step::Down(peer) => gossip.handle_input(now, Input::PeerDown { peer: node_id(*peer) }).unwrap(),
            Step::Say(peer, message) => say(&mut gossip, now, *peer, &message.to_bytes()),
            Step::Noise(peer, bytes) => say(&mut gossip, now, *peer, bytes),
            Step::Publish(payload) => drop(gossip.publish(now, wire::Lane::Normal, payload.clone())),
            Step::Join(seed) => gossip.join(now, vec![node_id(*seed)]),
            Step::Leave => gossip.leave(now),
            Step::Backlog(peer, bytes) => {
                gossip.handle_input(now, Input::Backlog { peer: node_id(*peer), bytes: *bytes }).unwrap();
            }
            Step::Blame(peer) => gossip.handle_input(now, Input::Blame { peer: node_id(*peer) }).unwrap(),
            Step::Wait(nanos) => {
                let end = now + Duration::from_nanos(*nanos);
                while let Some(at) = gossip.poll_timeout().filter(|at| *at <= end) {
                    now = now.max(at);
                    gossip.handle_timeout(now);
                    assert!(gossip.poll_timeout().is_none_or(|next| next > now), "law 4");
                }
                now = end;
            }
            Step::Early => {}
        }
        if pester {
            gossip.handle_timeout(now);
            gossip.handle_timeout(now.saturating_sub(Duration::from_secs(3)));
        }
        outputs.extend(std::iter::from_fn(|| gossip.poll_output()));
        assert_eq!(gossip.poll_output(), None, "law 3");
    }
    (outputs, gossip.poll_timeout().map(|at| at - epoch))
}

/// Law 5: a refused message leaves no trace.
fn say(gossip: &mut Gossip, now: Duration, peer: u32, bytes: &[u8]) {
    while gossip.poll_output().is_some() {}
    let before = format!("{gossip:?}");
    gossip.handle_timeout(Duration::ZERO);
    if gossip.handle_input(now, Input::Message { from: node_id(peer), bytes }).is_err() {
        let clockless = |text: &str| {
            text.split("now: ")
                .map(|part| part.split_once(',').map_or(part, |(_, rest)| rest).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(clockless(&before), clockless(&format!("{gossip:?}")), "law 5");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_machine_keeps_the_six_laws(script in script()) {
        let first = trace(&script, Duration::ZERO, false);
        prop_assert_eq!(&first, &trace(&script, Duration::ZERO, false), "law 1");
        prop_assert_eq!(&first, &trace(&script, Duration::from_nanos(1_234_567_890_123_457), false), "law 2");
        prop_assert_eq!(&first, &trace(&script, Duration::ZERO, true), "law 6");
    }
}
