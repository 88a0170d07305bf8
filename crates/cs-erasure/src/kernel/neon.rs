//! Registers of AArch64: products by table look-up.

use core::arch::aarch64::*;

use super::lanes::{Lanes, Table};
use crate::gf8::Nibbles;
use crate::gf16::STEP;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(uint8x16_t);

impl Lanes for Neon {
    const BYTES: usize = 16;
    type Table = &'static Nibbles;

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { vdupq_n_u8(0) })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as the caller promises; the instruction wants no alignment beyond that of a byte.
        Self(unsafe { vld1q_u8(from) })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as the caller promises; the instruction wants no alignment beyond that of a byte.
        unsafe { vst1q_u8(to, self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a value exists, so its instructions do.
        Self(unsafe { veorq_u8(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, by: Self::Table) -> Self {
        // SAFETY: a value exists, so its instructions do; each table is 16 bytes.
        unsafe {
            let low = vqtbl1q_u8(vld1q_u8(by.low()), vandq_u8(self.0, vdupq_n_u8(15)));
            let high = vqtbl1q_u8(vld1q_u8(by.high()), vshrq_n_u8::<4>(self.0));
            Self(veorq_u8(low, high))
        }
    }

    #[inline(always)]
    fn fold(self) -> Self {
        // SAFETY: a value exists, so its instructions do.
        unsafe {
            let swapped = Self(vrev16q_u8(self.0));
            let low = vreinterpretq_u8_u16(vdupq_n_u16(0xff));
            Self(vbslq_u8(low, swapped.mul(Table::of(STEP)).0, self.add(swapped).0))
        }
    }
}
