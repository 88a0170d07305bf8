//! Products by a matrix: what few targets need, and geometries that have no transform.

use alloc::vec::Vec;

use super::lanes::{Factor, Lanes, is_far, unrolled};

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
/// The same for shards that come from memory: few, and each for many pages on end.
const SOURCES_FAR: usize = 6;
/// Bytes of targets that stay in the second-level cache while sources come and go.
const TARGETS: usize = 64 << 10;
/// How far ahead lines of each source are asked for.
const AHEAD: usize = 512;
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
            factors.extend(rows.chunks_exact(count).map(|row| Factor::new(row[column])));
        }
    }
    let kinds: Vec<Kind> = job.factors.chunks(group * count).map(kind).collect();
    let is_one_group = job.targets.len() <= group;
    let is_far = is_one_group && is_far(job.sources, job.end - job.start);
    let (at_once, strip) = blocking(job, is_one_group, is_far);
    for start in (job.start..job.end).step_by(strip.max(1)) {
        let end = job.end.min(start + strip);
        for first in (0..count).step_by(at_once) {
            let sources = &job.sources[first..count.min(first + at_once)];
            let part = Part { start, end, keep: job.keep || first > 0, is_far };
            for (i, targets) in job.targets.chunks_mut(group).enumerate() {
                let factors = &factors[i * group * count + first * targets.len()..];
                // SAFETY: the caller's promise covers all columns below `job.end`, and `strip` keeps whole blocks.
                unsafe { some::<V>(factors, kinds[i], sources, targets, part) };
            }
        }
    }
}

/// Columns of some sources that are read at a time.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    end: usize,
    /// Adds to what the targets hold.
    keep: bool,
    /// Sources come from memory.
    is_far: bool,
}

/// How many sources are read at a time, and how many columns of them.
fn blocking(job: &Product<'_, '_, '_>, is_one_group: bool, is_far: bool) -> (usize, usize) {
    let (count, len) = (job.sources.len(), job.end - job.start);
    let evenly = |most: usize| count.div_ceil(count.div_ceil(most));
    if !is_one_group {
        // A strip of sources stays in the first-level cache while groups of targets come and go.
        return (evenly(SOURCES), 1536);
    }
    if is_far {
        // Whole pages: a source is read on end for as long as its targets stay in the second-level cache.
        return (evenly(SOURCES_FAR), (TARGETS / job.targets.len().max(1)).max(4096) & !4095);
    }
    let at_once = if len <= SHORT { count } else { evenly(SOURCES) };
    (at_once, if at_once == count { len } else { 4096 })
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
    part: Part,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match targets.len() {
            8 => columns::<V, 8>(factors, kind, sources, targets, part),
            7 => columns::<V, 7>(factors, kind, sources, targets, part),
            6 => columns::<V, 6>(factors, kind, sources, targets, part),
            5 => columns::<V, 5>(factors, kind, sources, targets, part),
            4 => columns::<V, 4>(factors, kind, sources, targets, part),
            3 => columns::<V, 3>(factors, kind, sources, targets, part),
            2 => columns::<V, 2>(factors, kind, sources, targets, part),
            _ => columns::<V, 1>(factors, kind, sources, targets, part),
        }
    }
}

/// # Safety
/// The processor has the instructions of `V`; `part.end - part.start` is a multiple of `V::BYTES`, and every shard has `part.end`
/// bytes; there are `N` targets, and `N` factors a source in the order of the sources.
#[inline(always)]
unsafe fn columns<V: Lanes, const N: usize>(
    factors: &[Factor<V::Table>],
    kind: Kind,
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
    part: Part,
) {
    let mut to = [core::ptr::null_mut::<u8>(); N];
    for (to, target) in to.iter_mut().zip(targets) {
        *to = target.as_mut_ptr();
    }
    for at in (part.start..part.end).step_by(V::BYTES) {
        // SAFETY: as the caller promises.
        unsafe {
            let mut sums = [V::zero(); N];
            if part.keep {
                unrolled!(i in N, {
                    sums[i] = V::load(to[i].add(at));
                });
            }
            for (source, factors) in sources.iter().zip(factors.chunks_exact(N)) {
                let x = V::load(source.as_ptr().add(at));
                if part.is_far {
                    V::prefetch(source.as_ptr().wrapping_add(at + AHEAD));
                }
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
