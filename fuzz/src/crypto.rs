//! Everything of cs-crypto that reads bytes of others. Keys and entropy are fixed, so that seeds stay valid.

use cs_crypto::dh::public_key;
use cs_crypto::epoch::{AreaSecrets, EpochId, EpochSecrets, Keyring};
use cs_crypto::invite::{Code, Inviter, Joiner, Meeting};
use cs_crypto::noise::{Hash, Pattern, Protocol, ReadTurn, Setup, WriteTurn};
use cs_crypto::ratchet::{Initial, Prekeys, Session, SignedPrekey};
use cs_crypto::recovery::{self, Share};
use cs_crypto::secret_file::{self, Cost};

use crate::laws::{join, split};

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const PREKEY: [u8; 32] = [3; 32];
const SPACE: [u8; 32] = [8; 32];
const MEETING: Meeting = Meeting { joiner: [5; 32], inviter: [6; 32], binding: [7; 32] };
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
/// Where a sealed key file names its cost.
const COST: std::ops::Range<usize> = 8..20;

/// A handshake message, to the responder if the first byte is even, else to the initiator; the rest of that byte picks the
/// pattern.
pub fn noise(bytes: &[u8]) -> bool {
    let Some((&choice, message)) = bytes.split_first() else { return false };
    let pattern = PATTERNS[usize::from(choice >> 1) % PATTERNS.len()];
    let turn = if choice & 1 == 0 { responder(pattern) } else { second_turn(pattern) };
    turn.is_some_and(|turn| turn.read(message).is_ok())
}

const PATTERNS: [Pattern; 6] =
    [Pattern::IK, Pattern::XX, Pattern::XK, Pattern::NK, Pattern::IK_PSK2, Pattern::XX_PSK3];

fn setup(pattern: Pattern, secret: [u8; 32]) -> Setup<'static> {
    let setup = Setup::new(Protocol::new(pattern, Hash::Blake2s), [secret[0] | 0x40; 32]).prologue(b"fuzz");
    let setup = if pattern == Pattern::NK && secret == ALICE { setup } else { setup.local(secret) };
    if pattern.psk_count() > 0 { setup.psk([8; 32]) } else { setup }
}

fn initiator(pattern: Pattern) -> WriteTurn {
    let knows_peer = ![Pattern::XX, Pattern::XX_PSK3].contains(&pattern);
    let setup = setup(pattern, ALICE);
    let setup = if knows_peer { setup.remote(public_key(&BOB)) } else { setup };
    setup.initiate().expect("the setup has what the pattern needs")
}

fn responder(pattern: Pattern) -> Option<ReadTurn> {
    setup(pattern, BOB).respond().ok()
}

/// The initiator, once its first message is out.
fn second_turn(pattern: Pattern) -> Option<ReadTurn> {
    initiator(pattern).write(b"hello").ok()?.1.turn().ok()
}

/// The first two messages of each pattern.
pub fn noise_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, pattern) in (0..).zip(PATTERNS) {
        let (first, _) = initiator(pattern).write(b"hello").expect("it is its turn");
        let reader = responder(pattern).expect("the setup has what the pattern needs");
        let (_, step) = reader.read(&first).expect("it is for this responder");
        let (second, _) =
            step.turn().expect("two messages at least").write(b"welcome").expect("it is its turn");
        seeds.push([&[number << 1], &first[..]].concat());
        seeds.push([&[number << 1 | 1], &second[..]].concat());
    }
    seeds
}

/// The name of a Noise protocol.
pub fn protocol(bytes: &[u8]) -> bool {
    let Some(protocol) = str::from_utf8(bytes).ok().and_then(|name| name.parse::<Protocol>().ok()) else {
        return false;
    };
    assert_eq!(protocol.name().as_bytes(), bytes, "two names for one protocol");
    true
}

/// Names with and without pre-shared keys.
pub fn protocol_seeds() -> Vec<Vec<u8>> {
    PATTERNS.map(|pattern| Protocol::new(pattern, Hash::Blake2s).name().into_bytes()).to_vec()
}

/// A message sealed to a key.
pub fn hpke(bytes: &[u8]) -> bool {
    cs_crypto::hpke::open(&BOB, b"info", b"aad", bytes).is_ok()
}

/// Sealed messages of no and some bytes.
pub fn hpke_seeds() -> Vec<Vec<u8>> {
    let seal = |text: &[u8]| cs_crypto::hpke::seal(&public_key(&BOB), b"info", b"aad", text, [9; 32]);
    [&b""[..], b"an epoch"].map(|text| seal(text).expect("a good key")).to_vec()
}

/// A box of an epoch or an area, or a sealed operation, by the first byte.
pub fn epoch(bytes: &[u8]) -> bool {
    let Some((&choice, sealed)) = bytes.split_first() else { return false };
    let (id, ring) = epoch_keys();
    match choice % 3 {
        0 => EpochSecrets::open(&BOB, &SPACE, id.number, &id.commitment, sealed).is_ok(),
        1 => AreaSecrets::open(&BOB, &SPACE, &id, &[[1; 16]], sealed).is_ok(),
        _ => ring.open(id.number, &[b"notes"], b"aad", sealed).is_ok(),
    }
}

fn epoch_keys() -> (EpochId, Keyring) {
    let mut ring = Keyring::generate([[1; 32], [2; 32], [3; 32]]);
    let (id, _) = ring.rotate(1, [4; 32]);
    (id, ring)
}

/// One of each.
pub fn epoch_seeds() -> Vec<Vec<u8>> {
    let (id, ring) = epoch_keys();
    let secrets = ring.secrets(&id).expect("it was just begun");
    let whole = secrets.seal_to(&public_key(&BOB), &SPACE, id.number, [9; 32]).expect("a good key");
    let area = secrets.area(&[b"notes"]).seal_to(&public_key(&BOB), &SPACE, &id, &[[1; 16]], [9; 32]);
    let operation = ring.seal(&id, &[b"notes"], b"aad", b"text").expect("it was just begun");
    let sealed = [whole, area.expect("a good key"), operation];
    (0..).zip(sealed).map(|(choice, sealed)| [&[choice], &sealed[..]].concat()).collect()
}

/// A code as typed, a hello to the inviter, an answer to the joiner and a proof, one after the other.
pub fn invite(bytes: &[u8]) -> bool {
    let [code, hello, answer, proof] = split(bytes)[..] else { return false };
    let typed = str::from_utf8(code).ok().and_then(|code| code.parse::<Code>().ok());
    if let Some(code) = &typed {
        assert_eq!(code.to_string().parse().as_ref(), Ok(code));
    }
    let mut inviter = Inviter::new(Code::generate([4; 32]));
    let answered = inviter.answer(hello, MEETING, [5; 32]);
    let (joiner, _) = Joiner::start(&Code::generate([4; 32]), MEETING, [6; 32]);
    let is_answer = joiner.read_answer(answer).is_ok();
    let is_admitted = answered.is_ok_and(|(exchange, _)| inviter.admit(exchange, proof).is_ok());
    typed.is_some() && is_answer && is_admitted
}

/// An exchange that succeeds.
pub fn invite_seeds() -> Vec<Vec<u8>> {
    let code = Code::generate([4; 32]);
    let (joiner, hello) = Joiner::start(&code, MEETING, [6; 32]);
    let (_, answer) = Inviter::new(code).answer(&hello, MEETING, [5; 32]).expect("it is a hello");
    let (_, proof) = joiner.read_answer(&answer).expect("it is the answer");
    let typed = Code::generate([4; 32]).to_string();
    vec![join([typed.as_bytes(), &hello, &answer, &proof])]
}

/// A first message and those that follow it.
pub fn ratchet(bytes: &[u8]) -> bool {
    let messages = split(bytes);
    let Some((first, rest)) = messages.split_first() else { return false };
    let Ok(initial) = Initial::parse(first) else { return false };
    let accepted = Session::accept(&BOB, &initial, &PREKEY, None, b"aad", first, [7; 32]);
    let Ok((mut session, _)) = accepted else { return false };
    rest.iter().take(16).filter(|message| session.open(b"aad", message, [8; 32]).is_ok()).count()
        == rest.len()
}

fn alice() -> Session {
    let prekey = SignedPrekey { identity: public_key(&BOB), key: public_key(&PREKEY), expires_ms: 1 };
    let bundle = prekey.verify(None, 0, |_| true).expect("it has not expired");
    Session::start(&ALICE, &bundle, &[9; 64]).expect("good keys")
}

/// Messages in order, and with one that was lost.
pub fn ratchet_seeds() -> Vec<Vec<u8>> {
    let mut alice = alice();
    let messages: Vec<Vec<u8>> =
        (0..4).map(|_| alice.seal(b"aad", b"text").expect("not exhausted")).collect();
    vec![join(&messages[..1]), join(&messages), join([&messages[0], &messages[3]])]
}

/// A session as it was stored: a disk may be damaged.
pub fn ratchet_state(bytes: &[u8]) -> bool {
    let Ok(mut session) = Session::restore(bytes, 0) else { return false };
    assert_eq!(*session.to_bytes(), bytes);
    // Counters may be at their end.
    let _ = session.seal(b"aad", b"text");
    true
}

/// Sessions before and after messages.
pub fn ratchet_state_seeds() -> Vec<Vec<u8>> {
    let mut alice = alice();
    let fresh = alice.to_bytes().to_vec();
    alice.seal(b"aad", b"text").expect("not exhausted");
    vec![fresh, alice.to_bytes().to_vec()]
}

/// A store of prekeys: a disk may be damaged.
pub fn prekeys(bytes: &[u8]) -> bool {
    let Ok(prekeys) = Prekeys::restore(bytes) else { return false };
    assert_eq!(*prekeys.to_bytes(), bytes);
    true
}

/// A new store, and one that was used.
pub fn prekeys_seeds() -> Vec<Vec<u8>> {
    let mut used = Prekeys::generate(PREKEY, 1);
    let fresh = used.to_bytes().to_vec();
    let first = alice().seal(b"aad", b"text").expect("not exhausted");
    used.accept(&BOB, b"aad", &first, [7; 32]).expect("it is for this prekey");
    used.rotate([4; 32], 2);
    used.replenish(2, [5; 32]);
    vec![fresh, used.to_bytes().to_vec()]
}

/// A share of a recovery secret.
pub fn share(bytes: &[u8]) -> bool {
    let Ok(share) = Share::from_bytes(bytes) else { return false };
    assert_eq!(*share.to_bytes(), bytes);
    assert!(recovery::combine(&[share]).is_err(), "one share is never enough");
    true
}

/// Shares of few and of many.
pub fn share_seeds() -> Vec<Vec<u8>> {
    let split = |threshold, count| recovery::split(&ALICE, threshold, count, [9; 32]).expect("good numbers");
    [&split(2, 3)[0], &split(5, 9)[8]].map(|share| share.to_bytes().to_vec()).to_vec()
}

/// A sealed key file. Its cost is set to the least, so that the fuzzer does not spend its time in Argon2.
pub fn secret_file(bytes: &[u8]) -> bool {
    let mut file = bytes.to_vec();
    if let (Some(cost), Some(cheap)) = (file.get_mut(COST), key_file(b"").get(COST)) {
        let greedy = cost.to_vec();
        cost.copy_from_slice(cheap);
        // Costs beyond the limits are refused before they are paid; only those are tried as they are.
        if greedy.chunks(4).any(|number| number[3] != 0) {
            assert!(secret_file::open(b"passphrase", bytes).is_err());
        }
    }
    secret_file::open(b"passphrase", &file).is_ok()
}

fn key_file(secret: &[u8]) -> Vec<u8> {
    secret_file::seal(b"passphrase", secret, CHEAP, &[3; 40]).expect("within the limits")
}

/// Files of no and of 32 bytes.
pub fn secret_file_seeds() -> Vec<Vec<u8>> {
    vec![key_file(b""), key_file(&ALICE)]
}
