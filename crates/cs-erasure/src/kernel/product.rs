//! Products by a matrix: what few targets need, and geometries that have no transform.

use alloc::vec::Vec;

use super::lanes::{Factor, Lanes, unrolled};

/// `targets[i] = sum over j of factors[i * sources.len() + j] * sources[j]`.
#[derive(Debug)]
pub(crate) struct Product<'a, 's, 't> {
    pub(crate) factors: &'a [u16],
    pub(crate) sources: &'a [&'s [u8]],
    pub(crate) targets: &'a mut [&'t mut [u8]],
    /// Adds to what the targets hold.
    pub(crate) keep: bool,
    /// The first column.
    pub(crate) start: usize,
    /// The last column and one; the distance is a multiple of [`BLOCK`](super::BLOCK).
    pub(crate) end: usize,
}

impl Product<'_, '_, '_> {
    /// What the pointers of [`run`] rest on.
    pub(crate) fn is_sound(&self) -> bool {
        self.start <= self.end
            && (self.end - self.start).is_multiple_of(super::BLOCK)
            && self.factors.len() == self.sources.len() * self.targets.len()
            && self.sources.iter().all(|source| source.len() >= self.end)
            && self.targets.iter().all(|target| target.len() >= self.end)
    }
}

/// Which products a group of targets needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// All factors are 1.
    Sum,
    /// All factors are of GF(2^8).
    Narrow,
    Wide,
}

/// Most sources at a time: more streams than this are more than the processor foresees.
const SOURCES: usize = 12;
/// Columns that are too few for streams to matter.
const SHORT: usize = 8192;

/// # Safety
/// The processor has the instructions of `V`; the job [is sound](Product::is_sound).
#[inline(always)]
pub(crate) unsafe fn run<V: Lanes>(job: &mut Product<'_, '_, '_>) {
    let group = if V::BYTES == 64 { 8 } else { 4 };
    let count = job.sources.len();
    let mut factors = Vec::with_capacity(job.factors.len());
    for rows in job.factors.chunks(group * count) {
        for column in 0..count {
            factors.extend(rows.chunks_exact(count).map(|row| Factor::new::<V>(row[column])));
        }
    }
    let kinds: Vec<Kind> = job.factors.chunks(group * count).map(kind).collect();
    let is_one_group = job.targets.len() <= group;
    let is_short = is_one_group && job.end - job.start <= SHORT;
    let at_once = if is_short { count } else { count.div_ceil(count.div_ceil(SOURCES)) };
    // A strip of sources stays in the first-level cache while groups of targets come and go.
    let strip = match (at_once == count, is_one_group) {
        (true, true) => job.end,
        (false, true) => 4096,
        _ => 1536,
    };
    for start in (job.start..job.end).step_by(strip.max(1)) {
        let range = (start, job.end.min(start + strip));
        for first in (0..count).step_by(at_once) {
            let sources = &job.sources[first..count.min(first + at_once)];
            let keep = job.keep || first > 0;
            for (i, targets) in job.targets.chunks_mut(group).enumerate() {
                let factors = &factors[i * group * count + first * targets.len()..];
                // SAFETY: the caller's promise covers all columns below `job.end`, and `strip` keeps whole blocks.
                unsafe { some::<V>(factors, kinds[i], sources, targets, range, keep) };
            }
        }
    }
}

fn kind(rows: &[u16]) -> Kind {
    match rows.iter().max() {
        _ if rows.iter().all(|factor| *factor == 1) => Kind::Sum,
        Some(0x100..) => Kind::Wide,
        _ => Kind::Narrow,
    }
}

/// # Safety
/// As [`columns`], of at most 8 targets.
#[inline(always)]
unsafe fn some<V: Lanes>(
    factors: &[Factor<V::Table>],
    kind: Kind,
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
    range: (usize, usize),
    keep: bool,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match targets.len() {
            8 => columns::<V, 8>(factors, kind, sources, targets, range, keep),
            7 => columns::<V, 7>(factors, kind, sources, targets, range, keep),
            6 => columns::<V, 6>(factors, kind, sources, targets, range, keep),
            5 => columns::<V, 5>(factors, kind, sources, targets, range, keep),
            4 => columns::<V, 4>(factors, kind, sources, targets, range, keep),
            3 => columns::<V, 3>(factors, kind, sources, targets, range, keep),
            2 => columns::<V, 2>(factors, kind, sources, targets, range, keep),
            _ => columns::<V, 1>(factors, kind, sources, targets, range, keep),
        }
    }
}

/// # Safety
/// The processor has the instructions of `V`; `end - start` is a multiple of `V::BYTES`, and every shard has `end`
/// bytes; there are `N` targets, and `N` factors a source in the order of the sources.
#[inline(always)]
unsafe fn columns<V: Lanes, const N: usize>(
    factors: &[Factor<V::Table>],
    kind: Kind,
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
    (start, end): (usize, usize),
    keep: bool,
) {
    let mut to = [core::ptr::null_mut::<u8>(); N];
    for (to, target) in to.iter_mut().zip(targets) {
        *to = target.as_mut_ptr();
    }
    for at in (start..end).step_by(V::BYTES) {
        // SAFETY: as the caller promises.
        unsafe {
            let mut sums = [V::zero(); N];
            if keep {
                unrolled!(i in N, {
                    sums[i] = V::load(to[i].add(at));
                });
            }
            for (source, factors) in sources.iter().zip(factors.chunks_exact(N)) {
                let x = V::load(source.as_ptr().add(at));
                match kind {
                    Kind::Sum => {
                        unrolled!(i in N, {
                            sums[i] = sums[i].add(x);
                        });
                    }
                    Kind::Narrow => {
                        unrolled!(i in N, {
                            sums[i] = sums[i].add(x.mul(factors[i].low));
                        });
                    }
                    Kind::Wide => {
                        let folded = x.fold();
                        unrolled!(i in N, {
                            let product = x.mul(factors[i].low).add(folded.mul(factors[i].high));
                            sums[i] = sums[i].add(product);
                        });
                    }
                }
            }
            unrolled!(i in N, {
                sums[i].store(to[i].add(at));
            });
        }
    }
}
