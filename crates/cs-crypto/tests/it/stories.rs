//! Whole uses, told step by step.

use cs_crypto::LowOrderPoint;
use cs_crypto::dh::{KeyPair, public_key, shared_secret};
use cs_crypto::epoch::{BlindKey, ChunkKey, EpochRoot, EpochSecrets, open_operation, seal_operation};
use cs_crypto::invite::{Code, Inviter, Joiner, Meeting};
use cs_crypto::noise::{HandshakeError, Hash, Pattern, Protocol, Setup, SetupError, StaticCache};

const IK: Protocol = Protocol::new(Pattern::IK, Hash::Sha256);
const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

// CRYPTO-4
#[test]
fn a_request_and_its_answer_take_one_round_trip_and_no_state_at_the_responder() {
    let alice = Setup::new(IK, [3; 32]).local(ALICE).remote(public_key(&BOB)).initiate().unwrap();
    let (request, alice) = alice.write(b"who is near?").unwrap();
    let answer = {
        let bob = Setup::new(IK, [4; 32]).local(BOB).respond().unwrap();
        let (payload, bob) = bob.read(&request).unwrap();
        assert_eq!(payload, b"who is near?");
        let bob = bob.turn().unwrap();
        assert_eq!(bob.remote_static(), Some(&public_key(&ALICE)));
        bob.write(b"carol").unwrap().0
    };
    assert_eq!(alice.turn().unwrap().read(&answer).unwrap().0, b"carol");
}

#[test]
fn early_keys_agree_after_the_first_message_and_differ_from_the_final_ones() {
    let alice = Setup::new(IK, [3; 32]).local(ALICE).remote(public_key(&BOB)).initiate().unwrap();
    let (first, alice) = alice.write(b"").unwrap();
    let (_, bob) = Setup::new(IK, [4; 32]).local(BOB).respond().unwrap().read(&first).unwrap();
    let (alice, bob) = (alice.turn().unwrap(), bob.turn().unwrap());
    let early = alice.export(b"early", b"").unwrap();
    assert_eq!(Some(&early), bob.export(b"early", b"").as_ref());
    assert_eq!(alice.transcript(), bob.transcript());
    let (second, bob) = bob.write(b"").unwrap();
    let (_, alice) = alice.read(&second).unwrap();
    let (alice, bob) = (alice.keys().unwrap(), bob.keys().unwrap());
    assert_ne!(early, alice.export(b"early", b""));
    assert_eq!(alice.export(b"early", b""), bob.export(b"early", b""));
}

#[test]
fn nothing_is_exported_before_a_secret_is_shared() {
    let xx = Protocol::new(Pattern::XX, Hash::Sha256);
    let alice = Setup::new(xx, [3; 32]).local(ALICE).initiate().unwrap();
    assert!(!alice.is_encrypted());
    assert_eq!(alice.export(b"early", b""), None);
}

// CRYPTO-19
#[test]
fn kept_static_products_give_the_same_bytes_and_only_proven_keys_are_kept() {
    let (mut at_alice, mut at_bob) = (StaticCache::new(8), StaticCache::new(8));
    let pair = KeyPair::new(BOB);
    let initiate = || Setup::new(IK, [3; 32]).local(ALICE).remote(public_key(&BOB)).initiate().unwrap();
    let respond = || Setup::new(IK, [4; 32]).local_pair(&pair).respond().unwrap();
    let (plain, _) = initiate().write(b"x").unwrap();
    for round in 0..3 {
        let (first, alice) = initiate().write_known(b"x", &mut at_alice).unwrap();
        assert_eq!(first, plain, "round {round}");
        let mut forged = first.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(respond().read_known(&forged, &mut at_bob).is_err());
        assert_eq!(at_bob.len(), usize::from(round > 0), "a forgery is not remembered");
        let (payload, bob) = respond().read_known(&first, &mut at_bob).unwrap();
        assert_eq!(payload, b"x");
        let (second, bob) = bob.turn().unwrap().write(b"y").unwrap();
        let keys = alice.turn().unwrap().read(&second).unwrap().1.keys().unwrap();
        assert_eq!(keys.send, bob.keys().unwrap().receive);
        assert_eq!((at_alice.len(), at_bob.len()), (1, 1));
    }
}

// CRYPTO-19
#[test]
fn a_wrong_product_would_show() {
    let mut poisoned = StaticCache::new(8);
    let mallory = Setup::new(IK, [3; 32]).local(ALICE).remote(public_key(&[9; 32])).initiate().unwrap();
    mallory.write_known(b"", &mut poisoned).unwrap();
    let alice = || Setup::new(IK, [3; 32]).local(ALICE).remote(public_key(&BOB)).initiate().unwrap();
    let bob = Setup::new(IK, [4; 32]).local(BOB).respond().unwrap();
    let (first, _) = alice().write_known(b"", &mut poisoned).unwrap();
    assert!(bob.read(&first).is_ok(), "the product with one peer is not used with another");
}

// CRYPTO-4
#[test]
fn wrong_keys_prologues_and_pre_shared_keys_end_the_handshake() {
    let first = |prologue: &[u8]| {
        let setup = Setup::new(IK, [3; 32]).prologue(prologue).local(ALICE).remote(public_key(&BOB));
        setup.initiate().unwrap().write(b"").unwrap().0
    };
    let read = |secret: [u8; 32], message: &[u8]| {
        Setup::new(IK, [4; 32]).prologue(b"p").local(secret).respond().unwrap().read(message).map(|_| ())
    };
    assert_eq!(read(BOB, &first(b"p")), Ok(()));
    assert_eq!(read(BOB, &first(b"q")), Err(HandshakeError::Forged));
    assert_eq!(read([9; 32], &first(b"p")), Err(HandshakeError::Forged));
    assert_eq!(read(BOB, &first(b"p")[..95]), Err(HandshakeError::TooShort));
    assert_eq!(read(BOB, &first(b"p")[..60]), Err(HandshakeError::TooShort));
    assert_eq!(read(BOB, &[0; 65536]), Err(HandshakeError::TooLong));
}

// CRYPTO-4
#[test]
fn a_first_message_holds_what_fits_and_a_byte_more_is_refused() {
    let write = |length: usize| {
        let alice = Setup::new(IK, [3; 32]).local(ALICE).remote(public_key(&BOB)).initiate().unwrap();
        alice.write(&vec![0; length]).map(|(message, _)| message.len())
    };
    assert_eq!(write(65535 - 96), Ok(65535));
    assert_eq!(write(65535 - 95), Err(HandshakeError::TooLong));
}

// CRYPTO-4
#[test]
fn a_wrong_pre_shared_key_shows_in_the_message_that_uses_it() {
    let protocol = Protocol::new(Pattern::IK_PSK2, Hash::Sha256);
    let alice =
        Setup::new(protocol, [3; 32]).local(ALICE).remote(public_key(&BOB)).psk([7; 32]).initiate().unwrap();
    let bob = Setup::new(protocol, [4; 32]).local(BOB).psk([8; 32]).respond().unwrap();
    let (first, alice) = alice.write(b"").unwrap();
    let (second, _) = bob.read(&first).unwrap().1.turn().unwrap().write(b"").unwrap();
    assert_eq!(alice.turn().unwrap().read(&second).map(|_| ()), Err(HandshakeError::Forged));
}

// CRYPTO-1
#[test]
fn a_peer_with_a_key_of_small_order_gets_no_handshake() {
    let alice = Setup::new(IK, [3; 32]).local(ALICE).remote([0; 32]).initiate().unwrap();
    assert_eq!(alice.write(b"").map(|_| ()), Err(HandshakeError::LowOrder));
    let bob = Setup::new(IK, [4; 32]).local(BOB).respond().unwrap();
    assert_eq!(bob.read(&[0; 96]).map(|_| ()), Err(HandshakeError::LowOrder));
    assert_eq!(shared_secret(&ALICE, &[0; 32]), Err(LowOrderPoint));
}

#[test]
fn keys_that_do_not_fit_the_pattern_are_refused_before_anything_is_sent() {
    let xx = Protocol::new(Pattern::XX, Hash::Sha256);
    let psk2 = Protocol::new(Pattern::IK_PSK2, Hash::Sha256);
    let psk9 = Protocol::new(Pattern::IK.with_psk(9), Hash::Sha256);
    let key = public_key(&BOB);
    let refused = |setup: Setup<'_>| setup.initiate().map(|_| ()).unwrap_err();
    assert_eq!(refused(Setup::new(IK, [3; 32]).local(ALICE)), SetupError::MissingRemoteKey);
    assert_eq!(refused(Setup::new(IK, [3; 32]).remote(key)), SetupError::MissingLocalKey);
    assert_eq!(refused(Setup::new(xx, [3; 32]).local(ALICE).remote(key)), SetupError::UnusedKey);
    assert_eq!(refused(Setup::new(psk2, [3; 32]).local(ALICE).remote(key)), SetupError::WrongPskCount);
    assert_eq!(
        refused(Setup::new(IK, [3; 32]).local(ALICE).remote(key).psk([7; 32])),
        SetupError::WrongPskCount
    );
    assert_eq!(
        refused(Setup::new(psk9, [3; 32]).local(ALICE).remote(key).psk([7; 32])),
        SetupError::WrongPskCount
    );
}

#[test]
fn no_secret_shows_in_debug_output() {
    let setup = Setup::new(IK, [0xab; 32]).local([0xab; 32]).remote(public_key(&BOB));
    let mut shown = format!("{setup:?}");
    let turn = setup.initiate().unwrap();
    shown += &format!("{turn:?}");
    let (first, alice) = turn.write(b"").unwrap();
    let bob = Setup::new(IK, [0xab; 32]).local(BOB).respond().unwrap();
    let (second, bob) = bob.read(&first).unwrap().1.turn().unwrap().write(b"").unwrap();
    shown += &format!("{alice:?}{bob:?}");
    let keys = alice.turn().unwrap().read(&second).unwrap().1.keys().unwrap();
    let send = format!("{:?}", &keys.send[..4]);
    shown += &format!("{keys:?}");
    assert!(!shown.contains("171") && !shown.contains(send.trim_matches(['[', ']'])), "{shown}");
}

// CRYPTO-2
#[test]
fn equal_plaintexts_in_a_channel_never_give_equal_ciphertexts() {
    let nobody = Protocol::new(Pattern::N, Hash::Blake2s);
    let setup = Setup::new(nobody, [3; 32]).remote(public_key(&BOB));
    let (mut sender, _) = setup.initiate().unwrap().write(b"").unwrap().1.keys().unwrap().into_transport();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..300 {
        if round == 150 {
            sender.rekey();
        }
        assert!(seen.insert(sender.seal(b"", b"the same").unwrap()), "round {round}");
    }
}

/// A revocation starts an epoch whose root the revoked never gets.
// CRYPTO-8
#[test]
fn a_revoked_member_reads_what_came_before_its_revocation_and_nothing_after() {
    let (space, carol) = ([7; 32], [5; 32]);
    let (blind, chunk) = (BlindKey::generate([10; 32]), ChunkKey::generate([11; 32]));
    let epoch = |entropy: u8| EpochSecrets {
        root: EpochRoot::generate([entropy; 32]),
        blind: blind.clone(),
        chunk: chunk.clone(),
    };
    let (first, second) = (epoch(1), epoch(2));
    let box_for_carol = first.seal_to(&public_key(&carol), &space, 1, [20; 32]).unwrap();
    let box_for_bob = second.seal_to(&public_key(&BOB), &space, 2, [21; 32]).unwrap();
    let path: &[&[u8]] = &[b"plans"];
    let before = seal_operation(&first.root.path_key(path), b"1", b"known to carol");
    let after = seal_operation(&second.root.path_key(path), b"2", b"not for carol");

    let carols = EpochSecrets::open(&carol, &space, 1, &first.root.commitment(), &box_for_carol).unwrap();
    assert_eq!(open_operation(&carols.root.path_key(path), b"1", &before).unwrap(), b"known to carol");
    assert!(open_operation(&carols.root.path_key(path), b"2", &after).is_err());
    assert!(EpochSecrets::open(&carol, &space, 2, &second.root.commitment(), &box_for_bob).is_err());
    let bobs = EpochSecrets::open(&BOB, &space, 2, &second.root.commitment(), &box_for_bob).unwrap();
    assert_eq!(open_operation(&bobs.root.path_key(path), b"2", &after).unwrap(), b"not for carol");
    assert_eq!(bobs.blind.tags(path), carols.blind.tags(path), "tags stay over epochs");
}

/// Two strangers on the LAN: XX for the channel, the code for trust, and the code's key for what follows.
// CRYPTO-11
#[test]
fn a_code_turns_a_channel_between_strangers_into_one_between_acquaintances() {
    let xx = Protocol::new(Pattern::XX, Hash::Sha256);
    let joiner = Setup::new(xx, [3; 32]).local(ALICE).initiate().unwrap();
    let inviter = Setup::new(xx, [4; 32]).local(BOB).respond().unwrap();
    let (m1, joiner) = joiner.write(b"").unwrap();
    let (m2, inviter) = inviter.read(&m1).unwrap().1.turn().unwrap().write(b"").unwrap();
    let (m3, joiner) = joiner.turn().unwrap().read(&m2).unwrap().1.turn().unwrap().write(b"").unwrap();
    let (joiner, inviter) =
        (joiner.keys().unwrap(), inviter.turn().unwrap().read(&m3).unwrap().1.keys().unwrap());

    let meeting = |binding| Meeting { joiner: public_key(&ALICE), inviter: public_key(&BOB), binding };
    let code = Code::generate([9; 32]);
    let mut door = Inviter::new(code.clone());
    let typed: Code = code.to_string().to_lowercase().parse().unwrap();
    let (attempt, hello) = Joiner::start(&typed, meeting(joiner.handshake_hash), [5; 32]);
    let (exchange, answer) = door.answer(&hello, meeting(inviter.handshake_hash), [6; 32]).unwrap();
    let (attempt, proof) = attempt.read_answer(&answer).unwrap();
    let (proof, at_inviter) = door.admit(exchange, &proof).unwrap();
    assert_eq!(attempt.read_proof(&proof).unwrap(), at_inviter);
}
