//! Checks: authenticated Binding requests that open holes and prove that a path works both ways (TP-33).

use core::fmt;
use core::net::SocketAddr;

use cs_crypto::kdf::{expand, expand_key, extract};
use zeroize::Zeroizing;

use crate::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId, read_binding_answer};
use crate::wire::{Candidate, DecodeError};

/// What both sides of one attempt share: derived from both nonces, which travelled sealed.
#[derive(Clone)]
pub struct CheckKey {
    id: [u8; 8],
    key: Zeroizing<[u8; 32]>,
}

impl CheckKey {
    /// From the nonce of who asked and of who answered.
    #[must_use]
    pub fn derive(asker: &[u8; 16], answerer: &[u8; 16]) -> Self {
        let root = extract(b"cosmic-sync punch v1", &[*asker, *answerer].concat());
        let mut id = [0; 8];
        expand(&root, &[b"check id"], &mut id).expect("8 bytes are below the limit");
        Self { id, key: expand_key(&root, &[b"check key"]) }
    }

    /// Names the attempt: what a check for it is found by.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// A check of the side that asked, or of the other one.
    #[must_use]
    pub fn request(&self, is_asker: bool, transaction: TransactionId) -> Vec<u8> {
        Builder::new(Class::Request, Method::BINDING, transaction)
            .attribute(AttributeKind::USERNAME, &username(self.id, is_asker))
            .integrity(&*self.key)
            .fingerprint()
            .finish()
    }

    /// The answer to a check that came from `from`; `None` unless the other side made it.
    #[must_use]
    pub fn answer(&self, is_asker: bool, request: &Message<'_>, from: SocketAddr) -> Option<Vec<u8>> {
        let name = request.attribute(AttributeKind::USERNAME)?;
        let is_theirs = name.value == username(self.id, !is_asker);
        if !is_theirs || request.class() != Class::Request || request.integrity(&*self.key) != Some(true) {
            return None;
        }
        let transaction = request.transaction();
        let address = crate::stun::encode_xor_address(from, &transaction);
        let answer = Builder::new(Class::Success, Method::BINDING, transaction)
            .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &address)
            .integrity(&*self.key)
            .fingerprint();
        Some(answer.finish())
    }

    /// Where the peer saw the check come from that this answers.
    ///
    /// # Errors
    /// [`DecodeError`], also for an answer that is not authentic.
    pub fn read_answer(&self, answer: &Message<'_>) -> Result<SocketAddr, DecodeError> {
        if answer.integrity(&*self.key) == Some(true) {
            read_binding_answer(answer)
        } else {
            Err(DecodeError::OutOfRange)
        }
    }
}

impl fmt::Debug for CheckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Of which attempt a request is a check; `None` for any other request. Authenticates nothing.
#[must_use]
pub fn check_id(request: &Message<'_>) -> Option<[u8; 8]> {
    let name = request.attribute(AttributeKind::USERNAME)?.value;
    let (digits, side) = name.split_at_checked(16)?;
    if !matches!(side, b"a" | b"b") {
        return None;
    }
    let mut id = [0; 8];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |value, digit| Some(value << 4 | nibble(*digit)?))?;
    }
    Some(id)
}

/// The side is part of the name, so that a check that comes back to its sender (another host may have this one's private
/// address) is nobody's.
fn username(id: [u8; 8], is_asker: bool) -> [u8; 17] {
    let mut name = [if is_asker { b'a' } else { b'b' }; 17];
    for (pair, byte) in name.chunks_exact_mut(2).zip(id) {
        for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        }
    }
    name
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Whether a check may go to this address at all: an attempt must not be a way to make a node send to its own loopback.
pub(crate) fn is_allowed(candidate: &Candidate, loopback: bool) -> bool {
    loopback || !candidate.addr.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_33_a_check_is_answered_by_the_other_side_only() {
        let key = CheckKey::derive(&[1; 16], &[2; 16]);
        let from = SocketAddr::from(([192, 0, 2, 1], 7));
        let request = key.request(true, [9; 12]);
        let request = Message::from_bytes(&request).expect("our own check");
        assert_eq!(check_id(&request), Some(key.id()));
        assert_eq!(key.answer(true, &request, from), None, "one's own check, come back");
        let stranger = CheckKey::derive(&[1; 16], &[3; 16]);
        assert_eq!(stranger.answer(false, &request, from), None);
        let answer = key.answer(false, &request, from).expect("the peer's check");
        let answer = Message::from_bytes(&answer).expect("our own answer");
        assert_eq!(key.read_answer(&answer), Ok(from));
        assert!(stranger.read_answer(&answer).is_err());
    }

    #[test]
    fn tp_33_a_check_whose_integrity_is_wrong_gets_no_answer() {
        let (key, other) = (CheckKey::derive(&[1; 16], &[2; 16]), CheckKey::derive(&[1; 16], &[3; 16]));
        let forged = CheckKey { id: key.id, key: other.key };
        let request = forged.request(true, [9; 12]);
        let request = Message::from_bytes(&request).expect("well formed");
        assert_eq!(check_id(&request), Some(key.id()));
        assert_eq!(key.answer(false, &request, ([192, 0, 2, 1], 7).into()), None);
    }

    #[test]
    fn tp_33_a_name_of_another_form_is_no_check() {
        for name in [&b"0123456789abcdefc"[..], b"0123456789ABCDEFa", b"0123456789abcdef", b"alice", b""] {
            let request = Builder::new(Class::Request, Method::BINDING, [1; 12])
                .attribute(AttributeKind::USERNAME, name)
                .finish();
            let request = Message::from_bytes(&request).expect("well formed");
            assert_eq!(check_id(&request), None, "{name:?}");
        }
    }
}
