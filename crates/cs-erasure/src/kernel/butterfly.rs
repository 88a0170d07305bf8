//! Several layers of the additive FFT on rows that stay in registers.

use super::lanes::{Factor, Lanes, Table, mul_wide, unrolled};
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

impl<T: Table, const R: usize> Twists<T, R> {
    /// Of the rows at the points `first`, `first + 2^layer`, `first + 2 * 2^layer`, ...; `first` is a multiple
    /// of `R * 2^layer`, or greater than one by less than `2^layer`.
    #[inline(always)]
    pub(crate) fn new(first: usize, layer: u32) -> Self {
        let mut factors = [Factor::new(0); R];
        let (mut wide, mut next) = (0, 0);
        for step in 0..R.ilog2() {
            for pair in 0..R >> (step + 1) {
                let twist = gf16::point(((first >> layer >> step) + 2 * pair) as u16);
                wide |= u8::from(twist > 0xff) << step;
                factors[next] = Factor::new(twist);
                next += 1;
            }
        }
        Self { factors, wide, at_origin: first >> layer == 0 }
    }
}

/// Values to coefficients, but for the lowest layer. `W`: some factors may lie outside GF(2^8).
#[inline(always)]
pub(crate) fn inverse_above<V: Lanes, const R: usize, const W: bool>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    if R > 2 {
        spread::<V, R, 1>(rows);
        twist::<V, R, 1, W>(rows, twists);
    }
    if R > 4 {
        spread::<V, R, 2>(rows);
        twist::<V, R, 2, W>(rows, twists);
    }
    if R > 8 {
        spread::<V, R, 3>(rows);
        twist::<V, R, 3, W>(rows, twists);
    }
}

/// The lowest layer towards coefficients, which comes first.
#[inline(always)]
pub(crate) fn inverse_lowest<V: Lanes, const R: usize, const W: bool>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    spread::<V, R, 0>(rows);
    twist::<V, R, 0, W>(rows, twists);
}

/// Coefficients to values, but for the lowest layer: undoes [`inverse_above`].
#[inline(always)]
pub(crate) fn forward_above<V: Lanes, const R: usize, const W: bool>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    if R > 8 {
        twist::<V, R, 3, W>(rows, twists);
        spread::<V, R, 3>(rows);
    }
    if R > 4 {
        twist::<V, R, 2, W>(rows, twists);
        spread::<V, R, 2>(rows);
    }
    if R > 2 {
        twist::<V, R, 1, W>(rows, twists);
        spread::<V, R, 1>(rows);
    }
}

/// The lowest layer towards values, which comes last: undoes [`inverse_lowest`].
#[inline(always)]
pub(crate) fn forward_lowest<V: Lanes, const R: usize, const W: bool>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    twist::<V, R, 0, W>(rows, twists);
    spread::<V, R, 0>(rows);
}

/// The upper row of each pair takes the lower one.
#[inline(always)]
fn spread<V: Lanes, const R: usize, const L: usize>(rows: &mut [V; R]) {
    unrolled!(pair in R / 2, {
        let low = pair >> L << (L + 1) | pair & ((1 << L) - 1);
        rows[low + (1 << L)] = rows[low + (1 << L)].add(rows[low]);
    });
}

/// The lower row of each pair takes the upper one times the pair's factor.
#[inline(always)]
fn twist<V: Lanes, const R: usize, const L: usize, const W: bool>(
    rows: &mut [V; R],
    twists: &Twists<V::Table, R>,
) {
    if W && twists.wide >> L & 1 == 1 {
        unrolled!(pair in R / 2, {
            let low = pair >> L << (L + 1) | pair & ((1 << L) - 1);
            let factor = twists.factors[R - (R >> L) + (pair >> L)];
            rows[low] = rows[low].add(mul_wide(rows[low + (1 << L)], factor));
        });
        return;
    }
    if !twists.at_origin {
        unrolled!(low in 1 << L, {
            rows[low] = rows[low].add(rows[low + (1 << L)].mul(twists.factors[R - (R >> L)].low));
        });
    }
    unrolled!(pair in R / 2, {
        if pair >> L > 0 {
            let low = pair >> L << (L + 1) | pair & ((1 << L) - 1);
            let factor = twists.factors[R - (R >> L) + (pair >> L)].low;
            rows[low] = rows[low].add(rows[low + (1 << L)].mul(factor));
        }
    });
}
