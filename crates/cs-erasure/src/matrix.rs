//! The matrix that defines the code, and the inversion of small ones.

use alloc::vec;
use alloc::vec::Vec;

use crate::gf16::{div, mul, point};

/// Points of GF(2^8): geometries beyond them take GF(2^16).
pub(crate) const NARROW_SHARDS: usize = 256;

/// A geometry, and how many of the first points carry its smaller side (ERA-2, ERA-8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Shape {
    pub(crate) data: usize,
    pub(crate) parity: usize,
    pub(crate) base: usize,
}

impl Shape {
    /// Both at least 1, and [`MAX_SHARDS`](crate::MAX_SHARDS) together at most.
    pub(crate) fn new(data: usize, parity: usize) -> Self {
        let (small, large) = (data.min(parity), data.max(parity));
        let padded = small.next_power_of_two();
        let is_crowded = data + parity <= NARROW_SHARDS && padded + large > NARROW_SHARDS;
        Self { data, parity, base: if is_crowded { small } else { padded } }
    }

    /// Whether elements are pairs of bytes.
    pub(crate) fn is_wide(self) -> bool {
        self.data + self.parity > NARROW_SHARDS
    }

    /// Whether the parity stands at the base points, not the data.
    pub(crate) fn is_gathered(self) -> bool {
        self.parity <= self.data
    }

    /// ERA-3.
    pub(crate) fn has_plain_sum(self) -> bool {
        self.parity == 2 && self.data >= 2
    }

    /// The point of a shard.
    pub(crate) fn point_of(self, index: usize) -> usize {
        match (self.is_gathered(), index < self.data) {
            (true, true) => self.base + index,
            (true, false) => index - self.data,
            (false, true) => index,
            (false, false) => self.base + index - self.data,
        }
    }

    /// The factor with which data shard `column` enters parity shard `row`, where the base is a power of two.
    pub(crate) fn coefficient(self, row: usize, column: usize) -> u16 {
        if row == 0 && self.has_plain_sum() {
            return 1;
        }
        let (small, large) = if self.is_gathered() { (row, column) } else { (column, row) };
        let x = self.base + large;
        div(element(x >> self.base.ilog2()), element(x ^ small))
    }
}

/// The element at a point. Points stay below 2^16, since codes stay below 2^15 shards.
pub(crate) fn element(x: usize) -> u16 {
    point(x as u16)
}

/// The rows of the parity shards, `parity` times `data` coefficients, for any base (ERA-2, ERA-3). Time
/// O(s * (k + m) + k m) for the smaller side s.
pub(crate) fn generator(shape: Shape) -> Vec<u16> {
    let Shape { data, parity, base } = shape;
    let mut rows = vec![0; parity * data];
    let small = data.min(parity);
    // The Lagrange polynomials of the base points, at the points behind them: generalised Cauchy.
    let slopes: Vec<u16> = (0..small).map(|a| product((0..base).filter(|t| *t != a), a)).collect();
    for large in 0..data.max(parity) {
        let x = base + large;
        let vanishing = product(0..base, x);
        for (a, slope) in slopes.iter().enumerate() {
            let (row, column) = if shape.is_gathered() { (a, large) } else { (large, a) };
            rows[row * data + column] = div(vanishing, mul(element(x ^ a), *slope));
        }
    }
    if shape.has_plain_sum() {
        // The sum of both rows is the sum of all data, and the cheapest repair there is.
        rows[..data].fill(1);
    }
    rows
}

/// The product of the differences of some points from one.
pub(crate) fn product(points: impl Iterator<Item = usize>, at: usize) -> u16 {
    points.fold(1, |product, x| mul(product, element(x ^ at)))
}

/// Inverts a square matrix of `size` rows by Gauss and Jordan's elimination; `None` if it is singular.
pub(crate) fn invert(mut matrix: Vec<u16>, size: usize) -> Option<Vec<u16>> {
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

    /// ERA-2, ERA-8: with a power of two the entries are as PROTOCOL.md writes them, in both fields.
    #[test]
    fn entries_have_a_closed_form_when_the_base_is_a_power_of_two() {
        let geometries =
            [(10, 4), (4, 10), (20, 10), (128, 128), (5, 3), (1, 9), (9, 1), (250, 7), (300, 40), (30, 400)];
        for (data, parity) in geometries {
            let shape = Shape::new(data, parity);
            let rows = generator(shape);
            assert!(shape.base.is_power_of_two());
            for row in 0..parity {
                for column in 0..data {
                    let entry = rows[row * data + column];
                    assert_eq!(
                        entry,
                        shape.coefficient(row, column),
                        "({data}, {parity}) at {row}, {column}"
                    );
                    assert!(entry < 256 || shape.is_wide());
                }
            }
        }
    }

    /// ERA-2: exchanging data and parity transposes the matrix.
    #[test]
    fn the_matrix_of_the_mirrored_geometry_is_the_transpose() {
        for (data, parity) in [(10, 4), (200, 50), (7, 3), (255, 1), (270, 3)] {
            let (rows, mirrored) = (generator(Shape::new(data, parity)), generator(Shape::new(parity, data)));
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
        let matrix = generator(Shape::new(size, size));
        let inverse = invert(matrix.clone(), size).expect("a generator has no singular part");
        for i in 0..size {
            for j in 0..size {
                let sum = (0..size).fold(0, |sum, t| sum ^ mul(inverse[i * size + t], matrix[t * size + j]));
                assert_eq!(sum, u16::from(i == j));
            }
        }
        assert_eq!(invert(vec![1, 2, 1, 2], 2), None);
    }
}
