//! Live exchanges with independent implementations: `snow` for Noise, `hpke` for HPKE, each side in each role.

use cs_crypto::dh::public_key;
use cs_crypto::hpke::{Opener, Psk, Sealer, Sender};
use cs_crypto::noise::{Keys, MAX_MESSAGE, Protocol, ReadTurn, Setup, Step, WriteTurn};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use snow::HandshakeState;

const INITIATOR: [u8; 32] = [0x11; 32];
const RESPONDER: [u8; 32] = [0x22; 32];
const PSK: [u8; 32] = [0x33; 32];
const PROLOGUE: &[u8] = b"interop";

/// (name, initiator has a static key, initiator knows the responder, responder has a static key, psk position)
type Case = (&'static str, bool, bool, bool, Option<u8>);

const CASES: [Case; 8] = [
    ("N", false, true, true, None),
    ("X", true, true, true, None),
    ("NK", false, true, true, None),
    ("XK", true, true, true, None),
    ("XX", true, false, true, None),
    ("IK", true, true, true, None),
    ("IKpsk2", true, true, true, Some(2)),
    ("XXpsk3", true, false, true, Some(3)),
];

/// Our side, whoever's turn it is.
enum Ours {
    Write(WriteTurn),
    Read(ReadTurn),
    Done(Keys),
}

fn ours(name: &str, case: Case, initiator: bool) -> Ours {
    let (_, has_static, knows, responder_static, psk) = case;
    let protocol: Protocol = name.parse().unwrap();
    let mut setup = Setup::new(protocol, [if initiator { 0x44 } else { 0x55 }; 32]).prologue(PROLOGUE);
    if psk.is_some() {
        setup = setup.psk(PSK);
    }
    if initiator {
        setup = if has_static { setup.local(INITIATOR) } else { setup };
        setup = if knows { setup.remote(public_key(&RESPONDER)) } else { setup };
        Ours::Write(setup.initiate().unwrap())
    } else {
        setup = if responder_static { setup.local(RESPONDER) } else { setup };
        Ours::Read(setup.respond().unwrap())
    }
}

fn theirs(name: &str, case: Case, initiator: bool) -> HandshakeState {
    let (_, has_static, knows, responder_static, psk) = case;
    let remote = public_key(&RESPONDER);
    let mut builder = snow::Builder::new(name.parse().unwrap()).prologue(PROLOGUE).unwrap();
    if let Some(position) = psk {
        builder = builder.psk(position, &PSK).unwrap();
    }
    if initiator {
        builder = if has_static { builder.local_private_key(&INITIATOR).unwrap() } else { builder };
        builder = if knows { builder.remote_public_key(&remote).unwrap() } else { builder };
        builder.build_initiator().unwrap()
    } else {
        builder = if responder_static { builder.local_private_key(&RESPONDER).unwrap() } else { builder };
        builder.build_responder().unwrap()
    }
}

fn handshake(mut ours: Ours, theirs: &mut HandshakeState) -> Keys {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        ours = match ours {
            Ours::Write(turn) => {
                let (message, next) = turn.write(b"from us").unwrap();
                let length = theirs.read_message(&message, &mut buffer).unwrap();
                assert_eq!(&buffer[..length], b"from us");
                match next {
                    Step::Turn(turn) => Ours::Read(turn),
                    Step::Done(keys) => Ours::Done(keys),
                }
            }
            Ours::Read(turn) => {
                let length = theirs.write_message(b"from snow", &mut buffer).unwrap();
                let (payload, next) = turn.read(&buffer[..length]).unwrap();
                assert_eq!(payload, b"from snow");
                match next {
                    Step::Turn(turn) => Ours::Write(turn),
                    Step::Done(keys) => Ours::Done(keys),
                }
            }
            Ours::Done(keys) => return keys,
        };
    }
}

fn run(case: Case, hash: &str, we_initiate: bool) {
    let name = format!("Noise_{}_25519_ChaChaPoly_{hash}", case.0);
    let mut snow = theirs(&name, case, !we_initiate);
    let keys = handshake(ours(&name, case, we_initiate), &mut snow);
    assert_eq!(snow.get_handshake_hash(), keys.handshake_hash, "{name}");
    if !we_initiate {
        let initiator = case.1.then(|| public_key(&INITIATOR));
        assert_eq!(keys.remote_static, initiator, "{name}");
    }
    let one_way = matches!(case.0, "N" | "X");
    let mut snow = snow.into_transport_mode().unwrap();
    let (mut sender, mut receiver) = keys.into_transport();
    let mut buffer = vec![0; MAX_MESSAGE];
    for round in 0..3 {
        if we_initiate || !one_way {
            let message = sender.seal(b"", b"ping").unwrap();
            let length = snow.read_message(&message, &mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"ping", "{name}, round {round}");
        }
        if !we_initiate || !one_way {
            let length = snow.write_message(b"pong", &mut buffer).unwrap();
            assert_eq!(receiver.open(b"", &buffer[..length]).unwrap(), b"pong", "{name}, round {round}");
        }
        if !one_way {
            sender.rekey();
            snow.rekey_incoming();
            receiver.rekey();
            snow.rekey_outgoing();
        }
    }
}

// CRYPTO-4
#[test]
fn every_pattern_completes_with_snow_in_both_roles() {
    for case in CASES {
        for hash in ["SHA256", "BLAKE2s"] {
            run(case, hash, true);
            run(case, hash, false);
        }
    }
}

const INFO: &[u8] = b"info";
const AAD: &[u8] = b"aad";

type TheirPublic = <X25519HkdfSha256 as Kem>::PublicKey;
type TheirPrivate = <X25519HkdfSha256 as Kem>::PrivateKey;

fn their_pair(secret: &[u8; 32]) -> (TheirPrivate, TheirPublic) {
    let private = TheirPrivate::from_bytes(secret).unwrap();
    let public = TheirPublic::from_bytes(&public_key(secret)).unwrap();
    (private, public)
}

/// Both seal from the same chance, which must give the same bytes; each opens the other's.
fn run_hpke(with_sender: bool, with_psk: bool) {
    let ours_psk = with_psk.then(|| Psk::new(&PSK, b"psk").unwrap());
    let bundle = PskBundle::new(&PSK, b"psk").unwrap();
    let (private, public) = their_pair(&RESPONDER);
    let sender = their_pair(&INITIATOR);
    let (mode_s, mode_r) = match (with_sender, with_psk) {
        (false, false) => (OpModeS::Base, OpModeR::Base),
        (false, true) => (OpModeS::Psk(bundle), OpModeR::Psk(bundle)),
        (true, false) => (OpModeS::Auth(sender.clone()), OpModeR::Auth(sender.1)),
        (true, true) => (OpModeS::AuthPsk(sender.clone(), bundle), OpModeR::AuthPsk(sender.1, bundle)),
    };
    let mut entropy = [0; 32];
    ChaCha20Rng::from_seed([9; 32]).fill_bytes(&mut entropy);
    let proof = if with_sender { Sender::Key(&INITIATOR) } else { Sender::Anonymous };
    let (encapsulated, mut sealer) =
        Sealer::setup(&public_key(&RESPONDER), INFO, &proof, ours_psk, entropy).unwrap();
    let (their_encapsulated, mut their_sealer) =
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &mode_s,
            &public,
            INFO,
            &mut ChaCha20Rng::from_seed([9; 32]),
        )
        .unwrap();
    assert_eq!(their_encapsulated.to_bytes().as_slice(), encapsulated);
    let mut their_opener = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &mode_r,
        &private,
        &their_encapsulated,
        INFO,
    )
    .unwrap();
    let sender_public = with_sender.then(|| public_key(&INITIATOR));
    let mut opener =
        Opener::setup(&RESPONDER, &encapsulated, INFO, sender_public.as_ref(), ours_psk).unwrap();
    // So many that the sequence number takes a second byte of the nonce.
    for plaintext in [&b"one"[..], b"", &[7; 1000]].into_iter().cycle().take(260) {
        let (ours, theirs) = (sealer.seal(AAD, plaintext), their_sealer.seal(plaintext, AAD).unwrap());
        assert_eq!(ours, theirs);
        assert_eq!(their_opener.open(&ours, AAD).unwrap(), plaintext);
        assert_eq!(*opener.open(AAD, &theirs).unwrap(), plaintext);
    }
    let mut exported = [0; 32];
    their_sealer.export(b"context", &mut exported).unwrap();
    assert_eq!(*sealer.export(b"context"), exported);
    assert_eq!(*opener.export(b"context"), exported);
}

// CRYPTO-5
#[test]
fn all_four_hpke_modes_agree_with_an_independent_crate_in_both_roles() {
    for with_sender in [false, true] {
        for with_psk in [false, true] {
            run_hpke(with_sender, with_psk);
        }
    }
}
