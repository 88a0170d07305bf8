//! The oracle of all kernels, element by element: nothing in common with them but the field.

use crate::gf16;

/// `targets[i] = sum over j of factors[i * sources.len() + j] * sources[j]`, added to what the targets hold if `keep`.
/// Elements are bytes, or pairs of them if `wide`.
pub(crate) fn product(factors: &[u16], sources: &[&[u8]], targets: &mut [&mut [u8]], wide: bool, keep: bool) {
    for (row, target) in factors.chunks_exact(sources.len().max(1)).zip(targets) {
        if !keep {
            target.fill(0);
        }
        for (factor, source) in row.iter().zip(sources) {
            if wide {
                for (t, s) in target.as_chunks_mut().0.iter_mut().zip(source.as_chunks().0) {
                    *t = (u16::from_le_bytes(*t) ^ gf16::mul(*factor, u16::from_le_bytes(*s))).to_le_bytes();
                }
            } else {
                for (t, s) in target.iter_mut().zip(*source) {
                    *t ^= gf16::mul(*factor, u16::from(*s)) as u8;
                }
            }
        }
    }
}
