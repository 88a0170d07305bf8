//! Runs two sessions against each other and compares what they learn with the truth.

use std::collections::BTreeSet;

use cs_gossip::reconcile::{Config, Counters, Id, Index, Mode, Output, PeerFault, Session};

/// What one side learned.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) missing: Vec<Id>,
    pub(crate) wanted: Vec<Id>,
    pub(crate) done: bool,
}

/// A finished conversation.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) initiator: Learned,
    pub(crate) responder: Learned,
    /// Of both sides together.
    pub(crate) bytes: u64,
    /// Changes of the speaker, halved: what latency multiplies.
    pub(crate) turns: u32,
    pub(crate) counters: Counters,
}

/// Delivers every output of `from` to `to`, handing each message to `tamper` first.
fn drain(
    from: &mut Session,
    learned: &mut Learned,
    to: &mut Session,
    to_index: &Index,
    tamper: &mut dyn FnMut(&mut Vec<u8>),
) -> Result<bool, PeerFault> {
    let mut spoke = false;
    while let Some(output) = from.poll_output() {
        match output {
            Output::Send(mut bytes) => {
                spoke = true;
                tamper(&mut bytes);
                to.handle_input(to_index, &bytes)?;
            }
            Output::Missing(ids) => learned.missing.extend(ids),
            Output::Wanted(ids) => learned.wanted.extend(ids),
            Output::Done => learned.done = true,
        }
    }
    assert_eq!(from.poll_output(), None, "a quiet machine stays quiet");
    Ok(spoke)
}

pub(crate) fn converse(
    config: Config,
    ours: &Index,
    theirs: &Index,
    seed: u8,
    tamper: &mut dyn FnMut(&mut Vec<u8>),
) -> Result<Outcome, PeerFault> {
    let mut a = Session::initiate(config, ours, [seed; 32]);
    let mut b = Session::respond(Config::default(), theirs, [seed ^ 0x5a; 32]);
    let (mut initiator, mut responder) = (Learned::default(), Learned::default());
    let mut turns = 0;
    loop {
        let asked = drain(&mut a, &mut initiator, &mut b, theirs, tamper)?;
        let answered = drain(&mut b, &mut responder, &mut a, ours, tamper)?;
        if !asked && !answered {
            break;
        }
        turns += 1;
    }
    let bytes = a.counters().bytes_sent + b.counters().bytes_sent;
    Ok(Outcome { initiator, responder, bytes, turns, counters: b.counters() })
}

/// Reconciles honestly and asserts that each side learned exactly the truth.
pub(crate) fn assert_exact(config: Config, ours: &BTreeSet<Id>, theirs: &BTreeSet<Id>, seed: u8) -> Outcome {
    let index = |ids: &BTreeSet<Id>| ids.iter().copied().collect::<Index>();
    let outcome = converse(config, &index(ours), &index(theirs), seed, &mut |_| {}).expect("honest peers");
    let only_ours: Vec<Id> = ours.difference(theirs).copied().collect();
    let only_theirs: Vec<Id> = theirs.difference(ours).copied().collect();
    assert!(outcome.initiator.done && outcome.responder.done, "{:?}", outcome.counters);
    assert_eq!(outcome.initiator.missing, only_ours);
    assert_eq!(outcome.responder.missing, only_theirs);
    if config.want_ids {
        assert_eq!(outcome.initiator.wanted, only_theirs);
        assert_eq!(outcome.responder.wanted, only_ours);
    }
    outcome
}

pub(crate) fn ids(range: std::ops::Range<u32>) -> impl Iterator<Item = Id> {
    range.map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Each side learns what of its own to send, and no more.
pub(crate) const LEAN: Config = Config { mode: Mode::Fewest, want_ids: false, verify: false, since: None };

/// A set of `size` ids on each side, of which `only_ours` and `only_theirs` are not shared.
fn sides(shared: u32, only_ours: u32, only_theirs: u32) -> (BTreeSet<Id>, BTreeSet<Id>) {
    let ours = ids(0..shared).chain(ids(1 << 24..(1 << 24) + only_ours)).collect();
    let theirs = ids(0..shared).chain(ids(1 << 25..(1 << 25) + only_theirs)).collect();
    (ours, theirs)
}

/// REC-2
#[test]
fn equal_sets_cost_ten_bytes_whatever_their_size() {
    for shared in [0, 1, 5000] {
        let (ours, theirs) = sides(shared, 0, 0);
        let outcome = assert_exact(LEAN, &ours, &theirs, 1);
        assert_eq!((outcome.bytes, outcome.turns), (10, 1));
    }
}

/// REC-4
#[test]
fn one_difference_costs_two_turns_and_twenty_five_bytes() {
    for (ours, theirs) in [(1, 0), (0, 1)] {
        let (ours, theirs) = sides(20_000, ours, theirs);
        let outcome = assert_exact(LEAN, &ours, &theirs, 2);
        assert!(outcome.bytes <= 25 && outcome.turns == 2, "{outcome:?}");
    }
    let (ours, theirs) = sides(5000, 1, 2);
    assert_exact(Config::default(), &ours, &theirs, 3);
}

/// REC-5, REC-6 and REC-7
#[test]
fn bytes_follow_the_difference() {
    for (shared, ours, theirs, limit) in [
        (20_000, 5, 5, 120),
        (20_000, 50, 50, 600),
        (20_000, 500, 500, 3_500),
        (20_000, 1000, 0, 2_800),
        (20_000, 0, 1000, 3_000),
        (10_000, 5_000, 5_000, 17_500),
        (500, 0, 20_000, 2_500),
        (500, 20_000, 0, 2_500),
        (0, 0, 10_000, 200),
        (0, 10_000, 0, 300),
        (0, 3000, 3000, 10_000),
    ] {
        let (ours, theirs) = sides(shared, ours, theirs);
        let outcome = assert_exact(LEAN, &ours, &theirs, 4);
        println!(
            "{shared} {} {}: {} bytes, {} turns",
            ours.len(),
            theirs.len(),
            outcome.bytes,
            outcome.turns
        );
        assert!(outcome.bytes <= limit, "{} bytes of {limit}, {:?}", outcome.bytes, outcome.counters);
    }
}

/// REC-5
#[test]
fn quick_sessions_take_three_turns() {
    for (shared, ours, theirs) in [
        (20_000, 0, 0),
        (20_000, 1, 0),
        (20_000, 50, 50),
        (20_000, 0, 1000),
        (5000, 5000, 5000),
        (500, 0, 20_000),
    ] {
        let (ours, theirs) = sides(shared, ours, theirs);
        let outcome = assert_exact(Config { mode: Mode::Quick, ..LEAN }, &ours, &theirs, 4);
        println!(
            "{shared} {} {}: {} bytes, {} turns",
            ours.len(),
            theirs.len(),
            outcome.bytes,
            outcome.turns
        );
        assert!(outcome.turns <= 3, "{outcome:?}");
    }
}

/// REC-10 and REC-11: sums that are changed on the way cost rounds up to the listing, and nothing else.
#[test]
fn a_session_that_is_never_content_ends_with_a_listing_and_is_exact() {
    let (ours, theirs) = sides(6000, 40, 25);
    let index = |ids: &BTreeSet<Id>| ids.iter().copied().collect::<Index>();
    let (mut changed, mut listed) = (0, 0);
    let outcome = converse(LEAN, &index(&ours), &index(&theirs), 5, &mut |bytes| match bytes.first() {
        Some(0x58 | 0x60) if listed == 0 => {
            changed += 1;
            bytes[1] ^= 1;
        }
        Some(0x70) => listed += 1,
        _ => {}
    })
    .unwrap();
    assert_eq!((changed, listed, outcome.counters.rounds), (6, 2, 3));
    assert_eq!(outcome.initiator.missing.len(), 40);
    assert_eq!(outcome.responder.missing.len(), 25);
    let mut spoiled = |bytes: &mut Vec<u8>| {
        if matches!(bytes.first(), Some(0x58 | 0x60)) {
            bytes[1] ^= 1;
        }
    };
    let fault = converse(LEAN, &index(&ours), &index(&theirs), 5, &mut spoiled).unwrap_err();
    assert_eq!(fault, PeerFault::Disagrees);
}

/// REC-8: what does not decode gets further syndromes, and is left to another try in the end.
#[test]
fn a_partition_that_never_decodes_is_left_to_another_try() {
    let (ours, theirs) = sides(3000, 60, 60);
    let index = |ids: &BTreeSet<Id>| ids.iter().copied().collect::<Index>();
    let (mut spoiled, mut extras, mut estimates) = (false, 0, 0);
    let outcome = converse(LEAN, &index(&ours), &index(&theirs), 6, &mut |bytes| {
        extras += u32::from(bytes.first() == Some(&0x50));
        estimates += u32::from(bytes.first() == Some(&0x20));
        if bytes.first() == Some(&0x30) && !spoiled {
            spoiled = true;
            bytes[20] ^= 0x40;
        }
    })
    .unwrap();
    assert!(extras > 6 && estimates == 2, "{extras} {estimates}");
    assert_eq!((outcome.initiator.missing.len(), outcome.responder.missing.len()), (60, 60));
}

/// REC-10: short ids are so short that some collide, and a second look at other bits finds what that hid.
#[test]
fn what_collisions_hide_is_found_by_a_second_look() {
    let (ours, theirs) = sides(20_000, 500, 500);
    let index = |ids: &BTreeSet<Id>| ids.iter().copied().collect::<Index>();
    let mut looks = 0;
    for seed in 0..6 {
        let (ours, theirs) = sides(20_000 + u32::from(seed), 500, 500);
        assert_exact(LEAN, &ours, &theirs, seed);
    }
    let outcome = converse(LEAN, &index(&ours), &index(&theirs), 1, &mut |bytes| {
        looks += u32::from(bytes.first() == Some(&0x30) && bytes[2] & 0x80 != 0);
    });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.initiator.missing.len(), outcome.responder.missing.len()), (500, 500));
    assert_eq!((looks, outcome.counters.rounds), (1, 0));
}

/// REC-13: a difference among the newest costs as if there were nothing else.
#[test]
fn a_recent_difference_costs_less_than_one_anywhere() {
    let build = |own: std::ops::Range<u32>| {
        let mut index: Index = ids(0..20_000).collect();
        ids(20_000..20_200).chain(ids(own)).for_each(|id| assert!(index.insert_at(id, 50)));
        index
    };
    let (ours, theirs) = (build(30_000..30_100), build(40_000..40_100));
    let bytes = |since| {
        let outcome = converse(Config { since, ..LEAN }, &ours, &theirs, 7, &mut |_| {}).unwrap();
        assert_eq!((outcome.initiator.missing.len(), outcome.responder.missing.len()), (100, 100));
        outcome.bytes
    };
    let (recent, whole) = (bytes(Some(50)), bytes(None));
    assert!(recent * 4 < whole * 3, "{recent} of {whole}");
}

/// Ids that arrive during a session are not part of it and harm nothing; the next one finds the rest.
#[test]
fn a_session_works_on_the_snapshot_it_was_made_with() {
    let (ours, theirs) = sides(500, 3, 4);
    let (mut a_index, b_index): (Index, Index) =
        (ours.iter().copied().collect(), theirs.iter().copied().collect());
    let mut a = Session::initiate(Config::default(), &a_index, [1; 32]);
    let mut b = Session::respond(Config::default(), &b_index, [2; 32]);
    let arrived = *theirs.difference(&ours).next().unwrap();
    a_index.insert(arrived);
    a_index.extend(ids(900..1000));
    let (mut a_learned, mut b_learned) = (Learned::default(), Learned::default());
    while !(a_learned.done && b_learned.done) {
        drain(&mut a, &mut a_learned, &mut b, &b_index, &mut |_| {}).unwrap();
        drain(&mut b, &mut b_learned, &mut a, &a_index, &mut |_| {}).unwrap();
    }
    assert_eq!((a_learned.missing.len(), a_learned.wanted.len()), (3, 3), "one wanted id arrived meanwhile");
    assert!(!a_learned.wanted.contains(&arrived));
    assert_eq!((b_learned.missing.len(), b_learned.wanted.len()), (4, 3));
}
