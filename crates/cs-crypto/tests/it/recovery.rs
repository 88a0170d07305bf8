//! Secrets split among guardians.

use cs_crypto::kdf;
use cs_crypto::recovery::{self, CombineError, Share};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::golden::hex;
use crate::properties::{alter, bytes};

// CRYPTO-22
#[test]
fn recovery_shares_are_pinned() {
    let shares = recovery::split(b"identity", 2, 3, [9; 32]).unwrap();
    let both = [&shares[0].to_bytes()[..], &shares[2].to_bytes()].concat();
    assert_eq!(
        hex(&*kdf::extract(b"", &both)),
        "5a9d09b5208b82848b421514bdfef5bc88a4566cc76a90217f5d83d150242750"
    );
    assert_eq!(*recovery::combine(&shares[1..]).unwrap(), b"identity");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // CRYPTO-22
    #[test]
    fn any_shares_up_to_the_threshold_bring_the_secret_back(
        secret in bytes(100), threshold in 2u8..6, more in 0u8..4, which in vec(any::<prop::sample::Index>(), 0..9)
    ) {
        let shares = recovery::split(&secret, threshold, threshold + more, [1; 32]).unwrap();
        let chosen: Vec<Share> = which.iter().map(|index| index.get(&shares).clone()).collect();
        let have = chosen.iter().map(Share::index).collect::<std::collections::BTreeSet<_>>().len() as u8;
        let need = if have == 0 { 2 } else { threshold };
        let expected = if have < threshold { Err(CombineError::Missing { have, need }) } else { Ok(secret) };
        prop_assert_eq!(recovery::combine(&chosen).map(|secret| secret.to_vec()), expected);
    }

    // CRYPTO-22
    #[test]
    fn shares_have_one_encoding_and_alterations_are_of_no_use(secret in bytes(40), how in any::<usize>()) {
        let shares = recovery::split(&secret, 2, 3, [1; 32]).unwrap();
        let bytes = shares[0].to_bytes();
        prop_assert_eq!(Share::from_bytes(&bytes).unwrap().to_bytes(), bytes.clone());
        if let Ok(altered) = Share::from_bytes(&alter(&bytes, how)) {
            let combined = recovery::combine(&[altered, shares[1].clone()]);
            prop_assert_eq!(combined, Err(CombineError::MixedSets));
        }
    }
}
