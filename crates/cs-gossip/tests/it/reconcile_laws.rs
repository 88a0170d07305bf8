//! What must hold for any sets, messages and channels of a reconciliation.

use std::collections::BTreeSet;

use cs_gossip::reconcile::wire::{
    self, Estimate, Filter, Hello, MAX_DEPTH, MAX_IDS, MAX_LEVEL, MAX_MORE, Message, Name, Names, Sketch,
    opening_bits,
};
use cs_gossip::reconcile::{Config, Id, Index, Mode, Output, Session};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index as Pick;

use crate::reconciling::{LEAN, Learned, assert_exact, converse};

/// Ids that an adversary might choose: close together, far apart, sharing either end.
fn adversarial_id() -> impl Strategy<Value = Id> {
    let near = |fill: u8, at: usize| {
        any::<[u8; 2]>().prop_map(move |varied| {
            let mut id = [fill; 32];
            id[at..at + 2].copy_from_slice(&varied);
            id
        })
    };
    prop_oneof![near(0, 30), near(0, 0), near(0xff, 15), near(0xff, 30), any::<[u8; 32]>()]
}

fn set() -> impl Strategy<Value = BTreeSet<Id>> {
    prop_oneof![btree_set(adversarial_id(), 0..40), btree_set(adversarial_id(), 0..400)]
}

fn config() -> impl Strategy<Value = Config> {
    (any::<bool>(), any::<bool>(), prop_oneof![Just(Mode::Fewest), Just(Mode::Quick)])
        .prop_map(|(want_ids, verify, mode)| Config { mode, want_ids, verify, since: None })
}

fn names() -> impl Strategy<Value = Names> {
    (0u8..12, 1u8..40, btree_set((0u64..200, 0u64..4), 0..30)).prop_map(|(rice, width, set)| {
        let fits = |bucket: &u64| width >= 8 || bucket >> width == 0;
        let list = set.into_iter().map(|(bucket, place)| Name { bucket, place });
        let list: Vec<Name> = list.filter(|name| fits(&name.bucket)).collect();
        if list.is_empty() { Names::default() } else { Names { width, rice, list } }
    })
}

fn sketches() -> impl Strategy<Value = Message> {
    (0..=MAX_LEVEL, 8u8..=32, any::<bool>(), 1..=MAX_DEPTH, any::<u32>(), vec(any::<u32>(), 1..5)).prop_map(
        |(level, bits, last, depth, first, pattern)| {
            let parts = pattern.len().min(1 << level);
            let first = first % ((1 << level) - parts as u32 + 1);
            let words = pattern[..parts].repeat(usize::from(depth));
            let syndromes = words.into_iter().map(|word| word >> (32 - bits)).collect();
            Message::Sketch(Sketch { level, bits, last, depth, first, syndromes })
        },
    )
}

fn hello() -> impl Strategy<Value = Message> {
    let rest = (any::<Option<(u64, [u16; 16])>>(), any::<Option<u64>>(), vec(any::<u8>(), 0..64));
    (1u8..8, any::<bool>(), any::<Option<[u8; 8]>>(), any::<[u8; 8]>(), rest).prop_map(
        |(version, want_ids, salt, fingerprint, (opening, since, extensions))| {
            Message::Hello(Hello { version, want_ids, salt, fingerprint, opening, since, extensions })
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let hashes = || btree_set(any::<u64>(), 0..20).prop_map(|set| set.into_iter().collect());
    let estimate = (0u8..5, any::<[u8; 8]>(), any::<u64>(), any::<[u16; 16]>());
    let filter = (0u32..8, 3u8..20, 1u8..23, 0u8..128, any::<[u8; 8]>(), vec(any::<u8>(), 0..100));
    prop_oneof![
        hello(),
        Just(Message::Same),
        Just(Message::Again),
        (any::<bool>(), any::<u64>(), any::<u32>()).prop_map(|(recent, count, word)| Message::Begin {
            recent,
            count,
            syndrome: word >> (32 - opening_bits(count)),
        }),
        estimate.prop_map(|(round, salt, count, estimator)| {
            Message::Estimate(Estimate { round, salt: (round > 0).then_some(salt), count, estimator })
        }),
        filter.prop_map(|(slice, level, hashes, reply, salt, bits)| {
            Message::Filter(Filter { slice, level, hashes, reply, salt, bits })
        }),
        sketches(),
        names().prop_map(|names| Message::Answer { names }),
        names().prop_map(|names| Message::Settled { names }),
        (0..=MAX_MORE, vec(any::<bool>(), 0..20), names()).prop_map(|(more, mut decoded, names)| {
            decoded.push(false);
            Message::Partly { more, decoded, names }
        }),
        vec(any::<u8>(), 0..60).prop_map(|packed| Message::Extra { packed }),
        any::<[u8; 8]>().prop_map(|sum| Message::Check { sum, short: false }),
        any::<[u8; 5]>()
            .prop_map(|[a, b, c, d, e]| Message::Check { sum: [a, b, c, d, e, 0, 0, 0], short: true }),
        (any::<bool>(), hashes()).prop_map(|(last, hashes)| Message::List { last, hashes }),
        hashes().prop_map(|hashes| Message::Lack { hashes }),
        (any::<bool>(), btree_set(any::<[u8; 32]>(), 0..20))
            .prop_map(|(last, ids)| Message::Ids { last, ids: ids.into_iter().collect() }),
        any::<u64>().prop_map(|taken| Message::Resume { taken }),
    ]
}

/// Carries messages between two sessions over channels that break, and returns what each side learned.
fn over_breaking_channels(config: Config, ours: &Index, theirs: &Index, breaks: &[u8]) -> [Learned; 2] {
    let mut sessions =
        [Session::initiate(config, ours, [4; 32]), Session::respond(Config::default(), theirs, [5; 32])];
    let indexes = [ours, theirs];
    let mut learned = [Learned::default(), Learned::default()];
    let mut breaks = breaks.iter();
    let mut left = breaks.next().copied();
    loop {
        let mut spoke = false;
        for side in 0..2 {
            let mut broken = false;
            while let Some(output) = sessions[side].poll_output() {
                match output {
                    Output::Send(_) if left == Some(0) => broken = true,
                    Output::Send(bytes) if !broken => {
                        left = left.map(|left| left - 1);
                        sessions[1 - side].handle_input(indexes[1 - side], &bytes).expect("both are honest");
                    }
                    Output::Send(_) => {}
                    Output::Missing(ids) => learned[side].missing.extend(ids),
                    Output::Wanted(ids) => learned[side].wanted.extend(ids),
                    Output::Done => learned[side].done = true,
                }
                spoke = true;
            }
            if broken {
                left = breaks.next().copied();
                sessions.iter_mut().for_each(Session::resume);
            }
        }
        if !spoke {
            return learned;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// REC-3, REC-9, REC-10 and REC-12
    #[test]
    fn both_sides_learn_exactly_what_the_other_lacks(
        shared in set(), ours in set(), theirs in set(), seed: u8, config in config(),
    ) {
        let ours: BTreeSet<Id> = shared.union(&ours).copied().collect();
        let theirs: BTreeSet<Id> = shared.union(&theirs).copied().collect();
        assert_exact(config, &ours, &theirs, seed);
    }

    /// REC-13: whatever the times, what is older is found as well.
    #[test]
    fn looking_at_what_is_recent_first_misses_nothing(
        ids in btree_set(any::<[u8; 32]>(), 0..500), since in 0u64..60, seed: u8,
    ) {
        // The first byte is the time, the second one says who has it: most have both.
        let has = |bit: u8| ids.iter().filter(move |id| id[1] < 200 || id[1] & 1 == bit);
        let index = |bit: u8| {
            let mut index = Index::new();
            has(bit).for_each(|id| assert!(index.insert_at(*id, u64::from(id[0]))));
            index
        };
        let config = Config { since: Some(since), ..LEAN };
        let outcome = converse(config, &index(0), &index(1), seed, &mut |_| {}).expect("both are honest");
        let only = |bit: u8| has(bit).filter(|id| id[1] >= 200).copied().collect::<Vec<Id>>();
        prop_assert_eq!(outcome.initiator.missing, only(0));
        prop_assert_eq!(outcome.responder.missing, only(1));
        prop_assert!(outcome.initiator.done && outcome.responder.done);
    }

    /// REC-15
    #[test]
    fn a_session_outlives_its_channels(
        shared in set(), ours in set(), theirs in set(), config in config(), breaks in vec(0u8..6, 0..6),
    ) {
        let ours: BTreeSet<Id> = shared.union(&ours).copied().collect();
        let theirs: BTreeSet<Id> = shared.union(&theirs).copied().collect();
        let index = |ids: &BTreeSet<Id>| ids.iter().copied().collect::<Index>();
        let [a, b] = over_breaking_channels(config, &index(&ours), &index(&theirs), &breaks);
        prop_assert!(a.done && b.done);
        prop_assert_eq!(a.missing, ours.difference(&theirs).copied().collect::<Vec<_>>());
        prop_assert_eq!(b.missing, theirs.difference(&ours).copied().collect::<Vec<_>>());
    }

    /// REC-14: a changed message is refused, or costs a round, or makes the liar's own session useless; never a
    /// panic, never an endless conversation.
    #[test]
    fn a_tampered_conversation_ends(
        ours in set(), theirs in set(), config in config(), at in 0usize..8, byte: Pick, flip in 1u8.., cut: bool,
    ) {
        let index = |ids: &BTreeSet<Id>| ids.iter().copied().collect::<Index>();
        let mut count = 0;
        let result = converse(config, &index(&ours), &index(&theirs), 9, &mut |bytes| {
            if count == at {
                let place = byte.index(bytes.len());
                if cut { bytes.truncate(place) } else { bytes[place] ^= flip }
            }
            count += 1;
        });
        prop_assert!(count < 300, "{} messages", count);
        if let Ok(outcome) = result {
            prop_assert!(outcome.initiator.missing.iter().all(|id| ours.contains(id)));
            prop_assert!(outcome.responder.missing.iter().all(|id| theirs.contains(id)));
        }
    }

    /// REC-14: messages of the right form in any order neither panic nor change a session that refuses them.
    #[test]
    fn any_messages_from_anyone_leave_a_session_in_order(
        messages in vec(message(), 1..12), ours in set(), config in config(), initiate: bool,
    ) {
        let index: Index = ours.into_iter().collect();
        let mut session = if initiate {
            Session::initiate(config, &index, [1; 32])
        } else {
            Session::respond(config, &index, [1; 32])
        };
        for message in messages {
            let before = format!("{session:?}");
            if session.handle_input(&index, &message.to_bytes()).is_err() {
                prop_assert_eq!(before, format!("{session:?}"));
            }
            let outputs = std::iter::from_fn(|| session.poll_output()).take(1 << 17);
            for output in outputs {
                match output {
                    Output::Send(bytes) => prop_assert!(bytes.len() <= wire::MAX_MESSAGE),
                    Output::Missing(ids) | Output::Wanted(ids) => prop_assert!(ids.len() <= MAX_IDS),
                    Output::Done => {}
                }
            }
            prop_assert_eq!(session.poll_output(), None);
        }
    }

    #[test]
    fn messages_have_one_encoding(message in message()) {
        crate::properties::four_laws!(message, Message, wire::DecodeError);
    }

    #[test]
    fn decoding_and_encoding_any_bytes_gives_them_back(bytes in vec(any::<u8>(), 0..200), kind in 0u8..18) {
        let bytes = [vec![kind * 8], bytes].concat();
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }
}
