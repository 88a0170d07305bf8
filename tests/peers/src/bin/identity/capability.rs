//! One grant, given on: read and write below a folder, for a year, each time a folder deeper, at most eight times.

use biscuit_auth::builder::BlockBuilder;
use biscuit_auth::{Biscuit, KeyPair};
use cs_identity::control::{Action, Chain, ControlGraph, Draft, Presentation, Statement};
use cs_identity::{Area, BlindPath, Domain, Rights, SecretKey, Signed, Tag};
use cs_peers::{Better, Row, median_cpu};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier};

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
const NOW_MS: u64 = 1_790_000_000_000;
const CHALLENGE: [u8; 32] = [7; 32];
const BISCUIT: &str = "biscuit-auth 6.0";
const UCAN: &str = "UCAN 1.0 (own encoding)";

pub(crate) fn run() {
    for depth in [0, 1, 3, 8] {
        let row = format!("depth {depth}");
        let (ours, biscuit, ucan) = (Ours::new(depth), Peer::biscuit(depth), Ucan::new(depth));
        // All three verifiers know the root beforehand: the space, the public key, the subject.
        let mine = ours.bytes(false);
        for (peer, other) in [(BISCUIT, biscuit.bytes.len()), (UCAN, ucan.size())] {
            Row { peer: Some((peer, other as f64)), ..less(&row, "size", "B", mine.len() as f64) }.print();
        }
        less(&row, "size, to who knows only the space's name", "B", ours.bytes(true).len() as f64).print();
        let shown = ours.presentation_size() as f64;
        less(&row, "size, with proof of possession", "B", shown).print();
        // All three in one loop, so that what slows the machine slows each.
        let times = interleaved([
            &mut || drop(Chain::from_bytes(&mine, Some(&ours.genesis)).expect("it holds")),
            &mut || biscuit.check(),
            &mut || ucan.check(),
        ]);
        let [own, theirs, others] = times;
        Row { peer: Some((BISCUIT, theirs)), ..less(&row, "verify", "us", own) }.print();
        Row { peer: Some((UCAN, others)), ..less(&row, "verify", "us", own) }.print();
    }
    let eight = Ours::new(7).bytes(false);
    let ours = Ours::new(7);
    let message = [1; 200];
    let domain = Domain::new("cs-peers bench v1");
    let key = SecretKey::from_bytes([1; 32]);
    let (id, signature) = (key.node_id(), key.sign(domain, &message));
    let [chain, single, _] = interleaved([
        &mut || drop(Chain::from_bytes(&eight, Some(&ours.genesis)).expect("it holds")),
        &mut || (0..8).for_each(|_| id.verify(domain, &message, &signature).expect("it holds")),
        &mut || (),
    ]);
    let row = Row { peer: Some(("8 signature checks", single)), ..less("chain of 8", "verify", "us", chain) };
    row.print();
}

fn less<'a>(row: &'a str, metric: &'a str, unit: &'a str, ours: f64) -> Row<'a> {
    Row::new(row, metric, unit, Better::Less, ours)
}

/// Medians of 5 rounds of 40 calls each, in microseconds a call.
fn interleaved<const N: usize>(mut work: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut rounds: [Vec<f64>; N] = [const { Vec::new() }; N];
    for _ in 0..5 {
        for (times, work) in rounds.iter_mut().zip(&mut work) {
            times.push(median_cpu(9, || (0..5).for_each(|_| work())).as_secs_f64() * 1e6 / 5.0);
        }
    }
    rounds.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

fn key(n: usize) -> SecretKey {
    SecretKey::from_bytes([n as u8 + 1; 32])
}

struct Ours {
    genesis: Signed<Statement>,
    chain: Chain,
    holder: SecretKey,
}

impl Ours {
    fn new(depth: usize) -> Self {
        let genesis = Statement::sign(&key(0), Draft::genesis([0; 16], NOW_MS)).expect("a genesis");
        let mut graph = ControlGraph::new(genesis.space());
        graph.insert(genesis.clone()).expect("it founds");
        let (mut parent, mut path) = (None, BlindPath::root());
        for n in 0..=depth {
            path = path.child(Tag::from_bytes([n as u8; 16])).expect("not deep");
            let area = Area::new(path.clone(), 0, NOW_MS + YEAR_MS).expect("a range");
            let (holder, left) = (key(n + 1).node_id(), (depth - n) as u8);
            let rights = Rights::READ | Rights::WRITE;
            let grant = Action::Grant { parent, holder, area, rights, depth: left };
            let draft = graph.next_draft(key(n).node_id(), grant, NOW_MS + 60_000 * n as u64);
            let statement = Statement::sign(&key(n), draft).expect("a grant");
            parent = Some(statement.id());
            graph.insert(statement).expect("it is accepted");
        }
        let holder = key(depth + 1);
        let chain = Chain::new(graph.credentials(&holder.node_id())).expect("a chain");
        Self { genesis, chain, holder }
    }

    fn bytes(&self, genesis: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.chain.encode(genesis, &mut bytes);
        bytes
    }

    fn presentation_size(&self) -> usize {
        let verifier = key(99).node_id();
        let shown = Presentation::sign(&self.holder, &verifier, &CHALLENGE, self.chain.clone());
        let mut bytes = Vec::new();
        shown.expect("its own").encode(false, &mut bytes);
        bytes.len()
    }
}

struct Peer {
    root: KeyPair,
    bytes: Vec<u8>,
}

impl Peer {
    fn biscuit(depth: usize) -> Self {
        let root = KeyPair::new();
        let path = |n: usize| (0..=n).map(|n| format!("{n:016}/")).collect::<String>();
        let first = format!(
            "right(\"{}\", \"read\"); right(\"{}\", \"write\"); check if time($t), $t < 2027-09-21T00:00:00Z;",
            path(0),
            path(0)
        );
        let mut token = Biscuit::builder().code(first).expect("datalog").build(&root).expect("a token");
        for n in 1..=depth {
            let narrower = format!("check if resource($r), $r.starts_with(\"{}\");", path(n));
            let block = BlockBuilder::new().code(narrower).expect("datalog");
            token = token.append(block).expect("it may be attenuated");
        }
        let bytes = token.to_vec().expect("it serialises");
        Self { root, bytes }
    }

    /// Signatures only: what the token allows is another 30 to 100 us of datalog, which is not counted.
    fn check(&self) {
        drop(Biscuit::from(&self.bytes, self.root.public()).expect("it holds"));
    }
}

/// Delegations in the envelope of the specification's fixtures: DAG-CBOR, varsig header, did:key, one for each link.
struct Ucan {
    delegations: Vec<(SigningKey, Vec<u8>, Signature)>,
}

impl Ucan {
    fn new(depth: usize) -> Self {
        let keys: Vec<SigningKey> =
            (0..depth + 2).map(|n| SigningKey::from_bytes(&[n as u8 + 1; 32])).collect();
        let delegation = |n: usize| {
            let path: String = (0..=n).map(|n| format!("{n:016}/")).collect();
            let payload = payload(&keys[n], &keys[n + 1], &keys[0], &path);
            let signature = keys[n].sign(&payload);
            (keys[n].clone(), payload, signature)
        };
        Self { delegations: (0..=depth).map(delegation).collect() }
    }

    /// Each: an array of two, the signature, the payload.
    fn size(&self) -> usize {
        self.delegations.iter().map(|(_, payload, _)| 1 + 2 + 64 + payload.len()).sum()
    }

    fn check(&self) {
        for (key, payload, signature) in &self.delegations {
            key.verifying_key().verify(payload, signature).expect("it holds");
        }
    }
}

fn payload(from: &SigningKey, to: &SigningKey, root: &SigningKey, path: &str) -> Vec<u8> {
    let did = |key: &SigningKey| format!("did:key:z6Mk{}", &base58(&key.verifying_key().to_bytes())[..44]);
    let mut out = vec![0xa2];
    text(&mut out, "h");
    out.extend([0x48, 0x34, 1, 0xed, 1, 0xed, 1, 0x13, 0x71]);
    text(&mut out, "ucan/dlg@1.0.0");
    out.push(0xa7);
    for (name, key) in [("aud", to), ("iss", from), ("sub", root)] {
        text(&mut out, name);
        text(&mut out, &did(key));
    }
    text(&mut out, "cmd");
    text(&mut out, "/crud/update");
    text(&mut out, "exp");
    out.push(0x1a);
    out.extend(((NOW_MS + YEAR_MS) / 1000).to_be_bytes()[4..].iter());
    text(&mut out, "pol");
    out.extend([0x81, 0x83]);
    text(&mut out, "like");
    text(&mut out, ".path");
    text(&mut out, &format!("{path}*"));
    text(&mut out, "nonce");
    out.push(0x4c);
    out.extend([5; 12]);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..24 => out.push(0x60 | length as u8),
        length => out.extend([0x78, length as u8]),
    }
    out.extend(text.as_bytes());
}

/// Not the digits, but as many of them: sizes are what is compared.
fn base58(bytes: &[u8; 32]) -> String {
    let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    (0..44).map(|n| char::from(alphabet[usize::from(bytes[n % 32]) % 58])).collect()
}
