//! The matrix that defines the code, and the inversion of small ones.

use alloc::vec;
use alloc::vec::Vec;

use crate::MAX_SHARDS;
use crate::gf8::{div, mul};

/// How many of the first points carry the smaller side (ERA-2): a power of two if there is room for it, since
/// the transform wants one.
pub(crate) fn base(data: usize, parity: usize) -> usize {
    let (small, large) = (data.min(parity), data.max(parity));
    let padded = small.next_power_of_two();
    if padded + large <= MAX_SHARDS { padded } else { small }
}

/// The rows of the parity shards, `parity` times `data` coefficients (ERA-2, ERA-3). Time O(s * (k + m) + k m)
/// for the smaller side s.
pub(crate) fn generator(data: usize, parity: usize) -> Vec<u8> {
    let base = base(data, parity);
    let mut rows = vec![0; parity * data];
    let small = data.min(parity);
    // The Lagrange polynomials of the base points, at the points behind them: generalised Cauchy.
    let slopes: Vec<u8> = (0..small).map(|a| product((0..base).filter(|t| *t != a), a)).collect();
    for large in 0..data.max(parity) {
        let point = base + large;
        let vanishing = product(0..base, point);
        for (a, slope) in slopes.iter().enumerate() {
            let (row, column) = if parity <= data { (a, large) } else { (large, a) };
            rows[row * data + column] = div(vanishing, mul((point ^ a) as u8, *slope));
        }
    }
    if parity == 2 && data >= 2 {
        // ERA-3: the sum of both rows is the sum of all data, and the cheapest repair there is.
        rows[..data].fill(1);
    }
    rows
}

fn product(points: impl Iterator<Item = usize>, at: usize) -> u8 {
    points.fold(1, |product, point| mul(product, (point ^ at) as u8))
}

/// Inverts a square matrix of `size` rows by Gauss and Jordan's elimination; `None` if it is singular.
pub(crate) fn invert(mut matrix: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    let mut inverse = vec![0; size * size];
    for i in 0..size {
        inverse[i * size + i] = 1;
    }
    for column in 0..size {
        let pivot = (column..size).find(|row| matrix[row * size + column] != 0)?;
        for half in [&mut matrix, &mut inverse] {
            for i in 0..size {
                half.swap(pivot * size + i, column * size + i);
            }
        }
        let scale = div(1, matrix[column * size + column]);
        for half in [&mut matrix, &mut inverse] {
            half[column * size..][..size].iter_mut().for_each(|x| *x = mul(*x, scale));
        }
        for row in (0..size).filter(|row| *row != column) {
            let factor = matrix[row * size + column];
            if factor == 0 {
                continue;
            }
            for half in [&mut matrix, &mut inverse] {
                for i in 0..size {
                    half[row * size + i] ^= mul(factor, half[column * size + i]);
                }
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ERA-2: with a power of two the entries are as PROTOCOL.md writes them.
    #[test]
    fn entries_have_a_closed_form_when_the_base_is_a_power_of_two() {
        for (data, parity) in [(10, 4), (4, 10), (20, 10), (128, 128), (5, 3), (1, 9), (9, 1)] {
            let rows = generator(data, parity);
            let base = base(data, parity);
            assert!(base.is_power_of_two());
            for row in 0..parity {
                for column in 0..data {
                    let (small, large) = if parity <= data { (row, column) } else { (column, row) };
                    let point = base + large;
                    let entry = div((point >> base.ilog2()) as u8, (point ^ small) as u8);
                    assert_eq!(rows[row * data + column], entry, "({data}, {parity}) at {row}, {column}");
                }
            }
        }
    }

    /// ERA-2: exchanging data and parity transposes the matrix.
    #[test]
    fn the_matrix_of_the_mirrored_geometry_is_the_transpose() {
        for (data, parity) in [(10, 4), (200, 50), (7, 3), (255, 1)] {
            let (rows, mirrored) = (generator(data, parity), generator(parity, data));
            for row in 0..parity {
                for column in 0..data {
                    assert_eq!(rows[row * data + column], mirrored[column * parity + row]);
                }
            }
        }
    }

    #[test]
    fn an_inverse_times_its_matrix_is_one_and_a_singular_matrix_has_none() {
        let size = 16;
        let matrix = generator(size, size);
        let inverse = invert(matrix.clone(), size).expect("a generator has no singular part");
        for i in 0..size {
            for j in 0..size {
                let sum = (0..size).fold(0, |sum, t| sum ^ mul(inverse[i * size + t], matrix[t * size + j]));
                assert_eq!(sum, u8::from(i == j));
            }
        }
        assert_eq!(invert(vec![1, 2, 1, 2], 2), None);
    }
}
