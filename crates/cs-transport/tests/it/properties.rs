//! Laws over arbitrary values: the wire's four, the arbiter's one, and that no bytes do harm.

use std::collections::{BTreeMap, VecDeque};

use cs_identity::{NodeId, SecretKey};
use cs_transport::rpc::{RpcFault, call_of_answer, open_request, seal_request};
use cs_transport::stun::{
    AttributeKind, Builder, Class, Message, Method, answer_binding, read_binding_answer,
};
use cs_transport::wire::{
    Answer, DecodeError, Frame, FrameKind, Hello, LaneBuffer, LinkMessage, MAX_DATAGRAM, MAX_FRAME, MAX_RPC,
    Request, classify, encode_length, request_len,
};
use cs_transport::{Arbiter, LocalKey, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

/// Every strict prefix is cut short, and one byte more is refused.
pub(crate) fn edges<T: core::fmt::Debug + PartialEq>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<(), TestCaseError> {
    for end in 0..bytes.len() {
        prop_assert_eq!(read(&bytes[..end]).err(), Some(DecodeError::Truncated), "prefix of {}", end);
    }
    let longer = [bytes, &[0]].concat();
    prop_assert_eq!(read(&longer).err(), Some(DecodeError::Leftover));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    // TP-3
    #[test]
    fn frames_obey_the_four_laws(kind in 1u8..=3, body in vec(any::<u8>(), 0..200)) {
        let kind = [FrameKind::Initiate, FrameKind::Respond, FrameKind::Confirm][usize::from(kind) - 1];
        let frame = Frame { kind, body: &body };
        let bytes = encoded(|out| frame.encode(out));
        prop_assert_eq!(Frame::from_bytes(&bytes), Ok(frame));
        edges(&bytes, |bytes| Frame::from_bytes(bytes).map(|frame| frame.kind))?;
    }

    // TP-3
    #[test]
    fn a_frame_that_decodes_is_the_only_encoding_of_its_value(bytes in vec(any::<u8>(), 0..40)) {
        if let Ok(frame) = Frame::from_bytes(&bytes) {
            prop_assert!(frame.body.len() <= MAX_FRAME);
            prop_assert_eq!(encoded(|out| frame.encode(out)), bytes);
        }
    }

    // TP-4
    #[test]
    fn hellos_come_back_and_no_prefix_passes(
        node: [u8; 32],
        incarnation: u64,
        parameters in vec(any::<u8>(), 0..200),
        early_ms: Option<u64>,
    ) {
        let hello = Hello { node, incarnation, parameters: &parameters, early_ms };
        let bytes = encoded(|out| hello.encode(out));
        prop_assert_eq!(Hello::from_bytes(&bytes), Ok(hello));
        // The time of early data is optional, and without it the rest is whole.
        let optional = bytes.len() - early_ms.map_or(0, |_| 11);
        for end in (0..bytes.len()).filter(|end| early_ms.is_none() || *end != optional) {
            prop_assert_eq!(Hello::from_bytes(&bytes[..end]).err(), Some(DecodeError::Truncated));
        }
    }

    // TP-7
    #[test]
    fn link_messages_obey_the_four_laws(offer: bool, field in 1u64..) {
        let message = if offer { LinkMessage::Offer { seen: field } } else { LinkMessage::Decide { number: field } };
        let bytes = encoded(|out| message.encode(out));
        prop_assert_eq!(LinkMessage::from_bytes(&bytes), Ok(message));
        edges(&bytes, LinkMessage::from_bytes)?;
    }

    // TP-7
    #[test]
    fn a_link_message_that_decodes_is_the_only_encoding_of_its_value(kind in 0u8..4, field: u64) {
        let bytes = [&[kind][..], &field.to_be_bytes()].concat();
        if let Ok(message) = LinkMessage::from_bytes(&bytes) {
            prop_assert_eq!(encoded(|out| message.encode(out)), bytes);
        }
    }

    // TP-8
    #[test]
    fn messages_of_a_lane_come_back_from_any_pieces(
        messages in vec(vec(any::<u8>(), 0..3000), 0..6),
        cuts in vec(1usize..700, 1..40),
    ) {
        let stream = messages.iter().flat_map(|message| [&encode_length(message.len())[..], message].concat());
        let stream = stream.collect::<Vec<_>>();
        let mut buffer = LaneBuffer::new(4096);
        let (mut rest, mut out) = (&stream[..], Vec::new());
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(rest.len().min(*cuts.next().expect("a cycle")));
            rest = after;
            while !piece.is_empty() {
                out.extend(buffer.read(&mut piece).expect("within the limit"));
            }
        }
        // An empty message at the very end is complete with its length, and needs no further byte.
        out.extend(buffer.read(&mut &[][..]).ok().flatten().filter(|_| out.len() < messages.len()));
        prop_assert_eq!(out, messages);
    }

    // TP-10
    #[test]
    fn rpc_plaintexts_come_back_padded(unix_ms: u64, sign: bool, body in vec(any::<u8>(), 0..300), pad in 0usize..500) {
        let request = Request { unix_ms, sign, body: &body };
        let bytes = encoded(|out| request.encode(pad, out));
        prop_assert!(bytes.len() >= pad);
        prop_assert_eq!(Request::from_bytes(&bytes), Ok(request));
    }

    // TP-11
    #[test]
    fn answers_obey_the_four_laws(skew: bool, unix_ms: u64, body in vec(any::<u8>(), 0..300)) {
        let answer = if skew { Answer::ClockSkew { unix_ms } } else { Answer::Body(&body) };
        let bytes = encoded(|out| answer.encode(out));
        prop_assert_eq!(Answer::from_bytes(&bytes), Ok(answer));
        edges(&bytes, |bytes| Answer::from_bytes(bytes).map(|_| ()))?;
    }

    // TP-14
    #[test]
    fn stun_messages_come_back_with_their_checks(
        transaction: [u8; 12],
        attributes in vec((any::<u16>(), vec(any::<u8>(), 0..60)), 0..8),
        key in vec(any::<u8>(), 0..80),
    ) {
        let covered = [AttributeKind::FINGERPRINT, AttributeKind::MESSAGE_INTEGRITY];
        let attributes = attributes
            .iter()
            .map(|(kind, value)| (AttributeKind(*kind), value))
            .filter(|(kind, _)| !covered.contains(kind))
            .collect::<Vec<_>>();
        let builder = Builder::new(Class::Indication, Method(0x123), transaction);
        let builder = attributes.iter().fold(builder, |builder, (kind, value)| builder.attribute(*kind, value));
        let bytes = builder.integrity(&key).fingerprint().finish();
        let message = Message::from_bytes(&bytes).expect("our own message");
        prop_assert_eq!((message.class(), message.method()), (Class::Indication, Method(0x123)));
        prop_assert_eq!(message.transaction(), transaction);
        prop_assert_eq!((message.integrity(&key), message.fingerprint()), (Some(true), Some(true)));
        let read = message.attributes().map(|attribute| (attribute.kind, attribute.value.to_vec()));
        let expected = attributes.iter().map(|(kind, value)| (*kind, value.to_vec()));
        prop_assert_eq!(read.take(attributes.len()).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        for end in 0..bytes.len() {
            prop_assert!(Message::from_bytes(&bytes[..end]).is_err());
        }
        let mut altered = bytes;
        let at = usize::from(transaction[0]) % altered.len();
        altered[at] ^= 1;
        if let Ok(message) = Message::from_bytes(&altered) {
            prop_assert!(message.fingerprint() != Some(true), "byte {} is covered", at);
        }
    }

    // TP-1, TP-13
    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = classify(&bytes);
        let _ = Frame::from_bytes(&bytes);
        let _ = Hello::from_bytes(&bytes);
        let _ = LinkMessage::from_bytes(&bytes);
        let _ = Request::from_bytes(&bytes);
        let _ = Answer::from_bytes(&bytes);
        let _ = call_of_answer(&bytes);
        let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        stun.extend_from_slice(&bytes);
        if let Some(length) = u16::try_from(stun.len()).ok().and_then(|length| length.checked_sub(20)) {
            stun[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if let Ok(message) = Message::from_bytes(&stun) {
            let _ = (message.fingerprint(), message.integrity(b"key"), read_binding_answer(&message));
            let answer = answer_binding(&message, ([192, 0, 2, 1], 1).into());
            prop_assert!(answer.is_none_or(|answer| answer.len() <= stun.len() + 32));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // TP-10, TP-11
    #[test]
    fn a_sealed_question_is_answered_within_its_size(
        asker in 0u8..250,
        body in vec(any::<u8>(), 0..=MAX_RPC),
        answer in vec(any::<u8>(), 0..=MAX_RPC),
    ) {
        let (me, other) = (local(asker), local(255));
        let (datagram, call) = seal_request(&me, &other.node_id(), [1; 32], 77, &body, answer.len()).expect("it fits");
        prop_assert_eq!(datagram.len(), request_len(body.len(), answer.len()));
        prop_assert!(datagram.len() <= MAX_DATAGRAM);
        let opened = open_request(&other, [2; 32], &datagram).expect("our own request");
        prop_assert_eq!((opened.from, opened.unix_ms, &opened.body), (me.node_id(), 77, &body));
        prop_assert!(opened.answer.room() >= answer.len());
        let sealed = opened.answer.seal(Answer::Body(&answer)).expect("there is room");
        prop_assert!(sealed.len() <= datagram.len(), "no amplification");
        prop_assert_eq!(call_of_answer(&sealed), Some(call.id()));
        let plaintext = call.open(&sealed).expect("our own answer");
        prop_assert_eq!(Answer::from_bytes(&plaintext), Ok(Answer::Body(&answer[..])));
    }

    // TP-10
    #[test]
    fn a_sealed_question_with_any_bit_flipped_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (me, other) = (local(1), local(2));
        let (datagram, _) = seal_request(&me, &other.node_id(), [3; 32], 77, b"question", 0).expect("it fits");
        let mut altered = datagram.clone();
        // The first byte is the kind, which the demultiplexer reads.
        let at = 1 + at.index(datagram.len() - 1);
        altered[at] ^= 1 << bit;
        // X25519 ignores the top bit of a key, and the transcript does not.
        prop_assert_eq!(open_request(&other, [4; 32], &altered).err(), Some(RpcFault::Forged));
    }
}

fn local(seed: u8) -> LocalKey {
    LocalKey::new(&SecretKey::from_bytes([seed; 32]), 8)
}

/// Two arbiters and the connections between them, with everything that is under way.
struct Pair {
    ids: [NodeId; 2],
    arbiters: [Arbiter<u64>; 2],
    incarnations: [u64; 2],
    connections: BTreeMap<u64, Wires>,
    next: u64,
}

struct Wires {
    dialler: usize,
    incarnations: [u64; 2],
    open: [bool; 2],
    /// What is on its way to each side.
    to: [VecDeque<Word>; 2],
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Connected,
    Link(LinkMessage),
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Dial(usize),
    /// The oldest word to a side, on the n-th connection.
    Deliver(usize, usize),
    /// A side loses the n-th connection: the network failed, or it was closed.
    Lose(usize, usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0usize..2;
    prop_oneof![
        2 => side.clone().prop_map(Step::Dial),
        10 => (side.clone(), 0usize..6).prop_map(|(side, at)| Step::Deliver(side, at)),
        1 => (side.clone(), 0usize..6).prop_map(|(side, at)| Step::Lose(side, at)),
        1 => side.prop_map(Step::Restart),
    ]
}

impl Pair {
    fn new() -> Self {
        let mut ids = [1, 2].map(|seed| SecretKey::from_bytes([seed; 32]).node_id());
        ids.sort();
        let arbiters = [Arbiter::new(&ids[0], &ids[1]), Arbiter::new(&ids[1], &ids[0])];
        Self { ids, arbiters, incarnations: [100, 200], connections: BTreeMap::new(), next: 0 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Dial(side) => {
                // A node dials when it knows of no session.
                if self.arbiters[side].current().is_none() {
                    let id = self.number();
                    let mut to = [VecDeque::new(), VecDeque::new()];
                    to[side].push_back(Word::Connected);
                    let wires = Wires { dialler: side, incarnations: self.incarnations, open: [true; 2], to };
                    self.connections.insert(id, wires);
                }
            }
            Step::Deliver(side, at) => {
                if let Some(id) = self.connections.keys().nth(at).copied() {
                    self.deliver(side, id);
                }
            }
            Step::Lose(side, at) => {
                if let Some(id) = self.connections.keys().nth(at).copied() {
                    self.close(side, id);
                }
            }
            Step::Restart(side) => {
                self.incarnations[side] += 1;
                self.arbiters[side] = Arbiter::new(&self.ids[side], &self.ids[1 - side]);
                for wires in self.connections.values_mut() {
                    wires.open[side] = false;
                    wires.to[side].clear();
                }
            }
        }
    }

    fn deliver(&mut self, side: usize, id: u64) -> bool {
        let next = self.number();
        let Some(wires) = self.connections.get_mut(&id) else { return false };
        let Some(word) = wires.to[side].pop_front() else { return false };
        if !wires.open[side] {
            return true;
        }
        let dialled = wires.dialler == side;
        let peer = wires.incarnations[1 - side];
        let arbiter = &mut self.arbiters[side];
        let verdict = match word {
            Word::Closed => {
                wires.open[side] = false;
                arbiter.handle_closed(id);
                return true;
            }
            Word::Connected => {
                if dialled {
                    wires.to[1 - side].push_back(Word::Connected);
                }
                arbiter.handle_connected(id, dialled, peer, next)
            }
            Word::Link(LinkMessage::Offer { seen }) => arbiter.handle_offer(id, peer, seen, next),
            Word::Link(LinkMessage::Decide { number }) => arbiter.handle_decide(id, peer, number),
        };
        self.act(side, id, verdict);
        true
    }

    fn act(&mut self, side: usize, id: u64, verdict: Verdict<u64>) {
        let (message, replaced) = match verdict {
            Verdict::Offer { seen } => (Some(LinkMessage::Offer { seen }), None),
            Verdict::Decide { number, replaced } => (Some(LinkMessage::Decide { number }), replaced),
            Verdict::Follow { replaced } => (None, replaced),
            Verdict::Drop => return self.close(side, id),
            Verdict::Wait => (None, None),
            Verdict::Fault => panic!("both sides obey the protocol"),
        };
        if let (Some(message), Some(wires)) = (message, self.connections.get_mut(&id)) {
            wires.to[1 - side].push_back(Word::Link(message));
        }
        if let Some(old) = replaced {
            self.close(side, old);
        }
    }

    fn close(&mut self, side: usize, id: u64) {
        let Some(wires) = self.connections.get_mut(&id) else { return };
        if wires.open[side] {
            wires.open[side] = false;
            wires.to[1 - side].push_back(Word::Closed);
            self.arbiters[side].handle_closed(id);
        }
    }

    /// Everything under way arrives, and connections that only one side holds time out.
    fn settle(&mut self) {
        loop {
            let ids = self.connections.keys().copied().collect::<Vec<_>>();
            let mut moved = false;
            for id in ids {
                for side in 0..2 {
                    while self.deliver(side, id) {
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        let ids = self.connections.iter().filter(|(_, wires)| wires.open[0] != wires.open[1]);
        for id in ids.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(0, id);
            self.close(1, id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // TP-7
    #[test]
    fn both_sides_end_up_with_the_same_session_whatever_happens(steps in vec(step(), 0..80)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
        }
        pair.settle();
        prop_assert_eq!(pair.arbiters[0].current(), pair.arbiters[1].current());
        // And from any such state the next dial leads to a session, whoever dials.
        for side in [0, 1] {
            pair.take(Step::Dial(side));
            pair.settle();
            prop_assert!(pair.arbiters[0].current().is_some());
            prop_assert_eq!(pair.arbiters[0].current(), pair.arbiters[1].current());
        }
    }
}
