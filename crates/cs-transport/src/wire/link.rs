//! What travels on the streams of a session (TP-6, TP-7, TP-8).

use super::{DecodeError, all_read, take_array};

/// Longest message on a lane, in bytes: 1 MiB. One message is held in memory while it is put together.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Longest message on the link stream, in bytes.
pub const MAX_LINK_MESSAGE: usize = 64;

/// How urgent a message is. Each lane is an ordered, reliable stream; a higher lane's bytes leave first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Membership, capabilities, anything that others wait for.
    Control = 0,
    /// Small and interactive.
    Urgent = 1,
    /// The ordinary traffic of synchronisation.
    Normal = 2,
    /// File content. Spread over several streams: no order among bulk messages is promised.
    Bulk = 3,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Urgent, Self::Normal, Self::Bulk];
}

/// The first byte of a stream says what it carries. Rule TP-6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// [`LinkMessage`]s: which of several connections is the session.
    Link,
    /// [`SignalMessage`](super::SignalMessage)s: for this node, and for others through it.
    Signal,
    /// Messages of one lane.
    Lane(Lane),
}

impl StreamKind {
    /// The byte on the wire.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Link => 0,
            Self::Signal => 1,
            Self::Lane(lane) => 0x10 + lane as u8,
        }
    }

    /// `None` for a kind of a later version: the stream is then refused, and the session goes on.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Link),
            1 => Some(Self::Signal),
            0x10 => Some(Self::Lane(Lane::Control)),
            0x11 => Some(Self::Lane(Lane::Urgent)),
            0x12 => Some(Self::Lane(Lane::Normal)),
            0x13 => Some(Self::Lane(Lane::Bulk)),
            _ => None,
        }
    }
}

/// A message about the session itself, of at most [`MAX_LINK_MESSAGE`] bytes. Rule TP-7 tells when each is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// From the pair's higher ID, on a connection it dialled: "use this one".
    Offer {
        /// Number of the last `Decide` seen from the receiver's present incarnation, 0 for none.
        seen: u64,
    },
    /// From the pair's lower ID: "this connection is the session".
    Decide {
        /// Counts the sender's decisions about this peer, from 1.
        number: u64,
    },
}

impl LinkMessage {
    /// Reads one message.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        let message = match take_array::<1>(&mut rest)? {
            [1] => Self::Offer { seen: u64::from_be_bytes(take_array(&mut rest)?) },
            [2] => match u64::from_be_bytes(take_array(&mut rest)?) {
                0 => return Err(DecodeError::OutOfRange),
                number => Self::Decide { number },
            },
            _ => return Err(DecodeError::UnknownKind),
        };
        *input = rest;
        Ok(message)
    }

    /// Reads exactly one message.
    ///
    /// # Errors
    /// [`DecodeError`], also when bytes are left.
    pub fn from_bytes(mut input: &[u8]) -> Result<Self, DecodeError> {
        let message = Self::decode(&mut input)?;
        all_read(message, input)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, field) = match *self {
            Self::Offer { seen } => (1, seen),
            Self::Decide { number } => (2, number),
        };
        out.push(kind);
        out.extend_from_slice(&field.to_be_bytes());
    }
}

/// The length before a message: a big-endian `u32`. Rule TP-8.
#[must_use]
pub fn encode_length(message: usize) -> [u8; 4] {
    u32::try_from(message).unwrap_or(u32::MAX).to_be_bytes()
}

/// Puts the messages of one stream together again from whatever pieces arrive. Holds at most one unfinished message
/// and allocates only for bytes that came. Rule TP-8.
#[derive(Debug)]
pub struct LaneBuffer {
    limit: usize,
    length: [u8; 4],
    length_read: usize,
    body: Vec<u8>,
}

impl LaneBuffer {
    /// For messages of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, length: [0; 4], length_read: 0, body: Vec::new() }
    }

    /// Takes bytes off `input` until a message is complete (then it is returned, and the rest stays in `input`) or
    /// the input is used up.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] as soon as a length above the limit is read; the stream is then useless.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        while let Some(slot) = self.length.get_mut(self.length_read) {
            let Some((first, rest)) = input.split_first() else { return Ok(None) };
            *slot = *first;
            *input = rest;
            self.length_read += 1;
        }
        let length = usize::try_from(u32::from_be_bytes(self.length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(DecodeError::TooLong);
        }
        let missing = length.saturating_sub(self.body.len());
        let (now, rest) = input.split_at(missing.min(input.len()));
        if self.body.capacity() < self.body.len() + now.len() {
            // Doubling, but never beyond the message: room follows what came, not what was announced.
            self.body.reserve_exact(missing.min(now.len().max(self.body.len())));
        }
        self.body.extend_from_slice(now);
        *input = rest;
        if self.body.len() < length {
            return Ok(None);
        }
        self.length_read = 0;
        Ok(Some(core::mem::take(&mut self.body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_8_a_length_above_the_limit_is_refused_before_any_body_is_kept() {
        let mut buffer = LaneBuffer::new(MAX_MESSAGE);
        let mut input: &[u8] = &[0, 0x10, 0, 1];
        assert_eq!(buffer.read(&mut input), Err(DecodeError::TooLong));
        assert_eq!(buffer.body.capacity(), 0);
    }

    /// TP-6.
    #[test]
    fn tp_6_only_the_six_known_kinds_open_a_stream() {
        let known = (0..=u8::MAX).filter_map(StreamKind::from_byte).collect::<Vec<_>>();
        assert_eq!(known.len(), 6);
        for kind in known {
            assert_eq!(StreamKind::from_byte(kind.to_byte()), Some(kind));
        }
    }

    #[test]
    fn tp_7_a_decision_numbered_zero_is_refused() {
        let mut bytes = vec![2];
        bytes.extend_from_slice(&[0; 8]);
        assert_eq!(LinkMessage::from_bytes(&bytes), Err(DecodeError::OutOfRange));
    }
}
