//! RFC 9180, appendix A.2: the first encryption of each mode.

use cs_crypto::dh::public_key;
use cs_crypto::hpke::{Opener, Psk, Sealer, Sender, open, seal};

use crate::vectors::unhex;

const INFO: &[u8] = b"Ode on a Grecian Urn";
const AAD: &[u8] = b"Count-0";
const PLAINTEXT: &[u8] = b"Beauty is truth, truth beauty";
const PSK_ID: &[u8] = b"Ennyn Durin aran Moria";
const PSK: &str = "0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82";

fn key(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

// CRYPTO-5
#[test]
fn base_mode_agrees_with_rfc_9180_a_2_1() {
    let ephemeral = key("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let recipient = key("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
    assert_eq!(
        public_key(&recipient).to_vec(),
        unhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
    );
    let message = seal(&public_key(&recipient), INFO, AAD, PLAINTEXT, ephemeral).unwrap();
    let enc = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    let ct = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
    assert_eq!(message, [unhex(enc), unhex(ct)].concat());
    assert_eq!(*open(&recipient, INFO, AAD, &message).unwrap(), PLAINTEXT);
}

/// Seals as the RFC's sender does, compares, and opens.
fn check(ephemeral: &str, recipient: &str, sender: Option<&str>, with_psk: bool, ciphertext: &str) {
    let (recipient, sender, psk) = (key(recipient), sender.map(key), key(PSK));
    let psk = with_psk.then(|| Psk::new(&psk, PSK_ID).unwrap());
    let proof = sender.as_ref().map_or(Sender::Anonymous, Sender::Key);
    let (encapsulated, mut sealer) =
        Sealer::setup(&public_key(&recipient), INFO, &proof, psk, key(ephemeral)).unwrap();
    let message = sealer.seal(AAD, PLAINTEXT);
    assert_eq!(message, unhex(ciphertext));
    let sender = sender.map(|secret| public_key(&secret));
    let mut opener = Opener::setup(&recipient, &encapsulated, INFO, sender.as_ref(), psk).unwrap();
    assert_eq!(*opener.open(AAD, &message).unwrap(), PLAINTEXT);
}

// CRYPTO-5
#[test]
fn psk_mode_agrees_with_rfc_9180_a_2_2() {
    check(
        "35706a0b09fb26fb45c39c2f5079c709c7cf98e43afa973f14d88ece7e29c2e3",
        "77d114e0212be51cb1d76fa99dd41cfd4d0166b08caa09074430a6c59ef17879",
        None,
        true,
        "4a177f9c0d6f15cfdf533fb65bf84aecdc6ab16b8b85b4cf65a370e07fc1d78d28fb073214525276f4a89608ff",
    );
}

// CRYPTO-5
#[test]
fn auth_mode_agrees_with_rfc_9180_a_2_3() {
    check(
        "938d3daa5a8904540bc24f48ae90eed3f4f7f11839560597b55e7c9598c996c0",
        "3ca22a6d1cda1bb9480949ec5329d3bf0b080ca4c45879c95eddb55c70b80b82",
        Some("2def0cb58ffcf83d1062dd085c8aceca7f4c0c3fd05912d847b61f3e54121f05"),
        false,
        "ab1a13c9d4f01a87ec3440dbd756e2677bd2ecf9df0ce7ed73869b98e00c09be111cb9fdf077347aeb88e61bdf",
    );
}

// CRYPTO-5
#[test]
fn auth_psk_mode_agrees_with_rfc_9180_a_2_4() {
    check(
        "49d6eac8c6c558c953a0a252929a818745bb08cd3d29e15f9f5db5eb2e7d4b84",
        "7b36a42822e75bf3362dfabbe474b3016236408becb83b859a6909e22803cb0c",
        Some("90761c5b0a7ef0985ed66687ad708b921d9803d51637c8d1cb72d03ed0f64418"),
        true,
        "9aa52e29274fc6172e38a4461361d2342585d3aeec67fb3b721ecd63f059577c7fe886be0ede01456ebc67d597",
    );
}
