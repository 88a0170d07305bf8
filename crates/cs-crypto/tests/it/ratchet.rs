//! Conversations over a network that loses, reorders and repeats, and thieves who copy states.

use cs_crypto::dh::public_key;
use cs_crypto::ratchet::{
    Bundle, Initial, MAX_CHAINS, MAX_SKIP, MAX_SKIPPED, RatchetError, RestoreError, STATE_LENGTH_MAX,
    Session, SignedPrekey,
};
use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const SIGNED: [u8; 32] = [3; 32];
const ONE_TIME: [u8; 32] = [4; 32];

fn bundle(one_time: bool) -> Bundle {
    bundle_of(public_key(&BOB), public_key(&SIGNED), one_time.then(|| public_key(&ONE_TIME)))
}

fn bundle_of(identity: [u8; 32], key: [u8; 32], one_time: Option<[u8; 32]>) -> Bundle {
    SignedPrekey { identity, key, expires_ms: 1 }.verify(one_time, 0, |_| true).unwrap()
}

/// Fresh entropy for every call, from one seed.
struct Chance(ChaCha20Rng);

impl Chance {
    fn new(seed: u8) -> Self {
        Self(ChaCha20Rng::from_seed([seed; 32]))
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// Both ends of a conversation, Alice's first message delivered.
fn pair(chance: &mut Chance) -> (Session, Session) {
    let mut alice = Session::start(&ALICE, &bundle(true), &chance.draw()).unwrap();
    let first = alice.seal(b"", b"first").unwrap();
    let initial = Initial::parse(&first).unwrap();
    let accepted = Session::accept(&BOB, &initial, &SIGNED, Some(&ONE_TIME), b"", &first, chance.draw());
    let (bob, text) = accepted.unwrap();
    assert_eq!(text, b"first");
    (alice, bob)
}

/// One answer from Bob and one from Alice: both have turned.
fn settled(chance: &mut Chance) -> (Session, Session) {
    let (mut alice, mut bob) = pair(chance);
    round_trip(&mut alice, &mut bob, chance);
    (alice, bob)
}

fn round_trip(alice: &mut Session, bob: &mut Session, chance: &mut Chance) -> [Vec<u8>; 2] {
    let there = bob.seal(b"", b"bob").unwrap();
    assert_eq!(alice.open(b"", &there, chance.draw()).unwrap(), b"bob");
    let back = alice.seal(b"", b"alice").unwrap();
    assert_eq!(bob.open(b"", &back, chance.draw()).unwrap(), b"alice");
    [there, back]
}

// CRYPTO-15
#[test]
fn a_session_starts_with_and_without_a_one_time_prekey_and_both_know_whom_they_talk_to() {
    for one_time in [true, false] {
        let mut alice = Session::start(&ALICE, &bundle(one_time), &[5; 64]).unwrap();
        let first = alice.seal(b"aad", b"hello").unwrap();
        let initial = Initial::parse(&first).unwrap();
        assert_eq!(initial.identity, public_key(&ALICE));
        let secret = one_time.then_some(&ONE_TIME);
        let (bob, text) = Session::accept(&BOB, &initial, &SIGNED, secret, b"aad", &first, [6; 32]).unwrap();
        assert_eq!(text, b"hello");
        assert_eq!((alice.peer(), bob.peer()), (&public_key(&BOB), &public_key(&ALICE)));
    }
}

// CRYPTO-15
#[test]
fn a_first_message_opens_for_its_prekeys_sender_and_contents_only() {
    let mut alice = Session::start(&ALICE, &bundle(true), &[5; 64]).unwrap();
    let first = alice.seal(b"aad", b"hello").unwrap();
    let initial = Initial::parse(&first).unwrap();
    let accept = |identity: [u8; 32], initial: Initial, signed: [u8; 32], message: &[u8]| {
        Session::accept(&identity, &initial, &signed, Some(&ONE_TIME), b"aad", message, [6; 32])
            .map(|(_, text)| text)
    };
    assert_eq!(accept(BOB, initial, SIGNED, &first), Ok(b"hello".to_vec()));
    assert_eq!(accept([9; 32], initial, SIGNED, &first), Err(RatchetError::Forged));
    assert_eq!(accept(BOB, initial, [9; 32], &first), Err(RatchetError::WrongPrekey));
    let mallory = Initial { identity: public_key(&[9; 32]), ..initial };
    assert_eq!(accept(BOB, mallory, SIGNED, &first), Err(RatchetError::NotInitial));
    let without = Session::accept(&BOB, &initial, &SIGNED, None, b"aad", &first, [6; 32]).map(|_| ());
    assert_eq!(without, Err(RatchetError::WrongPrekey));
    for at in 1..first.len() {
        let mut altered = first.clone();
        altered[at] ^= 1;
        let Ok(initial) = Initial::parse(&altered) else { continue };
        assert!(accept(BOB, initial, SIGNED, &altered).is_err(), "byte {at}");
    }
}

// CRYPTO-1, CRYPTO-15
#[test]
fn bundles_and_first_messages_with_points_of_small_order_are_refused() {
    let (identity, signed) = (public_key(&BOB), public_key(&SIGNED));
    for bad in [
        bundle_of([0; 32], signed, None),
        bundle_of(identity, [0; 32], None),
        bundle_of(identity, signed, Some([0; 32])),
    ] {
        assert_eq!(Session::start(&ALICE, &bad, &[5; 64]).map(|_| ()), Err(RatchetError::LowOrder));
    }
}

#[test]
fn the_beginning_is_repeated_until_an_answer_arrives_and_no_longer() {
    let mut chance = Chance::new(1);
    let (mut alice, mut bob) = pair(&mut chance);
    let second = alice.seal(b"", b"second").unwrap();
    assert!(Initial::parse(&second).is_ok());
    assert_eq!(bob.open(b"", &second, chance.draw()).unwrap(), b"second");
    round_trip(&mut alice, &mut bob, &mut chance);
    let later = alice.seal(b"", b"later").unwrap();
    assert_eq!(Initial::parse(&later), Err(RatchetError::NotInitial));
    assert!(later.len() < second.len());
}

// CRYPTO-16
#[test]
fn a_copy_of_the_state_opens_nothing_that_was_opened_before_it() {
    let mut chance = Chance::new(2);
    let (mut alice, mut bob) = settled(&mut chance);
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.extend(round_trip(&mut alice, &mut bob, &mut chance));
        let more = alice.seal(b"", b"more").unwrap();
        bob.open(b"", &more, chance.draw()).unwrap();
        heard.push(more);
    }
    for message in &heard {
        for stolen in [&alice, &bob] {
            assert_eq!(stolen.clone().open(b"", message, chance.draw()), Err(RatchetError::Forged));
        }
    }
}

/// A thief hears everything and tries everything that it holds on it, keeping what helps.
struct Thief(Vec<Session>);

impl Thief {
    fn hears(&mut self, message: &[u8], chance: &mut Chance) -> bool {
        let mut opened = false;
        for index in 0..self.0.len() {
            let mut copy = self.0[index].clone();
            let texts = [&b""[..], b"aad"].map(|aad| copy.open(aad, message, chance.draw()).is_ok());
            if texts.contains(&true) {
                opened = true;
                // The later copy holds all that the earlier one did, but for what a turn replaced.
                self.0.push(copy);
                if self.0.len() > 16 {
                    self.0.remove(0);
                }
            }
        }
        opened
    }
}

// CRYPTO-16
#[test]
fn a_thief_of_either_state_is_out_after_one_round_trip() {
    for steal_from_alice in [true, false] {
        let mut chance = Chance::new(3);
        let (mut alice, mut bob) = settled(&mut chance);
        let mut thief = Thief(vec![if steal_from_alice { alice.clone() } else { bob.clone() }]);
        let first = bob.seal(b"", b"bob").unwrap();
        assert_eq!(thief.hears(&first, &mut chance), steal_from_alice, "the theft is real");
        alice.open(b"", &first, chance.draw()).unwrap();
        let second = alice.seal(b"", b"alice").unwrap();
        assert_eq!(thief.hears(&second, &mut chance), !steal_from_alice, "until the victim has turned");
        bob.open(b"", &second, chance.draw()).unwrap();
        for round in 0..3 {
            for message in round_trip(&mut alice, &mut bob, &mut chance) {
                assert!(!thief.hears(&message, &mut chance), "round {round}");
            }
        }
    }
}

// CRYPTO-17
#[test]
fn messages_far_ahead_are_refused_and_the_limit_itself_is_not() {
    let mut chance = Chance::new(4);
    let (mut alice, mut bob) = settled(&mut chance);
    let messages: Vec<_> = (0..MAX_SKIP + 2).map(|_| alice.seal(b"", b"x").unwrap()).collect();
    let before = bob.to_bytes();
    let too_far = messages.last().unwrap();
    assert_eq!(bob.open(b"", too_far, chance.draw()), Err(RatchetError::TooFarAhead));
    assert_eq!(bob.to_bytes(), before);
    assert!(bob.open(b"", &messages[MAX_SKIP as usize], chance.draw()).is_ok());
    assert!(bob.open(b"", &messages[0], chance.draw()).is_ok());
    assert!(bob.open(b"", too_far, chance.draw()).is_ok());
}

// CRYPTO-17
#[test]
fn the_keys_kept_for_lost_messages_are_bounded_and_the_oldest_go_first() {
    let mut chance = Chance::new(5);
    let (mut alice, mut bob) = settled(&mut chance);
    let mut lost = Vec::new();
    for _ in 0..4 {
        for _ in 0..MAX_SKIP {
            lost.push(alice.seal(b"", b"lost").unwrap());
        }
        let heard = alice.seal(b"", b"heard").unwrap();
        bob.open(b"", &heard, chance.draw()).unwrap();
        assert!(bob.to_bytes().len() <= STATE_LENGTH_MAX);
    }
    let opened = lost.iter().filter(|message| bob.open(b"", message, chance.draw()).is_ok()).count();
    assert_eq!(opened, MAX_SKIPPED);
    assert!(bob.open(b"", lost.last().unwrap(), chance.draw()).is_err(), "once only");
}

// CRYPTO-17
#[test]
fn the_chains_with_lost_messages_are_bounded_and_the_oldest_is_forgotten() {
    let mut chance = Chance::new(11);
    let (mut alice, mut bob) = settled(&mut chance);
    let mut lost = Vec::new();
    for _ in 0..=MAX_CHAINS {
        lost.push(alice.seal(b"", b"lost").unwrap());
        let heard = alice.seal(b"", b"heard").unwrap();
        bob.open(b"", &heard, chance.draw()).unwrap();
        round_trip(&mut alice, &mut bob, &mut chance);
    }
    let opened: Vec<bool> =
        lost.iter().map(|message| bob.open(b"", message, chance.draw()).is_ok()).collect();
    assert!(!opened[0]);
    assert!(opened[1..].iter().all(|&opened| opened));
}

// CRYPTO-16
#[test]
fn what_travels_beside_a_message_is_authenticated() {
    let mut chance = Chance::new(12);
    let (mut alice, mut bob) = settled(&mut chance);
    let message = alice.seal(b"beside", b"text").unwrap();
    assert_eq!(bob.open(b"besides", &message, chance.draw()), Err(RatchetError::Forged));
    assert_eq!(bob.open(b"beside", &message, chance.draw()).unwrap(), b"text");
}

// CRYPTO-18
#[test]
fn a_state_that_was_set_back_is_refused() {
    let mut chance = Chance::new(6);
    let (mut alice, mut bob) = settled(&mut chance);
    let old = alice.to_bytes();
    round_trip(&mut alice, &mut bob, &mut chance);
    let (known, new) = (alice.generation(), alice.to_bytes());
    assert_eq!(Session::restore(&old, known).map(|_| ()), Err(RestoreError::RolledBack));
    let mut restored = Session::restore(&new, known).unwrap();
    round_trip(&mut restored, &mut bob, &mut chance);
}

// CRYPTO-18
#[test]
fn states_have_one_encoding_and_neither_prefixes_nor_additions_are_taken() {
    let mut chance = Chance::new(7);
    let fresh = Session::start(&ALICE, &bundle(true), &chance.draw()).unwrap();
    let (mut alice, mut bob) = pair(&mut chance);
    alice.seal(b"", b"lost").unwrap();
    let heard = alice.seal(b"", b"heard").unwrap();
    bob.open(b"", &heard, chance.draw()).unwrap();
    for session in [&fresh, &alice, &bob] {
        let bytes = session.to_bytes();
        assert_eq!(Session::restore(&bytes, 0).unwrap().to_bytes(), bytes);
        for length in 0..bytes.len() {
            let cut = Session::restore(&bytes[..length], 0).map(|_| ());
            assert_eq!(cut, Err(RestoreError::Malformed), "length {length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Session::restore(&longer, 0).map(|_| ()), Err(RestoreError::Malformed));
    }
}

/// A state without skipped keys, to which a test appends its own: the last byte is the number of chains.
fn state_with(chains: &[Vec<u32>]) -> Vec<u8> {
    let (_, bob) = settled(&mut Chance::new(13));
    let mut bytes = bob.to_bytes().to_vec();
    *bytes.last_mut().unwrap() = chains.len() as u8;
    for numbers in chains {
        bytes.extend([7; 32]);
        bytes.extend((numbers.len() as u16).to_le_bytes());
        for number in numbers {
            bytes.extend(number.to_le_bytes());
            bytes.extend([8; 32]);
        }
    }
    bytes
}

// CRYPTO-18
#[test]
fn skipped_keys_of_a_state_must_ascend_and_keep_to_the_limits() {
    let restore = |chains: &[Vec<u32>]| Session::restore(&state_with(chains), 0).map(|_| ());
    let range = |count: usize| (0..count as u32).collect::<Vec<_>>();
    for good in [vec![], vec![vec![3, 9]], vec![vec![1]; MAX_CHAINS], vec![range(MAX_SKIPPED - 1), vec![1]]] {
        assert_eq!(restore(&good), Ok(()));
    }
    for bad in [
        vec![vec![9, 3]],
        vec![vec![3, 3]],
        vec![vec![]],
        vec![vec![1]; MAX_CHAINS + 1],
        vec![range(MAX_SKIPPED), vec![1]],
    ] {
        assert_eq!(restore(&bad), Err(RestoreError::Malformed));
    }
}

#[test]
fn a_session_does_not_show_its_secrets() {
    let (alice, _) = pair(&mut Chance::new(8));
    assert_eq!(format!("{alice:?}"), "Session { generation: 1, skipped: 0, .. }");
}

/// What the network does with the messages under way.
#[derive(Clone, Copy, Debug)]
enum Event {
    Send { from_alice: bool },
    Deliver { to_alice: bool, which: usize },
    Repeat { to_alice: bool, which: usize },
    Lose { to_alice: bool, which: usize },
    Corrupt { to_alice: bool, which: usize, at: usize },
    Restart { alice: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let (side, which) = (any::<bool>(), 0usize..8);
    prop_oneof![
        4 => side.prop_map(|from_alice| Event::Send { from_alice }),
        5 => (side, which.clone()).prop_map(|(to_alice, which)| Event::Deliver { to_alice, which }),
        1 => (side, which.clone()).prop_map(|(to_alice, which)| Event::Repeat { to_alice, which }),
        1 => (side, which.clone()).prop_map(|(to_alice, which)| Event::Lose { to_alice, which }),
        1 => (side, which, 0usize..200).prop_map(|(to_alice, which, at)| Event::Corrupt { to_alice, which, at }),
        1 => side.prop_map(|alice| Event::Restart { alice }),
    ]
}

struct Network {
    /// Bob, Alice.
    ends: [Session; 2],
    /// Messages to each with their texts, and those that were opened.
    under_way: [Vec<(Vec<u8>, u32)>; 2],
    opened: [Vec<Vec<u8>>; 2],
    sent: u32,
    chance: Chance,
}

impl Network {
    fn run(&mut self, event: Event) {
        match event {
            Event::Send { from_alice } => {
                let text = self.sent;
                self.sent += 1;
                let message = self.ends[usize::from(from_alice)].seal(b"aad", &text.to_le_bytes()).unwrap();
                self.under_way[usize::from(!from_alice)].push((message, text));
            }
            Event::Deliver { to_alice, which } => {
                let to = usize::from(to_alice);
                if let Some((message, text)) = self.pick(to, which) {
                    let opened = self.ends[to].open(b"aad", &message, self.chance.draw()).unwrap();
                    assert_eq!(opened, text.to_le_bytes());
                    self.opened[to].push(message);
                }
            }
            Event::Repeat { to_alice, which } => {
                let to = usize::from(to_alice);
                if let Some(message) = self.opened[to].get(which).cloned() {
                    self.refuses(to, &message);
                }
            }
            Event::Lose { to_alice, which } => drop(self.pick(usize::from(to_alice), which)),
            Event::Corrupt { to_alice, which, at } => {
                let to = usize::from(to_alice);
                let waiting = self.under_way[to].len().max(1);
                if let Some((message, _)) = self.under_way[to].get(which % waiting) {
                    let mut altered = message.clone();
                    let at = at % altered.len();
                    altered[at] ^= 1 << (which % 8);
                    self.refuses(to, &altered);
                }
            }
            Event::Restart { alice } => {
                let end = &mut self.ends[usize::from(alice)];
                *end = Session::restore(&end.to_bytes(), end.generation()).unwrap();
            }
        }
    }

    fn pick(&mut self, to: usize, which: usize) -> Option<(Vec<u8>, u32)> {
        let waiting = self.under_way[to].len();
        (waiting > 0).then(|| self.under_way[to].remove(which % waiting))
    }

    /// A refusal changes nothing.
    fn refuses(&mut self, to: usize, message: &[u8]) {
        let before = self.ends[to].to_bytes();
        assert!(self.ends[to].open(b"aad", message, self.chance.draw()).is_err());
        assert_eq!(self.ends[to].to_bytes(), before);
    }
}

impl Network {
    fn new(chance: Chance) -> Self {
        let mut chance = chance;
        let (alice, bob) = pair(&mut chance);
        let (under_way, opened) = (Default::default(), Default::default());
        Self { ends: [bob, alice], under_way, opened, sent: 0, chance }
    }

    /// What an event sends, for whoever listens.
    fn run_and_tell(&mut self, event: Event) -> Option<Vec<u8>> {
        let sent = self.sent;
        self.run(event);
        let under_way = self.under_way.iter().flatten();
        under_way.filter(|(_, text)| *text >= sent).map(|(message, _)| message.clone()).next()
    }

    /// A message that arrives at once.
    fn exchange(&mut self, from_alice: bool) -> Vec<u8> {
        let message = self.ends[usize::from(from_alice)].seal(b"aad", b"now").unwrap();
        let opened = self.ends[usize::from(!from_alice)].open(b"aad", &message, self.chance.draw());
        assert_eq!(opened.unwrap(), b"now");
        message
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // CRYPTO-16, CRYPTO-17
    #[test]
    fn every_delivered_message_opens_once_whatever_the_network_does(events in vec(event(), 0..60)) {
        let mut network = Network::new(Chance::new(9));
        for event in events {
            network.run(event);
        }
        let Network { ends: [mut bob, mut alice], mut chance, .. } = network;
        round_trip(&mut alice, &mut bob, &mut chance);
    }

    /// Forward secrecy: whoever takes both states, at any time, opens nothing that was opened before.
    // CRYPTO-16
    #[test]
    fn states_stolen_at_any_time_open_no_message_from_before(events in vec(event(), 0..60)) {
        let mut network = Network::new(Chance::new(14));
        for event in events {
            network.run(event);
        }
        for message in network.opened.iter().flatten() {
            for stolen in &network.ends {
                prop_assert!(stolen.clone().open(b"aad", message, network.chance.draw()).is_err());
            }
        }
    }

    /// Healing: whoever copied a state at any time and hears everything is out once the victim has written, read an answer and
    /// written again.
    // CRYPTO-16
    #[test]
    fn a_thief_is_out_after_a_round_trip_whatever_came_before_and_comes_after(
        before in vec(event(), 0..30), between in vec(event(), 0..10), after in vec(event(), 0..20), victim: bool
    ) {
        let mut network = Network::new(Chance::new(15));
        let mut chance = Chance::new(16);
        before.into_iter().for_each(|event| network.run(event));
        let mut thief = Thief(vec![network.ends[usize::from(victim)].clone()]);
        for event in between {
            if let Some(message) = &network.run_and_tell(event) {
                thief.hears(message, &mut chance);
            }
        }
        for from_alice in [victim, !victim, victim] {
            let message = network.exchange(from_alice);
            thief.hears(&message, &mut chance);
        }
        for from_alice in [victim, !victim] {
            let message = network.exchange(from_alice);
            prop_assert!(!thief.hears(&message, &mut chance), "at once");
        }
        for event in after {
            let sent = network.run_and_tell(event);
            prop_assert!(!sent.iter().any(|message| thief.hears(message, &mut chance)), "later");
        }
    }

    // CRYPTO-16
    #[test]
    fn no_bytes_make_a_session_panic(message in vec(any::<u8>(), 0..400)) {
        let mut chance = Chance::new(10);
        let (mut alice, _) = pair(&mut chance);
        prop_assert!(alice.open(b"", &message, chance.draw()).is_err());
        prop_assert!(Session::restore(&message, 0).is_err());
    }
}
