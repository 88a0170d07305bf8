//! Several layers of the additive FFT on rows that stay in registers.

use super::lanes::{Factor, Lanes, mul_wide};
use crate::gf16;

/// The twiddle factors of one group of `R` rows: `R / 2` of the lowest layer, then half as many of each further one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twists<T, const R: usize> {
    factors: [Factor<T>; R],
    /// Bit l: layer l has a factor outside GF(2^8).
    wide: u8,
    /// The first factor of each layer is 0.
    at_origin: bool,
}

impl<T: Copy, const R: usize> Twists<T, R> {
    /// Of the rows at the points `first`, `first + 2^layer`, `first + 2 * 2^layer`, ...; `first` is a multiple
    /// of `R * 2^layer`, or greater than one by less than `2^layer`.
    #[inline(always)]
    pub(crate) fn new<V: Lanes<Table = T>>(first: usize, layer: u32) -> Self {
        let mut factors = [Factor::new::<V>(0); R];
        let (mut wide, mut next) = (0, 0);
        for step in 0..R.ilog2() {
            for pair in 0..R >> (step + 1) {
                let twist = gf16::point(((first >> layer >> step) + 2 * pair) as u16);
                wide |= u8::from(twist > 0xff) << step;
                factors[next] = Factor::new::<V>(twist);
                next += 1;
            }
        }
        Self { factors, wide, at_origin: first >> layer == 0 }
    }
}

/// Values to coefficients, from layer `B` (0 or 1) up.
#[inline(always)]
pub(crate) fn inverse<V: Lanes, const R: usize, const B: usize>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    if R > 1 && B == 0 {
        spread::<V, R, 0>(rows);
        twist::<V, R, 0>(rows, twists);
    }
    if R > 2 {
        spread::<V, R, 1>(rows);
        twist::<V, R, 1>(rows, twists);
    }
    if R > 4 {
        spread::<V, R, 2>(rows);
        twist::<V, R, 2>(rows, twists);
    }
    if R > 8 {
        spread::<V, R, 3>(rows);
        twist::<V, R, 3>(rows, twists);
    }
}

/// Coefficients to values, down to layer `B` (0 or 1): undoes [`inverse`].
#[inline(always)]
pub(crate) fn forward<V: Lanes, const R: usize, const B: usize>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    if R > 8 {
        twist::<V, R, 3>(rows, twists);
        spread::<V, R, 3>(rows);
    }
    if R > 4 {
        twist::<V, R, 2>(rows, twists);
        spread::<V, R, 2>(rows);
    }
    if R > 2 {
        twist::<V, R, 1>(rows, twists);
        spread::<V, R, 1>(rows);
    }
    if R > 1 && B == 0 {
        twist::<V, R, 0>(rows, twists);
        spread::<V, R, 0>(rows);
    }
}

/// The upper row of each pair takes the lower one.
#[inline(always)]
fn spread<V: Lanes, const R: usize, const L: usize>(rows: &mut [V; R]) {
    for pair in 0..R / 2 {
        let low = pair >> L << (L + 1) | pair & ((1 << L) - 1);
        rows[low + (1 << L)] = rows[low + (1 << L)].add(rows[low]);
    }
}

/// The lower row of each pair takes the upper one times the pair's factor.
#[inline(always)]
fn twist<V: Lanes, const R: usize, const L: usize>(rows: &mut [V; R], twists: &Twists<V::Table, R>) {
    if twists.wide >> L & 1 == 1 {
        for pair in 0..R / 2 {
            let low = pair >> L << (L + 1) | pair & ((1 << L) - 1);
            let factor = twists.factors[R - (R >> L) + (pair >> L)];
            rows[low] = rows[low].add(mul_wide(rows[low + (1 << L)], factor));
        }
        return;
    }
    if !twists.at_origin {
        for low in 0..1 << L {
            rows[low] = rows[low].add(rows[low + (1 << L)].mul(twists.factors[R - (R >> L)].low));
        }
    }
    for pair in 1 << L..R / 2 {
        let low = pair >> L << (L + 1) | pair & ((1 << L) - 1);
        let factor = twists.factors[R - (R >> L) + (pair >> L)].low;
        rows[low] = rows[low].add(rows[low + (1 << L)].mul(factor));
    }
}
