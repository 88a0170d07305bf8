//! ChannelData, and messages on a stream (RFC 8656 sections 12.4 and 12.5). Rule TP-22.

use bytes::{Bytes, BytesMut};

use super::CHANNELS_TAKEN;
use crate::stun::HEADER;
use crate::wire::{DecodeError, take, take_array};

/// Bytes before the data of a channel.
pub const CHANNEL_HEADER: usize = 4;
/// Longest message on a stream, in bytes with its padding: a datagram of an Ethernet, and room for an indication around it.
pub const MAX_FRAME: usize = 2048;

/// Data on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// The channel's number, `0x4000` to `0x7fff`.
    pub channel: u16,
    /// A datagram to or from the peer.
    pub bytes: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Reads a whole datagram or frame. Up to three bytes of padding are skipped: they are allowed in datagrams too.
    ///
    /// # Errors
    /// [`DecodeError`]: another number, or a length that is not the datagram's.
    pub fn from_bytes(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = datagram;
        let channel = u16::from_be_bytes(take_array(&mut input)?);
        let length = usize::from(u16::from_be_bytes(take_array(&mut input)?));
        if !CHANNELS_TAKEN.contains(&channel) {
            return Err(DecodeError::UnknownKind);
        }
        let bytes = take(&mut input, length)?;
        if input.len() > 3 {
            return Err(DecodeError::Leftover);
        }
        Ok(Self { channel, bytes })
    }

    /// What stands before `length` bytes of data; `None` above what 16 bits hold.
    #[must_use]
    pub fn header(channel: u16, length: usize) -> Option<[u8; CHANNEL_HEADER]> {
        let [a, b] = channel.to_be_bytes();
        let [c, d] = u16::try_from(length).ok()?.to_be_bytes();
        Some([a, b, c, d])
    }
}

/// The length of the first message in a stream's bytes, with its padding; `None` while its length is not there.
///
/// # Errors
/// [`DecodeError`]: neither STUN nor a channel, or above [`MAX_FRAME`]. The stream cannot be read on.
pub fn frame_len(stream: &[u8]) -> Result<Option<usize>, DecodeError> {
    let mut input = stream;
    let Ok([first, _, high, low]) = take_array(&mut input) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = match first {
        0x00..=0x3f if length.is_multiple_of(4) => HEADER + length,
        0x40..=0x7f => (CHANNEL_HEADER + length).next_multiple_of(4),
        0x00..=0x3f => return Err(DecodeError::NotCanonical),
        _ => return Err(DecodeError::UnknownKind),
    };
    if whole > MAX_FRAME { Err(DecodeError::TooLong) } else { Ok(Some(whole)) }
}

/// Cuts a stream into messages. Holds what was pushed and not yet taken: take all before pushing more, and that is at most one
/// message and one push.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: BytesMut,
}

impl Frames {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what the stream brought.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next whole message, with its padding; `None` while there is none.
    ///
    /// # Errors
    /// As [`frame_len`]; then always.
    pub fn take(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = frame_len(&self.bytes)?.filter(|length| *length <= self.bytes.len()) else {
            return Ok(None);
        };
        Ok(Some(self.bytes.split_to(length).freeze()))
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_22_a_stream_is_cut_into_its_messages_whatever_the_pieces() {
        let stun = crate::stun::binding_request([1; 12]);
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
        let stream = [&stun[..], &channel, &stun].concat();
        for piece in 1..stream.len() {
            let (mut frames, mut taken) = (Frames::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                frames.push(bytes);
                while let Some(frame) = frames.take().expect("it is well formed") {
                    taken.push(frame.to_vec());
                }
            }
            assert_eq!(taken, [stun.clone(), channel.to_vec(), stun.clone()]);
            assert!(frames.is_empty());
        }
        assert_eq!(
            ChannelData::from_bytes(&channel),
            Ok(ChannelData { channel: 0x4000, bytes: &[1, 2, 3, 4, 5] })
        );
    }

    #[test]
    fn tp_22_a_message_above_the_limit_ends_the_stream_before_any_of_it_is_kept() {
        assert_eq!(frame_len(&[0x40, 0, 0x07, 0xfc]), Ok(Some(MAX_FRAME)));
        assert_eq!(frame_len(&[0x40, 0, 0x07, 0xfd]), Err(DecodeError::TooLong));
        assert_eq!(frame_len(&[0, 1, 0x07, 0xf0]), Err(DecodeError::TooLong));
        assert_eq!(frame_len(&[0, 1, 0, 2]), Err(DecodeError::NotCanonical));
        assert_eq!(frame_len(&[0x16, 3, 1]), Ok(None));
        assert_eq!(frame_len(&[0x80, 0, 0, 0]), Err(DecodeError::UnknownKind));
    }
}
