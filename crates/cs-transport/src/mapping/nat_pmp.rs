//! NAT-PMP (RFC 6886), for UDP ports. Rule TP-40.

use core::net::Ipv4Addr;

use crate::wire::{DecodeError, all_read, take_array};

/// The version that it announces itself with.
const VERSION: u8 = 0;
/// Opcodes of answers have this bit.
const ANSWER: u8 = 0x80;
const EXTERNAL_ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;

/// What a host asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PmpRequest {
    /// Which address the gateway has outside (section 3.2).
    ExternalAddress,
    /// A mapping of a UDP port (section 3.3).
    Map {
        /// The port here.
        internal_port: u16,
        /// The port outside that would be best; 0 for any.
        external_port: u16,
        /// For how many seconds; 0 ends the mapping.
        lifetime_s: u32,
    },
}

/// What a gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PmpResponse {
    /// Which address it has outside; also sent to all hosts when it restarted (section 3.2.1).
    ExternalAddress {
        /// Seconds since its table of mappings was empty.
        epoch_s: u32,
        /// The address.
        address: Ipv4Addr,
    },
    /// The mapping as it now is.
    Map {
        /// Seconds since its table of mappings was empty.
        epoch_s: u32,
        /// The port here.
        internal_port: u16,
        /// The port outside.
        external_port: u16,
        /// For how many seconds from now; 0 when it was ended.
        lifetime_s: u32,
    },
    /// No.
    Refused {
        /// To what: the opcode of the request.
        opcode: u8,
        /// Why.
        result: PmpResult,
        /// Seconds since its table of mappings was empty.
        epoch_s: u32,
    },
}

/// Why a gateway refuses (section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PmpResult(pub u16);

impl PmpResult {
    /// It speaks PCP only.
    pub const UNSUPPORTED_VERSION: Self = Self(1);
    /// It may, and does not want to.
    pub const NOT_AUTHORIZED: Self = Self(2);
    /// It has no address outside.
    pub const NETWORK_FAILURE: Self = Self(3);
    /// No port is left.
    pub const OUT_OF_RESOURCES: Self = Self(4);
    /// It knows no such request.
    pub const UNSUPPORTED_OPCODE: Self = Self(5);
}

impl PmpRequest {
    /// Reads one request.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        let request = match take_array(&mut rest)? {
            [VERSION, EXTERNAL_ADDRESS] => Self::ExternalAddress,
            [VERSION, MAP_UDP] => {
                if take_array(&mut rest)? != [0; 2] {
                    return Err(DecodeError::NotCanonical);
                }
                Self::Map {
                    internal_port: u16::from_be_bytes(take_array(&mut rest)?),
                    external_port: u16::from_be_bytes(take_array(&mut rest)?),
                    lifetime_s: u32::from_be_bytes(take_array(&mut rest)?),
                }
            }
            _ => return Err(DecodeError::UnknownKind),
        };
        *input = rest;
        Ok(request)
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// [`DecodeError`], also for bytes that are left.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        all_read(Self::decode(&mut bytes)?, bytes)
    }

    /// Appends the one encoding: 2 or 12 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::ExternalAddress => out.extend_from_slice(&[VERSION, EXTERNAL_ADDRESS]),
            Self::Map { internal_port, external_port, lifetime_s } => {
                out.extend_from_slice(&[VERSION, MAP_UDP, 0, 0]);
                out.extend_from_slice(&internal_port.to_be_bytes());
                out.extend_from_slice(&external_port.to_be_bytes());
                out.extend_from_slice(&lifetime_s.to_be_bytes());
            }
        }
    }
}

impl PmpResponse {
    /// Reads one answer.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        let [version, opcode] = take_array(&mut rest)?;
        if version != VERSION || opcode & ANSWER == 0 {
            return Err(DecodeError::UnknownKind);
        }
        let opcode = opcode & !ANSWER;
        let result = PmpResult(u16::from_be_bytes(take_array(&mut rest)?));
        let epoch_s = u32::from_be_bytes(take_array(&mut rest)?);
        let response = match (result, opcode) {
            (PmpResult(0), EXTERNAL_ADDRESS) => {
                Self::ExternalAddress { epoch_s, address: Ipv4Addr::from(take_array::<4>(&mut rest)?) }
            }
            (PmpResult(0), MAP_UDP) => Self::Map {
                epoch_s,
                internal_port: u16::from_be_bytes(take_array(&mut rest)?),
                external_port: u16::from_be_bytes(take_array(&mut rest)?),
                lifetime_s: u32::from_be_bytes(take_array(&mut rest)?),
            },
            (PmpResult(0), _) => return Err(DecodeError::UnknownKind),
            (result, opcode) => Self::Refused { opcode, result, epoch_s },
        };
        *input = rest;
        Ok(response)
    }

    /// Reads a datagram. What follows a refusal is left unread: gateways send the rest of the request back.
    ///
    /// # Errors
    /// [`DecodeError`], also for bytes that are left.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        match Self::decode(&mut bytes)? {
            refused @ Self::Refused { .. } => Ok(refused),
            response => all_read(response, bytes),
        }
    }

    /// Appends the one encoding: 8, 12 or 16 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = |opcode: u8, result: u16, epoch_s: u32, out: &mut Vec<u8>| {
            out.extend_from_slice(&[VERSION, opcode | ANSWER]);
            out.extend_from_slice(&result.to_be_bytes());
            out.extend_from_slice(&epoch_s.to_be_bytes());
        };
        match *self {
            Self::ExternalAddress { epoch_s, address } => {
                head(EXTERNAL_ADDRESS, 0, epoch_s, out);
                out.extend_from_slice(&address.octets());
            }
            Self::Map { epoch_s, internal_port, external_port, lifetime_s } => {
                head(MAP_UDP, 0, epoch_s, out);
                out.extend_from_slice(&internal_port.to_be_bytes());
                out.extend_from_slice(&external_port.to_be_bytes());
                out.extend_from_slice(&lifetime_s.to_be_bytes());
            }
            Self::Refused { opcode, result, epoch_s } => head(opcode, result.0, epoch_s, out),
        }
    }

    /// Seconds since the gateway's table of mappings was empty.
    #[must_use]
    pub fn epoch_s(&self) -> u32 {
        match *self {
            Self::ExternalAddress { epoch_s, .. } | Self::Map { epoch_s, .. } => epoch_s,
            Self::Refused { epoch_s, .. } => epoch_s,
        }
    }
}

#[cfg(test)]
mod tests {
    //! TP-40.

    use super::*;

    // Laid out as the figures of sections 3.2 and 3.3 are.
    #[test]
    fn tp_40_messages_are_laid_out_as_the_rfc_draws_them() {
        let mut bytes = Vec::new();
        PmpRequest::Map { internal_port: 0x1234, external_port: 0x5678, lifetime_s: 7200 }.encode(&mut bytes);
        assert_eq!(bytes, [0, 1, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x1c, 0x20]);
        let answer = [0, 129, 0, 0, 0, 0, 0, 9, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x1c, 0x20];
        let read = PmpResponse::from_bytes(&answer);
        let map =
            PmpResponse::Map { epoch_s: 9, internal_port: 0x1234, external_port: 0x5678, lifetime_s: 7200 };
        assert_eq!(read, Ok(map));
        let refusal = [0, 129, 0, 2, 0, 0, 0, 9, 0x12, 0x34];
        let result = PmpResult::NOT_AUTHORIZED;
        let read = PmpResponse::from_bytes(&refusal);
        assert_eq!(read, Ok(PmpResponse::Refused { opcode: 1, result, epoch_s: 9 }));
    }

    #[test]
    fn tp_40_another_version_and_a_request_are_no_answer() {
        for bytes in [[2, 129, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]] {
            assert_eq!(PmpResponse::from_bytes(&bytes), Err(DecodeError::UnknownKind));
        }
    }
}
