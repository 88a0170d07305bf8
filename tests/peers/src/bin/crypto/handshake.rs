//! Whole handshakes, both sides on one thread, with empty payloads and keys that are known as each library likes them; and the
//! multiplication that nearly all of their time goes to.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cs_crypto::dh::{KeyPair, public_key, shared_secret};
use cs_crypto::noise::{Hash, Keys, Pattern, Protocol, Setup, StaticCache, Step};
use cs_peers::{Better, Row};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use snow::resolvers::{DefaultResolver, FallbackResolver, RingResolver};

use crate::race;

const INITIATOR: [u8; 32] = [0x11; 32];
const RESPONDER: [u8; 32] = [0x22; 32];
const ROUNDS: usize = 31;
/// Of a rate on all processors, which is the wall's.
const SPAN: Duration = Duration::from_secs(2);

const SNOW: &str = "snow 0.10";
const SNOW_RING: &str = "snow 0.10 on ring";
const RING: &str = "ring 0.17";

pub(crate) fn run() {
    multiplication();
    for (pattern, name) in [(Pattern::IK, "IK"), (Pattern::XX, "XX")] {
        let protocol = Protocol::new(pattern, Hash::Sha256);
        let mut known = Ours::new(protocol, 16);
        let mut unknown = Ours::new(protocol, 0);
        let [first, again, snow, snow_ring] = race(
            ROUNDS,
            4,
            [
                &mut || unknown.shake(),
                &mut || known.shake(),
                &mut || theirs(&protocol.name(), false),
                &mut || theirs(&protocol.name(), true),
            ],
        );
        let rows = if pattern == Pattern::IK {
            vec![(name.to_owned(), first), (format!("{name}, peer met before"), again)]
        } else {
            vec![(name.to_owned(), first)]
        };
        for (row, ours) in rows {
            for (peer, theirs) in [(SNOW, snow), (SNOW_RING, snow_ring)] {
                let row = Row::new(&row, "handshakes", "per CPU s", Better::More, 1.0 / ours);
                Row { peer: Some((peer, 1.0 / theirs)), ..row }.print();
            }
        }
        on_all_processors(protocol, name);
    }
}

fn multiplication() {
    let (chance, peer) = (SystemRandom::new(), public_key(&RESPONDER));
    // ring makes a key for every product; its making is what the second contestant is measured for.
    let [ours, ours_with_key, ring_key, ring_with_key] = race(
        ROUNDS,
        20,
        [
            &mut || drop(black_box(shared_secret(&INITIATOR, black_box(&peer)))),
            &mut || {
                black_box(public_key(black_box(&INITIATOR)));
                drop(black_box(shared_secret(&INITIATOR, black_box(&peer))));
            },
            &mut || {
                let secret = EphemeralPrivateKey::generate(&X25519, &chance).expect("the system has chance");
                black_box(secret.compute_public_key().expect("the key is good"));
            },
            &mut || {
                let secret = EphemeralPrivateKey::generate(&X25519, &chance).expect("the system has chance");
                black_box(secret.compute_public_key().expect("the key is good"));
                let peer = UnparsedPublicKey::new(&X25519, peer);
                black_box(agree_ephemeral(secret, &peer, |product| product.len()).expect("the key is good"));
            },
        ],
    );
    for (metric, ours, ring) in
        [("public key", ours_with_key - ours, ring_key), ("product", ours, ring_with_key - ring_key)]
    {
        let row = Row::new("X25519", metric, "us", Better::Less, ours * 1e6);
        Row { peer: Some((RING, ring * 1e6)), ..row }.print();
    }
}

/// Handshakes a second of wall time with a thread on each processor: ours, then the peers, three times, medians.
fn on_all_processors(protocol: Protocol, name: &str) {
    let row = format!("{name}, {} processors", processors());
    let mut rates = [(); 3].map(|()| Vec::new());
    for _ in 0..3 {
        let mut ours = || {
            let mut ours = Ours::new(protocol, 0);
            move || ours.shake()
        };
        rates[0].push(rate(&mut ours));
        rates[1].push(rate(&mut || || theirs(&protocol.name(), false)));
        rates[2].push(rate(&mut || || theirs(&protocol.name(), true)));
    }
    let [ours, snow, snow_ring] = rates.map(|mut rates| {
        rates.sort_unstable_by(f64::total_cmp);
        rates[1]
    });
    for (peer, theirs) in [(SNOW, snow), (SNOW_RING, snow_ring)] {
        let row = Row::new(&row, "handshakes", "per s", Better::More, ours);
        Row { peer: Some((peer, theirs)), ..row }.print();
    }
}

fn rate<W: FnMut() + Send>(worker: &mut dyn FnMut() -> W) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        for mut work in (0..processors()).map(|_| worker()) {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(SPAN);
        stop.store(true, Ordering::Relaxed);
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Two devices with their own keys at hand.
struct Ours {
    protocol: Protocol,
    pairs: [KeyPair; 2],
    known: [StaticCache; 2],
    count: u64,
}

impl Ours {
    /// Each remembers up to `limit` peers.
    fn new(protocol: Protocol, limit: usize) -> Self {
        let pairs = [INITIATOR, RESPONDER].map(KeyPair::new);
        Self { protocol, pairs, known: [limit; 2].map(StaticCache::new), count: 0 }
    }

    fn shake(&mut self) {
        self.count += 1;
        let entropy = |side: u8| {
            let mut bytes = [side; 32];
            bytes[..8].copy_from_slice(&self.count.to_le_bytes());
            bytes
        };
        let [alice, bob] = &self.pairs;
        let setup = Setup::new(self.protocol, entropy(1)).local_pair(alice);
        let setup = if self.protocol.pattern() == Pattern::IK { setup.remote(*bob.public()) } else { setup };
        let mut writer = setup.initiate().expect("the keys fit the pattern");
        let setup = Setup::new(self.protocol, entropy(2)).local_pair(bob);
        let mut reader = setup.respond().expect("the keys fit the pattern");
        let [at_writer, at_reader] = &mut self.known;
        let (mut at_writer, mut at_reader) = (at_writer, at_reader);
        let keys: (Keys, Keys) = loop {
            let (message, next_reader) = writer.write_known(b"", at_writer).expect("it fits");
            let (_, next_writer) = reader.read_known(&message, at_reader).expect("it is authentic");
            match (next_writer, next_reader) {
                (Step::Turn(next_writer), Step::Turn(next_reader)) => {
                    (writer, reader) = (next_writer, next_reader);
                    (at_writer, at_reader) = (at_reader, at_writer);
                }
                (Step::Done(a), Step::Done(b)) => break (a, b),
                _ => unreachable!("both sides count the same messages"),
            }
        };
        assert_eq!(keys.0.handshake_hash, keys.1.handshake_hash);
    }
}

fn theirs(name: &str, on_ring: bool) {
    let builder = || {
        let parameters = name.parse().expect("snow has the protocol");
        if on_ring {
            let resolver = FallbackResolver::new(Box::new(RingResolver), Box::new(DefaultResolver));
            snow::Builder::with_resolver(parameters, Box::new(resolver))
        } else {
            snow::Builder::new(parameters)
        }
    };
    let bob = public_key_of_bob();
    let mut alice = builder().local_private_key(&INITIATOR).expect("32 bytes");
    if name.contains("_IK_") {
        alice = alice.remote_public_key(&bob).expect("32 bytes");
    }
    let mut alice = alice.build_initiator().expect("the keys fit the pattern");
    let bob = builder().local_private_key(&RESPONDER).expect("32 bytes");
    let mut bob = bob.build_responder().expect("the keys fit the pattern");
    let (mut message, mut payload) = ([0; 256], [0; 256]);
    let mut from_alice = true;
    while !alice.is_handshake_finished() {
        let (writer, reader) = if from_alice { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let length = writer.write_message(b"", &mut message).expect("it fits");
        reader.read_message(&message[..length], &mut payload).expect("it is authentic");
        from_alice = !from_alice;
    }
    assert_eq!(alice.get_handshake_hash(), bob.get_handshake_hash());
    assert!(alice.into_transport_mode().is_ok() && bob.into_transport_mode().is_ok());
}

/// Computed once: snow is told the key as ours is.
fn public_key_of_bob() -> [u8; 32] {
    static KEY: std::sync::LazyLock<[u8; 32]> = std::sync::LazyLock::new(|| public_key(&RESPONDER));
    *KEY
}
