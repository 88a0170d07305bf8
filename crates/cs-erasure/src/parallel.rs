//! The same work on several threads, by columns.

use alloc::vec::Vec;

use rayon::prelude::*;

use crate::code::{Code, Slices};
use crate::fault::Refused;
use crate::repair::Repair;

/// Least columns that are worth a task.
const COLUMNS_MIN: usize = 16 * 1024;

impl Code {
    /// As [`encode`](Self::encode), on the threads of the current rayon pool.
    pub fn par_encode<D: AsRef<[u8]>, P: AsMut<[u8]>>(
        &self,
        data: &[D],
        parity: &mut [P],
    ) -> Result<(), Refused> {
        let (sources, targets) = self.slices(data, parity)?;
        split(sources, targets)
            .into_par_iter()
            .try_for_each(|(sources, mut targets)| self.encode(&sources, &mut targets))
    }
}

impl Repair {
    /// As [`run`](Self::run), on the threads of the current rayon pool.
    pub fn par_run<S: AsRef<[u8]>, T: AsMut<[u8]>>(
        &self,
        sources: &[S],
        targets: &mut [T],
    ) -> Result<(), Refused> {
        let (sources, targets) = self.slices(sources, targets)?;
        split(sources, targets)
            .into_par_iter()
            .try_for_each(|(sources, mut targets)| self.run(&sources, &mut targets))
    }
}

/// Cuts shards of one length into runs of columns, two a thread; cuts are at multiples of 64.
fn split<'s, 't>(mut sources: Vec<&'s [u8]>, mut targets: Vec<&'t mut [u8]>) -> Vec<Slices<'s, 't>> {
    let len = sources.first().map_or(0, |source| source.len());
    let columns = len.div_ceil(2 * rayon::current_num_threads()).next_multiple_of(64).max(COLUMNS_MIN);
    let mut parts = Vec::with_capacity(len.div_ceil(columns));
    for _ in 0..len.div_ceil(columns) {
        let cut = columns.min(sources.first().map_or(0, |source| source.len()));
        let head = sources.iter_mut().map(|source| take(source, cut)).collect();
        let out = targets.iter_mut().map(|target| take_mut(target, cut)).collect();
        parts.push((head, out));
    }
    parts
}

fn take<'s>(slice: &mut &'s [u8], len: usize) -> &'s [u8] {
    let (head, rest) = slice.split_at(len);
    *slice = rest;
    head
}

fn take_mut<'t>(slice: &mut &'t mut [u8], len: usize) -> &'t mut [u8] {
    let (head, rest) = core::mem::take(slice).split_at_mut(len);
    *slice = rest;
    head
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn threads_write_what_one_thread_writes() {
        for (k, m, len) in [(4, 2, 100_001), (20, 40, 65_536), (200, 60, 40_000), (3, 3, 0), (2, 2, 7)] {
            let code = Code::new(k, m).expect("a geometry");
            let data: Vec<Vec<u8>> =
                (0..k).map(|i| (0..len).map(|j| (i * 7 + j * j % 251) as u8).collect()).collect();
            let (mut one, mut many) = (vec![vec![0; len]; m], vec![vec![1; len]; m]);
            code.encode(&data, &mut one).expect("shards that fit");
            code.par_encode(&data, &mut many).expect("shards that fit");
            assert!(one == many, "({k}, {m})");
            let lost: Vec<usize> = (0..m.min(k)).collect();
            let repair = code.repair(&(m.min(k)..k + m).collect::<Vec<_>>(), &lost).expect("enough shards");
            let all: Vec<&Vec<u8>> = data.iter().chain(&one).collect();
            let sources: Vec<&Vec<u8>> = repair.sources().iter().map(|i| all[*i]).collect();
            let mut out = vec![vec![1; len]; lost.len()];
            repair.par_run(&sources, &mut out).expect("shards that fit");
            assert!(out[..] == data[..lost.len()], "({k}, {m})");
            if len > 0 {
                let refused = code.par_encode(&data, &mut many[..m - 1]);
                assert_eq!(refused, Err(Refused::ShardCount { given: m - 1, needed: m }));
            }
        }
    }
}
