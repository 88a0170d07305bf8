//! What every decoder owes, and how one input carries several messages.

use std::fmt::Debug;

use cs_identity::{Signable, Signature, Signed, Unverified};

/// A decoder that has one encoding for each value: what it accepts encodes to the same bytes, no strict prefix of that is
/// accepted, and no longer input. Returns whether `bytes` were accepted.
pub(crate) fn one_encoding<'a, T: PartialEq + Debug, E: Debug>(
    bytes: &'a [u8],
    decode: impl Fn(&'a [u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let Ok(value) = decode(bytes) else { return false };
    assert_eq!(encode(&value), bytes, "{value:?} has two encodings");
    for cut in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        assert!(cut == bytes.len() || decode(&bytes[..cut]).is_err(), "a prefix of {cut} bytes is accepted");
    }
    true
}

/// A decoder of a format that leaves a choice of encodings: what it accepts, it accepts again from its own encoding.
pub(crate) fn same_value<T: PartialEq + Debug, E: Debug>(
    value: &T,
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    assert_eq!(decode(&encode(value)).as_ref().ok(), Some(value), "an own encoding is refused or differs");
}

/// Decodes a signed value as if its signature held: a fuzzer cannot make one, and an author may be hostile.
pub(crate) fn unverified<T: Signable>(bytes: &[u8]) -> Result<Signed<T>, T::Error> {
    Unverified::from_bytes(bytes).map(Unverified::assume_verified)
}

/// A signed value encoded anew, with the signature that it came with.
pub(crate) fn encoded<T: Signable>(signed: &Signed<T>) -> Vec<u8> {
    let signature =
        signed.bytes().last_chunk::<{ Signature::LEN }>().expect("a signed value ends with a signature");
    let mut bytes = bytes_of(|out| signed.value().encode(out));
    bytes.extend_from_slice(signature);
    bytes
}

/// Takes apart what [`join`] put together. Any bytes are some list of messages.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (message, after) = rest.split_at(length);
        messages.push(message);
        bytes = after;
    }
    messages
}

/// Messages in one input: two bytes of length before each.
pub(crate) fn join<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let length = u16::try_from(message.as_ref().len()).expect("seeds are short");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(message.as_ref());
    }
    bytes
}

/// The bytes that an encoder appends.
pub(crate) fn bytes_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}
