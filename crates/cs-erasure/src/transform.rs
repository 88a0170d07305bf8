//! The additive FFT of Lin, Chung and Han (FOCS 2014) over shards, in passes of several layers.
//!
//! In the basis `X_j(x) = product of s_b(x) over the bits b of j`, where `s_b` vanishes on the first `2^b` points, `2^n`
//! coefficients become values at the points `offset + i` in n layers of `2^(n - 1)` butterflies, and back.

use alloc::vec::Vec;
use core::ops::Range;

use crate::columns::{strips, whole_blocks};
use crate::kernel::{BLOCK, Kernel, Pass, Place, Planes, Product, Small, Step, Strip};
use crate::matrix::Shape;

/// Bytes that one plane of rows should not exceed, so that two stay in the second-level cache.
const PLANE: usize = 256 * 1024;
/// Most columns at a time: a page, so that each row is one run for the processor to foresee.
const WIDTH_MAX: usize = 4096;

/// Some layers: the lowest, and how many.
type Layers = (u32, u32);

/// Writes the parity of ERA-2 and ERA-3, for a base that is a power of two.
pub(crate) fn encode(kernel: Kernel, shape: Shape, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    debug_assert!(shape.base.is_power_of_two());
    whole_blocks(sources, targets, |sources, targets, len| match shape.base.ilog2() {
        0 => replicate(kernel, sources, targets, len),
        depth if depth <= kernel.depth_max(shape.is_wide()) => {
            small(kernel, shape, depth, sources, targets, len)
        }
        _ if shape.is_gathered() => gather(kernel, shape, sources, targets, len),
        _ => spread(kernel, shape, sources, targets, len),
    });
}

/// One parity is the sum of all data; any parity of one shard is a copy.
fn replicate(kernel: Kernel, sources: &[&[u8]], targets: &mut [&mut [u8]], len: usize) {
    if let [source] = sources {
        return targets.iter_mut().for_each(|target| target.copy_from_slice(source));
    }
    let factors = alloc::vec![1; sources.len()];
    for (start, end) in strips(len, len - len % BLOCK) {
        kernel.product(&mut Product { factors: &factors, sources, targets, keep: false, start, end });
    }
}

fn small(kernel: Kernel, shape: Shape, depth: u32, sources: &[&[u8]], targets: &mut [&mut [u8]], len: usize) {
    for (start, end) in strips(len, len - len % BLOCK) {
        let (plain_sum, is_wide) = (shape.has_plain_sum(), shape.is_wide());
        let mut job = Small { depth, plain_sum, sources, targets, is_wide, start, end };
        if shape.is_gathered() { kernel.gather(&mut job) } else { kernel.spread(&mut job) }
    }
}

/// Parity of at least as many data shards: the polynomials through each block of data shards are added, and the sum
/// is evaluated at the base points. The same as the matrix, by the duality of ERA-2.
fn gather(kernel: Kernel, shape: Shape, sources: &[&[u8]], targets: &mut [&mut [u8]], len: usize) {
    let base = shape.base;
    let width = width(base, len);
    let mut planes = Planes::new(base, width);
    let blocks: Vec<(usize, &[&[u8]])> =
        sources.chunks(base).enumerate().map(|(i, block)| (base * (i + 1), block)).collect();
    for (start, end) in strips(len, width) {
        let mut columns = Columns::new(kernel, shape.is_wide(), start..end, &mut planes);
        let sum = columns.sum_of_blocks(&blocks, None, 0);
        columns.down(sum, 0, targets, None);
    }
}

/// Parity of fewer data shards: the polynomial through them is evaluated at block after block of further points.
fn spread(kernel: Kernel, shape: Shape, sources: &[&[u8]], targets: &mut [&mut [u8]], len: usize) {
    let base = shape.base;
    let width = width(base, len);
    let mut planes = Planes::new(base, width);
    for (start, end) in strips(len, width) {
        let mut columns = Columns::new(kernel, shape.is_wide(), start..end, &mut planes);
        columns.interpolate(sources);
        for (i, block) in targets.chunks_mut(base).enumerate() {
            columns.evaluate(Place::Sum, base * (i + 1), block, None);
        }
    }
}

/// Columns of one strip: at most [`WIDTH_MAX`], a multiple of [`BLOCK`].
pub(crate) fn width(rows: usize, len: usize) -> usize {
    (PLANE / rows).clamp(BLOCK, WIDTH_MAX).min(len) & !(BLOCK - 1)
}

/// Transforms of one strip of columns.
#[derive(Debug)]
pub(crate) struct Columns<'p> {
    kernel: Kernel,
    is_wide: bool,
    columns: Range<usize>,
    planes: &'p mut Planes,
}

impl<'p> Columns<'p> {
    /// Of as many rows as the planes have, at least 16.
    pub(crate) fn new(kernel: Kernel, is_wide: bool, columns: Range<usize>, planes: &'p mut Planes) -> Self {
        Self { kernel, is_wide, columns, planes }
    }

    /// The layers of a transform of all rows, from the lowest, in as few passes as registers allow; two at least.
    fn passes(&self) -> impl DoubleEndedIterator<Item = Layers> + ExactSizeIterator + use<> {
        let layers = self.planes.rows().ilog2();
        let count = layers.div_ceil(self.kernel.depth_max(self.is_wide)).max(2);
        // The remainder goes to the lower passes: those are next to the shards, whose rows are far apart.
        (0..count as usize).map(move |i| {
            let i = i as u32;
            let (depth, more) = (layers / count, layers % count);
            (i * depth + i.min(more), depth + u32::from(i < more))
        })
    }

    fn run(
        &mut self,
        (layer, depth): Layers,
        (from, to): (Place, Place),
        steps: [Option<Step<'_>>; 3],
        sources: &[&[u8]],
        targets: &mut [&mut [u8]],
    ) {
        let (at, width, is_wide) = (self.columns.start, self.columns.len(), self.is_wide);
        let mut strip = Strip { sources, targets, at, width, is_wide, planes: &mut *self.planes };
        self.kernel.pass(&Pass { layer, depth, from, to, steps }, &mut strip);
    }

    /// Adds the coefficients of all blocks (offset, rows), each row times its weight, and takes the top layers down
    /// again towards the values at `offset`. Returns where the sum is.
    pub(crate) fn sum_of_blocks(
        &mut self,
        blocks: &[(usize, &[&[u8]])],
        weights: Option<&[&[[u16; 2]]]>,
        offset: usize,
    ) -> Place {
        let place = if blocks.len() == 1 { Place::Work } else { Place::Sum };
        for (number, (at, rows)) in blocks.iter().enumerate() {
            let passes = self.passes();
            let last = passes.len() - 1;
            let up = Some(Step::Inverse { offset: *at, whole: true });
            for (i, layers) in passes.enumerate() {
                if i == 0 {
                    let weigh = weights.map(|weights| Step::Mix(weights[number]));
                    let steps = if weigh.is_some() { [weigh, up, None] } else { [up, None, None] };
                    self.run(layers, (Place::Shards, Place::Work), steps, rows, &mut []);
                } else if i < last {
                    self.run(layers, (Place::Work, Place::Work), [up, None, None], &[], &mut []);
                } else {
                    let down = (number + 1 == blocks.len()).then_some(Step::Forward { offset, whole: true });
                    let steps = if number > 0 { [up, Some(Step::Add), down] } else { [up, down, None] };
                    self.run(layers, (Place::Work, place), steps, &[], &mut []);
                }
            }
        }
        place
    }

    /// All layers but the top ones, which [`sum_of_blocks`](Self::sum_of_blocks) did, down to the shards, each times its
    /// weight.
    pub(crate) fn down(
        &mut self,
        place: Place,
        offset: usize,
        targets: &mut [&mut [u8]],
        weights: Option<&[[u16; 2]]>,
    ) {
        let step = Some(Step::Forward { offset, whole: true });
        for layers in self.passes().rev().skip(1) {
            if layers.0 == 0 {
                let steps = [step, weights.map(Step::Mix), None];
                self.run(layers, (place, Place::Shards), steps, &[], targets);
            } else {
                self.run(layers, (place, place), [step, None, None], &[], &mut []);
            }
        }
    }

    /// All layers but the top ones, down at `offset` and up again; `pairs` stands for the lowest one. The top
    /// layers go on down to `forward`, or end as coefficients.
    pub(crate) fn turn(&mut self, place: Place, offset: usize, pairs: &[[u16; 2]], forward: Option<usize>) {
        let down = Some(Step::Forward { offset, whole: true });
        for layers in self.passes().rev().skip(1).filter(|(layer, _)| *layer > 0) {
            self.run(layers, (place, place), [down, None, None], &[], &mut []);
        }
        let last = self.passes().len() - 1;
        for (i, layers) in self.passes().enumerate() {
            let up = Some(Step::Inverse { offset, whole: i > 0 });
            let steps = if i == 0 {
                [Some(Step::Forward { offset, whole: false }), Some(Step::Mix(pairs)), up]
            } else {
                let forward = forward.filter(|_| i == last);
                [up, forward.map(|offset| Step::Forward { offset, whole: true }), None]
            };
            self.run(layers, (place, place), steps, &[], &mut []);
        }
    }

    /// The coefficients of the polynomial through the base points, in [`Place::Sum`].
    fn interpolate(&mut self, sources: &[&[u8]]) {
        let last = self.passes().len() - 1;
        let step = Some(Step::Inverse { offset: 0, whole: true });
        for (i, layers) in self.passes().enumerate() {
            let from = if i == 0 { Place::Shards } else { Place::Work };
            let to = if i == last { Place::Sum } else { Place::Work };
            self.run(layers, (from, to), [step, None, None], sources, &mut []);
        }
    }

    /// The values at `offset` of the coefficients at `from`, which stay.
    pub(crate) fn evaluate(
        &mut self,
        from: Place,
        offset: usize,
        targets: &mut [&mut [u8]],
        weights: Option<&[[u16; 2]]>,
    ) {
        let scratch = if from == Place::Sum { Place::Work } else { Place::Sum };
        let step = Some(Step::Forward { offset, whole: true });
        if let Some(top) = self.passes().next_back() {
            self.run(top, (from, scratch), [step, None, None], &[], &mut []);
        }
        self.down(scratch, offset, targets, weights);
    }
}
