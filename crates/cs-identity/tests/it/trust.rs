//! Web of trust: what an attestation carries, what sybils win, and what is said about it.

use std::collections::BTreeSet;

use cs_identity::person::{
    Certificate, Commitment, Consent, PersonAction, PersonDraft, PersonLog, PersonStatement,
};
use cs_identity::trust::{
    AttestInserted, Attestation, Attested, Explanation, Level, MAX_ATTESTATIONS_OF_ISSUER, NotTrusted,
    PetnameError, Petnames, Policy, WebFull, WebOfTrust,
};
use cs_identity::wire::{self, DecodeError};
use cs_identity::{NodeId, SecretKey, Signable, Signed, Unverified};
use proptest::prelude::*;

use crate::world::key;

fn id(n: u8) -> NodeId {
    key(n).node_id()
}

fn says(issuer: &SecretKey, subject: NodeId, level: Level) -> Attestation {
    let issuer = issuer.node_id();
    let (claim, until_ms) = (Attested::Person, u64::MAX);
    Attestation { issuer, subject, claim, level, seq: 0, unix_ms: 1000, until_ms, name: None }
}

fn attest(issuer: u8, subject: u8, level: Level) -> Signed<Attestation> {
    Attestation::sign(&key(issuer), says(&key(issuer), id(subject), level)).unwrap()
}

/// A web in which 0 is the root, with full attestations along these pairs.
fn web(policy: Policy, pairs: &[(u8, u8)]) -> WebOfTrust {
    let mut web = WebOfTrust::new(policy, 100, 10_000);
    web.set_time(2000);
    web.set_root(id(0), true);
    for &(issuer, subject) in pairs {
        assert_eq!(web.insert(attest(issuer, subject, Level::Full)), Ok(AttestInserted::New));
    }
    web
}

fn trusted(web: &mut WebOfTrust) -> Vec<u8> {
    let trusted: BTreeSet<NodeId> = web.trusted().into_iter().collect();
    (0..100).filter(|n| trusted.contains(&id(*n))).collect()
}

/// ID-25
#[test]
fn trust_flows_from_the_roots_along_attestations_and_from_nowhere_else() {
    let mut web = web(Policy::flow(), &[(0, 1), (1, 2), (3, 4), (4, 3), (3, 0)]);
    assert_eq!(trusted(&mut web), [0, 1, 2], "those who attest each other, and the root, stay strangers");
    assert!(web.is_trusted(&id(2)) && !web.is_trusted(&id(3)));
    web.set_root(id(0), false);
    assert!(trusted(&mut web).is_empty());
    web.set_root(id(3), true);
    assert_eq!(trusted(&mut web), [0, 1, 2, 3, 4]);
}

/// ID-24: the word of a blocked key, and anybody's for it, counts no more when it comes after the block.
#[test]
fn what_comes_after_a_block_counts_for_nothing_either() {
    let mut web = web(Policy::flow(), &[(0, 1)]);
    web.set_blocked(id(2), true);
    for (issuer, subject) in [(0, 2), (1, 2), (2, 3)] {
        web.insert(attest(issuer, subject, Level::Full)).unwrap();
    }
    assert_eq!(trusted(&mut web), [0, 1]);
    assert!(!web.is_trusted(&id(2)) && !web.is_trusted(&id(3)));
}

/// ID-23, ID-24: withdrawn, over, not begun, of an unknown kind: none counts.
#[test]
fn an_attestation_counts_until_it_ends_or_is_withdrawn() {
    let mut web = web(Policy::flow(), &[(0, 1)]);
    let mut say = |change: &dyn Fn(&mut Attestation)| {
        let mut attestation = says(&key(0), id(1), Level::Full);
        change(&mut attestation);
        (web.insert(Attestation::sign(&key(0), attestation).unwrap()), trusted(&mut web))
    };
    assert_eq!(say(&|_| ()), (Ok(AttestInserted::Known), vec![0, 1]));
    assert_eq!(say(&|a| (a.seq, a.level) = (2, Level::Withdrawn)), (Ok(AttestInserted::New), vec![0]));
    assert_eq!(say(&|a| a.seq = 1), (Ok(AttestInserted::Older), vec![0]), "said before it was taken back");
    assert_eq!(say(&|a| a.seq = 2), (Ok(AttestInserted::Older), vec![0]), "of one number the weaker counts");
    assert_eq!(say(&|a| (a.seq, a.unix_ms) = (3, 2001)), (Ok(AttestInserted::New), vec![0]), "the future");
    assert_eq!(say(&|a| (a.seq, a.until_ms) = (4, 2000)), (Ok(AttestInserted::New), vec![0]), "over");
    assert_eq!(say(&|a| (a.seq, a.until_ms) = (5, 3000)), (Ok(AttestInserted::New), vec![0, 1]));
    let other = say(&|a| (a.subject, a.claim) = (id(2), Attested::Extension(200)));
    assert_eq!(other, (Ok(AttestInserted::New), vec![0, 1]), "of a later version: kept, not trusted");
    let later = Attestation { unix_ms: 5000, ..says(&key(0), id(3), Level::Full) };
    web.insert(Attestation::sign(&key(0), later).unwrap()).unwrap();
    web.set_time(2999);
    assert_eq!(trusted(&mut web), [0, 1]);
    web.set_time(3000);
    assert_eq!(trusted(&mut web), [0]);
    web.set_time(5000);
    assert_eq!(trusted(&mut web), [0, 3]);
    web.set_time(2999);
    assert_eq!(trusted(&mut web), [0, 1], "a clock set back");
}

/// ID-25: what one attestation carries does not grow with how many keys are behind it.
#[test]
fn a_thousand_keys_behind_one_attestation_are_not_a_thousand_people() {
    let honest: Vec<(u8, u8)> = (0..40).flat_map(|n| [1, 3, 7].map(|d| (n, (n + d) % 40))).collect();
    let mut accepted = vec![];
    for sybils in [10_u32, 1000] {
        let mut web = web(Policy::flow(), &honest);
        let keys: Vec<SecretKey> = (0..sybils)
            .map(|n| {
                SecretKey::from_bytes([n as u8, (n >> 8) as u8, 77].repeat(11)[..32].try_into().unwrap())
            })
            .collect();
        let won = says(&key(20), keys[0].node_id(), Level::Full);
        web.insert(Attestation::sign(&key(20), won).unwrap()).unwrap();
        for sybil in &keys[1..] {
            let up = says(&keys[0], sybil.node_id(), Level::Full);
            web.insert(Attestation::sign(&keys[0], up).unwrap()).unwrap();
        }
        let is_honest: BTreeSet<NodeId> = (0..40).map(id).collect();
        let all = web.trusted();
        assert!(all.iter().filter(|id| is_honest.contains(id)).count() >= 38);
        accepted.push(all.iter().filter(|id| !is_honest.contains(id)).count());
    }
    assert_eq!(accepted[0], accepted[1], "more of them win nothing");
    assert!((1..=4).contains(&accepted[0]), "{accepted:?}");
}

/// ID-31: what members publish in a space reaches each other's webs, forged bodies do not.
#[test]
fn a_space_carries_what_its_members_attest() {
    let mut world = crate::world::World::new(3);
    world.grant(0, None, 1, &[], cs_identity::Rights::READ, 0).unwrap();
    world.sync_all();
    let founding = PersonStatement::sign(&key(2), PersonDraft::founding(None, 1000)).unwrap();
    let mut person = PersonLog::new(founding.clone()).unwrap();
    let consent = Consent::sign(&key(5), &id(2));
    let phone = Certificate { device: id(5), label: "phone".into(), until_ms: u64::MAX, consent };
    let draft = person.next_draft(PersonAction::Certify(phone), 1500);
    let certified = PersonStatement::sign(&key(2), draft).unwrap();
    person.insert(certified.clone()).unwrap();
    let mut forged = attest(0, 9, Level::Full).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let actions = [
        certified.carried(),
        founding.carried(),
        attest(0, 1, Level::Full).carried(),
        attest(1, 2, Level::Full).carried(),
        cs_identity::control::Action::Extension { kind: 128, body: forged },
        cs_identity::control::Action::Extension { kind: 128, body: vec![1, 2, 3] },
    ];
    for action in actions {
        world.say(1, 3000, action).unwrap();
    }
    let mut web = WebOfTrust::new(Policy::flow(), 10, 10);
    web.set_time(4000);
    web.set_root(id(0), true);
    assert_eq!(web.gather(&world.devices[1].graph), 4);
    assert_eq!(trusted(&mut web), [0, 1, 2]);
    assert!(web.is_trusted(&id(5)));
    assert_eq!(web.gather(&world.devices[1].graph), 4, "again changes nothing");
    assert_eq!(web.len(), 2);
}

/// ID-26: one full introducer, or three marginal ones, at most so many steps away.
#[test]
fn introducers_count_by_how_firmly_and_how_far() {
    let full: Vec<(u8, u8)> = vec![(0, 1), (1, 2), (2, 3)];
    let mut strict = web(Policy::Introducers { marginals: 3, depth: 2 }, &full);
    assert_eq!(trusted(&mut strict), [0, 1, 2]);
    strict.set_policy(Policy::Introducers { marginals: 3, depth: 3 });
    assert_eq!(trusted(&mut strict), [0, 1, 2, 3]);

    let mut web = web(Policy::introducers(), &[(0, 1), (0, 2), (0, 3)]);
    for (issuer, expected) in [(1, 0), (2, 0), (3, 1)] {
        web.insert(attest(issuer, 9, Level::Marginal)).unwrap();
        assert_eq!(web.is_trusted(&id(9)), expected == 1);
    }
    // Whom marginal ones introduced introduces marginally, however firmly it speaks.
    web.insert(attest(9, 10, Level::Full)).unwrap();
    assert!(!web.is_trusted(&id(10)));
    web.insert(attest(1, 10, Level::Full)).unwrap();
    assert!(web.is_trusted(&id(10)));
    assert_eq!(web.explain(&id(8)), Explanation::Not(NotTrusted::Unattested));
    web.insert(attest(9, 8, Level::Full)).unwrap();
    assert_eq!(web.explain(&id(8)), Explanation::Not(NotTrusted::TooFew { attested_by: 1 }));
}

/// ID-24: several devices of a person are one principal, and a key that handed over speaks no more.
#[test]
fn the_devices_of_a_person_speak_as_one() {
    let mut web = web(Policy::flow(), &[(0, 1)]);
    let founding = PersonDraft::founding(Some(Commitment::to(&id(90))), 1000);
    let mut person = PersonLog::new(PersonStatement::sign(&key(1), founding).unwrap()).unwrap();
    let consent = Consent::sign(&key(2), &id(1));
    let phone = Certificate { device: id(2), label: "phone".into(), until_ms: 9000, consent };
    let draft = person.next_draft(PersonAction::Certify(phone), 1500);
    person.insert(PersonStatement::sign(&key(1), draft).unwrap()).unwrap();
    web.insert(attest(2, 5, Level::Full)).unwrap();
    web.insert(attest(1, 6, Level::Full)).unwrap();
    assert!(!web.is_trusted(&id(2)) && !web.is_trusted(&id(5)));
    for statement in person.statements() {
        web.insert_person(statement.clone()).unwrap();
    }
    assert!(web.is_trusted(&id(2)) && web.is_trusted(&id(5)) && web.is_trusted(&id(6)));
    let before = web.clone();
    web.set_time(9000);
    assert!(!web.is_trusted(&id(2)) && !web.is_trusted(&id(5)), "the phone's certificate is over");
    web = before;

    let succession = person.succession(id(90), None, None);
    let draft = person.next_draft(succession, 2000);
    web.insert_person(PersonStatement::sign(&key(90), draft).unwrap()).unwrap();
    assert!(web.is_trusted(&id(90)) && web.is_trusted(&id(5)), "the person is attested, not its key");
    assert!(!web.is_trusted(&id(1)) && !web.is_trusted(&id(6)));
    assert_eq!(web.explain(&id(1)), Explanation::Not(NotTrusted::SpeaksForNobody));
    web.insert(attest(90, 6, Level::Full)).unwrap();
    assert!(web.is_trusted(&id(6)));
}

/// ID-24: what the user blocks is not trusted and introduces nobody, root or not.
#[test]
fn a_blocked_key_and_its_word_count_for_nothing() {
    let mut web = web(Policy::flow(), &[(0, 1), (1, 2), (0, 3), (3, 2)]);
    web.set_blocked(id(1), true);
    assert_eq!(trusted(&mut web), [0, 2, 3]);
    assert_eq!(web.explain(&id(1)), Explanation::Not(NotTrusted::Blocked));
    web.set_blocked(id(0), true);
    assert!(trusted(&mut web).is_empty());
    web.set_blocked(id(0), false);
    web.set_blocked(id(1), false);
    assert_eq!(trusted(&mut web), [0, 1, 2, 3]);
}

/// ID-24: one issuer has so much room, whatever order it is filled in; strangers' words are the first to go.
#[test]
fn what_is_kept_is_bounded_and_strangers_make_room() {
    let subjects: Vec<SecretKey> = (0..=MAX_ATTESTATIONS_OF_ISSUER as u32)
        .map(|n| SecretKey::from_bytes([n as u8, (n >> 8) as u8, 3].repeat(11)[..32].try_into().unwrap()))
        .collect();
    let said: Vec<Signed<Attestation>> = subjects
        .iter()
        .map(|s| Attestation::sign(&key(0), says(&key(0), s.node_id(), Level::Full)).unwrap())
        .collect();
    let kept = |order: &mut dyn Iterator<Item = &Signed<Attestation>>| {
        let mut web = web(Policy::flow(), &[]);
        order.for_each(|one| assert!(web.insert(one.clone()).is_ok()));
        assert_eq!(web.len(), MAX_ATTESTATIONS_OF_ISSUER);
        web.said_by(&id(0)).map(Signed::id).collect::<Vec<_>>()
    };
    assert_eq!(kept(&mut said.iter()), kept(&mut said.iter().rev()));

    let mut web = WebOfTrust::new(Policy::flow(), 1, 4);
    web.set_time(2000);
    web.set_root(id(0), true);
    for n in 1..=2 {
        web.insert(attest(0, n, Level::Full)).unwrap();
        web.insert(attest(40, n, Level::Full)).unwrap();
    }
    assert_eq!(web.insert(attest(0, 3, Level::Full)), Ok(AttestInserted::New));
    assert_eq!((web.len(), web.said_by(&id(40)).count()), (3, 0));
    web.insert(attest(1, 3, Level::Full)).unwrap();
    assert_eq!(web.insert(attest(0, 4, Level::Full)), Err(WebFull));
    assert_eq!(web.prune(), 0);
}

/// ID-24: the explanation names the attestations, in order, with the user's own names first.
#[test]
fn every_verdict_explains_itself() {
    let mut web = web(Policy::flow(), &[(0, 1), (7, 8)]);
    let named = Attestation { name: Some("Bob".into()), ..says(&key(1), id(2), Level::Marginal) };
    let named = Attestation::sign(&key(1), named).unwrap();
    web.insert(named.clone()).unwrap();
    let mut names = Petnames::new();
    names.set(id(0), "me").unwrap();
    names.set(id(1), "Alice").unwrap();
    let Explanation::Flow { steps } = web.explain(&id(2)) else { panic!("it is trusted") };
    assert_eq!(
        steps.iter().map(|s| (s.issuer, s.subject)).collect::<Vec<_>>(),
        [(id(0), id(1)), (id(1), id(2))]
    );
    assert_eq!(steps[1].attestation, named.id());
    let told = web.explain(&id(2)).tell(&names).to_string();
    let short = id(2).short();
    assert_eq!(
        told,
        format!(
            "trusted because you trust me, who attests Alice (full), who attests {short} (whom they call “Bob”) (marginal)"
        )
    );
    assert_eq!(web.explain(&id(0)), Explanation::Root);
    assert_eq!(web.explain(&id(8)), Explanation::Not(NotTrusted::OutOfReach { attested_by: 1 }));
    assert!(!web.explain(&id(9)).is_trusted());
    web.set_policy(Policy::introducers());
    assert_eq!(
        web.explain(&id(1)).tell(&names).to_string(),
        "trusted because it is attested by me (full), 1 step from you"
    );
    web.set_policy(Policy::Flow { most: 1 });
    let crowd: Vec<(u8, u8)> = (0..5).flat_map(|n| (10..30).map(move |m| (n, m))).collect();
    for (issuer, subject) in crowd {
        web.insert(attest(issuer, subject, Level::Full)).unwrap();
    }
    let few = web.trusted().len();
    assert!((1..=4).contains(&few), "{few} accepted where one was to be");
    let left =
        (10..30).filter(|n| matches!(web.explain(&id(*n)), Explanation::Not(NotTrusted::NoneLeft { .. })));
    assert!(left.count() >= 16);
}

/// ID-27: one name, one key, whatever the case; nothing that passes for a key; a book survives the disk.
#[test]
fn petnames_are_the_users_own_and_unmistakable() {
    let mut names = Petnames::new();
    names.set(id(1), "Ann").unwrap();
    assert_eq!(names.set(id(2), "ann"), Err(PetnameError::Taken));
    assert_eq!(names.set(id(2), "an\u{200b}n"), Err(PetnameError::NotAName));
    assert_eq!(names.set(id(2), &id(3).to_string()), Err(PetnameError::LooksLikeAKey));
    assert_eq!(names.set(id(2), &id(3).to_string().to_uppercase()), Err(PetnameError::LooksLikeAKey));
    names.set(id(2), "Bo").unwrap();
    names.set(id(1), "ANN B").unwrap();
    assert_eq!(
        (names.find("ann b"), names.find("ann"), names.name(&id(1))),
        (Some(id(1)), None, Some("ANN B"))
    );
    let mut bytes = vec![];
    names.encode(&mut bytes);
    assert_eq!(wire::whole(&bytes, Petnames::decode).as_ref(), Ok(&names));
    for end in 0..bytes.len() {
        assert!(wire::whole(&bytes[..end], Petnames::decode).is_err());
    }
    assert_eq!(names.remove(&id(2)).as_deref(), Some("Bo"));
    assert_eq!(names.find("bo"), None);
    assert_eq!(names.iter().count(), 1);
}

fn attestation() -> impl Strategy<Value = Signed<Attestation>> {
    let claim = prop_oneof![Just(Attested::Person), (128..=255_u8).prop_map(Attested::Extension)];
    let level = prop_oneof![Just(Level::Withdrawn), Just(Level::Marginal), Just(Level::Full)];
    let name = prop::option::of("[a-zé]{1,12}");
    let until = prop_oneof![Just(u64::MAX), 5001..=1_u64 << 48];
    (0..8_u8, 1..8_u8, claim, level, 0..1_u64 << 48, 0..5000_u64, until, name).prop_map(
        |(issuer, other, claim, level, seq, unix_ms, until_ms, name)| {
            let (issuer, subject) = (key(issuer), id((issuer + other) % 8));
            let (signer, issuer) = (&issuer, issuer.node_id());
            let value = Attestation { issuer, subject, claim, level, seq, unix_ms, until_ms, name };
            Attestation::sign(signer, value).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    /// ID-23: the laws of an encoding.
    #[test]
    fn attestations_have_one_encoding(one in attestation(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let bytes = &one.bytes()[..one.bytes().len() - 64];
        prop_assert_eq!(&wire::whole(bytes, Attestation::decode).unwrap(), one.value());
        for end in 0..bytes.len() {
            prop_assert_eq!(wire::whole(&bytes[..end], Attestation::decode), Err(DecodeError::Truncated));
        }
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] = to;
        if let Ok(value) = wire::whole(&changed, Attestation::decode) {
            let mut again = vec![];
            value.encode(&mut again);
            prop_assert_eq!(again, changed);
        }
        let mut longer = one.bytes().to_vec();
        longer.push(0);
        prop_assert!(Unverified::<Attestation>::from_bytes(&longer).is_err());
    }

    /// ID-24: the set decides: order, repetition and the path of time change nothing, and what is updated step by step is
    /// what is worked out anew.
    #[test]
    fn order_and_repetition_do_not_change_who_is_trusted(
        all in prop::collection::vec(attestation(), 0..40),
        keys in prop::collection::vec(any::<u32>(), 40),
        flow in any::<bool>(),
        times in prop::collection::vec(0..8000_u64, 1..5),
    ) {
        let policy = if flow { Policy::flow() } else { Policy::introducers() };
        let mut shuffled: Vec<_> = all.iter().zip(keys).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let fill = |order: &mut dyn Iterator<Item = &Signed<Attestation>>, times: &[u64]| {
            let mut web = WebOfTrust::new(policy, 10, 1000);
            web.set_root(id(0), true);
            let mut times = times.iter();
            for one in order {
                if let Some(time) = times.next() {
                    web.set_time(*time);
                    web.evaluate();
                }
                web.insert(one.clone()).unwrap();
            }
            web.set_time(4000);
            web
        };
        let mut plain = fill(&mut all.iter(), &[4000]);
        let mut other = fill(&mut shuffled.iter().map(|(one, _)| *one).chain(&all), &times);
        prop_assert_eq!(plain.trusted(), other.trusted());
        for n in 0..8 {
            prop_assert_eq!(plain.explain(&id(n)), other.explain(&id(n)));
            prop_assert_eq!(plain.explain(&id(n)).is_trusted(), plain.is_trusted(&id(n)));
        }
    }
}

/// ID-23: every bit is under the signature, and nobody attests itself or in another's name.
#[test]
fn forged_attestations_are_refused() {
    let one = attest(1, 2, Level::Full);
    for bit in 0..one.bytes().len() * 8 {
        let mut bytes = one.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Signed::<Attestation>::from_bytes(&bytes).is_err(), "bit {bit}");
    }
    assert!(Attestation::sign(&key(1), says(&key(1), id(1), Level::Full)).is_err());
    assert!(Attestation::sign(&key(2), says(&key(1), id(3), Level::Full)).is_err());
    let empty = Attestation { until_ms: 1000, ..says(&key(1), id(2), Level::Full) };
    assert!(Attestation::sign(&key(1), empty).is_err());
}
