use alloc::vec;
use alloc::vec::Vec;

use crate::fault::{ConfigError, Refused};
use crate::kernel::{combine, mul_add};
use crate::repair::Repair;
use crate::{MAX_SHARDS, matrix, transform};

/// From this many base points on, transforms need fewer operations than the matrix.
const TRANSFORM_FROM: usize = 32;
/// Bytes of each shard that one transform works on: 128 rows of it stay in the second-level cache.
const STRIP: usize = 1024;
/// Bytes of each shard that [`Code::verify`] recomputes at a time.
const VERIFY_STRIP: usize = 4096;

/// A systematic Reed-Solomon code: `k` data shards, stored as they are, and `m` parity shards, so that any `k`
/// of the `k + m` give all of them back (maximum distance separable).
///
/// Shards are numbered from 0, data first. All shards of a stripe have the same length, any number of bytes,
/// and byte `i` of the parity depends on byte `i` of the data only: a shard may be coded piece by piece.
/// A value holds `k * m` bytes and is immutable; share one for all objects of a geometry.
///
/// The code is fixed by ERA-1 to ERA-3 and will stay as it is: parity written today is read by later versions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Code {
    data: usize,
    parity: usize,
    /// One row of `data` coefficients a parity shard.
    rows: Vec<u8>,
}

impl Code {
    /// A code of `data` (k) and `parity` (m) shards, both at least 1 and [`MAX_SHARDS`] together at most (ERA-4).
    /// Cost: about `k * m` products.
    pub fn new(data: usize, parity: usize) -> Result<Self, ConfigError> {
        if data == 0 {
            return Err(ConfigError::NoData);
        }
        if parity == 0 {
            return Err(ConfigError::NoParity);
        }
        if data.saturating_add(parity) > MAX_SHARDS {
            return Err(ConfigError::TooManyShards);
        }
        Ok(Self { data, parity, rows: matrix::generator(data, parity) })
    }

    /// Data shards, k.
    pub fn data_shards(&self) -> usize {
        self.data
    }

    /// Parity shards, m: how many losses are survived.
    pub fn parity_shards(&self) -> usize {
        self.parity
    }

    /// All shards, k + m.
    pub fn total_shards(&self) -> usize {
        self.data + self.parity
    }

    /// The factor with which data shard `column` enters parity shard `row`.
    pub(crate) fn coefficient(&self, row: usize, column: usize) -> u8 {
        self.rows[row * self.data + column]
    }

    /// Writes all parity shards. What the buffers held is lost.
    ///
    /// Cost a byte of each shard: `k * m` products, or about `(k + m) * log2(min(k, m)) / 2` from 17 shards on the
    /// smaller side on. Allocates a few words a shard, and scratch space of up to 256 KiB for transforms.
    pub fn encode<D: AsRef<[u8]>, P: AsMut<[u8]>>(
        &self,
        data: &[D],
        parity: &mut [P],
    ) -> Result<(), Refused> {
        let sources: Vec<&[u8]> = data.iter().map(AsRef::as_ref).collect();
        let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(AsMut::as_mut).collect();
        let len = self.check(&sources, &targets)?;
        let base = matrix::base(self.data, self.parity);
        // ERA-3's exception is not a transform, and it has only two rows.
        if base >= TRANSFORM_FROM && base.is_power_of_two() {
            for start in (0..len).step_by(STRIP) {
                let strip = start..len.min(start + STRIP);
                let sources: Vec<&[u8]> = sources.iter().map(|source| &source[strip.clone()]).collect();
                let mut targets: Vec<&mut [u8]> =
                    targets.iter_mut().map(|target| &mut target[strip.clone()]).collect();
                if self.parity <= self.data {
                    gather(base, &sources, &mut targets);
                } else {
                    spread(base, &sources, &mut targets);
                }
            }
        } else {
            combine(&self.rows, &sources, &mut targets, false);
        }
        Ok(())
    }

    /// Adds one data shard to parities that do not contain it yet: after all `k` of them in any order, parities
    /// that began as zeros are what [`encode`](Self::encode) writes. For data that arrives shard by shard.
    pub fn accumulate<P: AsMut<[u8]>>(
        &self,
        index: usize,
        shard: &[u8],
        parity: &mut [P],
    ) -> Result<(), Refused> {
        self.update(index, &[shard], parity)
    }

    /// Brings the parities up to date after data shard `index` changed from `old` to `new`, without reading
    /// another shard. `old` must be what the parities were made from.
    pub fn update_parity<P: AsMut<[u8]>>(
        &self,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [P],
    ) -> Result<(), Refused> {
        if old.len() != new.len() {
            return Err(Refused::ShardLength { index });
        }
        self.update(index, &[old, new], parity)
    }

    fn update<P: AsMut<[u8]>>(&self, index: usize, terms: &[&[u8]], parity: &mut [P]) -> Result<(), Refused> {
        if index >= self.data {
            return Err(Refused::NoSuchShard { index });
        }
        let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(AsMut::as_mut).collect();
        count(targets.len(), self.parity)?;
        let len = terms.first().map_or(0, |term| term.len());
        same_length(targets.iter().map(|target| target.len()), len)?;
        for (row, target) in targets.iter_mut().enumerate() {
            for term in terms {
                mul_add(target, term, self.coefficient(row, index));
            }
        }
        Ok(())
    }

    /// Whether the parity shards are those of the data shards. `false` says that some shard is wrong, not which:
    /// see [`reconstruct_checked`](Self::reconstruct_checked). Allocates 4 KiB a parity shard at most.
    pub fn verify<D: AsRef<[u8]>, P: AsRef<[u8]>>(&self, data: &[D], parity: &[P]) -> Result<bool, Refused> {
        count(data.len(), self.data)?;
        count(parity.len(), self.parity)?;
        let len = data[0].as_ref().len();
        same_length(data.iter().map(|shard| shard.as_ref().len()), len)?;
        same_length(parity.iter().map(|shard| shard.as_ref().len()), len)?;
        let mut expected = vec![vec![0; len.min(VERIFY_STRIP)]; self.parity];
        for start in (0..len).step_by(VERIFY_STRIP) {
            let strip = start..len.min(start + VERIFY_STRIP);
            let sources: Vec<&[u8]> = data.iter().map(|shard| &shard.as_ref()[strip.clone()]).collect();
            expected.iter_mut().for_each(|row| row.truncate(strip.len()));
            self.encode(&sources, &mut expected)?;
            if expected.iter().zip(parity).any(|(row, shard)| row[..] != shard.as_ref()[strip.clone()]) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Rebuilds every shard whose entry in `present` is false, into the buffer that stands in its place. All
    /// `k + m` buffers have the length of a shard; `k` of them at least hold one.
    pub fn reconstruct<S: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        shards: &mut [S],
        present: &[bool],
    ) -> Result<(), Refused> {
        self.rebuild(shards, present, self.total_shards())
    }

    /// As [`reconstruct`](Self::reconstruct), for the data shards only: missing parity is left alone.
    pub fn reconstruct_data<S: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        shards: &mut [S],
        present: &[bool],
    ) -> Result<(), Refused> {
        self.rebuild(shards, present, self.data)
    }

    fn rebuild<S: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        shards: &mut [S],
        present: &[bool],
        below: usize,
    ) -> Result<(), Refused> {
        count(shards.len(), self.total_shards())?;
        count(present.len(), self.total_shards())?;
        let available: Vec<usize> = (0..present.len()).filter(|i| present[*i]).collect();
        let wanted: Vec<usize> = (0..below).filter(|i| !present[*i]).collect();
        let len = shards[available.first().copied().unwrap_or(0)].as_ref().len();
        same_length(shards.iter().map(|shard| shard.as_ref().len()), len)?;
        self.repair(&available, &wanted)?.run_in_place(shards)
    }

    /// As [`reconstruct`](Self::reconstruct), but no shard is trusted that does not pass `sound` (ERA-5): those that
    /// lie are treated as missing, rebuilt, and reported in ascending order.
    ///
    /// `sound(index, bytes)` is typically a comparison with a stored keyed checksum. It is asked about each present
    /// shard, and then about each rebuilt one: if that one fails, a checksum or the code's inputs were
    /// wrong, and the answer is [`Refused::Unsound`].
    pub fn reconstruct_checked<S: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        shards: &mut [S],
        present: &[bool],
        mut sound: impl FnMut(usize, &[u8]) -> bool,
    ) -> Result<Vec<usize>, Refused> {
        count(shards.len(), self.total_shards())?;
        count(present.len(), self.total_shards())?;
        let mut trusted = present.to_vec();
        let mut lying = Vec::new();
        for (index, shard) in shards.iter().enumerate() {
            if trusted[index] && !sound(index, shard.as_ref()) {
                trusted[index] = false;
                lying.push(index);
            }
        }
        self.reconstruct(shards, &trusted)?;
        for (index, shard) in shards.iter().enumerate() {
            if !trusted[index] && !sound(index, shard.as_ref()) {
                return Err(Refused::Unsound { index });
            }
        }
        Ok(lying)
    }

    /// A plan to make the shards `wanted` from those `available`, for as many stripes as have lost the same ones.
    /// Both lists may be in any order; no shard may be in them twice. See [`Repair`].
    pub fn repair(&self, available: &[usize], wanted: &[usize]) -> Result<Repair, Refused> {
        Repair::plan(self, available, wanted)
    }

    fn check(&self, sources: &[&[u8]], targets: &[&mut [u8]]) -> Result<usize, Refused> {
        count(sources.len(), self.data)?;
        count(targets.len(), self.parity)?;
        let len = sources[0].len();
        same_length(sources.iter().map(|source| source.len()), len)?;
        same_length(targets.iter().map(|target| target.len()), len)?;
        Ok(len)
    }
}

pub(crate) fn count(given: usize, needed: usize) -> Result<(), Refused> {
    if given == needed { Ok(()) } else { Err(Refused::ShardCount { given, needed }) }
}

pub(crate) fn same_length(lengths: impl Iterator<Item = usize>, len: usize) -> Result<(), Refused> {
    match lengths.enumerate().find(|(_, other)| *other != len) {
        Some((index, _)) => Err(Refused::ShardLength { index }),
        None => Ok(()),
    }
}

/// Parity of at least as many data shards: the polynomials through each block of `base` data shards are added, and
/// the sum is evaluated at the first points. The same as the matrix, by the duality of ERA-2.
fn gather(base: usize, data: &[&[u8]], parity: &mut [&mut [u8]]) {
    let width = parity[0].len();
    let mut sum = vec![0; base * width];
    let mut block = vec![0; base * width];
    for (number, shards) in data.chunks(base).enumerate() {
        load(&mut block, shards, width);
        transform::inverse(&mut block, width, base * (number + 1));
        mul_add(&mut sum, &block, 1);
    }
    transform::forward(&mut sum, width, 0);
    for (target, row) in parity.iter_mut().zip(sum.chunks_exact(width)) {
        target.copy_from_slice(row);
    }
}

/// Parity of fewer data shards: the polynomial through them is evaluated at block after block of further points.
fn spread(base: usize, data: &[&[u8]], parity: &mut [&mut [u8]]) {
    let width = parity[0].len();
    let mut coefficients = vec![0; base * width];
    load(&mut coefficients, data, width);
    transform::inverse(&mut coefficients, width, 0);
    let mut block = vec![0; base * width];
    for (number, targets) in parity.chunks_mut(base).enumerate() {
        block.copy_from_slice(&coefficients);
        transform::forward(&mut block, width, base * (number + 1));
        for (target, row) in targets.iter_mut().zip(block.chunks_exact(width)) {
            target.copy_from_slice(row);
        }
    }
}

/// Missing shards of the last block are zeros.
fn load(block: &mut [u8], shards: &[&[u8]], width: usize) {
    for (row, shard) in block.chunks_exact_mut(width).zip(shards) {
        row.copy_from_slice(shard);
    }
    block[shards.len() * width..].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ERA-2: the transforms are only a faster way to the same bytes.
    #[test]
    fn transforms_give_what_the_matrix_gives_for_every_geometry() {
        for total in (2..=MAX_SHARDS).step_by(3).chain([256]) {
            for parity in (1..total).step_by(5).chain([total / 2]) {
                let code = Code::new(total - parity, parity).expect("in range");
                let base = matrix::base(code.data, parity);
                if parity == 2 || !base.is_power_of_two() {
                    continue;
                }
                let data: Vec<[u8; 2]> =
                    (0..code.data).map(|i| [(i * 59 + 7) as u8, (i * i + total) as u8]).collect();
                let sources: Vec<&[u8]> = data.iter().map(|shard| &shard[..]).collect();
                let mut by_matrix = vec![[0; 2]; parity];
                let mut by_transform = vec![[0; 2]; parity];
                let mut targets: Vec<&mut [u8]> = by_matrix.iter_mut().map(|shard| &mut shard[..]).collect();
                combine(&code.rows, &sources, &mut targets, false);
                let mut targets: Vec<&mut [u8]> =
                    by_transform.iter_mut().map(|shard| &mut shard[..]).collect();
                if parity <= code.data {
                    gather(base, &sources, &mut targets);
                } else {
                    spread(base, &sources, &mut targets);
                }
                assert_eq!(by_matrix, by_transform, "({}, {parity})", code.data);
            }
        }
    }
}
