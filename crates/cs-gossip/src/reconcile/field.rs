//! GF(2^b) for b from 8 to 32, by the irreducible polynomial of least weight and degree of its tail.
//!
//! Everything is a function of whole slices, so that the choice of instructions ([`Backend`]) is made once a
//! slice: scalar code without tables or branches on values, or the machine's carry-less multiply (`clmul`).

#[cfg(target_arch = "x86_64")]
use crate::reconcile::clmul;

/// The narrowest field: its inverse tables would be silly, and so would shorter ids.
pub(crate) const MIN_BITS: u8 = 8;
/// The widest field: products fit in 64 bits.
pub(crate) const MAX_BITS: u8 = 32;

/// Exponents of the middle terms of each modulus `x^b + x^t0 + x^t1 + x^t2 + 1`, from b = 8; trinomials have zeros,
/// whose terms cancel in [`Field::fold`]. Lexicographically first, trinomials before pentanomials (REC-7).
const TAILS: [[u8; 3]; 25] = [
    [4, 3, 1],
    [1, 0, 0],
    [3, 0, 0],
    [2, 0, 0],
    [3, 0, 0],
    [4, 3, 1],
    [5, 0, 0],
    [1, 0, 0],
    [5, 3, 1],
    [3, 0, 0],
    [3, 0, 0],
    [5, 2, 1],
    [3, 0, 0],
    [2, 0, 0],
    [1, 0, 0],
    [5, 0, 0],
    [4, 3, 1],
    [3, 0, 0],
    [4, 3, 1],
    [5, 2, 1],
    [1, 0, 0],
    [2, 0, 0],
    [1, 0, 0],
    [3, 0, 0],
    [7, 3, 2],
];

/// Which instructions multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Scalar,
    /// PCLMULQDQ: one product at a time.
    #[cfg(target_arch = "x86_64")]
    Clmul,
    /// VPCLMULQDQ on 256 bits: four products at a time.
    #[cfg(target_arch = "x86_64")]
    Wide,
}

impl Backend {
    /// The best that this machine has. The question is answered from a cache of the standard library.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if clmul::has_wide() {
                return Self::Wide;
            }
            if clmul::has_narrow() {
                return Self::Clmul;
            }
        }
        Self::Scalar
    }
}

/// One of the fields. Elements are `u32` below `2^bits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) bits: u8,
    pub(crate) tail: [u8; 3],
    backend: Backend,
}

impl Field {
    /// The field of `2^bits` elements; `bits` is brought into range.
    pub(crate) fn new(bits: u8) -> Self {
        Self::with_backend(bits, Backend::detect())
    }

    pub(crate) fn with_backend(bits: u8, backend: Backend) -> Self {
        let bits = bits.clamp(MIN_BITS, MAX_BITS);
        Self { bits, tail: TAILS[usize::from(bits - MIN_BITS)], backend }
    }

    /// All bits of an element.
    pub(crate) const fn mask(self) -> u64 {
        (1 << self.bits) - 1
    }

    /// Multiplies. About 30 cycles in scalar code.
    #[inline]
    pub(crate) const fn mul(self, a: u32, b: u32) -> u32 {
        self.reduce(carryless(a, b))
    }

    /// Squares: spreads the bits, since the Frobenius map is linear.
    #[inline]
    pub(crate) const fn square(self, a: u32) -> u32 {
        let mut x = a as u64;
        x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
        x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
        x = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        x = (x | (x << 2)) & 0x3333_3333_3333_3333;
        x = (x | (x << 1)) & 0x5555_5555_5555_5555;
        self.reduce(x)
    }

    /// The inverse, `a^(2^b - 2)`; that of zero is zero.
    pub(crate) const fn invert(self, a: u32) -> u32 {
        let mut power = self.square(a);
        let mut result = power;
        let mut step = 2;
        while step < self.bits {
            power = self.square(power);
            result = self.mul(result, power);
            step += 1;
        }
        result
    }

    /// Reduces a product of two elements: two folds, since every tail is shorter than half of its modulus.
    #[inline]
    pub(crate) const fn reduce(self, value: u64) -> u32 {
        let once = (value & self.mask()) ^ self.fold(value >> self.bits);
        ((once & self.mask()) ^ self.fold(once >> self.bits)) as u32
    }

    /// `high * (x^t0 + x^t1 + x^t2 + 1)`.
    #[inline]
    const fn fold(self, high: u64) -> u64 {
        let [t0, t1, t2] = self.tail;
        high ^ (high << t0) ^ (high << t1) ^ (high << t2)
    }

    /// The sum of `a[i] * b[last - i]`: one term of a convolution.
    pub(crate) fn convolve(self, a: &[u32], b: &[u32]) -> u32 {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Clmul | Backend::Wide => self.reduce(clmul::convolve(a, b)),
            Backend::Scalar => {
                self.reduce(a.iter().zip(b.iter().rev()).fold(0, |sum, (&a, &b)| sum ^ carryless(a, b)))
            }
        }
    }

    /// `sums[i] += scale * terms[i]`, as far as both reach.
    pub(crate) fn add_scaled(self, sums: &mut [u32], scale: u32, terms: &[u32]) {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Wide => clmul::add_scaled_wide(self, sums, scale, terms),
            #[cfg(target_arch = "x86_64")]
            Backend::Clmul => clmul::add_scaled(self, sums, scale, terms),
            Backend::Scalar => {
                for (sum, &term) in sums.iter_mut().zip(terms) {
                    *sum ^= self.mul(scale, term);
                }
            }
        }
    }

    /// Adds the odd powers `x, x^3, x^5, ..` of every element to `sums`. One multiplication an element and sum.
    pub(crate) fn add_odd_powers(self, sums: &mut [u32], elements: &[u32]) {
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Wide => clmul::add_odd_powers_wide(self, sums, elements),
            #[cfg(target_arch = "x86_64")]
            Backend::Clmul => clmul::add_odd_powers(self, sums, elements),
            Backend::Scalar => {
                for &element in elements {
                    let step = self.square(element);
                    let mut power = element;
                    for sum in sums.iter_mut() {
                        *sum ^= power;
                        power = self.mul(power, step);
                    }
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: shift and add, reducing by the modulus bit by bit.
    fn slow_mul(field: Field, a: u32, b: u32) -> u32 {
        let modulus = field.tail.iter().fold(1u64 << field.bits | 1, |sum, tap| sum ^ 1 << tap);
        let (mut product, mut shifted) = (0u64, u64::from(a));
        for bit in 0..field.bits {
            if b >> bit & 1 == 1 {
                product ^= shifted;
            }
            shifted <<= 1;
            if shifted >> field.bits == 1 {
                shifted ^= modulus;
            }
        }
        product as u32
    }

    fn backends() -> Vec<Backend> {
        let mut all = vec![Backend::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(clmul::has_narrow().then_some(Backend::Clmul));
            all.extend(clmul::has_wide().then_some(Backend::Wide));
        }
        all
    }

    proptest! {
        /// REC-7
        #[test]
        fn multiplication_agrees_with_shift_and_add(bits in MIN_BITS..=MAX_BITS, a: u32, b: u32) {
            let field = Field::with_backend(bits, Backend::Scalar);
            let (a, b) = (a & field.mask() as u32, b & field.mask() as u32);
            prop_assert_eq!(field.mul(a, b), slow_mul(field, a, b));
            prop_assert_eq!(field.square(a), slow_mul(field, a, a));
            if a != 0 {
                prop_assert_eq!(field.mul(a, field.invert(a)), 1);
            }
        }

        /// Every backend that this machine has does exactly what the scalar twin does, at every length.
        #[test]
        fn carry_less_instructions_agree_with_the_scalar_twin(
            bits in MIN_BITS..=MAX_BITS,
            mut sums in proptest::collection::vec(any::<u32>(), 0..40),
            mut terms in proptest::collection::vec(any::<u32>(), 0..40),
            scale: u32,
        ) {
            let scalar = Field::with_backend(bits, Backend::Scalar);
            let mask = scalar.mask() as u32;
            sums.iter_mut().chain(&mut terms).for_each(|word| *word &= mask);
            let scale = scale & mask;
            for backend in backends() {
                let field = Field::with_backend(bits, backend);
                prop_assert_eq!(field.convolve(&sums, &terms), scalar.convolve(&sums, &terms));
                let (mut ours, mut twins) = (sums.clone(), sums.clone());
                field.add_scaled(&mut ours, scale, &terms);
                scalar.add_scaled(&mut twins, scale, &terms);
                prop_assert_eq!(&ours, &twins);
                field.add_odd_powers(&mut ours, &terms);
                scalar.add_odd_powers(&mut twins, &terms);
                prop_assert_eq!(ours, twins, "{:?}", backend);
            }
        }
    }

    /// REC-7. Rabin's test: x^(2^b) = x, and for each prime p that divides b, x^(2^(b/p)) - x has an inverse.
    #[test]
    fn every_modulus_is_irreducible() {
        for bits in MIN_BITS..=MAX_BITS {
            let field = Field::with_backend(bits, Backend::Scalar);
            let frobenius = |times: u8| (0..times).fold(2u32, |x, _| field.square(x));
            assert_eq!(frobenius(bits), 2, "{bits}");
            for prime in (2..=bits).filter(|p| bits % p == 0 && (2..*p).all(|d| p % d != 0)) {
                let difference = frobenius(bits / prime) ^ 2;
                assert_eq!(field.mul(difference, field.invert(difference)), 1, "{bits}");
            }
        }
    }
}
