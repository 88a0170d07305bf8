//! Loops over bytes: the fastest that the processor has, chosen at run time. All write the same bytes.

mod scalar;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod x86;

/// `targets[i] = sum over j of rows[i * sources.len() + j] * sources[j]`, added to what the targets hold if `keep`. All
/// slices have one length; the callers checked it.
pub(crate) fn combine(rows: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]], keep: bool) {
    debug_assert_eq!(rows.len(), sources.len() * targets.len());
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if let Some(kernel) = x86::Kernel::detect() {
        return kernel.combine(rows, sources, targets, keep);
    }
    scalar::combine(rows, sources, targets, keep);
}

/// `target += c * source`.
pub(crate) fn mul_add(target: &mut [u8], source: &[u8], c: u8) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if c > 1
        && let Some(kernel) = x86::Kernel::detect()
    {
        return kernel.combine(&[c], &[source], &mut [target], true);
    }
    scalar::mul_add(target, source, c);
}
