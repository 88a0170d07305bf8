//! The additive FFT of Lin, Chung and Han (FOCS 2014) over strips of shards.
//!
//! A buffer holds `2^n` rows of `width` bytes. In the basis `X_j(x) = product of s_b(x) over the bits b of j`,
//! where `s_b` vanishes on the first `2^b` points, [`forward`] turns coefficients into values at the points
//! `offset + i`, and [`inverse`] turns them back: n passes of `2^(n - 1)` butterflies.

use crate::kernel::mul_add;

/// Coefficients to values. `offset` is a multiple of the number of rows.
pub(crate) fn forward(rows: &mut [u8], width: usize, offset: usize) {
    let count = rows.len() / width;
    for layer in (0..count.ilog2()).rev() {
        let half = 1 << layer;
        for (block, pair) in rows.chunks_exact_mut(2 * half * width).enumerate() {
            let twist = ((offset + block * 2 * half) >> layer) as u8;
            let (low, high) = pair.split_at_mut(half * width);
            mul_add(low, high, twist);
            mul_add(high, low, 1);
        }
    }
}

/// Values to coefficients: undoes [`forward`] of the same offset.
pub(crate) fn inverse(rows: &mut [u8], width: usize, offset: usize) {
    let count = rows.len() / width;
    for layer in 0..count.ilog2() {
        let half = 1 << layer;
        for (block, pair) in rows.chunks_exact_mut(2 * half * width).enumerate() {
            let twist = ((offset + block * 2 * half) >> layer) as u8;
            let (low, high) = pair.split_at_mut(half * width);
            mul_add(high, low, 1);
            mul_add(low, high, twist);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::gf8::mul;

    fn basis(j: usize, x: usize) -> u8 {
        (0..8).filter(|bit| j >> bit & 1 == 1).fold(1, |product, bit| mul(product, (x >> bit) as u8))
    }

    #[test]
    fn a_transform_evaluates_the_polynomial_at_every_point_and_back() {
        for count in [1, 2, 4, 8, 32, 128, 256] {
            for offset in (0..256).step_by(count) {
                let coefficients: Vec<u8> = (0..count).map(|i| (i * 37 + offset + 1) as u8).collect();
                let mut rows = coefficients.clone();
                forward(&mut rows, 1, offset);
                for (i, value) in rows.iter().enumerate() {
                    let sum = (0..count).fold(0, |sum, j| sum ^ mul(coefficients[j], basis(j, offset + i)));
                    assert_eq!(*value, sum, "{count} rows at {offset}, value {i}");
                }
                inverse(&mut rows, 1, offset);
                assert_eq!(rows, coefficients);
            }
        }
    }
}
