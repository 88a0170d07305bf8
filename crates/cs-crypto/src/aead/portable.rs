//! The default backend: RFC 8439 put together from the pure-Rust ChaCha20 and Poly1305 of other crates.
//!
//! The `chacha20poly1305` crate would do, were it not for what each message costs it before the first byte: its Poly1305
//! finds AVX2 at run time, yet prepares a key outside of what it compiles for AVX2, 1.3 us a message unless the whole
//! program is built for such machines. Its ChaCha20 computes the blocks that are left over beyond a multiple of four one by
//! one, each for the price of four. So the blocks are asked for by fours here, the first of them being the authenticator's
//! key, and the authenticator is chosen by length ([`mac`](super::mac)). Tests hold the bytes to that crate's and to
//! `ring`'s.

use chacha20::cipher::{Block, KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::mac::authenticate;
use super::{Forged, TAG_LENGTH};

type ChaCha = ChaChaCore<R20, Ietf>;

const BLOCK: usize = 64;
/// Blocks that the vector backends compute at once.
const GROUP: usize = 4;

pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
        let mut stream = Stream::new(&self.0, nonce, buffer.len());
        stream.apply(buffer);
        authenticate(stream.mac_key(), aad, buffer)
    }

    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), Forged> {
        let mut stream = Stream::new(&self.0, nonce, buffer.len());
        if !bool::from(authenticate(stream.mac_key(), aad, buffer).ct_eq(tag)) {
            return Err(Forged);
        }
        stream.apply(buffer);
        Ok(())
    }
}

/// The key stream of one message: block 0 is the authenticator's key, the others are the cipher's (RFC 8439, section 2.8).
struct Stream {
    core: ChaCha,
    /// Blocks 0 to 3, wiped on drop.
    first: [Block<ChaCha>; GROUP],
}

impl Stream {
    fn new(key: &[u8; 32], nonce: &[u8; 12], length: usize) -> Self {
        assert!(length / BLOCK < u32::MAX as usize - 2 * GROUP, "buffers in memory are far below 256 GiB");
        let mut core = ChaCha::new(key.into(), nonce.into());
        let mut first = <[Block<ChaCha>; GROUP]>::default();
        core.write_keystream_blocks(&mut first);
        Self { core, first }
    }

    fn mac_key(&self) -> &[u8; 32] {
        let [block, ..] = &self.first;
        block.0.first_chunk().expect("a block has 64 bytes")
    }

    /// Encrypts or decrypts the whole message. Once.
    fn apply(&mut self, buffer: &mut [u8]) {
        let [_, ready @ ..] = &self.first;
        let (head, rest) = buffer.split_at_mut(buffer.len().min(BLOCK * ready.len()));
        mix(head, ready);
        let (blocks, tail) = Block::<ChaCha>::slice_as_chunks_mut(rest);
        let (groups, odd) = blocks.split_at_mut(blocks.len() / GROUP * GROUP);
        self.core.apply_keystream_blocks(groups);
        if odd.is_empty() && tail.is_empty() {
            return;
        }
        let mut last = <[Block<ChaCha>; GROUP]>::default();
        self.core.write_keystream_blocks(&mut last);
        let (for_odd, for_tail) = last.split_at(odd.len());
        mix(Block::<ChaCha>::slice_as_flattened_mut(odd), for_odd);
        mix(tail, for_tail);
        wipe(&mut last);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        wipe(&mut self.first);
    }
}

fn mix(bytes: &mut [u8], stream: &[Block<ChaCha>]) {
    let stream = Block::<ChaCha>::slice_as_flattened(stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
}

fn wipe(blocks: &mut [Block<ChaCha>]) {
    Block::<ChaCha>::slice_as_flattened_mut(blocks).zeroize();
}

pub(crate) struct HeaderKey(Zeroizing<[u8; 32]>);

impl HeaderKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    pub(crate) fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        let [c0, c1, c2, c3, nonce @ ..] = *sample;
        // One block of the core: the seeking stream cipher panics at the last counter, which a peer can choose.
        let mut cipher = ChaCha::new((&*self.0).into(), (&nonce).into());
        cipher.set_block_pos(u32::from_le_bytes([c0, c1, c2, c3]));
        let mut block = Block::<ChaCha>::default();
        cipher.write_keystream_block(&mut block);
        let [m0, m1, m2, m3, m4, ..] = block.0;
        [m0, m1, m2, m3, m4]
    }
}
