//! GF(2^32) = GF(2)[x] / (x^32 + x^7 + x^3 + x^2 + 1), scalar: no tables, no branches on values.
//!
//! Kept apart so that a carry-less multiply of the machine can stand beside it and be tested against it.

/// Adds in the field; its own inverse.
#[inline]
pub(crate) const fn add(a: u32, b: u32) -> u32 {
    a ^ b
}

/// Multiplies in the field, about 30 cycles.
#[inline]
pub(crate) const fn mul(a: u32, b: u32) -> u32 {
    reduce(carryless(a, b))
}

/// Squares in the field: spreads the bits, since the Frobenius map is linear.
#[inline]
pub(crate) const fn square(a: u32) -> u32 {
    let mut x = a as u64;
    x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
    x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
    x = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | (x << 2)) & 0x3333_3333_3333_3333;
    x = (x | (x << 1)) & 0x5555_5555_5555_5555;
    reduce(x)
}

/// The inverse, `a^(2^32 - 2)`; that of zero is zero.
pub(crate) const fn invert(a: u32) -> u32 {
    let mut power = square(a);
    let mut result = power;
    let mut step = 2;
    while step < 32 {
        power = square(power);
        result = mul(result, power);
        step += 1;
    }
    result
}

/// Carry-less product by integer multiplication with holes: one bit in four is used, so that no carry of
/// the at most eight terms of a column reaches the next used bit.
#[inline]
const fn carryless(a: u32, b: u32) -> u64 {
    const EVERY_FOURTH: u64 = 0x1111_1111_1111_1111;
    let (a, b) = (a as u64, b as u64);
    let (a0, a1, a2, a3) =
        (a & EVERY_FOURTH, a & (EVERY_FOURTH << 1), a & (EVERY_FOURTH << 2), a & (EVERY_FOURTH << 3));
    let (b0, b1, b2, b3) =
        (b & EVERY_FOURTH, b & (EVERY_FOURTH << 1), b & (EVERY_FOURTH << 2), b & (EVERY_FOURTH << 3));
    let c0 = a0.wrapping_mul(b0) ^ a1.wrapping_mul(b3) ^ a2.wrapping_mul(b2) ^ a3.wrapping_mul(b1);
    let c1 = a0.wrapping_mul(b1) ^ a1.wrapping_mul(b0) ^ a2.wrapping_mul(b3) ^ a3.wrapping_mul(b2);
    let c2 = a0.wrapping_mul(b2) ^ a1.wrapping_mul(b1) ^ a2.wrapping_mul(b0) ^ a3.wrapping_mul(b3);
    let c3 = a0.wrapping_mul(b3) ^ a1.wrapping_mul(b2) ^ a2.wrapping_mul(b1) ^ a3.wrapping_mul(b0);
    (c0 & EVERY_FOURTH) | (c1 & (EVERY_FOURTH << 1)) | (c2 & (EVERY_FOURTH << 2)) | (c3 & (EVERY_FOURTH << 3))
}

/// Reduces a polynomial of degree at most 62: `x^32 = x^7 + x^3 + x^2 + 1`, twice.
#[inline]
const fn reduce(value: u64) -> u32 {
    let high = value >> 32;
    let folded = (value & 0xffff_ffff) ^ (high << 7) ^ (high << 3) ^ (high << 2) ^ high;
    let high = folded >> 32;
    (folded ^ (high << 7) ^ (high << 3) ^ (high << 2) ^ high) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: shift and add, reducing by the modulus bit by bit.
    fn slow_mul(a: u32, b: u32) -> u32 {
        let mut product = 0u32;
        let mut shifted = a;
        for bit in 0..32 {
            if b >> bit & 1 == 1 {
                product ^= shifted;
            }
            let carry = shifted >> 31;
            shifted <<= 1;
            if carry == 1 {
                shifted ^= 0x8d;
            }
        }
        product
    }

    proptest! {
        #[test]
        fn multiplication_agrees_with_shift_and_add(a: u32, b: u32) {
            prop_assert_eq!(mul(a, b), slow_mul(a, b));
            prop_assert_eq!(square(a), slow_mul(a, a));
        }

        #[test]
        fn every_element_but_zero_has_an_inverse(a in 1u32..) {
            prop_assert_eq!(mul(a, invert(a)), 1);
        }
    }

    #[test]
    fn the_modulus_is_primitive_enough_to_be_a_field() {
        // x^(2^32) = x and gcd(x^(2^16) - x, modulus) = 1 make the modulus irreducible: 2 is 32's only prime.
        let mut x = 2u32;
        for _ in 0..16 {
            x = square(x);
        }
        assert_ne!(x, 2);
        assert_eq!(mul(add(x, 2), invert(add(x, 2))), 1);
        for _ in 0..16 {
            x = square(x);
        }
        assert_eq!(x, 2);
    }
}
