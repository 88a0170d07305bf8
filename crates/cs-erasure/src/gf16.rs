//! GF(2^16) as a quadratic extension of GF(2^8): `low + high * b` with `b^2 = b + 128` (ERA-7).
//!
//! A number whose high byte is 0 is the element of GF(2^8) of its low byte, so one arithmetic serves both fields. The
//! points of the transforms are those of the Cantor basis that goes on from the one of GF(2^8): the twiddle
//! factors of all but the lowest layers lie in GF(2^8), and a product by them is one byte by byte.

use crate::gf8;

/// `b^2 + b`: the last element of the Cantor basis of GF(2^8), so that `b` is the next one.
pub(crate) const STEP: u8 = 128;

/// The low bytes of the Cantor basis elements 8 to 15; their high bytes are 1, 2, 4, ..., 128.
const LOWS: [u8; 8] = lows();

/// Each is the root of `y^2 + y = ` (the one before) whose lowest bit is 0.
const fn lows() -> [u8; 8] {
    let mut lows = [0; 8];
    let mut i = 1;
    while i < 8 {
        let high = 1 << i;
        // In GF(2^8) y^2 + y is y >> 1, which a shift to the left undoes.
        lows[i] = (lows[i - 1] ^ gf8::mul(STEP, gf8::mul(high, high))) << 1;
        i += 1;
    }
    lows
}

/// The element that stands at the number `x` of the Cantor basis: linear in `x`, and the identity below 256.
pub(crate) const fn point(x: u16) -> u16 {
    let (mut low, mut bit) = (x as u8, 0);
    while bit < 8 {
        if x >> (8 + bit) & 1 == 1 {
            low ^= LOWS[bit];
        }
        bit += 1;
    }
    x & 0xff00 | low as u16
}

pub(crate) const fn mul(a: u16, b: u16) -> u16 {
    let [a0, a1] = a.to_le_bytes();
    let [b0, b1] = b.to_le_bytes();
    if a1 == 0 && b1 == 0 {
        return gf8::mul(a0, b0) as u16;
    }
    let high = gf8::mul(a1, b1);
    u16::from_le_bytes([gf8::mul(a0, b0) ^ gf8::mul(STEP, high), gf8::mul(a0, b1) ^ gf8::mul(a1, b0) ^ high])
}

/// `a / b`; `b` is not 0.
pub(crate) const fn div(a: u16, b: u16) -> u16 {
    let [b0, b1] = b.to_le_bytes();
    // The conjugate of b is b + 1; the product of both conjugates lies in GF(2^8).
    let conjugate = u16::from_le_bytes([b0 ^ b1, b1]);
    let norm = gf8::mul(b0, b0 ^ b1) ^ gf8::mul(STEP, gf8::mul(b1, b1));
    mul(mul(a, conjugate), gf8::div(1, norm) as u16)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// ERA-7.
    #[test]
    fn the_points_are_a_cantor_basis_and_those_of_gf8_stay() {
        for x in 0..=u16::MAX {
            let element = point(x);
            assert_eq!(mul(element, element) ^ element, point(x >> 1), "{x}");
            assert!(x > 255 || element == x);
        }
    }

    /// ERA-7.
    #[test]
    fn products_are_associative_and_division_undoes_them() {
        let elements: Vec<u16> = (0..40u16).map(|i| i.wrapping_mul(i).wrapping_mul(40_503) ^ i).collect();
        for (i, a) in elements.iter().copied().enumerate() {
            for b in elements.iter().copied() {
                let c = elements[(i * 7 + 3) % elements.len()];
                assert_eq!(mul(a, mul(b, c)), mul(mul(a, b), c));
                assert_eq!(mul(a, b ^ c), mul(a, b) ^ mul(a, c));
                assert_eq!(mul(a, b), mul(b, a));
                if b != 0 {
                    assert_eq!(div(mul(a, b), b), a, "{a} * {b}");
                }
            }
        }
    }
}
