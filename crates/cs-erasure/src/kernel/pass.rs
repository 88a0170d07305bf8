//! One pass of a large transform over strips of rows, with all that can be done while they are in registers.

use alloc::boxed::Box;
use core::mem::MaybeUninit;

use super::butterfly::{Twists, forward, inverse};
use super::lanes::{Factor, Lanes, mul_wide};
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

/// Some layers of a transform. What is asked for is done in the order of the fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'w> {
    /// The lowest layer.
    pub(crate) layer: u32,
    /// How many layers, 1 to 4.
    pub(crate) depth: u32,
    pub(crate) from: Place,
    /// Values to coefficients, for rows whose first is at this point.
    pub(crate) inverse: Option<usize>,
    /// Adds the rows of [`Place::Sum`].
    pub(crate) with_sum: bool,
    /// Coefficients to values, for rows whose first is at this point.
    pub(crate) forward: Option<usize>,
    /// One factor a row.
    pub(crate) weights: Option<&'w [u16]>,
    /// What a row takes of itself and of the other one of its pair, in place of the lowest layer of
    /// `forward` and `then_inverse`.
    pub(crate) turn: Option<&'w [[u16; 2]]>,
    /// Values to coefficients once more.
    pub(crate) then_inverse: Option<usize>,
    pub(crate) to: Place,
}

impl Pass<'_> {
    /// Reads from one place and writes to the other, and nothing else.
    pub(crate) fn new(layer: u32, depth: u32, from: Place, to: Place) -> Self {
        Self {
            layer,
            depth,
            from,
            inverse: None,
            with_sum: false,
            forward: None,
            weights: None,
            turn: None,
            then_inverse: None,
            to,
        }
    }
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

/// What happens to the rows of one group.
struct Group<'t, T, const R: usize> {
    from: [*const u8; R],
    inverse: Option<&'t Twists<T, R>>,
    sum: Option<[*const u8; R]>,
    forward: Option<&'t Twists<T, R>>,
    weights: Option<[Factor<T>; R]>,
    turn: Option<[[Factor<T>; 2]; R]>,
    then_inverse: Option<&'t Twists<T, R>>,
    to: [*mut u8; R],
}

/// Runs a pass of `log2(R)` layers.
///
/// # Safety
/// The processor has the instructions of `V`; the strip [is sound](Strip::is_sound); there are `planes.rows` weights and
/// turns, if any, and the layers are within those of `planes.rows` rows.
#[inline(always)]
pub(crate) unsafe fn run<V: Lanes, const R: usize>(pass: &Pass<'_>, strip: &mut Strip<'_, '_, '_>) {
    let (rows, stride, width) = (strip.planes.rows, 1 << pass.layer, strip.width);
    for block in (0..rows).step_by(R * stride) {
        let twists = [pass.inverse, pass.forward, pass.then_inverse]
            .map(|offset| offset.map(|offset| Twists::new::<V>(offset + block, pass.layer)));
        for first in block..block + stride {
            if let Some(group) = group::<V, R>(pass, strip, first, &twists) {
                // SAFETY: each pointer of the group is to a row of `width` bytes that the strip borrows; sources are
                // not written, and a row of the planes is read before it is written, column by column.
                unsafe { columns::<V, R>(&group, width) };
            }
        }
    }
}

/// The group of rows from `first` on, or nothing if none of its results is wanted.
#[inline(always)]
fn group<'t, V: Lanes, const R: usize>(
    pass: &Pass<'_>,
    strip: &mut Strip<'_, '_, '_>,
    first: usize,
    twists: &'t [Option<Twists<V::Table, R>>; 3],
) -> Option<Group<'t, V::Table, R>> {
    let mut group = Group {
        from: [strip.zeros(); R],
        inverse: twists[0].as_ref(),
        sum: pass.with_sum.then_some([strip.zeros(); R]),
        forward: twists[1].as_ref(),
        weights: None,
        turn: None,
        then_inverse: twists[2].as_ref(),
        to: [strip.nowhere(); R],
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
        if let Some(sum) = &mut group.sum {
            sum[i] = strip.source(Place::Sum, row).unwrap_or(sum[i]);
        }
    }
    if let Some(weights) = pass.weights {
        let mut factors = [Factor::new::<V>(0); R];
        for (i, factor) in factors.iter_mut().enumerate() {
            *factor = Factor::new::<V>(weights[first + (i << pass.layer)]);
        }
        group.weights = Some(factors);
    }
    if let Some(turn) = pass.turn {
        let mut factors = [[Factor::new::<V>(0); 2]; R];
        for (i, factor) in factors.iter_mut().enumerate() {
            let [own, other] = turn[first + (i << pass.layer)];
            *factor = [Factor::new::<V>(own), Factor::new::<V>(other)];
        }
        group.turn = Some(factors);
    }
    is_wanted.then_some(group)
}

/// # Safety
/// The processor has the instructions of `V`; `width` bytes may be read and written at each pointer.
#[inline(always)]
unsafe fn columns<V: Lanes, const R: usize>(group: &Group<'_, V::Table, R>, width: usize) {
    for at in (0..width).step_by(V::BYTES) {
        // SAFETY: as the caller promises; `V::BYTES` divides BLOCK, and BLOCK divides `width`.
        unsafe {
            let mut rows = [V::zero(); R];
            for i in 0..R {
                rows[i] = V::load(group.from[i].add(at));
            }
            if let Some(twists) = group.inverse {
                inverse::<V, R, 0>(&mut rows, twists);
            }
            if let Some(sum) = &group.sum {
                for i in 0..R {
                    rows[i] = rows[i].add(V::load(sum[i].add(at)));
                }
            }
            if let Some(turn) = &group.turn {
                turned::<V, R>(&mut rows, group, turn);
            } else {
                if let Some(twists) = group.forward {
                    forward::<V, R, 0>(&mut rows, twists);
                }
                if let Some(weights) = &group.weights {
                    for i in 0..R {
                        rows[i] = mul_wide(rows[i], weights[i]);
                    }
                }
                if let Some(twists) = group.then_inverse {
                    inverse::<V, R, 0>(&mut rows, twists);
                }
            }
            for i in 0..R {
                rows[i].store(group.to[i].add(at));
            }
        }
    }
}

/// The way down to the lowest layer and up again.
#[inline(always)]
fn turned<V: Lanes, const R: usize>(
    rows: &mut [V; R],
    group: &Group<'_, V::Table, R>,
    turn: &[[Factor<V::Table>; 2]; R],
) {
    if let Some(twists) = group.forward {
        forward::<V, R, 1>(rows, twists);
    }
    for i in (0..R).step_by(2) {
        let [low, high] = [rows[i], rows[i + 1]];
        rows[i] = mul_wide(low, turn[i][0]).add(mul_wide(high, turn[i][1]));
        rows[i + 1] = mul_wide(high, turn[i + 1][0]).add(mul_wide(low, turn[i + 1][1]));
    }
    if let Some(twists) = group.then_inverse {
        inverse::<V, R, 1>(rows, twists);
    }
}
