//! The additive FFT of Lin, Chung and Han (FOCS 2014) over shards, in passes of several layers.
//!
//! In the basis `X_j(x) = product of s_b(x) over the bits b of j`, where `s_b` vanishes on the first `2^b` points, `2^n`
//! coefficients become values at the points `offset + i` in n layers of `2^(n - 1)` butterflies, and back.

use alloc::vec::Vec;

use crate::columns::{strips, whole_blocks};
use crate::kernel::{BLOCK, Kernel, Pass, Place, Planes, Product, Small, Strip};
use crate::matrix::Shape;

/// Bytes that one plane of rows should not exceed, so that two stay in the second-level cache.
const PLANE: usize = 128 * 1024;
/// Most columns at a time: beyond it, nothing is gained.
const WIDTH_MAX: usize = 1024;
/// Layers of the largest code whose smaller side fits in registers.
const SMALL_DEPTH: u32 = 4;

/// Some layers: the lowest, and how many.
type Layers = (u32, u32);

/// Writes the parity of ERA-2 and ERA-3, for a base that is a power of two.
pub(crate) fn encode(kernel: Kernel, shape: Shape, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    debug_assert!(shape.base.is_power_of_two());
    whole_blocks(sources, targets, |sources, targets, len| match shape.base.ilog2() {
        0 => replicate(kernel, sources, targets, len),
        depth @ 1..=SMALL_DEPTH => small(kernel, shape, depth, sources, targets, len),
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
        let mut job = Small { depth, plain_sum: shape.has_plain_sum(), sources, targets, start, end };
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
        let mut columns = Columns { kernel, at: start, width: end - start, planes: &mut planes };
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
        let mut columns = Columns { kernel, at: start, width: end - start, planes: &mut planes };
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
    pub(crate) kernel: Kernel,
    pub(crate) at: usize,
    pub(crate) width: usize,
    pub(crate) planes: &'p mut Planes,
}

impl Columns<'_> {
    /// The layers of a transform of all rows, from the lowest, in as few passes as registers allow.
    fn passes(&self) -> impl DoubleEndedIterator<Item = Layers> + ExactSizeIterator + use<> {
        let layers = self.planes.rows().ilog2();
        let count = layers.div_ceil(self.kernel.depth_max()).max(2);
        // The remainder goes to the lower passes: those are next to the shards, whose rows are far apart.
        (0..count as usize).map(move |i| {
            let i = i as u32;
            let (depth, more) = (layers / count, layers % count);
            (i * depth + i.min(more), depth + u32::from(i < more))
        })
    }

    fn run(&mut self, pass: &Pass<'_>, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        let (at, width) = (self.at, self.width);
        let mut strip = Strip { sources, targets, at, width, planes: &mut *self.planes };
        self.kernel.pass(pass, &mut strip);
    }

    /// Adds the coefficients of all blocks (offset, rows), each row times its weight, and turns the top layers down
    /// again towards the values at `forward`. Returns where the sum is.
    pub(crate) fn sum_of_blocks(
        &mut self,
        blocks: &[(usize, &[&[u8]])],
        weights: Option<&[&[u16]]>,
        forward: usize,
    ) -> Place {
        let place = if blocks.len() == 1 { Place::Work } else { Place::Sum };
        for (number, (offset, rows)) in blocks.iter().enumerate() {
            let passes = self.passes();
            let last = passes.len() - 1;
            for (i, (layer, depth)) in passes.enumerate() {
                let from = if i == 0 { Place::Shards } else { Place::Work };
                let to = if i == last { place } else { Place::Work };
                let mut pass = Pass::new(layer, depth, from, to);
                if i == 0 {
                    pass.weights = weights.map(|weights| weights[number]);
                    pass.then_inverse = Some(*offset);
                } else {
                    pass.inverse = Some(*offset);
                }
                pass.with_sum = i == last && number > 0;
                pass.forward = (i == last && number + 1 == blocks.len()).then_some(forward);
                self.run(&pass, rows, &mut []);
            }
        }
        place
    }

    /// All layers but the top ones, which [`sum_of_blocks`](Self::sum_of_blocks) did, down to the shards.
    pub(crate) fn down(
        &mut self,
        place: Place,
        offset: usize,
        targets: &mut [&mut [u8]],
        weights: Option<&[u16]>,
    ) {
        for (layer, depth) in self.passes().rev().skip(1) {
            let to = if layer == 0 { Place::Shards } else { place };
            let mut pass = Pass::new(layer, depth, place, to);
            pass.forward = Some(offset);
            pass.weights = weights.filter(|_| layer == 0);
            self.run(&pass, &[], targets);
        }
    }

    /// All layers but the top ones, down at `offset` and up again; `turn` stands for the lowest one. The top
    /// layers go on down to `forward`, or end as coefficients.
    pub(crate) fn turn(&mut self, place: Place, offset: usize, turn: &[[u16; 2]], forward: Option<usize>) {
        for (layer, depth) in self.passes().rev().skip(1).filter(|(layer, _)| *layer > 0) {
            let mut pass = Pass::new(layer, depth, place, place);
            pass.forward = Some(offset);
            self.run(&pass, &[], &mut []);
        }
        let last = self.passes().len() - 1;
        for (i, (layer, depth)) in self.passes().enumerate() {
            let mut pass = Pass::new(layer, depth, place, place);
            if i == 0 {
                pass.forward = Some(offset);
                pass.turn = Some(turn);
                pass.then_inverse = Some(offset);
            } else {
                pass.inverse = Some(offset);
                pass.forward = forward.filter(|_| i == last);
            }
            self.run(&pass, &[], &mut []);
        }
    }

    /// The coefficients of the polynomial through the base points, in [`Place::Sum`].
    fn interpolate(&mut self, sources: &[&[u8]]) {
        let last = self.passes().len() - 1;
        for (i, (layer, depth)) in self.passes().enumerate() {
            let from = if i == 0 { Place::Shards } else { Place::Work };
            let mut pass = Pass::new(layer, depth, from, if i == last { Place::Sum } else { Place::Work });
            pass.inverse = Some(0);
            self.run(&pass, sources, &mut []);
        }
    }

    /// The values at `offset` of the coefficients at `from`, which stay.
    pub(crate) fn evaluate(
        &mut self,
        from: Place,
        offset: usize,
        targets: &mut [&mut [u8]],
        weights: Option<&[u16]>,
    ) {
        let scratch = if from == Place::Sum { Place::Work } else { Place::Sum };
        let (layer, depth) = self.passes().next_back().unwrap_or_default();
        let mut top = Pass::new(layer, depth, from, scratch);
        top.forward = Some(offset);
        self.run(&top, &[], &mut []);
        self.down(scratch, offset, targets, weights);
    }
}
