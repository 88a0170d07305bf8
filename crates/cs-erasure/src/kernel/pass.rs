//! One pass of a large transform over strips of rows, with all that can be done while they are in registers.

use alloc::boxed::Box;
use core::mem::MaybeUninit;

use super::butterfly::{Twists, forward_above, forward_lowest, inverse_above, inverse_lowest};
use super::lanes::{Factor, Lanes, mul_wide, unrolled};
use super::{BLOCK, Line};

/// Where the rows of a pass are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// The caller's shards: sources if read, targets if written.
    Shards,
    /// The block at work.
    Work,
    /// The sum over blocks.
    Sum,
}

/// What happens to rows in registers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step<'w> {
    /// Values to coefficients, for rows whose first is at the point `offset`.
    Inverse {
        offset: usize,
        /// With the lowest layer of the group.
        whole: bool,
    },
    /// Adds the rows of [`Place::Sum`].
    Add,
    /// Coefficients to values, for rows whose first is at the point `offset`.
    Forward {
        offset: usize,
        /// With the lowest layer of the group.
        whole: bool,
    },
    /// What each row takes of itself, and of the other one of its pair.
    Mix(&'w [[u16; 2]]),
}

/// Most steps of a pass.
pub(crate) const STEPS_MAX: usize = 3;

/// Some layers of a transform: rows are read, go through the steps, and are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'w> {
    /// The lowest layer.
    pub(crate) layer: u32,
    /// How many layers, 2 to 4.
    pub(crate) depth: u32,
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) steps: [Option<Step<'w>>; STEPS_MAX],
}

/// The rows at work: two planes, a row of zeros and one that nobody reads.
#[derive(Debug)]
pub(crate) struct Planes {
    /// A row is written before it is read, so that nothing is gained by zeros.
    lines: Box<[MaybeUninit<Line>]>,
    rows: usize,
    /// Lines from row to row: one more than the width, since rows at a distance of a power of two would
    /// share few sets of the cache.
    pitch: usize,
}

impl Planes {
    /// `rows` of `width` bytes; `width` is a multiple of [`BLOCK`].
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        let pitch = width / BLOCK + 1;
        let mut lines = Box::new_uninit_slice((2 * rows + 2) * pitch);
        for line in &mut lines[2 * rows * pitch..] {
            line.write(Line([0; BLOCK]));
        }
        Self { lines, rows, pitch }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether strips of this width fit.
    pub(crate) fn has_room_for(&self, width: usize) -> bool {
        width.is_multiple_of(BLOCK) && width / BLOCK <= self.pitch
    }

    /// Index of the first line of a row.
    #[inline(always)]
    fn line(&self, place: Place, row: usize) -> usize {
        debug_assert!(row < self.rows);
        let plane = if place == Place::Sum { self.rows } else { 0 };
        (plane + row) * self.pitch
    }
}

/// The columns of the shards that passes work on.
#[derive(Debug)]
pub(crate) struct Strip<'a, 's, 't> {
    /// By row; a row that is empty or beyond the end holds zeros.
    pub(crate) sources: &'a [&'s [u8]],
    /// By row; a row that is empty or beyond the end is not wanted.
    pub(crate) targets: &'a mut [&'t mut [u8]],
    /// The first column.
    pub(crate) at: usize,
    /// How many, a multiple of [`BLOCK`].
    pub(crate) width: usize,
    /// Elements are pairs of bytes.
    pub(crate) is_wide: bool,
    pub(crate) planes: &'a mut Planes,
}

impl Strip<'_, '_, '_> {
    /// What the pointers of [`run`] rest on.
    pub(crate) fn is_sound(&self) -> bool {
        let fits = |len: usize| len == 0 || len >= self.width && len - self.width >= self.at;
        self.planes.has_room_for(self.width)
            && self.sources.iter().all(|source| fits(source.len()))
            && self.targets.iter().all(|target| fits(target.len()))
    }

    /// Where to read a row, or nothing if it holds zeros.
    #[inline(always)]
    fn source(&self, place: Place, row: usize) -> Option<*const u8> {
        if place == Place::Shards {
            let source = self.sources.get(row)?;
            return source.get(self.at..).filter(|rest| !rest.is_empty()).map(<[u8]>::as_ptr);
        }
        Some(self.planes.lines.as_ptr().wrapping_add(self.planes.line(place, row)).cast())
    }

    /// Where to write a row, or nothing if it is not wanted.
    #[inline(always)]
    fn target(&mut self, place: Place, row: usize) -> Option<*mut u8> {
        if place == Place::Shards {
            let target = self.targets.get_mut(row)?;
            return target.get_mut(self.at..).filter(|rest| !rest.is_empty()).map(<[u8]>::as_mut_ptr);
        }
        let line = self.planes.line(place, row);
        Some(self.planes.lines.as_mut_ptr().wrapping_add(line).cast())
    }

    /// A row of zeros.
    #[inline(always)]
    fn zeros(&self) -> *const u8 {
        self.planes.lines.as_ptr().wrapping_add(2 * self.planes.rows * self.planes.pitch).cast()
    }

    /// A row that nobody reads.
    #[inline(always)]
    fn nowhere(&mut self) -> *mut u8 {
        let line = (2 * self.planes.rows + 1) * self.planes.pitch;
        self.planes.lines.as_mut_ptr().wrapping_add(line).cast()
    }
}

/// Where the rows of one group are.
struct Group<T, const R: usize> {
    from: [*const u8; R],
    sum: [*const u8; R],
    to: [*mut u8; R],
    mix: [[Factor<T>; 2]; R],
}

/// Runs a pass of `log2(R)` layers. Bytes are wrong without `W` if a factor is outside GF(2^8).
///
/// # Safety
/// The processor has the instructions of `V`; the strip [is sound](Strip::is_sound); what is mixed are `planes.rows` rows,
/// and the layers are within those of `planes.rows` rows.
#[inline(always)]
pub(crate) unsafe fn run<V: Lanes, const R: usize, const W: bool>(
    pass: &Pass<'_>,
    strip: &mut Strip<'_, '_, '_>,
) {
    let (rows, stride, width) = (strip.planes.rows, 1 << pass.layer, strip.width);
    for block in (0..rows).step_by(R * stride) {
        let mut twists = [None; STEPS_MAX];
        for (twists, step) in twists.iter_mut().zip(&pass.steps) {
            if let Some(Step::Inverse { offset, .. } | Step::Forward { offset, .. }) = step {
                *twists = Some(Twists::new(offset + block, pass.layer));
            }
        }
        for first in block..block + stride {
            if let Some(group) = group::<V, R>(pass, strip, first) {
                // SAFETY: each pointer of the group is to a row of `width` bytes that the strip borrows; sources are
                // not written, and a row of the planes is read before it is written, column by column.
                unsafe { columns::<V, R, W>(pass, &group, &twists, width) };
            }
        }
    }
}

/// The group of rows from `first` on, or nothing if none of its results is wanted.
#[inline(always)]
fn group<V: Lanes, const R: usize>(
    pass: &Pass<'_>,
    strip: &mut Strip<'_, '_, '_>,
    first: usize,
) -> Option<Group<V::Table, R>> {
    let mut group = Group {
        from: [strip.zeros(); R],
        sum: [strip.zeros(); R],
        to: [strip.nowhere(); R],
        mix: [[Factor::new(0); 2]; R],
    };
    let mut is_wanted = false;
    for i in 0..R {
        let row = first + (i << pass.layer);
        if let Some(target) = strip.target(pass.to, row) {
            group.to[i] = target;
            is_wanted = true;
        }
        if let Some(source) = strip.source(pass.from, row) {
            group.from[i] = source;
        }
        group.sum[i] = strip.source(Place::Sum, row).unwrap_or(group.sum[i]);
        for step in pass.steps.iter().flatten() {
            if let Step::Mix(factors) = step {
                let [own, other] = factors[row];
                group.mix[i] = [Factor::new(own), Factor::new(other)];
            }
        }
    }
    is_wanted.then_some(group)
}

/// # Safety
/// The processor has the instructions of `V`; `width` bytes may be read and written at each pointer.
#[inline(always)]
unsafe fn columns<V: Lanes, const R: usize, const W: bool>(
    pass: &Pass<'_>,
    group: &Group<V::Table, R>,
    twists: &[Option<Twists<V::Table, R>>; STEPS_MAX],
    width: usize,
) {
    for at in (0..width).step_by(V::BYTES) {
        // SAFETY: as the caller promises; `V::BYTES` divides BLOCK, and BLOCK divides `width`.
        unsafe {
            let mut rows = [V::zero(); R];
            unrolled!(i in R, {
                rows[i] = V::load(group.from[i].add(at));
            });
            for (step, twists) in pass.steps.iter().zip(twists) {
                match (step, twists) {
                    (Some(Step::Inverse { whole, .. }), Some(twists)) => {
                        if *whole {
                            inverse_lowest::<V, R, W>(&mut rows, twists);
                        }
                        inverse_above::<V, R, W>(&mut rows, twists);
                    }
                    (Some(Step::Forward { whole, .. }), Some(twists)) => {
                        forward_above::<V, R, W>(&mut rows, twists);
                        if *whole {
                            forward_lowest::<V, R, W>(&mut rows, twists);
                        }
                    }
                    (Some(Step::Add), _) => {
                        unrolled!(i in R, {
                            rows[i] = rows[i].add(V::load(group.sum[i].add(at)));
                        });
                    }
                    (Some(Step::Mix(_)), _) => mix::<V, R, W>(&mut rows, &group.mix),
                    _ => break,
                }
            }
            unrolled!(i in R, {
                rows[i].store(group.to[i].add(at));
            });
        }
    }
}

#[inline(always)]
fn mix<V: Lanes, const R: usize, const W: bool>(rows: &mut [V; R], factors: &[[Factor<V::Table>; 2]; R]) {
    unrolled!(pair in R / 2, {
        let [low, high] = [rows[2 * pair], rows[2 * pair + 1]];
        let [of_low, of_high] = [factors[2 * pair], factors[2 * pair + 1]];
        if W {
            rows[2 * pair] = mul_wide(low, of_low[0]).add(mul_wide(high, of_low[1]));
            rows[2 * pair + 1] = mul_wide(high, of_high[0]).add(mul_wide(low, of_high[1]));
        } else {
            rows[2 * pair] = low.mul(of_low[0].low).add(high.mul(of_low[1].low));
            rows[2 * pair + 1] = high.mul(of_high[0].low).add(low.mul(of_high[1].low));
        }
    });
}
