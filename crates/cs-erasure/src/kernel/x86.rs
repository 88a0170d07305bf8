//! Kernels for x86-64: products by table look-up (AVX2) or by bit matrices (GFNI).
//!
//! The one module with unsafe code. What is unsafe is to call a function whose instructions the processor lacks, and to
//! load and store by pointer.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::scalar;
use crate::gf8::{AFFINE, NIBBLES};

/// Bytes of each shard that are worked on at a time, so that sources stay in the first-level cache.
const STRIP: usize = 4096;
/// Bytes in the registers of one target.
const BLOCK: usize = 64;

/// Instructions that this processor was found to have: there is no other way to make one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel(Isa);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Isa {
    Avx2,
    Gfni,
}

impl Kernel {
    /// The fastest one there is.
    pub(crate) fn detect() -> Option<Self> {
        Self::available().next()
    }

    fn available() -> impl Iterator<Item = Self> {
        let avx2 = is_x86_feature_detected!("avx2");
        let gfni = avx2 && is_x86_feature_detected!("gfni");
        [(gfni, Isa::Gfni), (avx2, Isa::Avx2)]
            .into_iter()
            .filter(|(found, _)| *found)
            .map(|(_, isa)| Self(isa))
    }

    /// As [`scalar::combine`].
    pub(crate) fn combine(self, rows: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]], keep: bool) {
        let Some(len) = targets.first().map(|target| target.len()) else { return };
        // The pointers below rest on these, in release builds too.
        assert!(sources.iter().all(|source| source.len() == len));
        assert!(targets.iter().all(|target| target.len() == len));
        assert_eq!(rows.len(), sources.len() * targets.len());
        let whole = len - len % BLOCK;
        if sources.is_empty() || whole == 0 {
            return scalar::combine(rows, sources, targets, keep);
        }
        for start in (0..whole).step_by(STRIP) {
            let end = whole.min(start + STRIP);
            for (rows, targets) in rows.chunks(4 * sources.len()).zip(targets.chunks_mut(4)) {
                match targets {
                    [a, b, c, d] => self.strip(rows, sources, [a, b, c, d], (start, end), keep),
                    [a, b, c] => self.strip(rows, sources, [a, b, c], (start, end), keep),
                    [a, b] => self.strip(rows, sources, [a, b], (start, end), keep),
                    [a] => self.strip(rows, sources, [a], (start, end), keep),
                    _ => {}
                }
            }
        }
        if whole < len {
            let sources: Vec<&[u8]> = sources.iter().map(|source| &source[whole..]).collect();
            let mut targets: Vec<&mut [u8]> = targets.iter_mut().map(|target| &mut target[whole..]).collect();
            scalar::combine(rows, &sources, &mut targets, keep);
        }
    }

    fn strip<const N: usize>(
        self,
        rows: &[u8],
        sources: &[&[u8]],
        targets: [&mut [u8]; N],
        range: (usize, usize),
        keep: bool,
    ) {
        // SAFETY: a `Kernel` exists only if `available` found its instructions, and `combine` checked that `range` is
        // within each slice and a multiple of BLOCK long.
        unsafe {
            match self.0 {
                Isa::Avx2 => strip_avx2(rows, sources, targets, range, keep),
                Isa::Gfni => strip_gfni(rows, sources, targets, range, keep),
            }
        }
    }
}

/// # Safety
/// The processor has AVX2 and GFNI; `range` lies within every slice and is whole blocks.
#[target_feature(enable = "avx2,gfni")]
unsafe fn strip_gfni<const N: usize>(
    rows: &[u8],
    sources: &[&[u8]],
    mut targets: [&mut [u8]; N],
    (start, end): (usize, usize),
    keep: bool,
) {
    for at in (start..end).step_by(BLOCK) {
        // SAFETY: at + BLOCK <= end <= the length of every slice; loads and stores need no alignment.
        unsafe {
            let mut sums = load_sums(&targets, at, keep);
            for (j, source) in sources.iter().enumerate() {
                let [low, high] = load(source, at);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let matrix = _mm256_set1_epi64x(AFFINE[usize::from(rows[i * sources.len() + j])] as i64);
                    sum[0] = _mm256_xor_si256(sum[0], _mm256_gf2p8affine_epi64_epi8::<0>(low, matrix));
                    sum[1] = _mm256_xor_si256(sum[1], _mm256_gf2p8affine_epi64_epi8::<0>(high, matrix));
                }
            }
            store_sums(&mut targets, at, sums);
        }
    }
}

/// # Safety
/// The processor has AVX2; `range` lies within every slice and is whole blocks.
#[target_feature(enable = "avx2")]
unsafe fn strip_avx2<const N: usize>(
    rows: &[u8],
    sources: &[&[u8]],
    mut targets: [&mut [u8]; N],
    (start, end): (usize, usize),
    keep: bool,
) {
    let mask = _mm256_set1_epi8(15);
    for at in (start..end).step_by(BLOCK) {
        // SAFETY: at + BLOCK <= end <= the length of every slice; loads and stores need no alignment. A row of
        // NIBBLES is two tables of 16 bytes.
        unsafe {
            let mut sums = load_sums(&targets, at, keep);
            for (j, source) in sources.iter().enumerate() {
                let halves = load(source, at).map(|half| {
                    let high = _mm256_and_si256(_mm256_srli_epi64::<4>(half), mask);
                    [_mm256_and_si256(half, mask), high]
                });
                for (i, sum) in sums.iter_mut().enumerate() {
                    let table = &NIBBLES[usize::from(rows[i * sources.len() + j])];
                    let of_low = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
                    let of_high = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().add(16).cast()));
                    for (sum, [low, high]) in sum.iter_mut().zip(halves) {
                        let product = _mm256_xor_si256(
                            _mm256_shuffle_epi8(of_low, low),
                            _mm256_shuffle_epi8(of_high, high),
                        );
                        *sum = _mm256_xor_si256(*sum, product);
                    }
                }
            }
            store_sums(&mut targets, at, sums);
        }
    }
}

/// # Safety
/// The processor has AVX2; `slice` has BLOCK bytes from `at` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load(slice: &[u8], at: usize) -> [__m256i; 2] {
    debug_assert!(at + BLOCK <= slice.len());
    // SAFETY: as the caller promises.
    unsafe {
        let pointer = slice.as_ptr().add(at);
        [_mm256_loadu_si256(pointer.cast()), _mm256_loadu_si256(pointer.add(32).cast())]
    }
}

/// # Safety
/// As [`load`], for each target.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load_sums<const N: usize>(targets: &[&mut [u8]; N], at: usize, keep: bool) -> [[__m256i; 2]; N] {
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    if keep {
        for (sum, target) in sums.iter_mut().zip(targets) {
            // SAFETY: as the caller promises.
            *sum = unsafe { load(target, at) };
        }
    }
    sums
}

/// # Safety
/// As [`load`], for each target.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn store_sums<const N: usize>(targets: &mut [&mut [u8]; N], at: usize, sums: [[__m256i; 2]; N]) {
    for (target, [low, high]) in targets.iter_mut().zip(sums) {
        debug_assert!(at + BLOCK <= target.len());
        // SAFETY: as the caller promises; the target is borrowed mutably.
        unsafe {
            let pointer = target.as_mut_ptr().add(at);
            _mm256_storeu_si256(pointer.cast(), low);
            _mm256_storeu_si256(pointer.add(32).cast(), high);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| ((i + 1).wrapping_mul(seed * 2 + 0x9e37_79b1) >> 7) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Every kernel that this processor has, at every alignment: the bytes of the scalar loops, and none beside.
        #[test]
        fn kernels_write_what_the_scalar_loops_write(
            (sources, targets, len) in (1usize..12, 1usize..11, 0usize..700), long: bool, shift in 0usize..64, keep: bool,
            seed in 0usize..1 << 20,
        ) {
            let len = if long { len + 4000 } else { len };
            let rows = bytes(sources * targets, seed);
            let data: Vec<Vec<u8>> = (0..sources).map(|i| bytes(len + shift + i, seed + i)).collect();
            let data: Vec<&[u8]> = data.iter().enumerate().map(|(i, shard)| &shard[shift + i..]).collect();
            let before: Vec<Vec<u8>> = (0..targets).map(|i| bytes(len + shift + i + 3, seed + i + 100)).collect();
            let run = |combine: &dyn Fn(&mut [&mut [u8]])| {
                let mut out = before.clone();
                let mut slices: Vec<&mut [u8]> = Vec::new();
                for (i, shard) in out.iter_mut().enumerate() {
                    slices.push(&mut shard[shift + i..][..len]);
                }
                combine(&mut slices);
                out
            };
            let expected = run(&|targets| scalar::combine(&rows, &data, targets, keep));
            for kernel in Kernel::available() {
                let written = run(&|targets| kernel.combine(&rows, &data, targets, keep));
                prop_assert!(written == expected, "{kernel:?}");
            }
        }
    }

    #[test]
    fn kernels_know_every_product() {
        let all: Vec<u8> = (0..=255).collect();
        for c in 0..=255 {
            let expected: Vec<u8> = all.iter().map(|x| crate::gf8::mul(c, *x)).collect();
            for kernel in Kernel::available() {
                let mut out = [0; 256];
                kernel.combine(&[c], &[&all], &mut [&mut out], false);
                assert_eq!(out[..], expected, "{kernel:?} by {c}");
            }
        }
    }
}
