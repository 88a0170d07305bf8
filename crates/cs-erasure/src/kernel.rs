//! Loops over bytes. All slices of one call have one length; the callers checked it.

mod scalar;

/// `targets[i] = sum over j of rows[i * sources.len() + j] * sources[j]`, added to what the targets hold if `keep`.
pub(crate) fn combine(rows: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]], keep: bool) {
    debug_assert_eq!(rows.len(), sources.len() * targets.len());
    scalar::combine(rows, sources, targets, keep);
}

/// `target += c * source`.
pub(crate) fn mul_add(target: &mut [u8], source: &[u8], c: u8) {
    scalar::mul_add(target, source, c);
}
