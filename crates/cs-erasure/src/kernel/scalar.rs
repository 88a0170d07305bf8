//! Portable loops, and the oracle of all others.

use crate::gf8::NIBBLES;

/// Bytes of each shard that are worked on at a time, so that targets stay in the first-level cache.
const STRIP: usize = 4096;

pub(crate) fn combine(rows: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]], keep: bool) {
    let len = targets.first().map_or(0, |target| target.len());
    for start in (0..len).step_by(STRIP) {
        let strip = start..len.min(start + STRIP);
        for (row, target) in rows.chunks_exact(sources.len().max(1)).zip(targets.iter_mut()) {
            let target = &mut target[strip.clone()];
            if !keep {
                target.fill(0);
            }
            for (c, source) in row.iter().zip(sources) {
                mul_add(target, &source[strip.clone()], *c);
            }
        }
    }
}

pub(crate) fn mul_add(target: &mut [u8], source: &[u8], c: u8) {
    match c {
        0 => {}
        1 => target.iter_mut().zip(source).for_each(|(t, s)| *t ^= s),
        _ => {
            let table = &NIBBLES[usize::from(c)];
            for (t, s) in target.iter_mut().zip(source) {
                *t ^= table[usize::from(s & 15)] ^ table[usize::from(s >> 4) + 16];
            }
        }
    }
}
