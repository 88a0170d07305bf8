//! What travels in QUIC's CRYPTO frames in place of TLS (TP-3, TP-4).

use super::{DecodeError, all_read, take, take_array};

/// Longest body of a handshake frame: a Noise message with a hello in it takes about 300 bytes.
pub const MAX_FRAME: usize = 2048;

/// The steps of the handshake, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Noise IK, first message, from the dialler.
    Initiate = 1,
    /// Noise IK, second message.
    Respond = 2,
    /// Proof at the handshake level that the sender holds the keys.
    Confirm = 3,
}

/// One handshake message: `kind u8 | length u16 | body`. The stream delivers arbitrary pieces without their
/// level, so the length is what restores the boundaries. Rule TP-3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which step.
    pub kind: FrameKind,
    /// Its content, at most [`MAX_FRAME`] bytes.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads one frame. [`DecodeError::Truncated`] means that more bytes are to come.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        let kind = match take_array::<1>(&mut rest)? {
            [1] => FrameKind::Initiate,
            [2] => FrameKind::Respond,
            [3] => FrameKind::Confirm,
            _ => return Err(DecodeError::UnknownKind),
        };
        let length = usize::from(u16::from_be_bytes(take_array(&mut rest)?));
        if length > MAX_FRAME {
            return Err(DecodeError::TooLong);
        }
        let body = take(&mut rest, length)?;
        *input = rest;
        Ok(Self { kind, body })
    }

    /// Reads exactly one frame.
    ///
    /// # Errors
    /// [`DecodeError`], also when bytes are left.
    pub fn from_bytes(mut input: &'a [u8]) -> Result<Self, DecodeError> {
        let frame = Self::decode(&mut input)?;
        all_read(frame, input)
    }

    /// Appends the frame. A body above [`MAX_FRAME`] cannot be read back.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        let length = u16::try_from(self.body.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.body);
    }
}

/// The encrypted payload of both Noise messages: who speaks, and the QUIC transport parameters, which are thereby
/// authenticated. `version u8 | node 32 | incarnation u64 | (tag u8 | length u16 | value)*`, tags ascending; a tag
/// that is not known is skipped, so that later versions can say more. Rule TP-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The speaker's ID as bytes; its X25519 form must be the static key that Noise authenticated.
    pub node: [u8; 32],
    /// Random number that the speaker's endpoint drew when it was bound: tells a restarted peer from a live one.
    pub incarnation: u64,
    /// Transport parameters in the encoding of RFC 9000 section 18.
    pub parameters: &'a [u8],
    /// Early data (TP-17). In the first message: it follows, sealed at this time by the dialler's clock, in
    /// milliseconds. In the second: the same number if it is read; nothing if it was thrown away.
    pub early_ms: Option<u64>,
}

const HELLO_VERSION: u8 = 1;
const TAG_PARAMETERS: u8 = 1;
const TAG_EARLY: u8 = 2;

impl<'a> Hello<'a> {
    /// Reads a whole payload.
    ///
    /// # Errors
    /// [`DecodeError`]: another version, tags that do not ascend, missing parameters, a cut field, a time of another
    /// length.
    pub fn from_bytes(mut input: &'a [u8]) -> Result<Self, DecodeError> {
        if take_array::<1>(&mut input)? != [HELLO_VERSION] {
            return Err(DecodeError::UnknownKind);
        }
        let node = take_array(&mut input)?;
        let incarnation = u64::from_be_bytes(take_array(&mut input)?);
        let (mut parameters, mut early_ms) = (None, None);
        let mut last_tag = 0;
        while !input.is_empty() {
            let [tag] = take_array(&mut input)?;
            if tag <= last_tag {
                return Err(DecodeError::NotCanonical);
            }
            last_tag = tag;
            let length = usize::from(u16::from_be_bytes(take_array(&mut input)?));
            let value = take(&mut input, length)?;
            match tag {
                TAG_PARAMETERS => parameters = Some(value),
                TAG_EARLY => {
                    let time = value.try_into().map_err(|_| DecodeError::OutOfRange)?;
                    early_ms = Some(u64::from_be_bytes(time));
                }
                _ => {}
            }
        }
        let parameters = parameters.ok_or(DecodeError::Truncated)?;
        Ok(Self { node, incarnation, parameters, early_ms })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(HELLO_VERSION);
        out.extend_from_slice(&self.node);
        out.extend_from_slice(&self.incarnation.to_be_bytes());
        out.push(TAG_PARAMETERS);
        let length = u16::try_from(self.parameters.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.parameters);
        if let Some(time) = self.early_ms {
            out.extend_from_slice(&[TAG_EARLY, 0, 8]);
            out.extend_from_slice(&time.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_3_a_frame_longer_than_its_limit_is_refused_before_its_body_came() {
        assert_eq!(Frame::from_bytes(&[1, 0xff, 0xff]), Err(DecodeError::TooLong));
    }

    #[test]
    fn tp_4_an_unknown_tag_of_a_later_version_is_skipped() {
        let mut bytes = Vec::new();
        Hello { node: [7; 32], incarnation: 1, parameters: b"abc", early_ms: None }.encode(&mut bytes);
        bytes.extend_from_slice(&[9, 0, 2, 1, 1]);
        let hello = Hello::from_bytes(&bytes).expect("a later tag is skipped");
        assert_eq!(hello.parameters, b"abc");
    }

    #[test]
    fn tp_4_a_repeated_tag_is_refused() {
        let mut bytes = Vec::new();
        Hello { node: [7; 32], incarnation: 1, parameters: b"abc", early_ms: None }.encode(&mut bytes);
        bytes.extend_from_slice(&[1, 0, 0]);
        assert_eq!(Hello::from_bytes(&bytes), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn tp_17_a_time_of_early_data_has_eight_bytes() {
        let mut bytes = Vec::new();
        Hello { node: [7; 32], incarnation: 1, parameters: b"abc", early_ms: Some(5) }.encode(&mut bytes);
        assert_eq!(Hello::from_bytes(&bytes).expect("our own").early_ms, Some(5));
        let cut =
            [bytes.split_last_chunk::<10>().expect("it is longer").0, &[0, 7, 0, 0, 0, 0, 0, 0, 5]].concat();
        assert_eq!(Hello::from_bytes(&cut), Err(DecodeError::OutOfRange));
    }
}
