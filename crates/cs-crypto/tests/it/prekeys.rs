//! The receiver's store of prekeys.

use cs_crypto::dh::{KeyPair, public_key};
use cs_crypto::ratchet::{
    Bundle, Initial, MAX_ONE_TIME, MAX_SIGNED, MAX_STARTS, PrekeyFault, Prekeys, RatchetError, RestoreError,
    Session,
};

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

fn store() -> Prekeys {
    Prekeys::generate([3; 32], 1000)
}

fn bundle(prekeys: &Prekeys, one_time: Option<[u8; 32]>) -> Bundle {
    prekeys.published(&KeyPair::new(BOB)).verify(one_time, 0, |_| true).unwrap()
}

fn first_message(bundle: &Bundle, entropy: u8) -> Vec<u8> {
    Session::start(&ALICE, bundle, &[entropy; 64]).unwrap().seal(b"", b"hello").unwrap()
}

fn accept(prekeys: &mut Prekeys, message: &[u8]) -> Result<Vec<u8>, RatchetError> {
    prekeys.accept(&BOB, b"", message, [6; 32]).map(|(_, text)| text)
}

// CRYPTO-23
#[test]
fn a_bundle_needs_a_signature_over_identity_key_and_expiry() {
    let published = store().published(&KeyPair::new(BOB));
    let mut seen = Vec::new();
    let bundle = published.verify(None, 999, |message| {
        seen = message.to_vec();
        true
    });
    assert!(bundle.is_ok());
    assert_eq!(&seen[..32], b"cosmic-sync 2026 signed prekey 1");
    assert_eq!((&seen[32..64], &seen[64..96]), (&public_key(&BOB)[..], &public_key(&[3; 32])[..]));
    assert_eq!(seen[96..], 1000u64.to_le_bytes());
    assert_eq!(published.verify(None, 999, |_| false), Err(PrekeyFault::Signature));
    assert_eq!(published.verify(None, 1000, |_| true), Err(PrekeyFault::Expired));
}

// CRYPTO-15, CRYPTO-23
#[test]
fn a_one_time_prekey_opens_one_session_and_is_gone() {
    let mut prekeys = store();
    let one_time = prekeys.replenish(2, [4; 32]);
    assert_eq!((one_time.len(), prekeys.one_time().count()), (2, 2));
    let message = first_message(&bundle(&prekeys, Some(one_time[0])), 5);
    let mut altered = message.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(accept(&mut prekeys, &altered), Err(RatchetError::Forged));
    assert_eq!(prekeys.one_time().count(), 2, "a forgery uses nothing up");
    assert_eq!(accept(&mut prekeys, &message).unwrap(), b"hello");
    assert_eq!(prekeys.one_time().collect::<Vec<_>>(), [&one_time[1]]);
    assert_eq!(accept(&mut prekeys, &message), Err(RatchetError::WrongPrekey));
}

// CRYPTO-15, CRYPTO-23
#[test]
fn a_beginning_without_one_time_prekey_is_accepted_once_even_after_a_restart() {
    let mut prekeys = store();
    let message = first_message(&bundle(&prekeys, None), 5);
    assert_eq!(accept(&mut prekeys, &message).unwrap(), b"hello");
    assert_eq!(accept(&mut prekeys, &message), Err(RatchetError::Replayed));
    let mut restored = Prekeys::restore(&prekeys.to_bytes()).unwrap();
    assert_eq!(accept(&mut restored, &message), Err(RatchetError::Replayed));
    let other = first_message(&bundle(&prekeys, None), 6);
    assert_eq!(accept(&mut restored, &other).unwrap(), b"hello");
}

// CRYPTO-23
#[test]
fn a_replaced_prekey_serves_messages_on_their_way_until_it_is_forgotten() {
    let mut prekeys = store();
    let message = first_message(&bundle(&prekeys, None), 5);
    prekeys.rotate([7; 32], 2000);
    assert_eq!(prekeys.published(&KeyPair::new(BOB)).key, public_key(&[7; 32]));
    prekeys.forget(999);
    assert_eq!(accept(&mut prekeys, &message).unwrap(), b"hello");
    prekeys.forget(1000);
    assert_eq!(accept(&mut prekeys, &message), Err(RatchetError::WrongPrekey));
    prekeys.forget(u64::MAX);
    assert_eq!(prekeys.published(&KeyPair::new(BOB)).expires_ms, 2000, "the published one stays");
}

// CRYPTO-23
#[test]
fn prekeys_are_bounded() {
    let mut prekeys = store();
    for round in 0..2 * MAX_SIGNED {
        prekeys.rotate([round as u8; 32], 2000);
    }
    assert_eq!(prekeys.replenish(usize::MAX, [4; 32]).len(), MAX_ONE_TIME);
    assert_eq!(prekeys.replenish(usize::MAX, [5; 32]), [[0; 32]; 0]);
    assert_eq!(
        format!("{prekeys:?}"),
        format!("Prekeys {{ signed: {MAX_SIGNED}, one_time: {MAX_ONE_TIME}, .. }}")
    );
}

// CRYPTO-23
#[test]
fn stores_have_one_encoding_and_neither_prefixes_nor_additions_are_taken() {
    let mut prekeys = store();
    prekeys.rotate([7; 32], 2000);
    prekeys.replenish(3, [4; 32]);
    for entropy in [5, 6] {
        let message = first_message(&bundle(&prekeys, None), entropy);
        assert!(Initial::parse(&message).is_ok() && accept(&mut prekeys, &message).is_ok());
    }
    let bytes = prekeys.to_bytes();
    assert_eq!(Prekeys::restore(&bytes).unwrap().to_bytes(), bytes);
    let malformed = |bytes: &[u8]| Prekeys::restore(bytes).map(|_| ()) == Err(RestoreError::Malformed);
    assert!((0..bytes.len()).all(|length| malformed(&bytes[..length])));
    assert!(malformed(&[&bytes[..], &[0]].concat()));
    let (head, tail) = bytes.split_at(bytes.len() - 64);
    assert!(malformed(&[head, &tail[32..], &tail[..32]].concat()), "in another order");
    let twice = [&bytes[..bytes.len() - 32], &bytes[bytes.len() - 64..bytes.len() - 32]].concat();
    assert!(malformed(&twice), "one twice");
}

/// A store as CRYPTO-23 lays it out: one signed prekey that `starts` sessions began with, and `one_time` one-time prekeys.
fn stored(starts: usize, one_time: usize) -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend_from_slice(&[3; 32]);
    bytes.extend_from_slice(&1000u64.to_le_bytes());
    bytes.extend_from_slice(&(starts as u16).to_le_bytes());
    for start in 0..starts {
        let mut ephemeral = [0; 32];
        ephemeral[..2].copy_from_slice(&(start as u16).to_be_bytes());
        bytes.extend_from_slice(&ephemeral);
    }
    let mut secrets: Vec<[u8; 32]> = (0..one_time).map(|number| [number as u8; 32]).collect();
    secrets.sort_by_key(public_key);
    bytes.extend_from_slice(&(one_time as u16).to_le_bytes());
    secrets.iter().for_each(|secret| bytes.extend_from_slice(secret));
    bytes
}

// CRYPTO-15, CRYPTO-23
#[test]
fn after_4096_beginnings_without_one_time_prekey_only_a_new_signed_prekey_helps() {
    let mut prekeys = Prekeys::restore(&stored(MAX_STARTS - 1, 0)).unwrap();
    let begin = |prekeys: &mut Prekeys, entropy| {
        let message = first_message(&bundle(prekeys, None), entropy);
        accept(prekeys, &message)
    };
    assert_eq!(begin(&mut prekeys, 5).unwrap(), b"hello");
    assert_eq!(begin(&mut prekeys, 6), Err(RatchetError::Exhausted));
    let one_time = prekeys.replenish(1, [4; 32]);
    let message = first_message(&bundle(&prekeys, Some(one_time[0])), 7);
    assert_eq!(accept(&mut prekeys, &message).unwrap(), b"hello", "one-time prekeys are not counted");
    prekeys.rotate([8; 32], 2000);
    assert_eq!(begin(&mut prekeys, 6).unwrap(), b"hello");
}

// CRYPTO-23
#[test]
fn a_stored_store_is_bounded_as_a_live_one_is() {
    assert!(Prekeys::restore(&stored(MAX_STARTS, MAX_ONE_TIME)).is_ok());
    for (starts, one_time) in [(MAX_STARTS + 1, 0), (0, MAX_ONE_TIME + 1)] {
        let restored = Prekeys::restore(&stored(starts, one_time));
        assert_eq!(restored.map(|_| ()), Err(RestoreError::Malformed), "{starts}, {one_time}");
    }
}
