//! Every type that holds a secret: none shows it, and each has something to wipe when it is dropped.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::mem::needs_drop;
use std::path::Path;

use cs_crypto::aead::{HeaderKey, Key};
use cs_crypto::dh::{KeyPair, public_key};
use cs_crypto::epoch::{AreaSecrets, BlindKey, ChunkKey, EpochRoot, EpochSecrets, Keyring, PathKey};
use cs_crypto::hpke;
use cs_crypto::invite::{AwaitingProof, Code, Exchange, Inviter, Joiner, Meeting};
use cs_crypto::noise::{self, Hash, Pattern, Protocol, Setup, StaticCache};
use cs_crypto::ratchet::{Prekeys, Session, SignedPrekey};

/// The types of this crate that others can name, by whether something in them must stay secret.
const SECRET: &[&str] = &[
    "AreaSecrets",
    "AwaitingProof",
    "BlindKey",
    "ChunkKey",
    "Code",
    "EpochRoot",
    "EpochSecrets",
    "Exchange",
    "HeaderKey",
    "Inviter",
    "Joiner",
    "Key",
    "KeyPair",
    "Keyring",
    "Keys",
    "Opener",
    "PathKey",
    "Prekeys",
    "Psk",
    "ReadTurn",
    "Receiver",
    "Sealer",
    "Sender",
    "Session",
    "Setup",
    "Share",
    "StaticCache",
    "WriteTurn",
];
const OPEN: &[&str] = &[
    "Admission",
    "Announcement",
    "Bundle",
    "Burned",
    "CodeError",
    "CodeState",
    "CombineError",
    "Cost",
    "EpochId",
    "Epochs",
    "Exhausted",
    "Forged",
    "HandshakeError",
    "Hash",
    "History",
    "Initial",
    "LowOrderPoint",
    "Meeting",
    "Next",
    "OpenError",
    "OtherSpace",
    "OutOfTurn",
    "Pattern",
    "PrekeyFault",
    "Protocol",
    "RatchetError",
    "RestoreError",
    "SealError",
    "SetupError",
    "ShareError",
    "SignedPrekey",
    "SplitError",
    "TooLong",
];
// What only wraps the types above, or is named by a macro.
const OTHER: &[&str] = &["$name", "Step", "UnknownProtocol"];

/// A new type is one or the other: whoever adds it says so here, and below if it is a secret.
#[test]
fn every_public_type_is_known_to_be_secret_or_not() {
    let mut found = BTreeSet::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    // The macro makes these.
    found.extend(["BlindKey", "ChunkKey", "EpochRoot", "PathKey"].map(str::to_owned));
    let known: BTreeSet<String> =
        SECRET.iter().chain(OPEN).chain(OTHER).map(|name| (*name).to_owned()).collect();
    assert_eq!(found, known);
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            collect(&entry.path(), found);
            continue;
        }
        for line in fs::read_to_string(entry.path()).unwrap().lines() {
            let declared = line.trim_start();
            let named = declared.strip_prefix("pub struct ").or_else(|| declared.strip_prefix("pub enum "));
            let end = |c: char| !c.is_alphanumeric() && c != '$' && c != '_';
            found.extend(named.and_then(|rest| rest.split(end).next()).map(str::to_owned));
        }
    }
}

/// What is shown of a value made from one secret and from another: the same, so that it tells nothing of either.
struct Shown(Vec<(&'static str, String)>);

impl Shown {
    fn of<T: Debug>(&mut self, name: &'static str, value: &T) {
        // ring does not wipe its keys, as the README says, and these hold nothing else that is secret.
        let is_of_ring = cfg!(feature = "ring") && ["Key", "HeaderKey", "Sender", "Receiver"].contains(&name);
        assert!(is_of_ring || needs_drop::<T>(), "{name} is dropped without being wiped");
        self.0.push((name, format!("{value:?}")));
    }
}

fn all(seed: u8) -> Vec<(&'static str, String)> {
    let (secret, peer) = ([seed; 32], [9; 32]);
    let mut shown = Shown(vec![]);
    shown.of("Key", &Key::new(&secret));
    shown.of("HeaderKey", &HeaderKey::new(&secret));
    epochs(&mut shown, secret);
    hpke(&mut shown, secret, peer);
    noise(&mut shown, secret, peer);
    ratchet(&mut shown, secret, peer);
    invite(&mut shown, secret);
    #[cfg(feature = "recovery")]
    shown.of("Share", &cs_crypto::recovery::split(&secret, 2, 3, secret).unwrap()[0]);
    shown.0
}

fn epochs(shown: &mut Shown, secret: [u8; 32]) {
    let root = EpochRoot::from_bytes(&secret);
    let (blind, chunk) = (BlindKey::from_bytes(&secret), ChunkKey::from_bytes(&secret));
    shown.of::<PathKey>("PathKey", &root.root_key());
    shown.of("EpochRoot", &root);
    shown.of("BlindKey", &blind);
    shown.of("ChunkKey", &chunk);
    let secrets = EpochSecrets { root, blind, chunk };
    shown.of::<AreaSecrets>("AreaSecrets", &secrets.area(&[b"a"]));
    shown.of("EpochSecrets", &secrets);
    shown.of("Keyring", &Keyring::new(0, secrets));
}

fn hpke(shown: &mut Shown, secret: [u8; 32], peer: [u8; 32]) {
    let sender = hpke::Sender::Key(&secret);
    let psk = hpke::Psk::new(&secret, b"id").unwrap();
    // These two borrow what their caller wipes.
    shown.0.push(("hpke::Sender", format!("{sender:?}")));
    shown.0.push(("Psk", format!("{psk:?}")));
    let (enc, sealer) = hpke::Sealer::setup(&public_key(&peer), b"", &sender, Some(psk), secret).unwrap();
    shown.of("Sealer", &sealer);
    shown.of("Opener", &hpke::Opener::setup(&peer, &enc, b"", None, Some(psk)).unwrap());
}

fn noise(shown: &mut Shown, secret: [u8; 32], peer: [u8; 32]) {
    let nk = Protocol::new(Pattern::NK, Hash::Blake2s);
    let setup = Setup::new(nk, secret).remote(public_key(&peer));
    shown.of("Setup", &setup);
    let turn = setup.initiate().unwrap();
    shown.of("WriteTurn", &turn);
    let (first, turn) = turn.write(&secret).unwrap();
    let turn = turn.turn().unwrap();
    shown.of("ReadTurn", &turn);
    let (_, answer) = Setup::new(nk, secret).local(peer).respond().unwrap().read(&first).unwrap();
    let (second, _) = answer.turn().unwrap().write(b"").unwrap();
    let keys: noise::Keys = turn.read(&second).unwrap().1.keys().unwrap();
    shown.of("Keys", &keys);
    let (sender, receiver) = keys.into_transport();
    shown.of("Sender", &sender);
    shown.of("Receiver", &receiver);
    shown.of("StaticCache", &StaticCache::new(4));
}

fn ratchet(shown: &mut Shown, secret: [u8; 32], peer: [u8; 32]) {
    let prekey = SignedPrekey { identity: public_key(&peer), key: public_key(&peer), expires_ms: 1 };
    let bundle = prekey.verify(None, 0, |_| true).unwrap();
    let mut session = Session::start(&secret, &bundle, &[secret[0]; 64]).unwrap();
    session.seal(b"", &secret).unwrap();
    shown.of("Session", &session);
    shown.of("Prekeys", &Prekeys::generate(secret, 1));
}

fn invite(shown: &mut Shown, secret: [u8; 32]) {
    let meeting = Meeting { joiner: [1; 32], inviter: [2; 32], binding: [3; 32] };
    let code = Code::generate(secret);
    let (joiner, hello) = Joiner::start(&code, meeting, secret);
    shown.of("Joiner", &joiner);
    let (exchange, answer) = Inviter::new(code).answer(&hello, meeting, secret).unwrap();
    shown.of::<Exchange>("Exchange", &exchange);
    let (awaiting, _) = joiner.read_answer(&answer).unwrap();
    shown.of::<AwaitingProof>("AwaitingProof", &awaiting);
}

#[test]
fn what_is_shown_of_a_secret_does_not_depend_on_it() {
    let (one, other) = (all(0xab), all(0x5c));
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert_eq!(one, other, "{name}");
    }
    let named: BTreeSet<&str> = one.iter().map(|(name, _)| name.trim_start_matches("hpke::")).collect();
    // These show a public half that follows from the secret; the next test looks at them.
    let rest = ["Code", "Inviter", "KeyPair"];
    #[cfg(not(feature = "recovery"))]
    let rest = [&rest[..], &["Share"]].concat();
    let missing: Vec<&str> = SECRET.iter().copied().filter(|name| !named.contains(name)).collect();
    assert_eq!(missing, rest);
}

#[test]
fn pairs_and_codes_show_their_public_half_only() {
    let pair = KeyPair::new([0xab; 32]);
    assert!(needs_drop::<KeyPair>() && needs_drop::<Inviter>());
    assert!(!format!("{pair:?}").contains("171, 171"));
    let code = Code::generate(std::array::from_fn(|n| n as u8));
    let password = code.to_string()[6..].to_owned();
    assert!(!format!("{code:?}").contains(&password));
    assert!(!format!("{:?}", Inviter::new(code)).contains(&password));
}
