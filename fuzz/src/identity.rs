//! Decoders of cs-identity: paths, areas, statements, and the graph that statements enter.

use cs_identity::control::{
    Action, Chain, ControlGraph, Draft, Inserted, Policy as SpacePolicy, Presentation, Statement,
};
use cs_identity::person::{
    Certificate, Commitment, Consent, PersonAction, PersonDraft, PersonLog, PersonStatement,
};
use cs_identity::trust::{Attestation, Attested, Level, Petnames, Policy, WebOfTrust};
use cs_identity::wire::whole;
use cs_identity::{
    Area, BlindPath, CloneProof, NodeId, OpId, Rights, SecretKey, Signed, SpaceId, StateClaim, TIME_END_MS,
    Tag, Unverified,
};

use crate::laws::{bytes_of, encoded, join, one_encoding, split, unverified};

/// A blinded path.
pub fn path(bytes: &[u8]) -> bool {
    one_encoding(bytes, |bytes| whole(bytes, BlindPath::decode), |path| bytes_of(|out| path.encode(out)))
}

/// An area.
pub fn area(bytes: &[u8]) -> bool {
    one_encoding(bytes, |bytes| whole(bytes, Area::decode), |area| bytes_of(|out| area.encode(out)))
}

/// The body of a policy.
pub fn policy(bytes: &[u8]) -> bool {
    one_encoding(
        bytes,
        |bytes| whole(bytes, SpacePolicy::decode),
        |policy| bytes_of(|out| policy.encode(out)),
    )
}

/// The text of an ID: of a node, a space, an operation.
pub fn text(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let (node, space, op) = (text.parse::<NodeId>(), text.parse::<SpaceId>(), text.parse::<OpId>());
    let texts = [
        node.map(|id| id.to_string()).ok(),
        space.map(|id| id.to_string()).ok(),
        op.map(|id| id.to_string()).ok(),
    ];
    assert!(texts.iter().flatten().all(|again| again == text), "two texts for one ID");
    texts.iter().any(Option::is_some)
}

/// A signed statement. The signature is not checked: the fuzzer cannot make one.
pub fn statement(bytes: &[u8]) -> bool {
    one_encoding(bytes, unverified::<Statement>, encoded)
}

/// Statements into a control graph, as if their signatures held: an author may be hostile.
pub fn graph(bytes: &[u8]) -> bool {
    let mut graph = ControlGraph::new(space());
    let mut is_accepted = false;
    for message in split(bytes).into_iter().take(32) {
        let Ok(statement) = Unverified::<Statement>::from_bytes(message) else { continue };
        let author = statement.value().author;
        is_accepted |= matches!(graph.insert(statement.assume_verified()), Ok(Inserted::New));
        graph.rights(&author, &place(3), 5);
        graph.credentials(&author);
    }
    assert_eq!(graph.ids().count(), graph.len());
    graph.members();
    is_accepted
}

/// A statement of a person's log. The signature is not checked.
pub fn person(bytes: &[u8]) -> bool {
    one_encoding(bytes, unverified::<PersonStatement>, encoded)
}

/// Statements into a person's log, as if their signatures held. Consents are checked.
pub fn people(bytes: &[u8]) -> bool {
    let mut log = PersonLog::new(founding()).expect("it is a founding");
    let mut is_accepted = false;
    for message in split(bytes).into_iter().take(32) {
        let Ok(statement) = Unverified::<PersonStatement>::from_bytes(message) else { continue };
        is_accepted |= log.insert(statement.assume_verified()).is_ok();
        log.clone_proof();
    }
    let mut other = PersonLog::new(founding()).expect("it is a founding");
    other.extend(log.statements().cloned());
    assert_eq!(other.state(), log.state(), "what is kept does not say the same");
    is_accepted
}

/// A state claim. The signature is not checked.
pub fn claim(bytes: &[u8]) -> bool {
    one_encoding(bytes, unverified::<StateClaim>, encoded)
}

/// A proof that a key signed two histories; its signatures are checked.
pub fn clone(bytes: &[u8]) -> bool {
    one_encoding(bytes, CloneProof::<StateClaim>::from_bytes, |proof| bytes_of(|out| proof.encode(out)))
}

/// An attestation. The signature is not checked.
pub fn attestation(bytes: &[u8]) -> bool {
    one_encoding(bytes, unverified::<Attestation>, encoded)
}

/// Attestations into a web of trust, as if their signatures held, under both policies.
pub fn trust(bytes: &[u8]) -> bool {
    let mut web = WebOfTrust::new(Policy::flow(), 4, 16);
    web.set_root(node(1), true);
    let mut is_accepted = false;
    for message in split(bytes).into_iter().take(32) {
        let Ok(attestation) = Unverified::<Attestation>::from_bytes(message) else { continue };
        let subject = attestation.value().subject;
        web.set_time(attestation.value().unix_ms);
        is_accepted |= web.insert(attestation.assume_verified()).is_ok();
        assert_eq!(web.explain(&subject).is_trusted(), web.is_trusted(&subject));
        assert!(web.len() <= 16);
    }
    web.set_policy(Policy::introducers());
    web.trusted();
    is_accepted
}

/// A book of petnames.
pub fn petnames(bytes: &[u8]) -> bool {
    one_encoding(bytes, |bytes| whole(bytes, Petnames::decode), |names| bytes_of(|out| names.encode(out)))
}

/// A chain of grants; its signatures are checked.
pub fn chain(bytes: &[u8]) -> bool {
    let carries = bytes.get(1) == Some(&1);
    one_encoding(
        bytes,
        |bytes| Chain::from_bytes(bytes, Some(&genesis())),
        |chain| bytes_of(|out| chain.encode(carries, out)),
    )
}

/// A chain with proof of possession; its signatures are checked.
pub fn presentation(bytes: &[u8]) -> bool {
    let carries = bytes.get(1) == Some(&1);
    one_encoding(
        bytes,
        |bytes| Presentation::from_bytes(bytes, Some(&genesis()), &node(9), &[3; 32]),
        |shown| bytes_of(|out| shown.encode(carries, out)),
    )
}

/// A founding, certificates, a succession.
pub fn person_seeds() -> Vec<Vec<u8>> {
    person_history().iter().map(|statement| statement.bytes().to_vec()).collect()
}

/// A person's history, in order and in reverse.
pub fn people_seeds() -> Vec<Vec<u8>> {
    let history = person_history();
    vec![join(history.iter().map(Signed::bytes)), join(history.iter().rev().map(Signed::bytes))]
}

/// A first and a second claim.
pub fn claim_seeds() -> Vec<Vec<u8>> {
    let first = StateClaim::next(&key(1), None, 5, [1; 32]);
    let second = StateClaim::next(&key(1), Some(&first), 6, [2; 32]);
    vec![first.bytes().to_vec(), second.bytes().to_vec()]
}

/// Two first claims.
pub fn clone_seeds() -> Vec<Vec<u8>> {
    let [a, b] = [1, 2].map(|state| StateClaim::next(&key(1), None, 5, [state; 32]));
    vec![bytes_of(|out| CloneProof::new(&a, &b).expect("they contradict").encode(out))]
}

/// With and without name and end.
pub fn attestation_seeds() -> Vec<Vec<u8>> {
    attestations().iter().map(|one| one.bytes().to_vec()).collect()
}

/// A line of three and a withdrawal.
pub fn trust_seeds() -> Vec<Vec<u8>> {
    vec![join(attestations().iter().map(Signed::bytes))]
}

/// No names, and two.
pub fn petnames_seeds() -> Vec<Vec<u8>> {
    let mut names = Petnames::new();
    let empty = bytes_of(|out| names.encode(out));
    names.set(node(1), "Ann").expect("a name");
    names.set(node(2), "Bo's phone").expect("a name");
    vec![empty, bytes_of(|out| names.encode(out))]
}

/// With and without the genesis.
pub fn chain_seeds() -> Vec<Vec<u8>> {
    [false, true].map(|carries| bytes_of(|out| granted_chain().encode(carries, out))).to_vec()
}

/// With and without the genesis.
pub fn presentation_seeds() -> Vec<Vec<u8>> {
    let shown = Presentation::sign(&key(2), &node(9), &[3; 32], granted_chain()).expect("its own chain");
    [false, true].map(|carries| bytes_of(|out| shown.encode(carries, out))).to_vec()
}

fn granted_chain() -> Chain {
    Chain::new(history().into_iter().take(2).collect()).expect("a grant of the root")
}

fn attestations() -> Vec<Signed<Attestation>> {
    let one = |issuer, subject, level, name: Option<&str>, seq| {
        let (claim, until_ms) = (Attested::Person, if seq > 0 { 900 } else { u64::MAX });
        let (from, name) = (node(issuer), name.map(str::to_owned));
        let value = Attestation {
            issuer: from,
            subject: node(subject),
            claim,
            level,
            seq,
            unix_ms: 5,
            until_ms,
            name,
        };
        Attestation::sign(&key(issuer), value).expect("an attestation")
    };
    vec![
        one(1, 2, Level::Full, None, 0),
        one(2, 3, Level::Marginal, Some("Cleo"), 0),
        one(3, 4, Level::Full, None, 0),
        one(1, 2, Level::Withdrawn, None, 1),
    ]
}

fn founding() -> Signed<PersonStatement> {
    let draft = PersonDraft::founding(Some(Commitment::to(&node(7))), 1);
    PersonStatement::sign(&key(1), draft).expect("it is a statement")
}

fn person_history() -> Vec<Signed<PersonStatement>> {
    let sign = |number, draft| PersonStatement::sign(&key(number), draft).expect("it is a statement");
    let mut log = PersonLog::new(founding()).expect("it founds");
    for device in [2, 3] {
        let consent = Consent::sign(&key(device), &node(1));
        let label = format!("device {device}");
        let certificate = Certificate { device: node(device), label, until_ms: 900, consent };
        let draft = log.next_draft(PersonAction::Certify(certificate), 2);
        log.insert(sign(1, draft)).expect("it is in order");
    }
    let mut history: Vec<Signed<PersonStatement>> = log.statements().cloned().collect();
    history.push(sign(1, log.next_draft(PersonAction::Withdraw { device: node(2) }, 3)));
    history.push(sign(7, log.next_draft(log.succession(node(7), None, None), 4)));
    history
}

/// Paths of no, few and the most components.
pub fn path_seeds() -> Vec<Vec<u8>> {
    [0, 1, 3, 255].map(|depth| bytes_of(|out| place(depth).encode(out))).to_vec()
}

/// Areas with and without an end.
pub fn area_seeds() -> Vec<Vec<u8>> {
    let areas = [(0, 0, u64::MAX), (2, 1_000, 2_000), (1, 7, TIME_END_MS - 1)];
    let area = |(depth, from, until)| Area::new(place(depth), from, until).expect("it is a range");
    areas.map(|one| bytes_of(|out| area(one).encode(out))).to_vec()
}

/// Nothing set, all that this version knows, and a field of a later one.
pub fn policy_seeds() -> Vec<Vec<u8>> {
    let all = vec![1, 5, 0, 1, 1, 1, 2, 4, 2, 2, 1, 7, 3, 1, 30, 4, 1, 0];
    vec![vec![1, 0], all, vec![1, 1, 200, 3, 1, 2, 3]]
}

/// A node, and what is a space but no node.
pub fn text_seeds() -> Vec<Vec<u8>> {
    vec![node(1).to_string().into_bytes(), SpaceId::from_bytes([0; 32]).to_string().into_bytes()]
}

/// One statement of each kind.
pub fn statement_seeds() -> Vec<Vec<u8>> {
    history().iter().map(|statement| statement.bytes().to_vec()).collect()
}

/// The history of a space, in order and in reverse.
pub fn graph_seeds() -> Vec<Vec<u8>> {
    let history = history();
    vec![join(history.iter().map(Signed::bytes)), join(history.iter().rev().map(Signed::bytes))]
}

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

pub(crate) fn node(number: u8) -> NodeId {
    key(number).node_id()
}

pub(crate) fn place(depth: u8) -> BlindPath {
    BlindPath::new((0..depth).map(|number| Tag::from_bytes([number; 16])).collect()).expect("255 are allowed")
}

fn space() -> SpaceId {
    genesis().space()
}

fn genesis() -> Signed<Statement> {
    Statement::sign(&key(1), Draft::genesis([9; 16], 1)).expect("it is a statement")
}

fn history() -> Vec<Signed<Statement>> {
    let mut history = vec![genesis()];
    let mut graph = ControlGraph::new(space());
    graph.insert(genesis()).expect("it founds the space");
    let area = Area::new(place(1), 0, u64::MAX).expect("it is a range");
    let grant =
        Action::Grant { parent: None, holder: node(2), area, rights: Rights::READ | Rights::WRITE, depth: 2 };
    let actions = |granted: OpId| {
        [
            Action::Policy { prefix: place(1), body: b"merge".to_vec() },
            Action::Epoch { number: 1, root_commitment: [4; 32], boxes: vec![(node(2), vec![5; 64])] },
            Action::Endorse { operation: granted },
            Action::Guardians { threshold: 1, guardians: vec![node(1)] },
            Action::Cut { grant: granted, frontier: Vec::new(), cascade: true },
        ]
    };
    let mut say = |graph: &mut ControlGraph, action| {
        let draft = graph.next_draft(node(1), action, 5);
        let statement = Statement::sign(&key(1), draft).expect("it is a statement");
        graph.insert(statement.clone()).expect("the root may say so");
        history.push(statement.clone());
        statement.id()
    };
    let granted = say(&mut graph, grant);
    let [_, _, _, guardians, _] = actions(granted).map(|action| say(&mut graph, action));
    say(&mut graph, Action::Recover { guardians, holder: node(3), cosigned: Vec::new() });
    history
}
