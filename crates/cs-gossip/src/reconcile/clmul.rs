//! Carry-less multiplication by the machine's own instructions: the one module of this crate with `unsafe`.
//!
//! # Safety argument
//! Two things here could be unsound, and both are local. (1) Code for instructions that the machine lacks: each
//! public function is a safe wrapper that enters its `target_feature` twin only if [`has_narrow`] or [`has_wide`]
//! says so, and does scalar work otherwise. (2) Loads and stores by pointer: there is one of each, on arrays whose
//! length the type fixes. Everything else is safe intrinsics on values. `field.rs` tests every function against its
//! scalar twin at random widths and lengths.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m128i, __m256i, _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_loadu_si128,
    _mm_set1_epi64x, _mm256_and_si256, _mm256_clmulepi64_epi128, _mm256_cvtepu32_epi64, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_sll_epi64, _mm256_srl_epi64, _mm256_storeu_si256, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use crate::reconcile::field::Field;

/// Elements in one vector of the wide kernels.
const LANES: usize = 4;

/// PCLMULQDQ.
pub(crate) fn has_narrow() -> bool {
    std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// VPCLMULQDQ on 256-bit vectors.
pub(crate) fn has_wide() -> bool {
    has_narrow()
        && std::arch::is_x86_feature_detected!("vpclmulqdq")
        && std::arch::is_x86_feature_detected!("avx2")
}

/// The sum of the carry-less products `a[i] * b[last - i]`, not reduced.
pub(crate) fn convolve(a: &[u32], b: &[u32]) -> u64 {
    assert!(has_narrow(), "the backend was chosen by detection");
    // SAFETY: the instructions were just detected.
    unsafe { convolve_narrow(a, b) }
}

/// `sums[i] += scale * terms[i]`.
pub(crate) fn add_scaled(field: Field, sums: &mut [u32], scale: u32, terms: &[u32]) {
    assert!(has_narrow(), "the backend was chosen by detection");
    // SAFETY: the instructions were just detected.
    unsafe { add_scaled_narrow(field, sums, scale, terms) }
}

/// [`add_scaled`], four at a time.
pub(crate) fn add_scaled_wide(field: Field, sums: &mut [u32], scale: u32, terms: &[u32]) {
    assert!(has_wide(), "the backend was chosen by detection");
    // SAFETY: the instructions were just detected.
    unsafe { add_scaled_vectors(field, sums, scale, terms) }
}

/// Adds the odd powers of every element to `sums`.
pub(crate) fn add_odd_powers(field: Field, sums: &mut [u32], elements: &[u32]) {
    assert!(has_narrow(), "the backend was chosen by detection");
    // SAFETY: the instructions were just detected.
    unsafe { add_odd_powers_narrow(field, sums, elements) }
}

/// [`add_odd_powers`], eight elements at a time.
pub(crate) fn add_odd_powers_wide(field: Field, sums: &mut [u32], elements: &[u32]) {
    assert!(has_wide(), "the backend was chosen by detection");
    // SAFETY: the instructions were just detected.
    unsafe { add_odd_powers_vectors(field, sums, elements) }
}

#[inline]
#[target_feature(enable = "pclmulqdq")]
fn product(a: u32, b: u32) -> u64 {
    let (a, b) = (_mm_cvtsi64_si128(i64::from(a)), _mm_cvtsi64_si128(i64::from(b)));
    _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(a, b)) as u64
}

#[target_feature(enable = "pclmulqdq")]
fn convolve_narrow(a: &[u32], b: &[u32]) -> u64 {
    a.iter().zip(b.iter().rev()).fold(0, |sum, (&a, &b)| sum ^ product(a, b))
}

#[target_feature(enable = "pclmulqdq")]
fn add_scaled_narrow(field: Field, sums: &mut [u32], scale: u32, terms: &[u32]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum ^= field.reduce(product(scale, term));
    }
}

#[target_feature(enable = "pclmulqdq")]
fn add_odd_powers_narrow(field: Field, sums: &mut [u32], elements: &[u32]) {
    // Four chains at once, since each multiplication waits for the one before.
    for chunk in elements.chunks(4) {
        let mut powers = [0; 4];
        powers[..chunk.len()].copy_from_slice(chunk);
        let steps = powers.map(|element| field.square(element));
        for sum in sums.iter_mut() {
            for (power, step) in powers.iter_mut().zip(steps) {
                *sum ^= *power;
                *power = field.reduce(product(*power, step));
            }
        }
    }
}

/// The constants of a field, in vectors.
#[derive(Clone, Copy)]
struct Vectors {
    mask: __m256i,
    bits: __m128i,
    tail: [__m128i; 3],
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(field: Field) -> Self {
        Self {
            mask: _mm256_set1_epi64x(field.mask() as i64),
            bits: _mm_set1_epi64x(i64::from(field.bits)),
            tail: field.tail.map(|tap| _mm_set1_epi64x(i64::from(tap))),
        }
    }

    /// Four products in the field; every lane is below `2^32`.
    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq")]
    fn mul(self, a: __m256i, b: __m256i) -> __m256i {
        let even = _mm256_clmulepi64_epi128::<0x00>(a, b);
        let odd = _mm256_clmulepi64_epi128::<0x11>(a, b);
        self.fold(self.fold(_mm256_unpacklo_epi64(even, odd)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn fold(self, value: __m256i) -> __m256i {
        let [t0, t1, t2] = self.tail;
        let high = _mm256_srl_epi64(value, self.bits);
        let low = _mm256_xor_si256(_mm256_and_si256(value, self.mask), high);
        let more = _mm256_xor_si256(_mm256_sll_epi64(high, t1), _mm256_sll_epi64(high, t2));
        _mm256_xor_si256(_mm256_xor_si256(low, _mm256_sll_epi64(high, t0)), more)
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u32; LANES]) -> __m256i {
    // SAFETY: sixteen bytes are read, which is what the array has; no alignment is asked for.
    _mm256_cvtepu32_epi64(unsafe { _mm_loadu_si128(words.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m256i) -> [u64; LANES] {
    let mut lanes = [0; LANES];
    // SAFETY: thirty-two bytes are written, which is what the array has; no alignment is asked for.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

#[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq")]
fn add_scaled_vectors(field: Field, sums: &mut [u32], scale: u32, terms: &[u32]) {
    let constants = Vectors::new(field);
    let factor = _mm256_set1_epi64x(i64::from(scale));
    let len = sums.len().min(terms.len());
    let (sum_chunks, sum_rest) = sums[..len].as_chunks_mut::<LANES>();
    let (term_chunks, term_rest) = terms[..len].as_chunks::<LANES>();
    for (sums, terms) in sum_chunks.iter_mut().zip(term_chunks) {
        let products = store(constants.mul(load(terms), factor));
        for (sum, product) in sums.iter_mut().zip(products) {
            *sum ^= product as u32;
        }
    }
    add_scaled_narrow(field, sum_rest, scale, term_rest);
}

#[target_feature(enable = "avx2,vpclmulqdq,pclmulqdq")]
fn add_odd_powers_vectors(field: Field, sums: &mut [u32], elements: &[u32]) {
    let constants = Vectors::new(field);
    let (pairs, rest) = elements.as_chunks::<{ 2 * LANES }>();
    // One vector of partial sums a syndrome; folded at the end.
    let mut partial = vec![_mm256_setzero_si256(); sums.len()];
    for pair in pairs {
        let (first, second) = pair.split_at(LANES);
        let (Some(first), Some(second)) = (first.first_chunk(), second.first_chunk()) else { continue };
        let (mut a, mut b) = (load(first), load(second));
        let (a_step, b_step) = (constants.mul(a, a), constants.mul(b, b));
        for sum in &mut partial {
            *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(a, b));
            a = constants.mul(a, a_step);
            b = constants.mul(b, b_step);
        }
    }
    for (sum, partial) in sums.iter_mut().zip(partial) {
        *sum ^= store(partial).into_iter().fold(0, |all, lane| all ^ lane) as u32;
    }
    add_odd_powers_narrow(field, sums, rest);
}
