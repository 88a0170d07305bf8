//! Loops over bytes, for the best instructions that the processor has. All write the same bytes.
//!
//! The one module with unsafe code: instructions that may be missing, and loads and stores by pointer. What is called
//! from outside checks what those rest on, in release builds too.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "indices of registers: loops that are unrolled")]

mod butterfly;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pass;
mod portable;
mod product;
mod scalar;
mod small;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use pass::{Pass, Place, Planes, Step, Strip};
pub(crate) use product::Product;
pub(crate) use scalar::product as product_by_element;
pub(crate) use small::Small;

/// Kernels work on whole blocks of columns.
pub(crate) const BLOCK: usize = 64;

/// A block, aligned so that no load crosses a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u8; BLOCK]);

/// Whether the processor has a feature: asked at run time with `std`, known from the target without.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($feature:tt) => {{
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!($feature);
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = $feature);
        has
    }};
}

/// Instructions that this processor was found to have: there is no other way to make one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Kernel(Isa);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512Gfni,
    #[cfg(target_arch = "x86_64")]
    Avx2Gfni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Ssse3,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// All that the architecture may have, the fastest first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Gfni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2Gfni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Ssse3,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Portable,
    ];

    fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Gfni => has!("avx512f") && has!("avx512bw") && has!("gfni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Gfni => Self::Avx2.is_here() && has!("gfni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Ssse3 => has!("ssse3"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => cfg!(target_feature = "neon"),
            Self::Portable => true,
        }
    }
}

/// The functions that the instructions are enabled for. `deep`: 16 rows fit in registers.
macro_rules! entries {
    ($name:ident, $lanes:ty, deep $deep:literal $(, $features:literal)?) => {
        mod $name {
            use super::*;

            /// # Safety
            /// The processor has the instructions, and what [`pass::run`] says of the rest.
            $(#[target_feature(enable = $features)])?
            pub(crate) unsafe fn pass(pass: &Pass<'_>, strip: &mut Strip<'_, '_, '_>) {
                // SAFETY: as the caller promises.
                unsafe {
                    match pass.depth {
                        2 => pass::run::<$lanes, 4, true>(pass, strip),
                        4 if $deep => pass::run::<$lanes, 16, false>(pass, strip),
                        _ => pass::run::<$lanes, 8, true>(pass, strip),
                    }
                }
            }

            /// # Safety
            /// The processor has the instructions, and what [`small::gather`] says of the rest.
            $(#[target_feature(enable = $features)])?
            pub(crate) unsafe fn gather(job: &mut Small<'_, '_, '_>) {
                // SAFETY: as the caller promises.
                unsafe {
                    match job.depth {
                        1 => small::gather::<$lanes, 2, true>(job),
                        2 => small::gather::<$lanes, 4, true>(job),
                        4 if $deep => small::gather::<$lanes, 16, false>(job),
                        _ => small::gather::<$lanes, 8, true>(job),
                    }
                }
            }

            /// # Safety
            /// The processor has the instructions, and what [`small::spread`] says of the rest.
            $(#[target_feature(enable = $features)])?
            pub(crate) unsafe fn spread(job: &mut Small<'_, '_, '_>) {
                // SAFETY: as the caller promises.
                unsafe {
                    match job.depth {
                        1 => small::spread::<$lanes, 2, true>(job),
                        2 => small::spread::<$lanes, 4, true>(job),
                        4 if $deep => small::spread::<$lanes, 16, false>(job),
                        _ => small::spread::<$lanes, 8, true>(job),
                    }
                }
            }

            /// # Safety
            /// The processor has the instructions, and what [`product::run`] says of the rest.
            $(#[target_feature(enable = $features)])?
            pub(crate) unsafe fn product(job: &mut Product<'_, '_, '_>) {
                // SAFETY: as the caller promises.
                unsafe { product::run::<$lanes>(job) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
entries!(avx512_gfni, x86::Avx512, deep true, "avx512f,avx512bw,gfni");
#[cfg(target_arch = "x86_64")]
entries!(avx2_gfni, x86::Avx2<true>, deep false, "avx2,gfni");
#[cfg(target_arch = "x86_64")]
entries!(avx2, x86::Avx2<false>, deep false, "avx2");
#[cfg(target_arch = "x86_64")]
entries!(ssse3, x86::Ssse3, deep false, "ssse3");
#[cfg(target_arch = "aarch64")]
entries!(aarch64_neon, neon::Neon, deep true, "neon");
entries!(plain, portable::Portable, deep false);

/// Calls the function of a kernel's instructions.
macro_rules! dispatch {
    ($kernel:expr, $function:ident($($argument:expr),*)) => {
        match $kernel.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Gfni => avx512_gfni::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2Gfni => avx2_gfni::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Ssse3 => ssse3::$function($($argument),*),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => aarch64_neon::$function($($argument),*),
            Isa::Portable => plain::$function($($argument),*),
        }
    };
}

impl Kernel {
    /// The fastest one there is.
    pub(crate) fn detect() -> Self {
        Self::available().next().unwrap_or(Self(Isa::Portable))
    }

    /// All that this processor can run, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        Isa::ALL.iter().copied().filter(|isa| isa.is_here()).map(Self)
    }

    /// Most layers at a time: as many rows as registers hold, and room to work.
    pub(crate) fn depth_max(self, is_wide: bool) -> u32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Gfni if !is_wide => 4,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if !is_wide => 4,
            _ => 3,
        }
    }

    /// Runs one pass of a transform of `2^layers` rows over a strip.
    pub(crate) fn pass(self, pass: &Pass<'_>, strip: &mut Strip<'_, '_, '_>) {
        let rows = strip.planes.rows();
        assert!(strip.is_sound() && (2..=self.depth_max(strip.is_wide)).contains(&pass.depth));
        assert!(rows.is_power_of_two() && pass.layer + pass.depth <= rows.ilog2());
        for step in pass.steps.iter().flatten() {
            assert!(!matches!(step, Step::Mix(factors) if factors.len() != rows));
        }
        // SAFETY: a `Kernel` exists only if `available` found its instructions; the rest was asserted.
        unsafe { dispatch!(self, pass(pass, strip)) }
    }

    /// Parity of at least as many data shards, for base points that fit in registers.
    pub(crate) fn gather(self, job: &mut Small<'_, '_, '_>) {
        assert!(job.is_sound() && (1..=self.depth_max(job.is_wide)).contains(&job.depth));
        assert!(job.targets.len() <= 1 << job.depth);
        // SAFETY: a `Kernel` exists only if `available` found its instructions; the rest was asserted.
        unsafe { dispatch!(self, gather(job)) }
    }

    /// Parity of fewer data shards, for base points that fit in registers.
    pub(crate) fn spread(self, job: &mut Small<'_, '_, '_>) {
        assert!(job.is_sound() && (1..=self.depth_max(job.is_wide)).contains(&job.depth));
        assert!(job.sources.len() <= 1 << job.depth);
        // SAFETY: a `Kernel` exists only if `available` found its instructions; the rest was asserted.
        unsafe { dispatch!(self, spread(job)) }
    }

    /// Products by a matrix. There is at least one source.
    pub(crate) fn product(self, job: &mut Product<'_, '_, '_>) {
        assert!(job.is_sound() && !job.sources.is_empty());
        // SAFETY: a `Kernel` exists only if `available` found its instructions; the rest was asserted.
        unsafe { dispatch!(self, product(job)) }
    }
}
