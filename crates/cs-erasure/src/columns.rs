//! How shards of any length become whole blocks.

use alloc::vec;
use alloc::vec::Vec;

use crate::kernel::{BLOCK, Line};

/// Strips of up to `width` columns, a multiple of [`BLOCK`], that cover `len >= BLOCK` columns. The last one overlaps
/// the one before it where `len` is no multiple, so that nothing is copied.
pub(crate) fn strips(len: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = len - len % BLOCK;
    let last = (whole < len).then(|| (len - BLOCK, len));
    (0..whole).step_by(width).map(move |start| (start, whole.min(start + width))).chain(last)
}

/// Runs `work` on the shards, or on copies filled up with zeros if they are shorter than a block. `work` must
/// write whole targets without reading them.
pub(crate) fn whole_blocks(
    sources: &[&[u8]],
    targets: &mut [&mut [u8]],
    work: impl FnOnce(&[&[u8]], &mut [&mut [u8]], usize),
) {
    let lengths = sources.iter().map(|source| source.len()).chain(targets.iter().map(|target| target.len()));
    let len = lengths.max().unwrap_or(0);
    if len >= BLOCK {
        return work(sources, targets, len);
    }
    if len == 0 {
        return;
    }
    let mut padded = vec![Line([0; BLOCK]); sources.len() + targets.len()];
    let (from, to) = padded.split_at_mut(sources.len());
    for (line, source) in from.iter_mut().zip(sources) {
        line.0[..source.len()].copy_from_slice(source);
    }
    let from: Vec<&[u8]> =
        from.iter().zip(sources).map(|(line, source)| &line.0[..used(source.len())]).collect();
    let mut rows: Vec<&mut [u8]> =
        to.iter_mut().zip(&*targets).map(|(line, target)| &mut line.0[..used(target.len())]).collect();
    work(&from, &mut rows, BLOCK);
    for (target, line) in targets.iter_mut().zip(to) {
        let len = target.len();
        target.copy_from_slice(&line.0[..len]);
    }
}

/// An empty shard, which is one that is not there, stays so.
fn used(len: usize) -> usize {
    if len == 0 { 0 } else { BLOCK }
}
