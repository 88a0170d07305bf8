//! How the initiator names what only the responder has, once it has decoded it: near the information bound, since
//! after decoding it knows the responder's whole set of short names (REC-9).
//!
//! A name is the bucket (the first `width` bits, about one element a bucket) as a Rice-coded gap to the bucket before,
//! and its place among the responder's names in that bucket in unary: `log2(n / d) + 3` bits instead of a short id.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::codec::DecodeError;
use crate::reconcile::bits::{BitReader, BitWriter};

/// One name: a bucket and the place of the element in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The first bits of partition and short id, counted from the first bucket of the message's partitions.
    pub bucket: u64,
    /// Counted among the sender's visible elements of the bucket.
    pub place: u64,
}

/// Names in ascending order, and the bits of their buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Bits of a bucket; 0 if there are no names.
    pub width: u8,
    /// Rice parameter of the gaps.
    pub rice: u8,
    /// Ascending.
    pub list: Vec<Name>,
}

impl Names {
    /// `list` must ascend, over `span` possible buckets, which is how the gaps are tuned.
    pub(crate) fn new(width: u8, span: u64, list: Vec<Name>) -> Self {
        if list.is_empty() {
            return Self::default();
        }
        let mean = span / list.len() as u64;
        let rice = (mean * 3 / 4).max(1).ilog2().min(31) as u8;
        Self { width, rice, list }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        crate::codec::put_varint(out, self.list.len() as u64);
        if self.list.is_empty() {
            return;
        }
        let mut writer = BitWriter::default();
        writer.put(u32::from(self.width), 6);
        writer.put(u32::from(self.rice), 5);
        let mut before = 0;
        for name in &self.list {
            let gap = name.bucket - before;
            writer.put_unary(gap >> self.rice);
            writer.put((gap & ((1 << self.rice) - 1)) as u32, self.rice);
            writer.put_unary(name.place);
            before = name.bucket;
        }
        out.extend_from_slice(&writer.finish());
    }

    pub(crate) fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let count = crate::codec::take_count(input, crate::reconcile::wire::MAX_NAMES, 0)?;
        if count == 0 {
            return Ok(Self::default());
        }
        // Each name takes at least two bits.
        if count > input.len() * 4 {
            return Err(DecodeError::Truncated);
        }
        let mut reader = BitReader::new(input);
        let (width, rice) = (reader.take(6)? as u8, reader.take(5)? as u8);
        if width > 48 {
            return Err(DecodeError::TooLarge);
        }
        let mut list: Vec<Name> = Vec::with_capacity(count);
        for _ in 0..count {
            let high = reader.take_unary()?;
            let gap = high << rice | u64::from(reader.take(rice)?);
            let place = reader.take_unary()?;
            let before = list.last().copied();
            let bucket = before.map_or(0, |name| name.bucket) + gap;
            let name = Name { bucket, place };
            if bucket >> width != 0 {
                return Err(DecodeError::TooLarge);
            }
            if before.is_some_and(|before| before >= name) {
                return Err(DecodeError::NonCanonical);
            }
            list.push(name);
        }
        *input = reader.rest()?;
        Ok(Self { width, rice, list })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    proptest! {
        /// REC-9
        #[test]
        fn names_are_read_again_at_about_the_information_bound(
            set in btree_set((0u64..1 << 17, 0u64..3), 0..60),
        ) {
            let list: Vec<Name> = set.into_iter().map(|(bucket, place)| Name { bucket, place }).collect();
            let count = list.len() as f64;
            let names = Names::new(17, 1 << 17, list);
            let mut bytes = Vec::new();
            names.encode(&mut bytes);
            let bound = count * ((131_072.0 / count.max(1.0)).log2() + 5.5);
            prop_assert!(bytes.len() as f64 * 8.0 <= bound + 48.0, "{} bits of {bound}", bytes.len() * 8);
            prop_assert_eq!(Names::decode(&mut bytes.as_slice()), Ok(names));
        }
    }

    #[test]
    fn names_outside_their_width_or_out_of_order_are_refused() {
        let names = |list| Names { width: 3, rice: 0, list };
        let bytes = |names: Names| {
            let mut out = Vec::new();
            names.encode(&mut out);
            out
        };
        let name = |bucket, place| Name { bucket, place };
        assert_eq!(Names::decode(&mut &bytes(names(vec![name(8, 0)]))[..]), Err(DecodeError::TooLarge));
        let twice = bytes(names(vec![name(2, 1), name(2, 1)]));
        assert_eq!(Names::decode(&mut &twice[..]), Err(DecodeError::NonCanonical));
        assert!(Names::decode(&mut &bytes(names(vec![name(2, 0), name(2, 1)]))[..]).is_ok());
    }
}
