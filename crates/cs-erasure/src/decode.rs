//! Rebuilding many shards of one stripe by transforms.
//!
//! Let the base points be those of the first p coordinates, s(x) the polynomial that vanishes on them, and let a block b
//! hold the points at which s is b. By Lagrange the transform of the values v of one block is the polynomial sum of
//! v (s(x) + b) / (x + w) over its points w, since s' = 1.
//!
//! - If the parity is at the base, the transforms of all blocks of a code word add up to 0. So those of the shards at
//!   hand add up to the sum S over the p lost points. At a block c that the code does not use, S times the
//!   locator L(x) = product of (x + w) is a polynomial of degree below p. Its value at a lost point w is the shard
//!   times (b + c) L'(w).
//! - If the data are at the base, shards are values of one polynomial of degree below p. The same
//!   with the known points in the place of the lost ones, and weights before instead of after.
//!
//! So: transforms of all blocks, one transform to the block c, a product by L there, one back, and one to each block
//! where something is wanted. Where no block is left in GF(2^8), c lies in GF(2^16): only the lowest layer of the turn at c
//! leaves GF(2^8), and with the product between it is a matrix of two rows over GF(2^8) for each pair.

use alloc::vec;
use alloc::vec::Vec;

use crate::columns::{strips, whole_blocks};
use crate::gf16::{div, mul};
use crate::kernel::{Kernel, Planes};
use crate::matrix::{Shape, element};
use crate::transform::{Columns, width};

/// From this many base points on, a transform may be faster than a matrix.
const BASE_MIN: usize = 32;

/// A plan for one loss pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Decode {
    shape: Shape,
    /// Points of the sources, and of the targets.
    from: Vec<usize>,
    to: Vec<usize>,
    /// A factor for each point, and nothing of its neighbour: of sources if the data are at the base and of targets otherwise.
    weights: Vec<[u16; 2]>,
    /// The turn at the unused block, for each of its points.
    turn: Vec<[u16; 2]>,
}

impl Decode {
    /// Whether it takes less time than the matrix of `targets` rows.
    pub(crate) fn pays(shape: Shape, sources: &[usize], targets: &[usize]) -> bool {
        if shape.base < BASE_MIN || !shape.base.is_power_of_two() {
            return false;
        }
        let block = |index: &usize| shape.point_of(*index) / shape.base;
        let mut blocks: Vec<usize> = targets.iter().map(block).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let layers = shape.base.ilog2() as usize;
        let rows = sources.len() + (2 + blocks.len()) * shape.base;
        let products = targets.len() * sources.len() * (1 + usize::from(shape.is_wide()));
        products > rows * layers
    }

    /// `sources` are as many shards as there are data; `targets` are others.
    pub(crate) fn plan(shape: Shape, sources: &[usize], targets: &[usize]) -> Self {
        let point_of = |index: &usize| shape.point_of(*index);
        let from: Vec<usize> = sources.iter().map(point_of).collect();
        let to: Vec<usize> = targets.iter().map(point_of).collect();
        let blocks = blocks(shape);
        let unused = blocks * shape.base;
        let elements: Vec<u16> = (0..(unused + shape.base).next_power_of_two()).map(element).collect();
        let roots = roots(shape, &from);
        let located = |at: usize| roots.iter().fold(1, |product, root| mul(product, elements[at ^ root]));
        let mut weights = vec![[0; 2]; unused];
        for at in if shape.is_gathered() { &to } else { &from } {
            // The one zero of the product is left out.
            let slope = roots
                .iter()
                .filter(|root| *root != at)
                .fold(1, |product, root| mul(product, elements[at ^ root]));
            weights[*at][0] = div(1, mul(slope, elements[blocks ^ (at / shape.base)]));
        }
        let turn = (unused..unused + shape.base)
            .step_by(2)
            .flat_map(|at| pair(elements[at], located(at), located(at + 1)))
            .collect();
        Self { shape, from, to, weights, turn }
    }

    /// Writes the targets from the sources, in the order of the plan.
    pub(crate) fn run(&self, kernel: Kernel, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        whole_blocks(sources, targets, |sources, targets, len| {
            let mut inputs: Vec<&[u8]> = vec![&[]; self.weights.len()];
            self.from.iter().zip(sources).for_each(|(at, source)| inputs[*at] = source);
            let mut outputs: Vec<&mut [u8]> = (0..self.weights.len()).map(|_| Default::default()).collect();
            for (at, target) in self.to.iter().zip(targets) {
                outputs[*at] = target;
            }
            self.run_whole(kernel, &inputs, &mut outputs, len);
        });
    }

    fn run_whole(&self, kernel: Kernel, inputs: &[&[u8]], outputs: &mut [&mut [u8]], len: usize) {
        let base = self.shape.base;
        let weights: Vec<&[[u16; 2]]> = self.weights.chunks(base).collect();
        let (before, after) =
            if self.shape.is_gathered() { (None, Some(weights)) } else { (Some(weights), None) };
        let is_used = |block: &&[&[u8]]| block.iter().any(|row| !row.is_empty());
        let used: Vec<usize> =
            inputs.chunks(base).enumerate().filter(|(_, block)| is_used(block)).map(|(i, _)| i).collect();
        let blocks: Vec<(usize, &[&[u8]])> =
            used.iter().map(|i| (base * i, &inputs[base * i..base * (i + 1)])).collect();
        let before: Option<Vec<&[[u16; 2]]>> =
            before.map(|weights| used.iter().map(|i| weights[*i]).collect());
        let mut wanted: Vec<usize> = self.to.iter().map(|at| at / base).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let width = width(base, len);
        let mut planes = Planes::new(base, width);
        for (start, end) in strips(len, width) {
            let mut columns = Columns::new(kernel, self.shape.is_wide(), start..end, &mut planes);
            let place = columns.sum_of_blocks(&blocks, before.as_deref(), self.weights.len());
            let only = if let [only] = wanted[..] { Some(only) } else { None };
            columns.turn(place, self.weights.len(), &self.turn, only.map(|block| base * block));
            for block in &wanted {
                let rows = &mut outputs[base * block..base * (block + 1)];
                let weights = after.as_ref().map(|weights| weights[*block]);
                if only.is_some() {
                    columns.down(place, base * block, rows, weights);
                } else {
                    columns.evaluate(place, base * block, rows, weights);
                }
            }
        }
    }
}

/// Blocks that the code uses.
fn blocks(shape: Shape) -> usize {
    1 + shape.data.max(shape.parity).div_ceil(shape.base)
}

/// Where the locator vanishes: as many points as the base has.
fn roots(shape: Shape, from: &[usize]) -> Vec<usize> {
    let mut is_source = vec![false; blocks(shape) * shape.base];
    from.iter().for_each(|at| is_source[*at] = true);
    let roots: Vec<usize> = if shape.is_gathered() {
        (0..shape.base + shape.data).filter(|at| !is_source[*at]).collect()
    } else {
        // Data beyond those there are count as known: they are zeros.
        (0..is_source.len()).filter(|at| is_source[*at] || (shape.data..shape.base).contains(at)).collect()
    };
    debug_assert_eq!(roots.len(), shape.base);
    roots
}

/// Down the lowest layer with the twiddle factor `t`, times the locator's values, and up again.
fn pair(t: u16, low: u16, high: u16) -> [[u16; 2]; 2] {
    let of_low = low ^ high;
    let of_high = mul(low, t) ^ mul(high, t ^ 1);
    [[low ^ mul(t, of_low), mul(low, t) ^ mul(t, of_high)], [of_high, of_low]]
}
