//! A register of plain bytes, for processors without a kernel of their own.

use super::lanes::Lanes;
use crate::gf8::{self, Nibbles};
use crate::gf16::STEP;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable([u8; 32]);

impl Lanes for Portable {
    const BYTES: usize = 32;
    type Table = &'static Nibbles;

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0; 32])
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as the caller promises; arrays of bytes have no alignment.
        Self(unsafe { *from.cast::<[u8; 32]>() })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as the caller promises; arrays of bytes have no alignment.
        unsafe { *to.cast::<[u8; 32]>() = self.0 }
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(x, y)| *x ^= y);
        self
    }

    #[inline(never)]
    fn mul(mut self, by: Self::Table) -> Self {
        self.0.iter_mut().for_each(|x| *x = by.product(*x));
        self
    }

    #[inline(never)]
    fn fold(mut self) -> Self {
        for pair in self.0.chunks_exact_mut(2) {
            let [low, high] = [pair[0], pair[1]];
            pair[0] = gf8::mul(high, STEP);
            pair[1] = low ^ high;
        }
        self
    }
}
