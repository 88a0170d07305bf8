//! What follows a handshake where no other packet protection does: one counter per direction, and rekeying.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::MAX_MESSAGE;
use super::handshake::HandshakeError;
use super::symmetric::{Secret, nonce_bytes};
use crate::aead::Key;

/// The counter of one direction ran out, or the plaintext is longer than a message can hold. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message can be sent any more under this key, or none of this length")]
pub struct Exhausted;

/// The sending half of a transport. Its counter lives and dies with the key, in memory: neither can be stored (CRYPTO-2).
pub struct Sender(Half);

/// The receiving half of a transport. Messages are read in the order in which they were sent.
pub struct Receiver(Half);

impl Sender {
    pub(crate) fn new(key: &Secret) -> Self {
        Self(Half::new(key))
    }

    /// Seals the next message.
    ///
    /// # Errors
    /// [`Exhausted`] after 2^64 - 1 messages or for more than [`MAX_MESSAGE`] - 16 bytes.
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Exhausted> {
        if plaintext.len() > MAX_MESSAGE - 16 {
            return Err(Exhausted);
        }
        let nonce = self.0.next_nonce().ok_or(Exhausted)?;
        let mut message = Vec::with_capacity(plaintext.len() + 16);
        message.extend_from_slice(plaintext);
        self.0.key.seal_in_place(&nonce, aad, &mut message);
        self.0.counter += 1;
        Ok(message)
    }

    /// Replaces the key by one derived from it (section 11.3); the receiver does the same at the same place.
    pub fn rekey(&mut self) {
        self.0.rekey();
    }
}

impl Receiver {
    pub(crate) fn new(key: &Secret) -> Self {
        Self(Half::new(key))
    }

    /// Opens the next message.
    ///
    /// # Errors
    /// [`HandshakeError::Forged`] and [`HandshakeError::TooLong`]; the state is unchanged, so that the message that was
    /// awaited can still be read.
    pub fn open(&mut self, aad: &[u8], message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        if message.len() > MAX_MESSAGE {
            return Err(HandshakeError::TooLong);
        }
        let nonce = self.0.next_nonce().ok_or(HandshakeError::Forged)?;
        let mut plaintext = message.to_vec();
        self.0.key.open_in_place(&nonce, aad, &mut plaintext).map_err(|_| HandshakeError::Forged)?;
        self.0.counter += 1;
        Ok(plaintext)
    }

    /// Replaces the key by one derived from it (section 11.3); the sender does the same at the same place.
    pub fn rekey(&mut self) {
        self.0.rekey();
    }
}

struct Half {
    key: Key,
    counter: u64,
}

impl Half {
    fn new(key: &Secret) -> Self {
        Self { key: Key::new(key), counter: 0 }
    }

    /// 2^64 - 1 is reserved for rekeying (section 5.1).
    fn next_nonce(&self) -> Option<[u8; 12]> {
        (self.counter != u64::MAX).then(|| nonce_bytes(self.counter))
    }

    fn rekey(&mut self) {
        let mut zeros = Zeroizing::new([0; 32]);
        self.key.seal_detached(&nonce_bytes(u64::MAX), &[], &mut *zeros);
        self.key = Key::new(&zeros);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("counter", &self.0.counter).finish_non_exhaustive()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("counter", &self.0.counter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sender, Receiver) {
        let key = Zeroizing::new([5; 32]);
        (Sender::new(&key), Receiver::new(&key))
    }

    #[test]
    fn a_forged_message_leaves_the_receiver_waiting_for_the_real_one() {
        let (mut sender, mut receiver) = pair();
        let message = sender.seal(b"", b"one").unwrap();
        let mut forged = message.clone();
        forged[0] ^= 1;
        assert_eq!(receiver.open(b"", &forged), Err(HandshakeError::Forged));
        assert_eq!(receiver.open(b"", &message).unwrap(), b"one");
        assert_eq!(receiver.open(b"", &message), Err(HandshakeError::Forged), "a replay");
    }

    #[test]
    fn rekeying_one_side_only_breaks_and_both_sides_mends() {
        let (mut sender, mut receiver) = pair();
        sender.rekey();
        let message = sender.seal(b"", b"after").unwrap();
        assert_eq!(receiver.open(b"", &message), Err(HandshakeError::Forged));
        receiver.rekey();
        assert_eq!(receiver.open(b"", &message).unwrap(), b"after");
    }

    // CRYPTO-2
    #[test]
    fn the_last_counter_value_is_never_used() {
        let (mut sender, mut receiver) = pair();
        sender.0.counter = u64::MAX - 1;
        receiver.0.counter = u64::MAX - 1;
        let last = sender.seal(b"", b"last").unwrap();
        assert_eq!(sender.seal(b"", b"no more"), Err(Exhausted));
        assert_eq!(receiver.open(b"", &last).unwrap(), b"last");
        assert_eq!(receiver.open(b"", &last), Err(HandshakeError::Forged));
    }

    #[test]
    fn a_plaintext_beyond_the_message_limit_is_refused() {
        let (mut sender, mut receiver) = pair();
        assert_eq!(sender.seal(b"", &std::vec![0; MAX_MESSAGE - 15]), Err(Exhausted));
        let longest = sender.seal(b"", &std::vec![0; MAX_MESSAGE - 16]).unwrap();
        assert_eq!(receiver.open(b"", &longest).unwrap().len(), MAX_MESSAGE - 16);
        assert_eq!(receiver.open(b"", &std::vec![0; MAX_MESSAGE + 1]), Err(HandshakeError::TooLong));
    }
}
