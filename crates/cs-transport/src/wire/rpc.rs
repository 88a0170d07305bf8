//! The plaintexts and sizes of sealed RPC (TP-10, TP-11).

use super::{DecodeError, take, take_array};

/// Largest datagram of sealed RPC, in bytes of UDP payload: what fits IPv6's minimum link (1280 - 40 - 8).
pub const MAX_DATAGRAM: usize = 1232;
/// Bytes a request datagram has around its body: kind 1, Noise ephemeral 32, static 48, tag 16, and 11 of fields.
pub const REQUEST_OVERHEAD: usize = 1 + 32 + 48 + 16 + Request::FIELDS;
/// Bytes an answer datagram has around its body: kind 1, call 8, Noise ephemeral 32, tag 16, kind and length 3.
pub const ANSWER_OVERHEAD: usize = 1 + 8 + 32 + 16 + Answer::FIELDS;
/// Largest body of a request or an answer, in bytes.
pub const MAX_RPC: usize = MAX_DATAGRAM - REQUEST_OVERHEAD;

const SIZE_STEP: usize = 64;

/// The size of a request datagram for a body of `body` bytes whose answer may have `answer` bytes of body: large
/// enough that the answer is never larger than the request, and rounded up to a multiple of 64 so that sizes tell
/// little. Rule TP-10.
#[must_use]
pub fn request_len(body: usize, answer: usize) -> usize {
    let needed = (body + REQUEST_OVERHEAD).max(answer_len(answer));
    needed.next_multiple_of(SIZE_STEP).min(MAX_DATAGRAM)
}

/// The size of an answer datagram with `body` bytes of body.
#[must_use]
pub fn answer_len(body: usize) -> usize {
    body + ANSWER_OVERHEAD
}

/// What a request says under its seal: `unix_ms u64 | sign u8 | length u16 | body | zeros`. Rule TP-10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// When it was sealed, by the sender's clock.
    pub unix_ms: u64,
    /// The sign of the sender's Edwards point, which its X25519 key does not tell: with both, the receiver knows the
    /// sender's `NodeId` at the price of one byte.
    pub sign: bool,
    /// The question.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Bytes before the body: time, sign, length.
    pub(crate) const FIELDS: usize = 8 + 1 + 2;

    /// Reads a whole plaintext.
    ///
    /// # Errors
    /// [`DecodeError`]: padding that is not zero, a sign that is not 0 or 1, a cut body.
    pub fn from_bytes(mut input: &'a [u8]) -> Result<Self, DecodeError> {
        let unix_ms = u64::from_be_bytes(take_array(&mut input)?);
        let sign = match take_array::<1>(&mut input)? {
            [0] => false,
            [1] => true,
            _ => return Err(DecodeError::OutOfRange),
        };
        let length = usize::from(u16::from_be_bytes(take_array(&mut input)?));
        let body = take(&mut input, length)?;
        if input.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::NotCanonical);
        }
        Ok(Self { unix_ms, sign, body })
    }

    /// Appends the plaintext, padded with zeros to `padded` bytes.
    pub fn encode(&self, padded: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.unix_ms.to_be_bytes());
        out.push(u8::from(self.sign));
        let length = u16::try_from(self.body.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.body);
        out.resize((start + padded).max(out.len()), 0);
    }
}

/// What an answer says under its seal. `kind u8 | length u16 | body`. Rule TP-11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The answer to the question.
    Body(&'a [u8]),
    /// The request's clock is outside the window; the responder's is given, so that the sender can ask again.
    ClockSkew {
        /// The responder's clock.
        unix_ms: u64,
    },
}

impl<'a> Answer<'a> {
    /// Bytes before the body: kind, length.
    pub(crate) const FIELDS: usize = 1 + 2;

    /// Reads a whole plaintext.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn from_bytes(mut input: &'a [u8]) -> Result<Self, DecodeError> {
        let [kind] = take_array(&mut input)?;
        let length = usize::from(u16::from_be_bytes(take_array(&mut input)?));
        let mut body = take(&mut input, length)?;
        if !input.is_empty() {
            return Err(DecodeError::Leftover);
        }
        match kind {
            0 => Ok(Self::Body(body)),
            1 => {
                let unix_ms = u64::from_be_bytes(take_array(&mut body)?);
                super::all_read(Self::ClockSkew { unix_ms }, body)
            }
            _ => Err(DecodeError::UnknownKind),
        }
    }

    /// Appends the plaintext.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let skew;
        let (kind, body): (u8, &[u8]) = match self {
            Self::Body(body) => (0, body),
            Self::ClockSkew { unix_ms } => {
                skew = unix_ms.to_be_bytes();
                (1, &skew)
            }
        };
        out.push(kind);
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_10_no_answer_is_larger_than_its_request() {
        for body in 0..=MAX_RPC {
            for answer in [0, 1, 63, 64, 500, MAX_RPC] {
                let request = request_len(body, answer);
                assert!(request <= MAX_DATAGRAM, "{body} {answer}");
                assert!(answer_len(answer) <= request, "{body} {answer}");
                assert!(body + REQUEST_OVERHEAD <= request, "{body} {answer}");
            }
        }
    }

    #[test]
    fn tp_10_a_message_of_1100_bytes_fits() {
        assert_eq!(MAX_RPC, 1124);
    }

    #[test]
    fn tp_10_padding_that_is_not_zero_is_refused() {
        let mut bytes = Vec::new();
        Request { unix_ms: 1, sign: true, body: b"x" }.encode(64, &mut bytes);
        bytes[63] = 1;
        assert_eq!(Request::from_bytes(&bytes), Err(DecodeError::NotCanonical));
    }
}
