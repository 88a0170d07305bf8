//! ChaCha20-Poly1305 in place, with the 20 bytes of associated data of a packet's header.

use std::hint::black_box;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use cs_crypto::aead::{Key, TAG_LENGTH};
use cs_peers::{Better, Row};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::race;

/// A keystroke, a packet, and what is sealed of a file.
const SIZES: [usize; 3] = [64, 1424, 65536];
const ROUNDS: usize = 41;
const KEY: [u8; 32] = [1; 32];
const NONCE: [u8; 12] = [2; 12];
const AAD: [u8; 20] = [3; 20];

const RING: &str = "ring 0.17";
const RUSTCRYPTO: &str = "chacha20poly1305 0.11";

pub(crate) fn run() {
    for size in SIZES {
        let name = format!("{size} B");
        let [sealing, opening] = [seal(size), open(size)];
        for (metric, [ours, ring, rustcrypto]) in [("seal", sealing), ("open", opening)] {
            for (peer, theirs) in [(RING, ring), (RUSTCRYPTO, rustcrypto)] {
                let row = Row::new(&name, metric, "us", Better::Less, ours * 1e6);
                Row { peer: Some((peer, theirs * 1e6)), ..row }.print();
            }
        }
    }
}

/// About a millisecond of work.
fn calls(size: usize) -> usize {
    1_000_000 / (size + 400)
}

fn ring_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &KEY).expect("the key has 32 bytes"))
}

/// Ours, ring's, RustCrypto's: seconds a message.
fn seal(size: usize) -> [f64; 3] {
    let (ours, ring, rustcrypto) = (Key::new(&KEY), ring_key(), ChaCha20Poly1305::new(&KEY.into()));
    let mut buffers = [(); 3].map(|()| vec![7; size]);
    let [a, b, c] = &mut buffers;
    race(
        ROUNDS,
        calls(size),
        [
            &mut || {
                black_box(ours.seal_detached(&NONCE, &AAD, black_box(a)));
            },
            &mut || {
                let nonce = Nonce::assume_unique_for_key(NONCE);
                black_box(ring.seal_in_place_separate_tag(nonce, Aad::from(&AAD), black_box(b)).is_ok());
            },
            &mut || {
                let buffer = black_box(c.as_mut_slice()).into();
                black_box(rustcrypto.encrypt_inout_detached(&NONCE.into(), &AAD, buffer).is_ok());
            },
        ],
    )
}

/// A copy of the message is part of every contestant's work, so that each call opens an authentic one.
fn open(size: usize) -> [f64; 3] {
    let (ours, ring, rustcrypto) = (Key::new(&KEY), ring_key(), ChaCha20Poly1305::new(&KEY.into()));
    let mut sealed = vec![7; size];
    ours.seal_in_place(&NONCE, &AAD, &mut sealed);
    let (body, tag) = sealed.split_last_chunk::<TAG_LENGTH>().expect("a tag was appended");
    let mut buffers = [(); 3].map(|()| vec![0; size]);
    let [a, b, c] = &mut buffers;
    race(
        ROUNDS,
        calls(size),
        [
            &mut || {
                a.copy_from_slice(body);
                assert!(ours.open_detached(&NONCE, &AAD, a, tag).is_ok());
            },
            &mut || {
                b.copy_from_slice(body);
                let nonce = Nonce::assume_unique_for_key(NONCE);
                assert!(
                    ring.open_in_place_separate_tag(nonce, Aad::from(&AAD), (*tag).into(), b, 0..).is_ok()
                );
            },
            &mut || {
                c.copy_from_slice(body);
                let buffer = c.as_mut_slice().into();
                assert!(rustcrypto.decrypt_inout_detached(&NONCE.into(), &AAD, buffer, tag.into()).is_ok());
            },
        ],
    )
}
