//! GF(2^8) in coordinates of a Cantor basis.
//!
//! A byte `x` stands for the sum of the basis elements whose bits are set, and the basis satisfies
//! `b[0] = 1`, `b[i] = b[i + 1]^2 + b[i + 1]`. So the vanishing polynomial of the first `2^i` points
//! maps the point `x` to `x >> i`, and the additive FFT needs no table of twiddle factors (Lin, Chung and
//! Han 2014; Gao and Mateer 2010).

/// x^8 + x^4 + x^3 + x^2 + 1 (ERA-1).
const POLYNOMIAL: u16 = 0x11d;
/// The Cantor basis, as polynomials modulo [`POLYNOMIAL`] (ERA-1).
const BASIS: [u8; 8] = [1, 214, 152, 146, 86, 200, 88, 230];

static FIELD: Field = Field::new();
/// The products of each constant with 0..16 and with 0, 16, ..., 240: a byte's product is the sum of two.
pub(crate) static NIBBLES: [Nibbles; 256] = nibbles();
/// Multiplication by each constant as a bit matrix, as GFNI wants it: byte 7 - i has the row of bit i.
#[cfg(target_arch = "x86_64")]
pub(crate) static AFFINE: [u64; 256] = affine();

/// The products of one constant; aligned so that a half is loaded at once.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Nibbles([u8; 32]);

impl Nibbles {
    /// Where the 16 products with 0..16 begin.
    #[inline(always)]
    pub(crate) fn low(&self) -> *const u8 {
        self.0.as_ptr()
    }

    /// Where the 16 products with 0, 16, ..., 240 begin.
    #[inline(always)]
    pub(crate) fn high(&self) -> *const u8 {
        self.0[16..].as_ptr()
    }

    #[inline(always)]
    pub(crate) fn product(&self, x: u8) -> u8 {
        self.0[usize::from(x & 15)] ^ self.0[usize::from(x >> 4) + 16]
    }
}

struct Field {
    /// Powers of the generator x, twice, so that sums of logarithms need no reduction.
    exp: [u8; 510],
    log: [u8; 256],
}

impl Field {
    const fn new() -> Self {
        let mut coordinates = [0; 256];
        let mut x = 0;
        while x < 256 {
            coordinates[polynomial(x as u8) as usize] = x as u8;
            x += 1;
        }
        let mut field = Self { exp: [0; 510], log: [0; 256] };
        let (mut power, mut i) = (1u16, 0);
        while i < 255 {
            let element = coordinates[power as usize];
            field.exp[i] = element;
            field.exp[i + 255] = element;
            field.log[element as usize] = i as u8;
            power <<= 1;
            if power & 0x100 != 0 {
                power ^= POLYNOMIAL;
            }
            i += 1;
        }
        field
    }
}

const fn polynomial(x: u8) -> u8 {
    let (mut sum, mut bit) = (0, 0);
    while bit < 8 {
        if x >> bit & 1 == 1 {
            sum ^= BASIS[bit];
        }
        bit += 1;
    }
    sum
}

const fn nibbles() -> [Nibbles; 256] {
    let mut tables = [Nibbles([0; 32]); 256];
    let mut c = 0;
    while c < 256 {
        let mut n = 0;
        while n < 16 {
            tables[c].0[n] = mul(c as u8, n as u8);
            tables[c].0[n + 16] = mul(c as u8, (n << 4) as u8);
            n += 1;
        }
        c += 1;
    }
    tables
}

#[cfg(target_arch = "x86_64")]
const fn affine() -> [u64; 256] {
    let mut matrices = [0; 256];
    let mut c = 0;
    while c < 256 {
        let mut column = 0;
        while column < 8 {
            let product = mul(c as u8, 1 << column);
            let mut row = 0;
            while row < 8 {
                matrices[c] |= ((product >> row & 1) as u64) << (8 * (7 - row) + column);
                row += 1;
            }
            column += 1;
        }
        c += 1;
    }
    matrices
}

pub(crate) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    FIELD.exp[FIELD.log[a as usize] as usize + FIELD.log[b as usize] as usize]
}

/// `a / b`; `b` is not 0.
pub(crate) const fn div(a: u8, b: u8) -> u8 {
    debug_assert!(b != 0, "division by zero");
    if a == 0 {
        return 0;
    }
    FIELD.exp[FIELD.log[a as usize] as usize + 255 - FIELD.log[b as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carry-less multiplication and reduction, bit by bit: nothing in common with the tables.
    fn slow(a: u8, b: u8) -> u8 {
        let (a, b) = (u16::from(polynomial(a)), u16::from(polynomial(b)));
        let mut product = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ (a << bit));
        for bit in (8..15).rev().filter(|bit| *bit >= 8) {
            if product >> bit & 1 == 1 {
                product ^= POLYNOMIAL << (bit - 8);
            }
        }
        (0..=255).find(|x| u16::from(polynomial(*x)) == product).expect("the basis spans the field")
    }

    /// ERA-1.
    #[test]
    fn every_product_is_that_of_the_polynomials_and_division_undoes_it() {
        for a in 0..=255 {
            for b in 0..=255 {
                let product = mul(a, b);
                if a % 7 == 0 || b % 13 == 0 {
                    assert_eq!(product, slow(a, b), "{a} * {b}");
                }
                assert_eq!(product, mul(b, a));
                assert_eq!(product, NIBBLES[usize::from(a)].product(b));
                if b != 0 {
                    assert_eq!(div(product, b), a);
                }
            }
        }
    }

    /// ERA-1: what makes the basis a Cantor basis, and the transforms free of tables.
    #[test]
    fn squaring_and_adding_halves_a_point() {
        for x in 0..=255 {
            assert_eq!(mul(x, x) ^ x, x >> 1);
        }
    }
}
