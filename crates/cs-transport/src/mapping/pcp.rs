//! PCP (RFC 6887): the MAP opcode for UDP ports, and ANNOUNCE. Rule TP-41.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::{DecodeError, all_read, take, take_array};

/// Longest message in bytes (section 7).
pub const MAX_PCP: usize = 1100;

const VERSION: u8 = 2;
/// Opcodes of answers have this bit.
const ANSWER: u8 = 0x80;
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
/// The protocol number of UDP.
const UDP: u8 = 17;

/// A mapping as asked for or as given (section 11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcpMap {
    /// Names the mapping: only who knows it may change it.
    pub nonce: [u8; 12],
    /// The port here.
    pub internal_port: u16,
    /// The port outside; in a request the one that would be best, 0 for any.
    pub external_port: u16,
    /// The address outside; in a request the one that would be best, unspecified for any.
    pub external: IpAddr,
}

/// What a host asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcpRequest {
    /// For how many seconds; 0 ends the mapping.
    pub lifetime_s: u32,
    /// The address that the request is sent from.
    pub client: IpAddr,
    /// The mapping.
    pub map: PcpMap,
}

/// What a gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcpResponse {
    /// It restarted, or its address outside changed (section 14.1).
    Announce {
        /// Seconds since its table of mappings was empty.
        epoch_s: u32,
    },
    /// The mapping as it now is, or why it is not.
    Map {
        /// Success, or why not.
        result: PcpResult,
        /// For how many seconds the mapping holds; after a refusal, how long asking again is useless.
        lifetime_s: u32,
        /// Seconds since its table of mappings was empty.
        epoch_s: u32,
        /// The mapping; after a refusal, as it was asked for.
        map: PcpMap,
    },
}

/// How a request ended (section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PcpResult(pub u8);

impl PcpResult {
    /// Granted.
    pub const SUCCESS: Self = Self(0);
    /// It speaks another version.
    pub const UNSUPPORTED_VERSION: Self = Self(1);
    /// It may, and does not want to.
    pub const NOT_AUTHORIZED: Self = Self(2);
    /// It has no connection to the internet.
    pub const NETWORK_FAILURE: Self = Self(7);
    /// No port is left.
    pub const NO_RESOURCES: Self = Self(8);
    /// Another NAT lies between.
    pub const ADDRESS_MISMATCH: Self = Self(12);
}

impl PcpMap {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let nonce = take_array(input)?;
        if take_array(input)? != [UDP] {
            return Err(DecodeError::UnknownKind);
        }
        take(input, 3)?;
        let internal_port = u16::from_be_bytes(take_array(input)?);
        let external_port = u16::from_be_bytes(take_array(input)?);
        Ok(Self { nonce, internal_port, external_port, external: take_address(input)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&[UDP, 0, 0, 0]);
        out.extend_from_slice(&self.internal_port.to_be_bytes());
        out.extend_from_slice(&self.external_port.to_be_bytes());
        put_address(self.external, out);
    }
}

impl PcpRequest {
    /// Reads one request. Reserved bits are ignored, as in answers.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        if take_array(&mut rest)? != [VERSION, MAP] {
            return Err(DecodeError::UnknownKind);
        }
        take(&mut rest, 2)?;
        let lifetime_s = u32::from_be_bytes(take_array(&mut rest)?);
        let request = Self { lifetime_s, client: take_address(&mut rest)?, map: PcpMap::decode(&mut rest)? };
        *input = rest;
        Ok(request)
    }

    /// Reads a datagram without options.
    ///
    /// # Errors
    /// [`DecodeError`], also for bytes that are left.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        all_read(Self::decode(&mut bytes)?, bytes)
    }

    /// Appends 60 bytes, reserved bits zero.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, MAP, 0, 0]);
        out.extend_from_slice(&self.lifetime_s.to_be_bytes());
        put_address(self.client, out);
        self.map.encode(out);
    }
}

impl PcpResponse {
    /// Reads one answer. Reserved bits are ignored (section 7.2).
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        let [version, opcode, _, result] = take_array(&mut rest)?;
        if version != VERSION || opcode & ANSWER == 0 {
            return Err(DecodeError::UnknownKind);
        }
        let lifetime_s = u32::from_be_bytes(take_array(&mut rest)?);
        let epoch_s = u32::from_be_bytes(take_array(&mut rest)?);
        take(&mut rest, 12)?;
        let response = match opcode & !ANSWER {
            ANNOUNCE => Self::Announce { epoch_s },
            MAP => {
                let map = PcpMap::decode(&mut rest)?;
                Self::Map { result: PcpResult(result), lifetime_s, epoch_s, map }
            }
            _ => return Err(DecodeError::UnknownKind),
        };
        *input = rest;
        Ok(response)
    }

    /// Reads a datagram; options after the answer are skipped, since this side asked for none.
    ///
    /// # Errors
    /// [`DecodeError`]; `TooLong` above [`MAX_PCP`].
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_PCP {
            return Err(DecodeError::TooLong);
        }
        Self::decode(&mut bytes)
    }

    /// Appends 24 or 60 bytes, reserved bits zero.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (opcode, result, lifetime_s, epoch_s) = match *self {
            Self::Announce { epoch_s } => (ANNOUNCE, PcpResult::SUCCESS, 0, epoch_s),
            Self::Map { result, lifetime_s, epoch_s, .. } => (MAP, result, lifetime_s, epoch_s),
        };
        out.extend_from_slice(&[VERSION, opcode | ANSWER, 0, result.0]);
        out.extend_from_slice(&lifetime_s.to_be_bytes());
        out.extend_from_slice(&epoch_s.to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        if let Self::Map { map, .. } = self {
            map.encode(out);
        }
    }
}

/// IPv4 travels in the clothes of IPv6 (section 5).
fn take_address(input: &mut &[u8]) -> Result<IpAddr, DecodeError> {
    Ok(Ipv6Addr::from(take_array::<16>(input)?).to_canonical())
}

fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    let dressed = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    out.extend_from_slice(&dressed.octets());
}

/// "Any address" of the family.
pub(crate) fn unspecified_like(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    //! TP-41.

    use super::*;

    fn map() -> PcpMap {
        PcpMap {
            nonce: [7; 12],
            internal_port: 0x1234,
            external_port: 0x5678,
            external: Ipv4Addr::new(62, 0, 0, 1).into(),
        }
    }

    // Laid out as figures 2, 3, 9 and 10 are.
    #[test]
    fn tp_41_messages_are_laid_out_as_the_rfc_draws_them() {
        let client = Ipv4Addr::new(192, 168, 1, 2).into();
        let mut bytes = Vec::new();
        PcpRequest { lifetime_s: 3600, client, map: map() }.encode(&mut bytes);
        let mut expected = vec![2, 1, 0, 0, 0, 0, 0x0e, 0x10];
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 2]);
        expected.extend_from_slice(&[7; 12]);
        expected.extend_from_slice(&[17, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 62, 0, 0, 1]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn tp_41_reserved_bits_and_options_of_an_answer_are_ignored() {
        let response = PcpResponse::Map { result: PcpResult::SUCCESS, lifetime_s: 9, epoch_s: 3, map: map() };
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        assert_eq!(bytes.len(), 60);
        for reserved in [2, 12, 23, 37, 39] {
            if let Some(byte) = bytes.get_mut(reserved) {
                *byte = 0xff;
            }
        }
        bytes.extend_from_slice(&[200, 0, 0, 0]);
        assert_eq!(PcpResponse::from_bytes(&bytes), Ok(response));
        bytes.resize(MAX_PCP + 1, 0);
        assert_eq!(PcpResponse::from_bytes(&bytes), Err(DecodeError::TooLong));
    }
}
