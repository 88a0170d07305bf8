use alloc::vec;
use alloc::vec::Vec;

use crate::fault::{ConfigError, Refused};
use crate::kernel::Kernel;
use crate::matrix::Shape;
use crate::repair::Repair;
use crate::{MAX_SHARDS, linear, matrix, transform};

/// Bytes of each shard that [`Code::verify`] recomputes at a time.
const VERIFY_STRIP: usize = 4096;

/// A systematic Reed-Solomon code: `k` data shards, stored as they are, and `m` parity shards, so that any `k`
/// of the `k + m` give all of them back (maximum distance separable).
///
/// Shards are numbered from 0, data first. All shards of a stripe have the same length: any number of bytes, or, beyond
/// 256 shards, any even number. Byte `i` of the parity depends on byte `i` of the data only (on the pair it
/// belongs to, beyond 256): a shard may be coded piece by piece. A value is immutable; share one for all objects
/// of a geometry.
///
/// The code is fixed by ERA-1 to ERA-3, ERA-7 and ERA-8 and will stay as it is: parity written today is read by later
/// versions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Code {
    shape: Shape,
    /// One row of coefficients a parity shard, where no transform gives them.
    rows: Option<Vec<u16>>,
}

impl Code {
    /// A code of `data` (k) and `parity` (m) shards, both at least 1 and [`MAX_SHARDS`] together at most (ERA-4).
    /// Cost: nothing, or about `k * m` products for the few geometries that have no transform.
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
        let shape = Shape::new(data, parity);
        let rows = (!shape.base.is_power_of_two()).then(|| matrix::generator(shape));
        Ok(Self { shape, rows })
    }

    /// Data shards, k.
    pub fn data_shards(&self) -> usize {
        self.shape.data
    }

    /// Parity shards, m: how many losses are survived.
    pub fn parity_shards(&self) -> usize {
        self.shape.parity
    }

    /// All shards, k + m.
    pub fn total_shards(&self) -> usize {
        self.shape.data + self.shape.parity
    }

    /// Bytes of a field element, of which a shard has whole ones: 1 up to 256 shards, 2 beyond (ERA-8).
    pub fn element_bytes(&self) -> usize {
        if self.shape.is_wide() { 2 } else { 1 }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The factor with which data shard `column` enters parity shard `row`.
    pub(crate) fn coefficient(&self, row: usize, column: usize) -> u16 {
        match &self.rows {
            Some(rows) => rows[row * self.shape.data + column],
            None => self.shape.coefficient(row, column),
        }
    }

    /// Writes all parity shards. What the buffers held is lost.
    ///
    /// Cost a byte of each shard: about `(k + m) * log2(min(k, m)) / 2` products; `k * m` for geometries of more than
    /// 128 shards up to 256 whose smaller side, rounded up to a power of two, has no room beside the larger.
    /// Allocates a few words a shard, and up to 560 KiB of scratch space from 17 shards on the smaller side on (256
    /// bytes a shard of it beyond 4096).
    pub fn encode<D: AsRef<[u8]>, P: AsMut<[u8]>>(
        &self,
        data: &[D],
        parity: &mut [P],
    ) -> Result<(), Refused> {
        let (sources, mut targets) = self.slices(data, parity)?;
        self.encode_with(Kernel::detect(), &sources, &mut targets);
        Ok(())
    }

    /// The shards fit the code.
    pub(crate) fn encode_with(&self, kernel: Kernel, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        match &self.rows {
            Some(rows) => linear::combine(kernel, rows, sources, targets),
            None => transform::encode(kernel, self.shape, sources, targets),
        }
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
        if index >= self.data_shards() {
            return Err(Refused::NoSuchShard { index });
        }
        let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(AsMut::as_mut).collect();
        count(targets.len(), self.parity_shards())?;
        let len = terms.first().map_or(0, |term| term.len());
        same_length(targets.iter().map(|target| target.len()), len)?;
        whole_elements(len, self.shape.is_wide())?;
        let factors: Vec<u16> = (0..targets.len())
            .flat_map(|row| core::iter::repeat_n(self.coefficient(row, index), terms.len()))
            .collect();
        linear::accumulate(Kernel::detect(), &factors, self.shape.is_wide(), terms, &mut targets);
        Ok(())
    }

    /// Whether the parity shards are those of the data shards. `false` says that some shard is wrong, not which:
    /// see [`reconstruct_checked`](Self::reconstruct_checked). Allocates 4 KiB a parity shard at most.
    pub fn verify<D: AsRef<[u8]>, P: AsRef<[u8]>>(&self, data: &[D], parity: &[P]) -> Result<bool, Refused> {
        count(data.len(), self.data_shards())?;
        count(parity.len(), self.parity_shards())?;
        let len = data[0].as_ref().len();
        same_length(data.iter().map(|shard| shard.as_ref().len()), len)?;
        same_length(parity.iter().map(|shard| shard.as_ref().len()), len)?;
        whole_elements(len, self.shape.is_wide())?;
        let mut expected = vec![vec![0; len.min(VERIFY_STRIP)]; self.parity_shards()];
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
        self.rebuild(shards, present, self.data_shards())
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

    /// Data and parity as [`slices`] of this code.
    pub(crate) fn slices<'s, 't, D: AsRef<[u8]>, P: AsMut<[u8]>>(
        &self,
        data: &'s [D],
        parity: &'t mut [P],
    ) -> Result<Slices<'s, 't>, Refused> {
        slices(data, parity, (self.data_shards(), self.parity_shards()), self.shape.is_wide())
    }
}

/// What is read, and what is written.
pub(crate) type Slices<'s, 't> = (Vec<&'s [u8]>, Vec<&'t mut [u8]>);

/// Sources and targets as slices, if there are as many as wanted, all of one length that elements divide (ERA-4, ERA-8).
pub(crate) fn slices<'s, 't, S: AsRef<[u8]>, T: AsMut<[u8]>>(
    sources: &'s [S],
    targets: &'t mut [T],
    (from, to): (usize, usize),
    is_wide: bool,
) -> Result<Slices<'s, 't>, Refused> {
    count(sources.len(), from)?;
    count(targets.len(), to)?;
    let sources: Vec<&[u8]> = sources.iter().map(AsRef::as_ref).collect();
    let targets: Vec<&mut [u8]> = targets.iter_mut().map(AsMut::as_mut).collect();
    let len = sources.first().map_or(0, |source| source.len());
    same_length(sources.iter().map(|source| source.len()), len)?;
    same_length(targets.iter().map(|target| target.len()), len)?;
    whole_elements(len, is_wide)?;
    Ok((sources, targets))
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

/// ERA-8: elements of GF(2^16) are two bytes.
pub(crate) fn whole_elements(len: usize, is_wide: bool) -> Result<(), Refused> {
    if is_wide && !len.is_multiple_of(2) { Err(Refused::OddLength { len }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::product_by_element;

    fn bytes(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    /// Repairs by every kernel, at odd addresses, against what was lost.
    fn rebuilds(data: usize, parity: usize, len: usize, shift: usize, seed: u64) {
        let code = Code::new(data, parity).expect("in range");
        let len = if code.shape.is_wide() { len & !1 } else { len };
        let mut whole: Vec<Vec<u8>> = (0..data).map(|i| bytes(len, seed + i as u64)).collect();
        let mut parities = vec![vec![0; len]; parity];
        code.encode(&whole, &mut parities).expect("shards that fit");
        whole.append(&mut parities);
        let mut numbers: Vec<usize> = (0..data + parity).collect();
        numbers.sort_by_key(|i| bytes(8, seed ^ *i as u64));
        let (available, wanted) = numbers.split_at(data);
        let wanted = &wanted[..1 + seed as usize % wanted.len()];
        let repair = code.repair(available, wanted).expect("enough shards");
        let backing: Vec<Vec<u8>> =
            repair.sources().iter().map(|i| [&vec![1; shift], &whole[*i][..]].concat()).collect();
        let sources: Vec<&[u8]> = backing.iter().map(|shard| &shard[shift..]).collect();
        for kernel in Kernel::available() {
            let mut out = vec![vec![0xee; len + shift]; wanted.len()];
            let mut targets: Vec<&mut [u8]> = out.iter_mut().map(|shard| &mut shard[shift..]).collect();
            repair.run_with(kernel, &sources, &mut targets);
            for (index, out) in wanted.iter().zip(&out) {
                assert!(
                    out[shift..] == whole[*index][..],
                    "{kernel:?} ({data}, {parity}) {len} shard {index}"
                );
            }
        }
    }

    /// Parity by every kernel, at odd addresses, against the matrix element by element.
    fn agrees(data: usize, parity: usize, len: usize, shift: usize, seed: u64) {
        let code = Code::new(data, parity).expect("in range");
        let len = if code.shape.is_wide() { len & !1 } else { len };
        let backing: Vec<Vec<u8>> = (0..data).map(|i| bytes(len + shift, seed + i as u64)).collect();
        let sources: Vec<&[u8]> = backing.iter().map(|shard| &shard[shift..]).collect();
        let rows: Vec<u16> = (0..parity * data).map(|i| code.coefficient(i / data, i % data)).collect();
        let mut expected = vec![vec![0; len]; parity];
        let mut targets: Vec<&mut [u8]> = expected.iter_mut().map(|shard| &mut shard[..]).collect();
        product_by_element(&rows, &sources, &mut targets, code.shape.is_wide(), false);
        for kernel in Kernel::available() {
            let mut out = vec![vec![0xee; len + shift + 1]; parity];
            let mut targets: Vec<&mut [u8]> =
                out.iter_mut().map(|shard| &mut shard[shift..shift + len]).collect();
            code.encode_with(kernel, &sources, &mut targets);
            for (row, (out, expected)) in out.iter().zip(&expected).enumerate() {
                assert_eq!(
                    out[shift..shift + len],
                    expected[..],
                    "{kernel:?} ({data}, {parity}) {len} row {row}"
                );
                assert!(
                    out[..shift].iter().chain(&out[shift + len..]).all(|byte| *byte == 0xee),
                    "{kernel:?}"
                );
            }
        }
    }

    /// ERA-2, ERA-3, ERA-8: the transforms are only a faster way to the same bytes.
    #[test]
    fn transforms_give_what_the_matrix_gives_in_geometries_of_every_kind() {
        let geometries = [
            (1, 1),
            (1, 5),
            (5, 1),
            (2, 2),
            (3, 2),
            (9, 3),
            (3, 9),
            (4, 4),
            (10, 4),
            (5, 8),
            (20, 10),
            (16, 16),
            (17, 17),
            (10, 20),
            (31, 33),
            (64, 64),
            (40, 70),
            (100, 28),
            (128, 128),
            (127, 129),
            (129, 127),
            (200, 50),
            (255, 1),
            (256, 1),
            (300, 2),
            (2, 300),
            (250, 7),
            (7, 260),
            (300, 20),
            (20, 300),
            (260, 40),
            (40, 300),
            (10, 1000),
            (600, 200),
        ];
        for (i, (data, parity)) in geometries.into_iter().enumerate() {
            agrees(data, parity, [2, 64, 66, 130][i % 4], i % 3, i as u64);
            rebuilds(data, parity, [130, 66, 64, 2][i % 4], i % 3, !0 >> (i + 1));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Every kernel that this processor has: random geometries, lengths, alignments and losses.
        #[test]
        fn every_kernel_writes_the_parity_that_the_oracle_writes_and_rebuilds_what_was_lost(
            (data, parity) in (1usize..60, 1usize..60), len in 0usize..700, shift in 0usize..64, seed: u64,
            more in prop::sample::select(vec![0usize, 0, 0, 220]), swap: bool,
        ) {
            let (data, parity) = if swap { (data + more, parity) } else { (data, parity + more) };
            agrees(data, parity, len.min(200_000 / (data * parity)), shift, seed >> 1);
            rebuilds(data, parity, len.min(200_000 / (data * parity)), shift, seed >> 1);
        }
    }
}
