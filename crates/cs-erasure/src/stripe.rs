use alloc::vec;
use alloc::vec::Vec;

use crate::code::{Code, count, same_length};
use crate::fault::{ConfigError, Refused};
use crate::plans::Plans;

/// Loss patterns that a reader keeps plans for.
const PLANS: usize = 8;

/// One coded piece of an object: a shard of each number.
#[derive(Clone, Copy, Debug)]
pub struct Stripe<'a> {
    /// Position in the object, from 0.
    pub number: u64,
    bytes: &'a [u8],
    shard_bytes: usize,
}

impl<'a> Stripe<'a> {
    /// All `k + m` shards by number.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks_exact(self.shard_bytes)
    }
}

/// Codes an object of any size in bounded memory: bytes in, stripes out (ERA-6).
///
/// Holds one stripe, `(k + m) * shard_bytes` bytes.
#[derive(Clone, Debug)]
pub struct StripeWriter<'c> {
    code: &'c Code,
    shard_bytes: usize,
    stripe: Vec<u8>,
    filled: usize,
    number: u64,
    written: u64,
}

impl<'c> StripeWriter<'c> {
    /// `shard_bytes` is the length of each shard of a stripe, at least 1, and even beyond 256 shards; 4 KiB to 64 KiB serve
    /// well.
    pub fn new(code: &'c Code, shard_bytes: usize) -> Result<Self, ConfigError> {
        let len = stripe_len(code, shard_bytes)?;
        Ok(Self { code, shard_bytes, stripe: vec![0; len], filled: 0, number: 0, written: 0 })
    }

    /// Takes the next bytes of the object and calls `emit` for each stripe they complete.
    pub fn write(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Stripe<'_>)) {
        let full = self.code.data_shards() * self.shard_bytes;
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(full - self.filled));
            self.stripe[self.filled..][..head.len()].copy_from_slice(head);
            self.filled += head.len();
            self.written += head.len() as u64;
            bytes = rest;
            if self.filled == full {
                self.flush(&mut emit);
            }
        }
    }

    /// Fills the last stripe with zeros, emits it if there is one, and returns the length of the object in bytes, which
    /// the reader needs.
    pub fn finish(mut self, mut emit: impl FnMut(Stripe<'_>)) -> u64 {
        if self.filled > 0 {
            let full = self.code.data_shards() * self.shard_bytes;
            self.stripe[self.filled..full].fill(0);
            self.flush(&mut emit);
        }
        self.written
    }

    fn flush(&mut self, emit: &mut impl FnMut(Stripe<'_>)) {
        let (data, parity) = self.stripe.split_at_mut(self.code.data_shards() * self.shard_bytes);
        let data: Vec<&[u8]> = data.chunks_exact(self.shard_bytes).collect();
        let mut parity: Vec<&mut [u8]> = parity.chunks_exact_mut(self.shard_bytes).collect();
        self.code.encode(&data, &mut parity).expect("the stripe is cut into the code's shards");
        emit(Stripe { number: self.number, bytes: &self.stripe, shard_bytes: self.shard_bytes });
        self.number += 1;
        self.filled = 0;
    }
}

/// Gives an object back, stripe by stripe in order (ERA-6). Holds no bytes, and the plans of the last loss patterns.
#[derive(Clone, Debug)]
pub struct StripeReader<'c> {
    code: &'c Code,
    plans: Plans<'c>,
    shard_bytes: usize,
    left: u64,
}

impl<'c> StripeReader<'c> {
    /// For an object of `object_bytes` in stripes whose shards have `shard_bytes`.
    pub fn new(code: &'c Code, shard_bytes: usize, object_bytes: u64) -> Result<Self, ConfigError> {
        stripe_len(code, shard_bytes)?;
        Ok(Self { code, plans: Plans::new(code, PLANS), shard_bytes, left: object_bytes })
    }

    /// Stripes still to read.
    pub fn stripes_left(&self) -> u64 {
        self.left.div_ceil(self.code.data_shards() as u64 * self.shard_bytes as u64)
    }

    /// Rebuilds the data shards of the next stripe in `shards` (see [`Code::reconstruct_data`]) and hands the
    /// object's next bytes to `emit`, shard by shard. After an error the stripe may be tried again.
    pub fn read<S: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        shards: &mut [S],
        present: &[bool],
        mut emit: impl FnMut(&[u8]),
    ) -> Result<(), Refused> {
        if self.left == 0 {
            return Err(Refused::Complete);
        }
        count(shards.len(), self.code.total_shards())?;
        same_length(shards.iter().map(|shard| shard.as_ref().len()), self.shard_bytes)?;
        self.plans.reconstruct_data(shards, present)?;
        for shard in shards.iter().take(self.code.data_shards()) {
            let len = self.left.min(self.shard_bytes as u64);
            emit(&shard.as_ref()[..len as usize]);
            self.left -= len;
            if self.left == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn stripe_len(code: &Code, shard_bytes: usize) -> Result<usize, ConfigError> {
    match code.total_shards().checked_mul(shard_bytes) {
        Some(len)
            if len > 0
                && isize::try_from(len).is_ok()
                && shard_bytes.is_multiple_of(code.element_bytes()) =>
        {
            Ok(len)
        }
        _ => Err(ConfigError::ShardLength),
    }
}
