//! What holds for every key, payload and altered byte.

use cs_crypto::aead::{Forged, Key};
use cs_crypto::dh::public_key;
use cs_crypto::epoch::{BlindKey, EpochRoot, open_operation, seal_operation};
use cs_crypto::invite::Code;
use cs_crypto::noise::{Hash, Keys, Pattern, Protocol, Setup};
use cs_crypto::{hpke, secret_file};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(0u8..3, 0..3), 0..4)
}

fn borrowed(path: &[Vec<u8>]) -> Vec<&[u8]> {
    path.iter().map(Vec::as_slice).collect()
}

/// An altered copy of `bytes`: one bit flipped, cut short, or a byte longer.
pub(crate) fn alter(bytes: &[u8], how: usize) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    match how % 3 {
        0 => altered[how / 3 % bytes.len()] ^= 1 << (how % 8),
        1 => altered.truncate(how / 3 % bytes.len()),
        _ => altered.push(how as u8),
    }
    altered
}

/// An IK handshake in which `tamper` may change each message on its way.
fn ik(
    entropy: [[u8; 32]; 4],
    payloads: [&[u8]; 2],
    tamper: impl Fn(usize, Vec<u8>) -> Vec<u8>,
) -> Option<(Keys, Keys)> {
    let [alice, bob, e1, e2] = entropy;
    let protocol = Protocol::new(Pattern::IK, Hash::Blake2s);
    let initiator = Setup::new(protocol, e1).local(alice).remote(public_key(&bob)).initiate().unwrap();
    let responder = Setup::new(protocol, e2).local(bob).respond().unwrap();
    let (message, initiator) = initiator.write(payloads[0]).unwrap();
    let (payload, responder) = responder.read(&tamper(0, message)).ok()?;
    assert_eq!(payload, payloads[0]);
    let (answer, responder) = responder.turn().unwrap().write(payloads[1]).unwrap();
    let (payload, initiator) = initiator.turn().unwrap().read(&tamper(1, answer)).ok()?;
    assert_eq!(payload, payloads[1]);
    Some((initiator.keys().unwrap(), responder.keys().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // CRYPTO-4
    #[test]
    fn both_sides_of_a_handshake_agree(entropy in any::<[[u8; 32]; 4]>(), first in bytes(64), second in bytes(64)) {
        let (initiator, responder) = ik(entropy, [&first, &second], |_, message| message).unwrap();
        prop_assert_eq!(&initiator.send, &responder.receive);
        prop_assert_eq!(&initiator.receive, &responder.send);
        prop_assert_ne!(&initiator.send, &initiator.receive);
        prop_assert_eq!(initiator.handshake_hash, responder.handshake_hash);
        prop_assert_eq!(initiator.export(b"a", b"b"), responder.export(b"a", b"b"));
        prop_assert_ne!(initiator.export(b"a", b"b"), initiator.export(b"ab", b""));
    }

    // CRYPTO-4
    #[test]
    fn an_altered_message_ends_the_handshake(which in 0usize..2, how in any::<usize>()) {
        let entropy = [[1; 32], [2; 32], [3; 32], [4; 32]];
        let keys = ik(entropy, [b"one", b"two"], |index, message| {
            if index == which { alter(&message, how) } else { message }
        });
        prop_assert!(keys.is_none());
    }

    // CRYPTO-4
    #[test]
    fn no_bytes_make_a_reader_panic(message in bytes(200)) {
        for pattern in [Pattern::IK, Pattern::XX_PSK3, Pattern::N] {
            let setup = Setup::new(Protocol::new(pattern, Hash::Sha256), [1; 32]).local([2; 32]);
            let setup = if pattern.psk_count() > 0 { setup.psk([3; 32]) } else { setup };
            let result = setup.respond().unwrap().read(&message);
            // XX's first message is a bare key and a payload in clear: everything of 32 bytes reads as one.
            prop_assert_eq!(result.is_ok() && pattern != Pattern::XX_PSK3, false);
        }
    }

    // CRYPTO-3
    #[test]
    fn the_three_forms_of_the_aead_agree(key: [u8; 32], nonce: [u8; 12], aad in bytes(40), plaintext in bytes(300)) {
        let key = Key::new(&key);
        let mut appended = plaintext.clone();
        key.seal_in_place(&nonce, &aad, &mut appended);
        let mut packet = [plaintext.as_slice(), &[0; 16]].concat();
        key.seal_packet(&nonce, &aad, &mut packet);
        prop_assert_eq!(&appended, &packet);
        let mut detached = plaintext.clone();
        let tag = key.seal_detached(&nonce, &aad, &mut detached);
        prop_assert_eq!(&[&detached[..], &tag].concat(), &packet);
        prop_assert_eq!(key.open_packet(&nonce, &aad, &mut packet).map(|plain| plain.to_vec()), Ok(plaintext.clone()));
        prop_assert_eq!(key.open_detached(&nonce, &aad, &mut detached, &tag), Ok(()));
        prop_assert_eq!(detached, plaintext);
    }

    // CRYPTO-3
    #[test]
    fn an_altered_packet_is_forged(plaintext in bytes(100), how in any::<usize>()) {
        let key = Key::new(&[5; 32]);
        let mut sealed = plaintext;
        key.seal_in_place(&[6; 12], b"aad", &mut sealed);
        let mut altered = alter(&sealed, how);
        prop_assert_eq!(key.open_in_place(&[6; 12], b"aad", &mut altered), Err(Forged));
        prop_assert!(altered.is_empty());
    }

    // CRYPTO-6
    #[test]
    fn equal_paths_and_no_others_have_equal_keys_and_tags(a in path(), b in path()) {
        let root = EpochRoot::generate([1; 32]);
        let blind = BlindKey::generate([2; 32]);
        prop_assert_eq!(root.path_key(&borrowed(&a)) == root.path_key(&borrowed(&b)), a == b);
        let (tags_a, tags_b) = (blind.tags(&borrowed(&a)), blind.tags(&borrowed(&b)));
        let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        let common_tags = tags_a.iter().zip(&tags_b).take_while(|(a, b)| a == b).count();
        prop_assert_eq!(common, common_tags);
    }

    // CRYPTO-7
    #[test]
    fn operations_open_where_they_were_sealed_and_alterations_never(
        at in path(), elsewhere in path(), aad in bytes(40), body in bytes(200), how in any::<usize>()
    ) {
        let root = EpochRoot::generate([1; 32]);
        let key = root.path_key(&borrowed(&at));
        let sealed = seal_operation(&key, &aad, &body);
        prop_assert_eq!(open_operation(&key, &aad, &sealed), Ok(body));
        let other = root.path_key(&borrowed(&elsewhere));
        prop_assert_eq!(open_operation(&other, &aad, &sealed).is_ok(), at == elsewhere);
        prop_assert_eq!(open_operation(&key, &aad, &alter(&sealed, how)), Err(Forged));
        prop_assert_eq!(open_operation(&key, &[&aad[..], b"."].concat(), &sealed), Err(Forged));
    }

    // CRYPTO-5
    #[test]
    fn altered_mail_does_not_open(plaintext in bytes(100), how in any::<usize>(), entropy: [u8; 32]) {
        let sealed = hpke::seal(&public_key(&[1; 32]), b"info", b"aad", &plaintext, entropy).unwrap();
        let opened = hpke::open(&[1; 32], b"info", b"aad", &sealed).unwrap();
        prop_assert_eq!(&*opened, &plaintext);
        prop_assert_eq!(hpke::open(&[1; 32], b"info", b"aad", &alter(&sealed, how)), Err(Forged));
    }

    // CRYPTO-10
    #[test]
    fn every_code_survives_being_written_down(entropy: [u8; 32]) {
        let code = Code::generate(entropy);
        let written = code.to_string().to_lowercase().replace('0', "o").replace('1', "l").replace('-', " ");
        prop_assert_eq!(written.parse::<Code>(), Ok(code));
    }

    #[test]
    fn no_text_makes_the_code_parser_panic(text in "\\PC{0,14}") {
        if let Ok(code) = text.parse::<Code>() {
            prop_assert_eq!(code.to_string().parse::<Code>(), Ok(code));
        }
    }

    // CRYPTO-12
    #[test]
    fn no_bytes_open_as_a_key_file(file in bytes(200)) {
        prop_assert!(secret_file::open(b"passphrase", &file).is_err());
    }
}
