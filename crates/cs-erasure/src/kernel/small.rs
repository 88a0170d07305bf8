//! Whole codes whose smaller side fits in registers: each byte is read once and written once.

use alloc::vec::Vec;

use super::butterfly::{Twists, forward_above, forward_lowest, inverse_above, inverse_lowest};
use super::lanes::{Lanes, is_far, unrolled};

/// How far ahead lines are asked for: a row takes as long as some of these.
const AHEAD: usize = 2048;

/// A code of `2^depth` base points that runs without scratch space.
#[derive(Debug)]
pub(crate) struct Small<'a, 's, 't> {
    /// `log2` of the base points, at least 1.
    pub(crate) depth: u32,
    /// ERA-3: the first of two parities is the plain sum.
    pub(crate) plain_sum: bool,
    pub(crate) sources: &'a [&'s [u8]],
    pub(crate) targets: &'a mut [&'t mut [u8]],
    /// Elements are pairs of bytes.
    pub(crate) is_wide: bool,
    /// The first column.
    pub(crate) start: usize,
    /// The last column and one; the distance is a multiple of [`BLOCK`](super::BLOCK).
    pub(crate) end: usize,
}

impl Small<'_, '_, '_> {
    /// What the pointers of [`gather`] and [`spread`] rest on.
    pub(crate) fn is_sound(&self) -> bool {
        self.start <= self.end
            && (self.end - self.start).is_multiple_of(super::BLOCK)
            && self.sources.iter().all(|source| source.len() >= self.end)
            && self.targets.iter().all(|target| target.len() >= self.end)
    }
}

/// Parity of at least as many data shards: the coefficients of all blocks are added and evaluated at the base points.
///
/// # Safety
/// The processor has the instructions of `V`; the job [is sound](Small::is_sound), and has at most `R` targets. `W` if
/// the points go beyond GF(2^8), or bytes are wrong.
#[inline(always)]
pub(crate) unsafe fn gather<V: Lanes, const R: usize, const W: bool>(job: &mut Small<'_, '_, '_>) {
    let blocks = job.sources.len().div_ceil(R);
    let twists: Vec<Twists<V::Table, R>> = (1..=blocks).map(|block| Twists::new(block * R, 0)).collect();
    let origin = Twists::<V::Table, R>::new(0, 0);
    let is_far = is_far(job.sources, job.end - job.start);
    for at in (job.start..job.end).step_by(V::BYTES) {
        // SAFETY: the instructions are there, as the caller promises; at + V::BYTES <= job.end <= every length, since
        // V::BYTES divides the distance.
        unsafe {
            let mut sum = [V::zero(); R];
            for (shards, twists) in job.sources.chunks(R).zip(&twists) {
                let mut rows = [V::zero(); R];
                if let Ok(shards) = <&[&[u8]; R]>::try_from(shards) {
                    if is_far {
                        unrolled!(i in R, {
                            V::prefetch(shards[i].as_ptr().wrapping_add(at + AHEAD));
                        });
                    }
                    unrolled!(i in R, {
                        rows[i] = V::load(shards[i].as_ptr().add(at));
                    });
                } else {
                    unrolled!(i in R, {
                        if i < shards.len() {
                            rows[i] = V::load(shards[i].as_ptr().add(at));
                        }
                    });
                }
                inverse_lowest::<V, R, W>(&mut rows, twists);
                inverse_above::<V, R, W>(&mut rows, twists);
                unrolled!(i in R, {
                    sum[i] = sum[i].add(rows[i]);
                });
            }
            forward_above::<V, R, false>(&mut sum, &origin);
            forward_lowest::<V, R, false>(&mut sum, &origin);
            if job.plain_sum && R == 2 {
                sum[0] = sum[0].add(sum[1]);
            }
            unrolled!(i in R, {
                if let Some(target) = job.targets.get_mut(i) {
                    sum[i].store(target.as_mut_ptr().add(at));
                }
            });
        }
    }
}

/// Parity of fewer data shards: their polynomial is evaluated at block after block of further points.
///
/// # Safety
/// The processor has the instructions of `V`; the job [is sound](Small::is_sound), and has at most `R` sources.
#[inline(always)]
pub(crate) unsafe fn spread<V: Lanes, const R: usize, const W: bool>(job: &mut Small<'_, '_, '_>) {
    let blocks = job.targets.len().div_ceil(R);
    let twists: Vec<Twists<V::Table, R>> = (1..=blocks).map(|block| Twists::new(block * R, 0)).collect();
    let origin = Twists::<V::Table, R>::new(0, 0);
    for at in (job.start..job.end).step_by(V::BYTES) {
        // SAFETY: as in `gather`.
        unsafe {
            let mut coefficients = [V::zero(); R];
            unrolled!(i in R, {
                if let Some(source) = job.sources.get(i) {
                    coefficients[i] = V::load(source.as_ptr().add(at));
                }
            });
            inverse_lowest::<V, R, false>(&mut coefficients, &origin);
            inverse_above::<V, R, false>(&mut coefficients, &origin);
            for (targets, twists) in job.targets.chunks_mut(R).zip(&twists) {
                let mut rows = coefficients;
                forward_above::<V, R, W>(&mut rows, twists);
                forward_lowest::<V, R, W>(&mut rows, twists);
                unrolled!(i in R, {
                    if let Some(target) = targets.get_mut(i) {
                        rows[i].store(target.as_mut_ptr().add(at));
                    }
                });
            }
        }
    }
}
