//! Products of shards of any length by a matrix.

use alloc::vec::Vec;

use crate::columns::{strips, whole_blocks};
use crate::kernel::{BLOCK, Kernel, Product, product_by_element};

/// `targets[i] = sum over j of factors[i * sources.len() + j] * sources[j]`.
pub(crate) fn combine(kernel: Kernel, factors: &[u16], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    whole_blocks(sources, targets, |sources, targets, len| {
        for (start, end) in strips(len, len - len % BLOCK) {
            kernel.product(&mut Product { factors, sources, targets, keep: false, start, end });
        }
    });
}

/// As [`combine`], but adds to what the targets hold. Elements are pairs of bytes if `is_wide`.
pub(crate) fn accumulate(
    kernel: Kernel,
    factors: &[u16],
    is_wide: bool,
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
) {
    let len = targets.first().map_or(0, |target| target.len());
    let whole = len - len % BLOCK;
    kernel.product(&mut Product { factors, sources, targets, keep: true, start: 0, end: whole });
    if whole < len {
        let sources: Vec<&[u8]> = sources.iter().map(|source| &source[whole..]).collect();
        let mut targets: Vec<&mut [u8]> = targets.iter_mut().map(|target| &mut target[whole..]).collect();
        product_by_element(factors, &sources, &mut targets, is_wide, true);
    }
}
