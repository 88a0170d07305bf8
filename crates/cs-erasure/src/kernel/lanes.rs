//! What a register of bytes can do, so that every loop is written once for all instruction sets.

#[cfg(target_arch = "x86_64")]
use crate::gf8::AFFINE;
use crate::gf8::{NIBBLES, Nibbles};

/// A register of field elements of GF(2^8), one a byte; or of GF(2^16), two bytes each, the low one first.
///
/// A value exists only where its instructions do, because [`zero`](Self::zero) and [`load`](Self::load), which make the
/// first ones, are unsafe for that reason. So what needs a value is safe.
///
/// Everything is inlined into a function that the instructions are enabled for, and nothing is in a closure, which
/// would not be.
pub(crate) trait Lanes: Copy {
    /// Bytes of a register: a divisor of [`BLOCK`](super::BLOCK).
    const BYTES: usize;

    /// What products by a constant look up.
    type Table: Table;

    /// # Safety
    /// The processor has the instructions.
    unsafe fn zero() -> Self;

    /// # Safety
    /// The processor has the instructions; `from` has [`BYTES`](Self::BYTES) to read, at any alignment.
    unsafe fn load(from: *const u8) -> Self;

    /// # Safety
    /// `to` has [`BYTES`](Self::BYTES) to write, at any alignment.
    unsafe fn store(self, to: *mut u8);

    /// Asks for the line of the cache at `at`, which may be any address: a hint, where the processor takes one.
    #[inline(always)]
    fn prefetch(_at: *const u8) {}

    fn add(self, other: Self) -> Self;

    /// Each byte times a constant.
    fn mul(self, by: Self::Table) -> Self;

    /// `high * 128, low + high` of each pair of bytes: what the high byte of a constant of GF(2^16) multiplies (ERA-7).
    fn fold(self) -> Self;
}

/// A constant of GF(2^8) in the form that products want.
pub(crate) trait Table: Copy {
    fn of(c: u8) -> Self;
}

/// Products of all halves of bytes, for kernels that look up bytes.
impl Table for &'static Nibbles {
    #[inline(always)]
    fn of(c: u8) -> Self {
        &NIBBLES[usize::from(c)]
    }
}

/// A matrix over the bits, for kernels that have GFNI.
#[cfg(target_arch = "x86_64")]
impl Table for u64 {
    #[inline(always)]
    fn of(c: u8) -> Self {
        AFFINE[usize::from(c)]
    }
}

/// A constant of GF(2^16), or of GF(2^8) if its high byte is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor<T> {
    pub(crate) low: T,
    pub(crate) high: T,
}

impl<T: Table> Factor<T> {
    #[inline(always)]
    pub(crate) fn new(element: u16) -> Self {
        let [low, high] = element.to_le_bytes();
        Self { low: T::of(low), high: T::of(high) }
    }
}

/// Products of pairs of bytes; [`Lanes::mul`] suffices where all constants are of GF(2^8).
#[inline(always)]
pub(crate) fn mul_wide<V: Lanes>(x: V, by: Factor<V::Table>) -> V {
    x.mul(by.low).add(x.fold().mul(by.high))
}

/// Bytes of sources beyond which they come from memory: then lines are asked for ahead of their use. What the caches hold
/// would only be slowed down by it.
const FAR: usize = 8 << 20;

/// Whether so many columns of the sources come from memory.
pub(crate) fn is_far(sources: &[&[u8]], columns: usize) -> bool {
    sources.len().saturating_mul(columns) > FAR
}

/// Runs a block for each number below a constant of at most 16, written out: a loop that the compiler leaves as one would
/// keep its registers in memory.
macro_rules! unrolled {
    ($i:ident in $count:expr, $body:block) => {
        unrolled!(@ $i, $count, $body, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    };
    (@ $i:ident, $count:expr, $body:block, $($number:literal),*) => {
        $({
            let $i: usize = $number;
            if $i < $count $body
        })*
    };
}
pub(crate) use unrolled;
