//! What must not be accepted, kind by kind: altered, moved to another kind, by a key that is none, too early or too late.

use cs_identity::control::{Action, Draft, Reason, Statement, Verdict};
use cs_identity::person::{
    Certificate, Commitment, Consent, PersonAction, PersonDraft, PersonLog, PersonStatement,
};
use cs_identity::trust::{Attestation, Attested, Explanation, Level, NotTrusted, Policy, WebOfTrust};
use cs_identity::wire::DecodeError;
use cs_identity::{Area, CloneProof, Domain, NodeId, Rights, Signable, Signed, SignedFault, StateClaim};

use crate::world::{World, key, path};

/// The domains in which a key signs anything here, by kind.
const DOMAINS: [Domain; 7] = [
    Statement::DOMAIN,
    PersonStatement::DOMAIN,
    StateClaim::DOMAIN,
    Attestation::DOMAIN,
    Domain::new("CosmicSync person consent v1"),
    Domain::new("CosmicSync capability possession v1"),
    Domain::new("CosmicSync control recovery v1"),
];

/// How one kind of signed bytes is read: what is wrong with them, if anything is.
struct Kind {
    title: &'static str,
    domain: Domain,
    samples: Vec<Vec<u8>>,
    read: fn(&[u8]) -> Result<(), SignedFault<DecodeError>>,
}

fn kind<T: Signable<Error = DecodeError>>(title: &'static str, samples: Vec<Signed<T>>) -> Kind {
    let samples = samples.iter().map(|one| one.bytes().to_vec()).collect();
    Kind { title, domain: T::DOMAIN, samples, read: |bytes| Signed::<T>::from_bytes(bytes).map(drop) }
}

/// At least one sample of each kind, and of each thing that a kind may say.
fn kinds() -> Vec<Kind> {
    vec![
        kind("control statement", statements()),
        kind("person statement", person_statements()),
        kind("state claim", claims()),
        kind("attestation", vec![attestation(0, u64::MAX, None), attestation(5, 900, Some("Ann"))]),
    ]
}

fn statements() -> Vec<Signed<Statement>> {
    let world = World::new(3);
    let area = Area::new(path(&[1, 2]), 5, 9000).unwrap();
    let (holder, frontier) = (world.id(1), vec![world.frontier(0, 0)]);
    let guardians = vec![world.id(1), world.id(2)];
    let actions = [
        Action::Grant { parent: None, holder, area, rights: Rights::READ, depth: 2 },
        Action::Cut { grant: world.genesis(), frontier, cascade: true },
        Action::Endorse { operation: world.genesis() },
        Action::Policy { prefix: path(&[3]), body: vec![1, 0] },
        Action::Epoch { number: 1, root_commitment: [4; 32], boxes: vec![(holder, vec![5; 40])] },
        Action::Guardians { threshold: 2, guardians },
        Action::Extension { kind: 200, body: vec![1, 2] },
    ];
    let graph = &world.devices[0].graph;
    let sign = |action| Statement::sign(&key(0), graph.next_draft(world.id(0), action, 2000)).unwrap();
    let recovery = Statement::sign(&key(0), world.recovery(0, world.genesis(), &[1, 2], holder)).unwrap();
    let genesis = Statement::sign(&key(0), Draft::genesis([3; 16], 7)).unwrap();
    actions.into_iter().map(sign).chain([recovery, genesis]).collect()
}

fn person_statements() -> Vec<Signed<PersonStatement>> {
    let (mut log, founding) = person();
    let mut all = vec![founding];
    let certify = PersonAction::Certify(certificate(1, u64::MAX));
    for action in [certify, PersonAction::Withdraw { device: key(1).node_id() }] {
        let statement = PersonStatement::sign(&key(0), log.next_draft(action, 2000)).unwrap();
        log.insert(statement.clone()).unwrap();
        all.push(statement);
    }
    let over = log.succession(key(100).node_id(), None, None);
    all.push(PersonStatement::sign(&key(100), log.next_draft(over, 3000)).unwrap());
    all
}

fn person() -> (PersonLog, Signed<PersonStatement>) {
    let draft = PersonDraft::founding(Some(Commitment::to(&key(100).node_id())), 1000);
    let founding = PersonStatement::sign(&key(0), draft).unwrap();
    (PersonLog::new(founding.clone()).unwrap(), founding)
}

fn certificate(device: u8, until_ms: u64) -> Certificate {
    let consent = Consent::sign(&key(device), &key(0).node_id());
    Certificate { device: key(device).node_id(), label: "phone".into(), until_ms, consent }
}

fn claims() -> Vec<Signed<StateClaim>> {
    let first = StateClaim::next(&key(1), None, 5, [1; 32]);
    let second = StateClaim::next(&key(1), Some(&first), 6, [2; 32]);
    vec![first, second]
}

fn attestation(unix_ms: u64, until_ms: u64, name: Option<&str>) -> Signed<Attestation> {
    let (issuer, subject) = (key(0).node_id(), key(1).node_id());
    let (claim, level, name) = (Attested::Person, Level::Full, name.map(str::to_owned));
    let value = Attestation { issuer, subject, claim, level, seq: 0, unix_ms, until_ms, name };
    Attestation::sign(&key(0), value).unwrap()
}

/// ID-3, ID-6: every bit is under the signature, of every kind and of everything that it may say.
#[test]
fn any_flipped_bit_spoils_any_signed_value() {
    let mut flips = 0;
    for Kind { title, samples, read, .. } in kinds() {
        for sample in samples {
            assert_eq!(read(&sample), Ok(()), "{title}");
            for bit in 0..sample.len() * 8 {
                let mut bytes = sample.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&bytes).is_err(), "{title}, bit {bit}");
                flips += 1;
            }
        }
    }
    println!("{flips} bits flipped");
    assert!(flips > 20_000);
}

/// ID-3: the signature of one domain is none in another, over the very same bytes.
#[test]
fn a_signature_in_another_domain_is_refused_for_being_bad() {
    let mut tried = 0;
    for Kind { title, domain, samples, read } in kinds() {
        for sample in samples {
            let (value, _) = sample.split_last_chunk::<64>().unwrap();
            for other in DOMAINS {
                let signers = [key(0), key(1), key(100)];
                let verdicts = signers.map(|key| {
                    let signed = [value, key.sign(other, value).as_bytes()].concat();
                    read(&signed)
                });
                let good = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
                assert_eq!(good, usize::from(other == domain), "{title}, {other:?}");
                let bad =
                    verdicts.iter().filter(|verdict| **verdict == Err(SignedFault::BadSignature)).count();
                assert_eq!(bad + good, 3, "{title}, {other:?}: for no other reason");
                tried += 1;
            }
        }
    }
    assert!(tried >= 7 * 16);
}

/// ID-6, ID-10, ID-18, ID-22, ID-23: what is of one kind is of no other.
#[test]
fn no_kind_is_read_as_another() {
    let kinds = kinds();
    for from in &kinds {
        for to in kinds.iter().filter(|to| to.title != from.title) {
            for sample in &from.samples {
                assert!((to.read)(sample).is_err(), "{} as {}", from.title, to.title);
            }
        }
    }
}

/// ID-1: a key of small order, one that is not canonical, and one that is no point, sign nothing.
#[test]
fn keys_that_are_none_are_refused_where_the_signer_stands() {
    let identity = {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    };
    let order_4 = [0; 32];
    let not_canonical = {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xf0, 0x7f);
        bytes
    };
    for Kind { title, samples, read, .. } in kinds() {
        for sample in samples {
            let signer = key(0).node_id();
            let signers = [signer, key(1).node_id(), key(100).node_id()];
            let found =
                signers.iter().find_map(|id| sample.windows(32).position(|bytes| bytes == id.as_bytes()));
            let at = found.expect("a value names its signer");
            for weak in [identity, order_4, not_canonical] {
                assert!(NodeId::from_bytes(&weak).is_err());
                let mut bytes = sample.clone();
                bytes[at..at + 32].copy_from_slice(&weak);
                assert!(matches!(read(&bytes), Err(SignedFault::Malformed(_))), "{title}");
            }
        }
    }
}

/// ID-22: a proof of a clone in which any bit is flipped proves nothing.
#[test]
fn any_flipped_bit_spoils_a_clone_proof() {
    let [a, b] = [1, 2].map(|state| StateClaim::next(&key(1), None, 5, [state; 32]));
    let mut proof = vec![];
    CloneProof::new(&a, &b).unwrap().encode(&mut proof);
    for bit in 0..proof.len() * 8 {
        let mut bytes = proof.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(CloneProof::<StateClaim>::from_bytes(&bytes).is_err(), "bit {bit}");
    }
}

/// ID-12, ID-13: a grant gives nothing before it begins, from its end on, nor what it is asked for outside of that.
#[test]
fn work_dated_outside_its_grant_does_not_count() {
    let mut world = World::new(2);
    let (holder, area) = (world.id(1), Area::new(path(&[]), 3000, 5000).unwrap());
    let grant = Action::Grant { parent: None, holder, area, rights: Rights::WRITE, depth: 0 };
    let grant = world.say(0, 1000, grant).unwrap();
    world.sync(0, 1);
    for (unix_ms, counts) in [(2999, false), (3000, true), (4999, true), (5000, false), (u64::MAX, false)] {
        let op = world.write(1, grant, unix_ms as u8, &[], unix_ms);
        let expected = if counts { Verdict::Valid } else { Verdict::Quarantined(Reason::OutsideTime) };
        assert_eq!(world.devices[0].graph.verdict(&op), expected, "{unix_ms}");
        let rights = world.devices[0].graph.rights(&holder, &path(&[]), unix_ms);
        assert_eq!(rights.contains(Rights::WRITE), counts, "{unix_ms}");
    }
}

/// ID-19: a certificate does not hold before the statement that gives it, nor from its end on.
#[test]
fn a_device_is_a_persons_neither_before_its_certificate_nor_after_its_end() {
    let (mut log, _) = person();
    let certify = PersonAction::Certify(certificate(1, 5000));
    log.insert(PersonStatement::sign(&key(0), log.next_draft(certify, 3000)).unwrap()).unwrap();
    for (unix_ms, holds) in [(0, false), (2999, false), (3000, true), (4999, true), (5000, false)] {
        assert_eq!(log.state().has(&key(1).node_id(), unix_ms), holds, "{unix_ms}");
    }
}

/// ID-24: an attestation counts neither before its start nor from its end on.
#[test]
fn an_attestation_ahead_of_its_time_or_over_wins_no_trust() {
    let mut web = WebOfTrust::new(Policy::flow(), 4, 16);
    web.set_root(key(0).node_id(), true);
    web.insert(attestation(3000, 5000, None)).unwrap();
    for (unix_ms, counts) in [(2999, false), (3000, true), (4999, true), (5000, false)] {
        web.set_time(unix_ms);
        assert_eq!(web.is_trusted(&key(1).node_id()), counts, "{unix_ms}");
        let unattested = web.explain(&key(1).node_id()) == Explanation::Not(NotTrusted::Unattested);
        assert_eq!(unattested, !counts, "{unix_ms}: for its own reason");
    }
}
