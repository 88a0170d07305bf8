//! People: devices that come and go, keys that follow one another, and thieves.

use cs_identity::person::{
    Certificate, Commitment, Consent, MAX_DEVICES, People, PersonAction, PersonDraft, PersonFault,
    PersonInserted, PersonLog, PersonStatement,
};
use cs_identity::wire::{self, DecodeError};
use cs_identity::{
    CloneProof, CloneProofFault, CloneWatch, NodeId, Observation, SecretKey, Signable, Signed, StateClaim,
    WatchFull,
};
use proptest::prelude::*;

use crate::world::key;

fn id(n: u8) -> NodeId {
    key(n).node_id()
}

fn certificate(device: u8, person: u8) -> Certificate {
    let consent = Consent::sign(&key(device), &id(person));
    Certificate { device: id(device), label: format!("device {device}"), until_ms: u64::MAX, consent }
}

fn certify(device: u8) -> PersonAction {
    PersonAction::Certify(certificate(device, 0))
}

/// Person 0, who committed to key 100.
fn founded() -> PersonLog {
    let founding = PersonDraft::founding(Some(Commitment::to(&id(100))), 1000);
    PersonLog::new(PersonStatement::sign(&key(0), founding).unwrap()).unwrap()
}

fn sign(log: &PersonLog, signer: u8, unix_ms: u64, action: PersonAction) -> Signed<PersonStatement> {
    PersonStatement::sign(&key(signer), log.next_draft(action, unix_ms)).unwrap()
}

fn say(
    log: &mut PersonLog,
    signer: u8,
    unix_ms: u64,
    action: PersonAction,
) -> Result<PersonInserted, PersonFault> {
    let statement = sign(log, signer, unix_ms, action);
    log.insert(statement)
}

fn devices(log: &PersonLog) -> Vec<NodeId> {
    log.state().certificates().map(|(certificate, _)| certificate.device).collect()
}

/// ID-18, ID-19
#[test]
fn a_person_has_the_devices_that_its_first_key_certified_and_that_consented() {
    let mut log = founded();
    assert_eq!(say(&mut log, 0, 2000, certify(1)), Ok(PersonInserted::New));
    assert_eq!(say(&mut log, 0, 2000, certify(2)), Ok(PersonInserted::New));
    let limited = Certificate { until_ms: 5000, ..certificate(3, 0) };
    assert_eq!(say(&mut log, 0, 3000, PersonAction::Certify(limited)), Ok(PersonInserted::New));
    assert_eq!(say(&mut log, 0, 4000, PersonAction::Withdraw { device: id(1) }), Ok(PersonInserted::New));
    let state = log.state();
    let has = |n, at| state.has(&id(n), at);
    assert!(has(0, 0) && has(2, 2000) && has(3, 4999));
    assert!(
        !has(1, 4500) && !has(2, 1999) && !has(3, 5000) && !has(9, 4500),
        "gone, future, expired, stranger"
    );

    let stolen = PersonAction::Certify(Certificate { device: id(4), ..certificate(5, 0) });
    assert_eq!(say(&mut log, 0, 5000, stolen), Err(PersonFault::NoConsent));
    let for_another = PersonAction::Certify(certificate(4, 7));
    assert_eq!(say(&mut log, 0, 5000, for_another), Err(PersonFault::NoConsent));
    assert_eq!(
        say(&mut log, 2, 5000, certify(4)),
        Err(PersonFault::NoAuthority),
        "a device is not the person"
    );
    let mut backwards = log.next_draft(certify(4), 5000);
    backwards.unix_ms = 3999;
    assert_eq!(log.insert(PersonStatement::sign(&key(0), backwards).unwrap()), Err(PersonFault::Backwards));
    let foreign =
        PersonLog::new(PersonStatement::sign(&key(1), PersonDraft::founding(None, 1)).unwrap()).unwrap();
    let foreign = sign(&foreign, 1, 5000, PersonAction::Withdraw { device: id(2) });
    assert_eq!(log.insert(foreign), Err(PersonFault::WrongPerson));
    assert_eq!(devices(&log).len(), 2);
}

/// ID-19: the limit holds, renewing a device needs no room, and a succession takes all of them along.
#[test]
fn a_person_has_at_most_64_devices() {
    let mut log = founded();
    for n in 0..MAX_DEVICES as u8 {
        assert_eq!(say(&mut log, 0, 2000, certify(n + 101)), Ok(PersonInserted::New));
    }
    assert_eq!(say(&mut log, 0, 2000, certify(1)), Err(PersonFault::TooManyDevices));
    assert_eq!(say(&mut log, 0, 2000, certify(101)), Ok(PersonInserted::New));
    let succession = log.succession(id(100), None, None);
    assert_eq!(say(&mut log, 100, 3000, succession), Ok(PersonInserted::New));
    assert_eq!(devices(&log).len(), MAX_DEVICES);
}

/// ID-20: with a committed successor, whoever has the key in use can neither hand the person over nor keep it.
#[test]
fn a_thief_of_the_key_in_use_loses_to_the_committed_successor() {
    let mut log = founded();
    say(&mut log, 0, 2000, certify(1)).unwrap();
    let before = log.clone();
    let consent = Some(Consent::sign(&key(66), &id(0)));
    let takeover = log.succession(id(66), None, consent);
    assert_eq!(say(&mut log, 0, 3000, takeover), Err(PersonFault::NoAuthority));
    let takeover = log.succession(id(66), None, None);
    assert_eq!(say(&mut log, 66, 3000, takeover), Err(PersonFault::NoAuthority));
    say(&mut log, 0, 3000, certify(66)).unwrap();
    let mut forked = before.clone();
    say(&mut forked, 0, 3000, certify(67)).unwrap();
    let theft: Vec<_> = log.statements().chain(forked.statements()).cloned().collect();
    let mut seen = before.clone();
    seen.extend(theft.clone());
    assert!(seen.state().is_frozen);
    assert_eq!(devices(&seen), [id(1)], "nothing said at the fork or after it counts");
    assert_eq!(seen.clone_proof().unwrap().signer(), id(0));

    let recovery = before.succession(id(100), Some(Commitment::to(&id(101))), None);
    let recovery = sign(&before, 100, 4000, recovery);
    assert_eq!(seen.insert(recovery.clone()), Ok(PersonInserted::New));
    let mut early = founded();
    early.extend(theft.into_iter().chain([recovery]).rev());
    for log in [seen, early] {
        let state = log.state();
        assert!(!state.is_frozen && state.primary == id(100) && state.epoch == 1);
        assert_eq!(devices(&log), [id(1)]);
        assert!(!state.has(&id(0), 9000) && !state.has(&id(66), 9000));
    }
}

/// ID-20: without a commitment the key in use hands over, the new key consents, and two successions undo each other.
#[test]
fn without_a_commitment_the_key_in_use_hands_over() {
    let founding = PersonStatement::sign(&key(0), PersonDraft::founding(None, 1000)).unwrap();
    let mut log = PersonLog::new(founding).unwrap();
    say(&mut log, 0, 1500, certify(1)).unwrap();
    let to = |n, consent: bool| log.succession(id(n), None, consent.then(|| Consent::sign(&key(n), &id(0))));
    let (mine, thiefs) = (sign(&log, 0, 2000, to(50, true)), sign(&log, 0, 2000, to(66, true)));
    let unasked = PersonStatement::sign(&key(0), log.next_draft(to(51, false), 2000));
    assert_eq!(unasked.unwrap_err().0, DecodeError::NotCanonical, "the new key must consent");
    let replayed = log.succession(id(51), None, Some(Consent::sign(&key(51), &id(1))));
    let replayed = sign(&log, 0, 2000, replayed);
    assert_eq!(log.insert(replayed), Err(PersonFault::NoConsent));
    assert_eq!(log.insert(mine.clone()), Ok(PersonInserted::New));
    assert_eq!((log.state().primary, devices(&log)), (id(50), vec![id(1)]));
    let after = sign(&log, 50, 3000, certify(2));
    assert_eq!(log.insert(after.clone()), Ok(PersonInserted::New));
    assert_eq!(log.insert(thiefs), Ok(PersonInserted::New));
    let state = log.state();
    assert!(state.is_frozen && state.primary == id(0), "two successions: neither counts");
    assert_eq!(log.clone_proof().unwrap().signer(), id(0));
    assert_eq!(log.insert(after), Ok(PersonInserted::Void));
}

/// ID-18: nothing is taken before what it builds on.
#[test]
fn a_statement_waits_for_the_one_before_it() {
    let mut log = founded();
    let first = sign(&log, 0, 2000, certify(1));
    let mut ahead = log.clone();
    ahead.insert(first.clone()).unwrap();
    let second = sign(&ahead, 0, 2000, certify(2));
    assert_eq!(log.insert(second.clone()), Err(PersonFault::Missing(first.id())));
    assert_eq!(
        PersonLog::new(first.clone()),
        Err(PersonFault::Missing(log.statements().next().unwrap().id()))
    );
    assert_eq!(log.extend([second, first.clone()]), 2);
    assert_eq!(log.insert(first), Ok(PersonInserted::Duplicate));
    assert_eq!(log, ahead_of(&ahead, &log));
}

fn ahead_of(ahead: &PersonLog, all: &PersonLog) -> PersonLog {
    let mut ahead = ahead.clone();
    ahead.extend(all.statements().cloned());
    ahead
}

/// ID-20: a device is one person's; a key that handed over speaks for nobody.
#[test]
fn a_key_speaks_for_the_one_person_that_has_it() {
    let mut people = People::new(2);
    let mut log = founded();
    say(&mut log, 0, 2000, certify(1)).unwrap();
    let statements: Vec<_> = log.statements().cloned().collect();
    assert_eq!(people.speaks_for(&id(1), 2000), Some(id(1)), "not known to be anyone's");
    let missing = people.insert(statements[1].clone());
    assert_eq!(missing, Err(PersonFault::Missing(statements[0].id())));
    for statement in &statements {
        assert_eq!(people.insert(statement.clone()), Ok(PersonInserted::New));
    }
    assert_eq!(people.speaks_for(&id(1), 2000), Some(id(0)));
    assert_eq!(people.speaks_for(&id(1), 1999), Some(id(1)), "not yet");
    assert_eq!(people.principal(&id(1), 2000), id(0));
    let recovery = sign(&log, 100, 3000, log.succession(id(100), None, None));
    people.insert(recovery).unwrap();
    assert_eq!(people.speaks_for(&id(0), 4000), None, "it handed over");
    assert_eq!(people.principal(&id(0), 4000), id(0), "and still names the person");
    assert_eq!(people.speaks_for(&id(100), 4000), Some(id(0)));

    let mut other =
        PersonLog::new(PersonStatement::sign(&key(7), PersonDraft::founding(None, 1)).unwrap()).unwrap();
    other.insert(sign(&other, 7, 2, PersonAction::Certify(certificate(1, 7)))).unwrap();
    for statement in other.statements() {
        people.insert(statement.clone()).unwrap();
    }
    assert_eq!(people.speaks_for(&id(1), 4000), None, "two people have it");
    let third = PersonStatement::sign(&key(8), PersonDraft::founding(None, 1)).unwrap();
    assert_eq!(people.insert(third.clone()), Err(PersonFault::Full));
    people.forget(&id(7));
    assert_eq!(people.speaks_for(&id(1), 4000), Some(id(0)));
    assert_eq!(people.insert(third), Ok(PersonInserted::New));
}

/// A history with forks and successions: the owner's line, a thief's line from somewhere on it, both go on.
fn history(script: &[(u8, u8)]) -> Vec<Signed<PersonStatement>> {
    let mut branches = vec![founded()];
    let mut all: Vec<Signed<PersonStatement>> = branches[0].statements().cloned().collect();
    for &(choice, device) in script {
        let at = usize::from(choice) % branches.len();
        let mut log = branches[at].clone();
        let state = log.state();
        let (signer, action) = match choice / 32 {
            0..=4 => (u8::MAX, certify(device % 5 + 1)),
            5 => (u8::MAX, PersonAction::Withdraw { device: id(device % 5 + 1) }),
            _ => {
                let epoch = 100 + state.epoch as u8;
                (epoch, log.succession(id(epoch), Some(Commitment::to(&id(epoch + 1))), None))
            }
        };
        let signer =
            if signer == u8::MAX { (0..120).find(|n| id(*n) == state.primary).unwrap() } else { signer };
        let statement = sign(&log, signer, 2000 + u64::from(device), action);
        if log.insert(statement.clone()).is_ok() {
            all.push(statement);
            if choice % 4 == 0 {
                branches.push(log);
            } else {
                branches[at] = log;
            }
        }
    }
    all
}

/// The rules as they are told, over the whole set: which opening each epoch has, then the line up to a fork.
fn reference(statements: &[Signed<PersonStatement>]) -> (NodeId, u64, bool, Vec<NodeId>) {
    let children = |of: &Signed<PersonStatement>, opening: bool| {
        let mut children: Vec<_> = statements
            .iter()
            .filter(|s| {
                s.backlink == Some(of.id()) && opening == matches!(s.action, PersonAction::Succeed { .. })
            })
            .cloned()
            .collect();
        children.sort_by_key(Signed::id);
        children.dedup();
        children
    };
    let mut opening = statements.iter().find(|s| s.backlink.is_none()).unwrap().clone();
    let listed = |opening: &Signed<PersonStatement>| match &opening.value().action {
        PersonAction::Succeed { primary, devices, .. } => {
            (*primary, devices.iter().map(|c| c.device).collect())
        }
        _ => (opening.person, vec![]),
    };
    loop {
        let (primary, mut devices): (NodeId, Vec<NodeId>) = listed(&opening);
        let next = children(&opening, true);
        if let [next] = &next[..] {
            opening = next.clone();
            continue;
        }
        let mut frozen = !next.is_empty();
        let mut last = opening.clone();
        while !frozen {
            let steps = children(&last, false);
            let [step] = &steps[..] else {
                frozen = !steps.is_empty();
                break;
            };
            match &step.value().action {
                PersonAction::Certify(certificate) => {
                    devices.retain(|device| *device != certificate.device);
                    devices.push(certificate.device);
                }
                PersonAction::Withdraw { device } => devices.retain(|other| other != device),
                _ => {}
            }
            last = step.clone();
        }
        devices.sort();
        return (primary, opening.epoch, frozen, devices);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    /// ID-20: the set alone decides, whatever the order, and as the reference says.
    #[test]
    fn every_order_of_delivery_gives_the_same_person(
        script in prop::collection::vec(any::<(u8, u8)>(), 0..16),
        keys in prop::collection::vec(any::<u32>(), 20),
    ) {
        let all = history(&script);
        let expected = reference(&all);
        let mut shuffled: Vec<_> = all.iter().cloned().zip(keys).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let orders = [all.clone(), shuffled.into_iter().map(|(s, _)| s).collect(), all.iter().rev().cloned().collect()];
        for order in orders {
            let mut log = founded();
            log.extend(order);
            let state = log.state();
            let is = (state.primary, state.epoch, state.is_frozen, devices(&log));
            prop_assert_eq!(&is, &expected);
            prop_assert_eq!(log.clone_proof().is_some(), state.is_frozen);
            // What is kept is enough for another to conclude the same.
            let mut other = founded();
            other.extend(log.statements().cloned());
            prop_assert_eq!(other.state(), state);
        }
    }

    /// ID-18: the laws of an encoding.
    #[test]
    fn person_statements_and_claims_have_one_encoding(
        script in prop::collection::vec(any::<(u8, u8)>(), 0..8),
        flip in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut claims: Vec<Signed<StateClaim>> = vec![];
        for n in 0..3 {
            claims.push(StateClaim::next(&key(1), claims.last(), n, [n as u8; 32]));
        }
        for statement in history(&script) {
            laws(&statement, flip, to)?;
        }
        for claim in claims {
            laws(&claim, flip, to)?;
        }
    }
}

fn laws<T: Signable<Error = DecodeError> + PartialEq + std::fmt::Debug>(
    signed: &Signed<T>,
    at: prop::sample::Index,
    to: u8,
) -> Result<(), TestCaseError> {
    let bytes = &signed.bytes()[..signed.bytes().len() - 64];
    prop_assert_eq!(&wire::whole(bytes, T::decode).unwrap(), signed.value());
    for end in 0..bytes.len() {
        prop_assert_eq!(wire::whole(&bytes[..end], T::decode), Err(DecodeError::Truncated));
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    prop_assert_eq!(wire::whole(&longer, T::decode), Err(DecodeError::TrailingBytes));
    let mut changed = bytes.to_vec();
    changed[at.index(bytes.len())] = to;
    if let Ok(value) = wire::whole(&changed, T::decode) {
        let mut again = vec![];
        value.encode(&mut again);
        prop_assert_eq!(again, changed);
    }
    Ok(())
}

/// ID-18, ID-22: every bit is under a signature.
#[test]
fn a_flipped_bit_makes_no_person_statement_and_no_claim() {
    let mut log = founded();
    say(&mut log, 0, 2000, certify(1)).unwrap();
    let succession = log.succession(id(100), Some(Commitment::to(&id(101))), None);
    say(&mut log, 100, 3000, succession).unwrap();
    for statement in log.statements() {
        flip_all(statement);
    }
    flip_all(&StateClaim::next(&key(1), None, 5, [9; 32]));
}

fn flip_all<T: Signable + Clone + PartialEq + std::fmt::Debug>(signed: &Signed<T>)
where
    T::Error: std::fmt::Debug + PartialEq,
{
    assert_eq!(Signed::<T>::from_bytes(signed.bytes()).as_ref(), Ok(signed));
    for bit in 0..signed.bytes().len() * 8 {
        let mut bytes = signed.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Signed::<T>::from_bytes(&bytes).is_err(), "bit {bit}");
    }
}

/// ID-22: two machines on copies of one disk are found out by whoever hears both, and anyone can check the proof.
#[test]
fn two_states_that_claim_one_number_are_a_clone() {
    let claim = |last: Option<&Signed<StateClaim>>, state| StateClaim::next(&key(1), last, 1000, [state; 32]);
    let zero = claim(None, 0);
    let one = claim(Some(&zero), 1);
    let (mine, copys) = (claim(Some(&one), 2), claim(Some(&one), 3));
    let mut watch = CloneWatch::new(1);
    let mut observe = |claim: &Signed<StateClaim>| watch.observe(claim);
    assert_eq!(observe(&zero), Ok(Observation::Newer));
    assert_eq!(observe(&mine), Ok(Observation::Newer), "one was missed, which proves nothing");
    assert_eq!(observe(&mine), Ok(Observation::Known));
    assert_eq!(observe(&one), Ok(Observation::Older));
    let Ok(Observation::Clone(proof)) = observe(&copys) else { panic!("a clone") };
    assert_eq!((proof.signer(), proof.seq()), (id(1), 2));
    let further = claim(Some(&copys), 4);
    let Ok(Observation::Clone(later)) = observe(&further) else { panic!("it follows another number 2") };
    assert_eq!(later.seq(), 2);
    let stranger = StateClaim::next(&key(2), None, 1, [0; 32]);
    assert_eq!(observe(&stranger), Err(WatchFull));
    watch.forget(&id(1));
    assert_eq!(watch.observe(&stranger), Ok(Observation::Newer));

    for proof in [proof, later] {
        let mut bytes = vec![];
        proof.encode(&mut bytes);
        assert_eq!(CloneProof::from_bytes(&bytes), Ok(*proof));
        assert!(CloneProof::<StateClaim>::from_bytes(&bytes[1..]).is_err());
        bytes.push(0);
        assert!(CloneProof::<StateClaim>::from_bytes(&bytes).is_err());
    }
}

/// ID-22: nobody is framed by what fits together, by another's values, or by a proof told twice.
#[test]
fn honest_logs_prove_no_clone() {
    let zero = StateClaim::next(&key(1), None, 1, [0; 32]);
    let one = StateClaim::next(&key(1), Some(&zero), 1, [1; 32]);
    let other = StateClaim::next(&key(2), None, 1, [2; 32]);
    for (a, b) in [(&zero, &one), (&zero, &zero), (&zero, &other), (&one, &other)] {
        assert_eq!(CloneProof::new(a, b), None);
        let mut bytes = vec![];
        let (a, b) = if a.id() < b.id() { (a, b) } else { (b, a) };
        wire::put_bytes(&mut bytes, a.bytes());
        wire::put_bytes(&mut bytes, b.bytes());
        assert_eq!(CloneProof::<StateClaim>::from_bytes(&bytes), Err(CloneProofFault::NoContradiction));
    }
    let zero_again = StateClaim::next(&key(1), None, 1, [7; 32]);
    let (high, low) = if zero.id() > zero_again.id() { (&zero, &zero_again) } else { (&zero_again, &zero) };
    let mut swapped = vec![];
    wire::put_bytes(&mut swapped, high.bytes());
    wire::put_bytes(&mut swapped, low.bytes());
    assert!(CloneProof::<StateClaim>::from_bytes(&swapped).is_err(), "a proof has one encoding");
    let spaces: Vec<_> = [1, 2]
        .map(|nonce| {
            let draft = cs_identity::control::Draft::genesis([nonce; 16], 5);
            cs_identity::control::Statement::sign(&key(1), draft).unwrap()
        })
        .to_vec();
    assert_eq!(CloneProof::new(&spaces[0], &spaces[1]), None, "two spaces are two spaces");
    let _: SecretKey = key(1);
}
