//! Attributes (RFC 8489 section 14). Rule TP-14.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::message::{COOKIE, Message};
use crate::wire::{DecodeError, take_array};

/// The registered number of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributeKind(pub u16);

impl AttributeKind {
    /// The address as it was seen, in clear (for clients of RFC 3489).
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// Whose key authenticates the message.
    pub const USERNAME: Self = Self(0x0006);
    /// HMAC-SHA1 of the message before it.
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// Why a request failed.
    pub const ERROR_CODE: Self = Self(0x0009);
    /// Which attributes were not understood.
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// For long-term credentials.
    pub const REALM: Self = Self(0x0014);
    /// For long-term credentials.
    pub const NONCE: Self = Self(0x0015);
    /// The address as it was seen, masked so that NATs leave it alone.
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// A name of the implementation.
    pub const SOFTWARE: Self = Self(0x8022);
    /// CRC-32 of the message before it.
    pub const FINGERPRINT: Self = Self(0x8028);

    /// A request with such an attribute that is not understood must be refused (RFC 8489 section 5).
    #[must_use]
    pub fn is_required(self) -> bool {
        self.0 < 0x8000
    }

    /// Attributes that a Binding request may carry and that change nothing here.
    pub(crate) fn is_known(self) -> bool {
        let known = [
            Self::MAPPED_ADDRESS,
            Self::USERNAME,
            Self::MESSAGE_INTEGRITY,
            Self::ERROR_CODE,
            Self::UNKNOWN_ATTRIBUTES,
            Self::REALM,
            Self::NONCE,
            Self::XOR_MAPPED_ADDRESS,
        ];
        known.contains(&self)
    }
}

/// One attribute as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// What it is.
    pub kind: AttributeKind,
    /// Its value, without the padding.
    pub value: &'a [u8],
    /// Where its header starts, in bytes from the start of the message: what comes before is what it may protect.
    pub offset: usize,
}

impl Attribute<'_> {
    /// The address in an `XOR-MAPPED-ADDRESS` of `message` (section 14.2).
    ///
    /// # Errors
    /// [`DecodeError`] for another family than IPv4 or IPv6, or a wrong length.
    pub fn xor_address(&self, message: &Message<'_>) -> Result<SocketAddr, DecodeError> {
        let mut value = self.value;
        let [_, family, port_high, port_low] = take_array(&mut value)?;
        let [cookie_high, cookie_low, ..] = COOKIE;
        let port = u16::from_be_bytes([port_high ^ cookie_high, port_low ^ cookie_low]);
        let ip = match family {
            1 => {
                let bits = u32::from_be_bytes(take_array(&mut value)?) ^ u32::from_be_bytes(COOKIE);
                IpAddr::V4(Ipv4Addr::from_bits(bits))
            }
            2 => {
                let bits = u128::from_be_bytes(take_array(&mut value)?) ^ mask_v6(&message.transaction());
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            }
            _ => return Err(DecodeError::OutOfRange),
        };
        crate::wire::all_read(SocketAddr::new(ip, port), value)
    }
}

/// The value of an `XOR-MAPPED-ADDRESS`.
pub(crate) fn encode_xor_address(address: SocketAddr, transaction: &[u8; 12]) -> Vec<u8> {
    let [cookie_high, cookie_low, ..] = COOKIE;
    let [port_high, port_low] = address.port().to_be_bytes();
    let family = if address.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family, port_high ^ cookie_high, port_low ^ cookie_low];
    match address.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&(ip.to_bits() ^ u32::from_be_bytes(COOKIE)).to_be_bytes()),
        IpAddr::V6(ip) => value.extend_from_slice(&(ip.to_bits() ^ mask_v6(transaction)).to_be_bytes()),
    }
    value
}

fn mask_v6(transaction: &[u8; 12]) -> u128 {
    let mut mask = [0; 16];
    for (slot, byte) in mask.iter_mut().zip(COOKIE.iter().chain(transaction)) {
        *slot = *byte;
    }
    u128::from_be_bytes(mask)
}
