//! The message format (RFC 8489 sections 5, 14.5 and 14.7). Rule TP-14.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::attribute::{Attribute, AttributeKind};
use crate::wire::{DecodeError, take, take_array};

/// Bytes before the attributes.
pub const HEADER: usize = 20;
/// Attributes that one message may have: no use of STUN comes near.
pub const MAX_ATTRIBUTES: usize = 32;

pub(crate) const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Bytes of a message-integrity attribute with its header, of the one by SHA-256, and of a fingerprint.
const INTEGRITY: usize = 24;
const INTEGRITY_SHA256: usize = 36;
const FINGERPRINT: usize = 8;
/// The longest value that [`Builder::attribute`] takes: a datagram's, and room for the attributes beside it.
const MAX_VALUE: usize = 65_000;
const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// Request, indication, or one of the two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Wants an answer.
    Request = 0,
    /// Wants none.
    Indication = 1,
    /// The request was served.
    Success = 2,
    /// The request was refused.
    Error = 3,
}

/// What a message is about: 12 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(pub u16);

impl Method {
    /// "From which address do you see me?"
    pub const BINDING: Self = Self(1);
    /// "Give me an address on you" (RFC 8656 section 7).
    pub const ALLOCATE: Self = Self(3);
    /// "Let it live on", or end.
    pub const REFRESH: Self = Self(4);
    /// An indication: "Send this to that peer".
    pub const SEND: Self = Self(6);
    /// An indication: "That peer sent this".
    pub const DATA: Self = Self(7);
    /// "Let these peers send to me".
    pub const CREATE_PERMISSION: Self = Self(8);
    /// "This number shall stand for that peer".
    pub const CHANNEL_BIND: Self = Self(9);
}

/// A message whose attributes were walked once, so that reading them cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    class: Class,
    method: Method,
    transaction: [u8; 12],
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a whole datagram. Allocates nothing.
    ///
    /// # Errors
    /// [`DecodeError`]: not STUN, a length that is not the datagram's, an attribute that is cut, or too many of them.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = bytes;
        let kind = u16::from_be_bytes(take_array(&mut input)?);
        let length = usize::from(u16::from_be_bytes(take_array(&mut input)?));
        if kind & 0xc000 != 0 || take_array::<4>(&mut input)? != COOKIE {
            return Err(DecodeError::UnknownKind);
        }
        let transaction = take_array(&mut input)?;
        if length % 4 != 0 || length < input.len() {
            return Err(if length % 4 != 0 { DecodeError::NotCanonical } else { DecodeError::Leftover });
        }
        let message = Self { class: class_of(kind), method: method_of(kind), transaction, bytes };
        take(&mut input, length)?;
        let mut attributes = Attributes { message: bytes, offset: HEADER };
        for _ in 0..MAX_ATTRIBUTES {
            if attributes.read()?.is_none() {
                return Ok(message);
            }
        }
        if attributes.offset == bytes.len() { Ok(message) } else { Err(DecodeError::TooLong) }
    }

    /// Request, indication, success or error.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// What it is about.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Chosen by who asked; the answer repeats it.
    #[must_use]
    pub fn transaction(&self) -> [u8; 12] {
        self.transaction
    }

    /// The attributes in order. Of those behind an integrity check only what secures the message is there, since nothing
    /// protects the others (sections 14.5 and 14.6).
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let mut attributes = Attributes { message: self.bytes, offset: HEADER };
        let mut allowed: fn(AttributeKind) -> bool = |_| true;
        core::iter::from_fn(move || attributes.read().ok().flatten()).filter(move |attribute| {
            let counts = allowed(attribute.kind);
            match attribute.kind {
                AttributeKind::MESSAGE_INTEGRITY if counts => allowed = after_sha1,
                AttributeKind::MESSAGE_INTEGRITY_SHA256 if counts => allowed = after_sha256,
                _ => {}
            }
            counts
        })
    }

    /// The first attribute of a kind: a later one is ignored (section 14).
    #[must_use]
    pub fn attribute(&self, kind: AttributeKind) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.kind == kind)
    }

    /// Whether the fingerprint is right; `None` if there is none. It must be the last attribute (section 14.7).
    #[must_use]
    pub fn fingerprint(&self) -> Option<bool> {
        let attribute = self.attribute(AttributeKind::FINGERPRINT)?;
        let covered = self.covered(attribute.offset, FINGERPRINT)?;
        let is_last = attribute.offset + FINGERPRINT == self.bytes.len();
        Some(is_last && attribute.value == fingerprint(&covered).to_be_bytes())
    }

    /// Whether the message is authentic under `key` (HMAC-SHA1, section 14.5); `None` if it has no such attribute.
    #[must_use]
    pub fn integrity(&self, key: &[u8]) -> Option<bool> {
        let attribute = self.attribute(AttributeKind::MESSAGE_INTEGRITY)?;
        let covered = self.covered(attribute.offset, INTEGRITY)?;
        Some(bool::from(integrity(key, &covered).as_slice().ct_eq(attribute.value)))
    }

    /// As [`Self::integrity`], by HMAC-SHA256 (section 14.6). A tag that was shortened is refused.
    #[must_use]
    pub fn integrity_sha256(&self, key: &[u8]) -> Option<bool> {
        let attribute = self.attribute(AttributeKind::MESSAGE_INTEGRITY_SHA256)?;
        let covered = self.covered(attribute.offset, INTEGRITY_SHA256)?;
        Some(bool::from(integrity_sha256(key, &covered).as_slice().ct_eq(attribute.value)))
    }

    /// What comes before an attribute, with the length that the message had when it ended there.
    fn covered(&self, offset: usize, attribute: usize) -> Option<Vec<u8>> {
        let mut covered = self.bytes.get(..offset)?.to_vec();
        set_length(&mut covered, attribute);
        Some(covered)
    }
}

fn after_sha1(kind: AttributeKind) -> bool {
    kind == AttributeKind::MESSAGE_INTEGRITY_SHA256 || after_sha256(kind)
}

fn after_sha256(kind: AttributeKind) -> bool {
    kind == AttributeKind::FINGERPRINT
}

struct Attributes<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    fn read(&mut self) -> Result<Option<Attribute<'a>>, DecodeError> {
        let mut input = self.message.get(self.offset..).unwrap_or_default();
        if input.is_empty() {
            return Ok(None);
        }
        let kind = AttributeKind(u16::from_be_bytes(take_array(&mut input)?));
        let length = usize::from(u16::from_be_bytes(take_array(&mut input)?));
        let padded = take(&mut input, length.next_multiple_of(4))?;
        let (value, _) = padded.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        let offset = self.offset;
        self.offset += 4 + padded.len();
        Ok(Some(Attribute { kind, value, offset }))
    }
}

/// Puts a message together.
#[derive(Clone, Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A message without attributes. Only the lower 12 bits of `method` count.
    #[must_use]
    pub fn new(class: Class, method: Method, transaction: [u8; 12]) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&kind_of(class, method).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(&transaction);
        Self { bytes }
    }

    /// Appends an attribute, padded with zeros. Values above 65,000 bytes are cut: no message of STUN holds them.
    #[must_use]
    pub fn attribute(mut self, kind: AttributeKind, value: &[u8]) -> Self {
        let value = value.get(..MAX_VALUE).unwrap_or(value);
        let length = u16::try_from(value.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&kind.0.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a message integrity under `key`.
    #[must_use]
    pub fn integrity(mut self, key: &[u8]) -> Self {
        set_length(&mut self.bytes, INTEGRITY);
        let mac = integrity(key, &self.bytes);
        self.attribute(AttributeKind::MESSAGE_INTEGRITY, &mac)
    }

    /// Appends a message integrity by HMAC-SHA256 under `key`.
    #[must_use]
    pub fn integrity_sha256(mut self, key: &[u8]) -> Self {
        set_length(&mut self.bytes, INTEGRITY_SHA256);
        let mac = integrity_sha256(key, &self.bytes);
        self.attribute(AttributeKind::MESSAGE_INTEGRITY_SHA256, &mac)
    }

    /// Appends a fingerprint: nothing may follow.
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        set_length(&mut self.bytes, FINGERPRINT);
        let value = fingerprint(&self.bytes).to_be_bytes();
        self.attribute(AttributeKind::FINGERPRINT, &value)
    }

    /// The datagram.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        set_length(&mut self.bytes, 0);
        self.bytes
    }
}

/// Writes the header's length: what is there, and `more` bytes to come.
fn set_length(message: &mut [u8], more: usize) {
    let length = u16::try_from(message.len() + more - HEADER.min(message.len())).unwrap_or(u16::MAX);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn integrity(key: &[u8], covered: &[u8]) -> [u8; 20] {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(covered);
    mac.finalize().into_bytes().into()
}

fn integrity_sha256(key: &[u8], covered: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(covered);
    mac.finalize().into_bytes().into()
}

fn fingerprint(covered: &[u8]) -> u32 {
    crc32(covered) ^ FINGERPRINT_MASK
}

/// CRC-32 of ITU V.42, bit by bit: messages are short and rare.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xedb8_8320 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The class sits in bits 4 and 8 of the type, the method in the others (section 5, figure 3).
fn kind_of(class: Class, method: Method) -> u16 {
    let (class, method) = (class as u16, method.0);
    let (low, middle, high) = (method & 0xf, method & 0x70, method & 0xf80);
    low | (middle << 1) | (high << 2) | ((class & 1) << 4) | ((class & 2) << 7)
}

fn class_of(kind: u16) -> Class {
    match (kind & 0x100 != 0, kind & 0x10 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    }
}

fn method_of(kind: u16) -> Method {
    Method((kind & 0xf) | ((kind >> 1) & 0x70) | ((kind >> 2) & 0xf80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_14_every_class_and_method_has_its_own_number() {
        let mut seen = std::collections::BTreeSet::new();
        for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
            for method in (0..0x1000).map(Method) {
                let kind = kind_of(class, method);
                assert_eq!((class_of(kind), method_of(kind)), (class, method));
                assert!(kind < 0x4000 && seen.insert(kind));
            }
        }
    }

    #[test]
    fn tp_14_an_attribute_that_runs_over_the_end_is_refused() {
        let whole = Builder::new(Class::Request, Method::BINDING, [1; 12])
            .attribute(AttributeKind::SOFTWARE, b"abcde")
            .finish();
        assert!(Message::from_bytes(&whole).is_ok());
        let mut longer = whole.clone();
        longer[23] = 9;
        assert_eq!(Message::from_bytes(&longer), Err(DecodeError::Truncated));
        let mut leftover = whole.clone();
        leftover.extend_from_slice(&[0; 4]);
        assert_eq!(Message::from_bytes(&leftover), Err(DecodeError::Leftover));
    }

    #[test]
    fn tp_14_more_attributes_than_the_limit_are_refused() {
        let build = |count| {
            let builder = Builder::new(Class::Request, Method::BINDING, [1; 12]);
            (0..count).fold(builder, |builder, _| builder.attribute(AttributeKind::SOFTWARE, b"")).finish()
        };
        assert!(Message::from_bytes(&build(MAX_ATTRIBUTES)).is_ok());
        assert_eq!(Message::from_bytes(&build(MAX_ATTRIBUTES + 1)), Err(DecodeError::TooLong));
    }
}
