//! Wycheproof, the RFCs and BLAKE3's own vectors.

use cs_crypto::aead::{Key, xopen_in_place, xseal_in_place};
use cs_crypto::{dh, kdf};
use serde_json::Value;

/// The vectors lie beside the repository; without them, their tests say so and pass.
pub(crate) fn load(name: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("vectors are JSON")),
        Err(_) => {
            println!("skipped: no vectors at shared/vectors/{name}");
            None
        }
    }
}

pub(crate) fn hex(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap_or_default())
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("a field of fixed length")
}

/// Every test of a Wycheproof file with its group; returns how many there were.
fn wycheproof(name: &str, mut check: impl FnMut(&Value, &Value)) -> usize {
    let Some(file) = load(&format!("wycheproof/{name}_test.json")) else { return 0 };
    let mut count = 0;
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            check(group, test);
            count += 1;
        }
    }
    assert_eq!(count, file["numberOfTests"].as_u64().unwrap() as usize);
    count
}

fn list(file: &str, field: &str) -> Vec<Value> {
    load(file).map(|file| file[field].as_array().unwrap().clone()).unwrap_or_default()
}

// CRYPTO-1
#[test]
fn x25519_agrees_with_wycheproof_and_refuses_zero_results() {
    wycheproof("x25519", |_, test| {
        let result = dh::shared_secret(&array(&test["private"]), &array(&test["public"]));
        let expected: [u8; 32] = array(&test["shared"]);
        match result {
            Ok(ref shared) => assert_eq!(**shared, expected, "{test}"),
            Err(_) => assert_eq!(expected, [0; 32], "{test}"),
        }
        assert_eq!(result.is_err(), expected == [0; 32], "{test}");
    });
}

#[test]
fn x25519_agrees_with_rfc_7748() {
    for test in list("rfc/rfc7748-x25519.json", "vectors") {
        let shared = dh::shared_secret(&array(&test["input_scalar"]), &array(&test["input_u"])).unwrap();
        assert_eq!(*shared, array(&test["output_u"]), "{test}");
    }
}

// CRYPTO-3
#[test]
fn chacha20_poly1305_agrees_with_wycheproof() {
    wycheproof("chacha20_poly1305", |_, test| {
        let valid = test["result"] == "valid";
        let Ok(nonce) = <[u8; 12]>::try_from(hex(&test["iv"])) else {
            assert!(!valid, "the types exclude other lengths of nonces: {test}");
            return;
        };
        let (key, aad) = (Key::new(&array(&test["key"])), hex(&test["aad"]));
        let sealed = [hex(&test["ct"]), hex(&test["tag"])].concat();
        let mut opened = sealed.clone();
        assert_eq!(key.open_in_place(&nonce, &aad, &mut opened).is_ok(), valid, "{test}");
        if valid {
            assert_eq!(opened, hex(&test["msg"]), "{test}");
            key.seal_in_place(&nonce, &aad, &mut opened);
            assert_eq!(opened, sealed, "{test}");
        } else {
            assert!(opened.is_empty(), "a forgery leaves nothing: {test}");
        }
    });
}

// CRYPTO-3
#[test]
fn xchacha20_poly1305_agrees_with_wycheproof() {
    wycheproof("xchacha20_poly1305", |_, test| {
        let valid = test["result"] == "valid";
        let Ok(nonce) = <[u8; 24]>::try_from(hex(&test["iv"])) else {
            assert!(!valid, "the types exclude other lengths of nonces: {test}");
            return;
        };
        let (key, aad) = (array(&test["key"]), hex(&test["aad"]));
        let sealed = [hex(&test["ct"]), hex(&test["tag"])].concat();
        let mut opened = sealed.clone();
        assert_eq!(xopen_in_place(&key, &nonce, &aad, &mut opened).is_ok(), valid, "{test}");
        if valid {
            assert_eq!(opened, hex(&test["msg"]), "{test}");
            xseal_in_place(&key, &nonce, &aad, &mut opened);
            assert_eq!(opened, sealed, "{test}");
        }
    });
}

#[test]
fn hkdf_agrees_with_wycheproof() {
    wycheproof("hkdf_sha256", |_, test| {
        let prk = kdf::extract(&hex(&test["salt"]), &hex(&test["ikm"]));
        let mut output = vec![0; test["size"].as_u64().unwrap() as usize];
        let result = kdf::expand(&prk, &[&hex(&test["info"])], &mut output);
        assert_eq!(result.is_ok(), test["result"] == "valid", "{test}");
        if result.is_ok() {
            assert_eq!(output, hex(&test["okm"]), "{test}");
        }
    });
}

#[test]
fn hkdf_agrees_with_rfc_5869() {
    for test in list("rfc/rfc5869-hkdf-sha256.json", "vectors") {
        let prk = kdf::extract(&hex(&test["salt"]), &hex(&test["ikm"]));
        assert_eq!(prk.to_vec(), hex(&test["prk"]), "{test}");
        let okm = hex(&test["okm"]);
        let mut output = vec![0; okm.len()];
        kdf::expand(&prk, &[&hex(&test["info"])], &mut output).unwrap();
        assert_eq!(output, okm, "{test}");
    }
}

/// Chunk ids are BLAKE3's keyed hash as published.
// CRYPTO-9
#[test]
fn chunk_ids_agree_with_blake3s_keyed_vectors() {
    let Some(file) = load("blake3/test_vectors.json") else { return };
    let key: [u8; 32] = file["key"].as_str().unwrap().as_bytes().try_into().unwrap();
    for case in file["cases"].as_array().unwrap() {
        let length = case["input_len"].as_u64().unwrap() as usize;
        let input: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let expected = hex(&case["keyed_hash"]);
        assert_eq!(cs_crypto::epoch::chunk_id(&key, &input).as_slice(), &expected[..32], "{length}");
    }
}

/// RFC 9001, appendix A.5: ChaCha20 header protection.
// CRYPTO-3
#[test]
fn header_protection_agrees_with_rfc_9001() {
    let key = unhex("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    let sample = unhex("5e5cd55c41f69080575d7999c25a5bfb");
    let mask = cs_crypto::aead::HeaderKey::new(&key.try_into().unwrap()).mask(&sample.try_into().unwrap());
    assert_eq!(mask.to_vec(), unhex("aefefe7d03"));
}

/// RFC 9001, appendix A.5: a whole packet.
// CRYPTO-3
#[test]
fn packet_protection_agrees_with_rfc_9001() {
    let key = unhex("c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8");
    let nonce = unhex("e0459b3474bdd0e46d417eb0").try_into().unwrap();
    let mut packet = vec![1];
    Key::new(&key.try_into().unwrap()).seal_in_place(&nonce, &unhex("4200bff4"), &mut packet);
    assert_eq!(packet, unhex("655e5cd55c41f69080575d7999c25a5bfb"));
}
