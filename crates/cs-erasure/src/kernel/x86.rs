//! Registers of x86-64: products by table look-up (SSSE3, AVX2) or by bit matrices (GFNI, with AVX2 and AVX-512).

use core::arch::x86_64::*;

use super::lanes::{Lanes, Table};
use crate::gf8::Nibbles;
use crate::gf16::STEP;

/// Exchanges the bytes of each pair.
const SWAP: [u8; 16] = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14];
/// The low byte of each pair.
const LOW: i16 = 0xff;
/// The low byte of each pair in 64 bytes, one bit a byte.
const LOW_BITS: u64 = 0x5555_5555_5555_5555;

#[inline(always)]
fn prefetch(at: *const u8) {
    // SAFETY: every x86-64 has the instruction, which reads nothing and never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ssse3(__m128i);

impl Lanes for Ssse3 {
    const BYTES: usize = 16;
    type Table = &'static Nibbles;

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { _mm_setzero_si128() })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as the caller promises; the instruction wants no alignment.
        Self(unsafe { _mm_loadu_si128(from.cast()) })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as the caller promises; the instruction wants no alignment.
        unsafe { _mm_storeu_si128(to.cast(), self.0) }
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        prefetch(at);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a value exists, so its instructions do.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, by: Self::Table) -> Self {
        // SAFETY: a value exists, so its instructions do; each table is 16 bytes, aligned to 16.
        unsafe {
            let mask = _mm_set1_epi8(15);
            let low = _mm_shuffle_epi8(_mm_load_si128(by.low().cast()), _mm_and_si128(self.0, mask));
            let nibble = _mm_and_si128(_mm_srli_epi64::<4>(self.0), mask);
            let high = _mm_shuffle_epi8(_mm_load_si128(by.high().cast()), nibble);
            Self(_mm_xor_si128(low, high))
        }
    }

    #[inline(always)]
    fn fold(self) -> Self {
        // SAFETY: a value exists, so its instructions do; SWAP has 16 bytes.
        unsafe {
            let swapped = Self(_mm_shuffle_epi8(self.0, _mm_loadu_si128(SWAP.as_ptr().cast())));
            let low = _mm_set1_epi16(LOW);
            let lows = _mm_and_si128(low, swapped.mul(Table::of(STEP)).0);
            Self(_mm_or_si128(lows, _mm_andnot_si128(low, self.add(swapped).0)))
        }
    }
}

/// 32 bytes; `GFNI` chooses between the two ways to multiply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2<const GFNI: bool>(__m256i);

macro_rules! avx2_loads_and_sums {
    () => {
        const BYTES: usize = 32;

        // SAFETY: callers promise what the trait asks for.
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: as the caller promises.
            Self(unsafe { _mm256_setzero_si256() })
        }

        // SAFETY: callers promise what the trait asks for.
        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: as the caller promises; the instruction wants no alignment.
            Self(unsafe { _mm256_loadu_si256(from.cast()) })
        }

        // SAFETY: callers promise what the trait asks for.
        #[inline(always)]
        unsafe fn store(self, to: *mut u8) {
            // SAFETY: as the caller promises; the instruction wants no alignment.
            unsafe { _mm256_storeu_si256(to.cast(), self.0) }
        }

        #[inline(always)]
        fn prefetch(at: *const u8) {
            prefetch(at);
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: a value exists, so its instructions do.
            Self(unsafe { _mm256_xor_si256(self.0, other.0) })
        }

        #[inline(always)]
        fn fold(self) -> Self {
            // SAFETY: a value exists, so its instructions do; SWAP has 16 bytes.
            unsafe {
                let swap = _mm256_broadcastsi128_si256(_mm_loadu_si128(SWAP.as_ptr().cast()));
                let swapped = Self(_mm256_shuffle_epi8(self.0, swap));
                let low = _mm256_set1_epi16(LOW);
                Self(_mm256_blendv_epi8(self.add(swapped).0, swapped.mul(Table::of(STEP)).0, low))
            }
        }
    };
}

impl Lanes for Avx2<false> {
    type Table = &'static Nibbles;
    avx2_loads_and_sums!();

    #[inline(always)]
    fn mul(self, by: Self::Table) -> Self {
        // SAFETY: a value exists, so its instructions do; each table is 16 bytes, aligned to 16.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let low = _mm256_broadcastsi128_si256(_mm_load_si128(by.low().cast()));
            let high = _mm256_broadcastsi128_si256(_mm_load_si128(by.high().cast()));
            let nibble = _mm256_and_si256(_mm256_srli_epi64::<4>(self.0), mask);
            let low = _mm256_shuffle_epi8(low, _mm256_and_si256(self.0, mask));
            Self(_mm256_xor_si256(low, _mm256_shuffle_epi8(high, nibble)))
        }
    }
}

impl Lanes for Avx2<true> {
    type Table = u64;
    avx2_loads_and_sums!();

    #[inline(always)]
    fn mul(self, by: Self::Table) -> Self {
        // SAFETY: a value exists, so its instructions do.
        Self(unsafe { _mm256_gf2p8affine_epi64_epi8::<0>(self.0, _mm256_set1_epi64x(by.cast_signed())) })
    }
}

/// 64 bytes, multiplied by GFNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(__m512i);

impl Lanes for Avx512 {
    const BYTES: usize = 64;
    type Table = u64;

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { _mm512_setzero_si512() })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as the caller promises; the instruction wants no alignment.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    // SAFETY: callers promise what the trait asks for.
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as the caller promises; the instruction wants no alignment.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        prefetch(at);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a value exists, so its instructions do.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, by: Self::Table) -> Self {
        // SAFETY: a value exists, so its instructions do.
        Self(unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(self.0, _mm512_set1_epi64(by.cast_signed())) })
    }

    #[inline(always)]
    fn fold(self) -> Self {
        // SAFETY: a value exists, so its instructions do; SWAP has 16 bytes.
        unsafe {
            let swap = _mm512_broadcast_i32x4(_mm_loadu_si128(SWAP.as_ptr().cast()));
            let swapped = Self(_mm512_shuffle_epi8(self.0, swap));
            let lows = swapped.mul(Table::of(STEP)).0;
            Self(_mm512_mask_blend_epi8(LOW_BITS, self.add(swapped).0, lows))
        }
    }
}
