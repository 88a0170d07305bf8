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

    /// HMAC-SHA256 of the message before it (RFC 8489 section 14.6).
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    /// Which hash makes the key of the long-term credentials.
    pub const PASSWORD_ALGORITHM: Self = Self(0x001d);
    /// A hash of user name and realm in the place of the name.
    pub const USERHASH: Self = Self(0x001e);
    /// Which hashes the server takes for the key.
    pub const PASSWORD_ALGORITHMS: Self = Self(0x8002);

    /// Answer from another address or port (RFC 5780 section 7.2).
    pub const CHANGE_REQUEST: Self = Self(0x0003);
    /// Makes a request as long as the answer that it wants (RFC 5780 section 7.6).
    pub const PADDING: Self = Self(0x0026);
    /// Answer to another port (RFC 5780 section 7.5).
    pub const RESPONSE_PORT: Self = Self(0x0027);
    /// Whence the answer was sent (RFC 5780 section 7.3).
    pub const RESPONSE_ORIGIN: Self = Self(0x802b);
    /// The server's other address and port (RFC 5780 section 7.4).
    pub const OTHER_ADDRESS: Self = Self(0x802c);

    /// A channel of TURN (RFC 8656 section 18.1).
    pub const CHANNEL_NUMBER: Self = Self(0x000c);
    /// Seconds that an allocation lives.
    pub const LIFETIME: Self = Self(0x000d);
    /// With whom a client talks through the relay.
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    /// What it says.
    pub const DATA: Self = Self(0x0013);
    /// The address that the relay gave.
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    /// IPv4 or IPv6.
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    /// An even port, and perhaps the next one too.
    pub const EVEN_PORT: Self = Self(0x0018);
    /// The protocol between relay and peer.
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    /// Datagrams to the peer must not be fragmented.
    pub const DONT_FRAGMENT: Self = Self(0x001a);
    /// Names a port that was kept.
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    /// An address of the other family as well, if there is one.
    pub const ADDITIONAL_ADDRESS_FAMILY: Self = Self(0x8000);

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
    /// The number in an attribute of four bytes, such as `LIFETIME`.
    ///
    /// # Errors
    /// [`DecodeError`] for another length.
    pub fn number(&self) -> Result<u32, DecodeError> {
        let mut value = self.value;
        let number = u32::from_be_bytes(take_array(&mut value)?);
        crate::wire::all_read(number, value)
    }

    /// The code in an `ERROR-CODE`, 300 to 699 (section 14.8). The reason beside it is for people.
    ///
    /// # Errors
    /// [`DecodeError`] for a value that is cut or out of range.
    pub fn error_code(&self) -> Result<u16, DecodeError> {
        let [_, _, class, number] = take_array(&mut &*self.value)?;
        match (class & 7, number) {
            (class @ 3..=6, number @ 0..=99) => Ok(u16::from(class) * 100 + u16::from(number)),
            _ => Err(DecodeError::OutOfRange),
        }
    }

    /// The address in an attribute that is not masked, such as `OTHER-ADDRESS` (section 14.1).
    ///
    /// # Errors
    /// [`DecodeError`] for another family than IPv4 or IPv6, or a wrong length.
    pub fn plain_address(&self) -> Result<SocketAddr, DecodeError> {
        let mut value = self.value;
        let [_, family, port_high, port_low] = take_array(&mut value)?;
        let ip = match family {
            1 => IpAddr::V4(Ipv4Addr::from(take_array::<4>(&mut value)?)),
            2 => IpAddr::V6(Ipv6Addr::from(take_array::<16>(&mut value)?)),
            _ => return Err(DecodeError::OutOfRange),
        };
        crate::wire::all_read(SocketAddr::new(ip, u16::from_be_bytes([port_high, port_low])), value)
    }

    /// The address in an `XOR-MAPPED-ADDRESS`, `XOR-PEER-ADDRESS` or `XOR-RELAYED-ADDRESS` of `message` (section 14.2).
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

/// The value of an attribute whose address is not masked.
pub(crate) fn encode_plain_address(address: SocketAddr) -> Vec<u8> {
    let [port_high, port_low] = address.port().to_be_bytes();
    let family = if address.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family, port_high, port_low];
    match address.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
    }
    value
}

/// The value of an `ERROR-CODE` without a reason.
pub(crate) fn encode_error_code(code: u16) -> [u8; 4] {
    let class = u8::try_from(code / 100).unwrap_or(5);
    [0, 0, class, u8::try_from(code % 100).unwrap_or(0)]
}

fn mask_v6(transaction: &[u8; 12]) -> u128 {
    let mut mask = [0; 16];
    for (slot, byte) in mask.iter_mut().zip(COOKIE.iter().chain(transaction)) {
        *slot = *byte;
    }
    u128::from_be_bytes(mask)
}
