use alloc::vec;
use alloc::vec::Vec;

use crate::code::{Code, count, same_length};
use crate::fault::Refused;
use crate::gf8::mul;
use crate::kernel::combine;
use crate::matrix;

/// How to make lost shards from others: which to read, and their factors.
///
/// A plan depends on the numbers of the shards, not on their bytes: make it once for a loss pattern and run it for
/// each stripe. It reads exactly `k` shards, data before parity and lower numbers first, so a node
/// that repairs fetches [`sources`](Self::sources) and nothing else.
///
/// Making it costs about `e * e * (e + k)` products for `e` lost data shards, running it `k` products a byte
/// of each target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Repair {
    sources: Vec<usize>,
    targets: Vec<usize>,
    /// One row of factors of the sources a target.
    rows: Vec<u8>,
    total: usize,
}

impl Repair {
    pub(crate) fn plan(code: &Code, available: &[usize], wanted: &[usize]) -> Result<Self, Refused> {
        let sources = choose(code, available, wanted)?;
        let k = code.data_shards();
        let lost: Vec<usize> = (0..k).filter(|i| sources.binary_search(i).is_err()).collect();
        let solved = solve(code, &sources, &lost);
        let mut rows = Vec::with_capacity(wanted.len() * k);
        for index in wanted {
            rows.extend_from_slice(&match lost.binary_search(index) {
                Ok(position) => solved[position * k..][..k].to_vec(),
                Err(_) if *index >= k => parity_row(code, index - k, &sources, &lost, &solved),
                // Available, but not chosen: cannot be, since data shards are chosen first.
                Err(_) => vec![0; k],
            });
        }
        Ok(Self { sources, targets: wanted.to_vec(), rows, total: code.total_shards() })
    }

    /// The `k` shards it reads, ascending.
    pub fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// The shards it makes, in the order they were asked for.
    pub fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// Writes the targets from the sources, each in the order of [`sources`](Self::sources) and
    /// [`targets`](Self::targets).
    pub fn run<S: AsRef<[u8]>, T: AsMut<[u8]>>(
        &self,
        sources: &[S],
        targets: &mut [T],
    ) -> Result<(), Refused> {
        let sources: Vec<&[u8]> = sources.iter().map(AsRef::as_ref).collect();
        let mut targets: Vec<&mut [u8]> = targets.iter_mut().map(AsMut::as_mut).collect();
        count(sources.len(), self.sources.len())?;
        count(targets.len(), self.targets.len())?;
        let len = sources[0].len();
        same_length(sources.iter().map(|source| source.len()), len)?;
        same_length(targets.iter().map(|target| target.len()), len)?;
        combine(&self.rows, &sources, &mut targets, false);
        Ok(())
    }

    /// As [`run`](Self::run), in a slice of all `k + m` shards, of which only sources and targets are touched.
    pub fn run_in_place<S: AsRef<[u8]> + AsMut<[u8]>>(&self, shards: &mut [S]) -> Result<(), Refused> {
        count(shards.len(), self.total)?;
        let mut sources: Vec<&[u8]> = Vec::with_capacity(self.sources.len());
        let mut slots: Vec<Option<&mut [u8]>> = Vec::with_capacity(self.total);
        for (index, shard) in shards.iter_mut().enumerate() {
            if self.sources.binary_search(&index).is_ok() {
                sources.push((*shard).as_ref());
                slots.push(None);
            } else {
                slots.push(Some(shard.as_mut()));
            }
        }
        let mut targets: Vec<&mut [u8]> =
            self.targets.iter().filter_map(|index| slots[*index].take()).collect();
        self.run(&sources, &mut targets)
    }
}

/// ERA-4: each number in range, none twice, and `k` left.
fn choose(code: &Code, available: &[usize], wanted: &[usize]) -> Result<Vec<usize>, Refused> {
    let mut seen = vec![false; code.total_shards()];
    for index in available.iter().chain(wanted).copied() {
        let seen = seen.get_mut(index).ok_or(Refused::NoSuchShard { index })?;
        if core::mem::replace(seen, true) {
            return Err(Refused::Duplicate { index });
        }
    }
    let needed = code.data_shards();
    if available.len() < needed {
        return Err(Refused::TooFewShards { available: available.len(), needed });
    }
    let mut sources = available.to_vec();
    sources.sort_unstable();
    sources.truncate(needed);
    Ok(sources)
}

/// The lost data shards in terms of the sources: their equations are as many of the parity rows, solved for them.
fn solve(code: &Code, sources: &[usize], lost: &[usize]) -> Vec<u8> {
    let (k, e) = (code.data_shards(), lost.len());
    let (data, parity) = sources.split_at(k - e);
    let coefficients =
        parity.iter().flat_map(|row| lost.iter().map(move |column| code.coefficient(row - k, *column)));
    let inverse = matrix::invert(coefficients.collect(), e).expect("the code is MDS: no minor is zero");
    let mut solved = vec![0; e * k];
    for (factors, row) in inverse.chunks_exact(e.max(1)).zip(solved.chunks_exact_mut(k)) {
        for (factor, equation) in factors.iter().zip(parity) {
            for (target, column) in row.iter_mut().zip(data) {
                *target ^= mul(*factor, code.coefficient(equation - k, *column));
            }
        }
        row[k - e..].copy_from_slice(factors);
    }
    solved
}

fn parity_row(code: &Code, parity: usize, sources: &[usize], lost: &[usize], solved: &[u8]) -> Vec<u8> {
    let k = code.data_shards();
    let mut row = vec![0; k];
    for (target, column) in row.iter_mut().zip(sources.iter().take_while(|source| **source < k)) {
        *target = code.coefficient(parity, *column);
    }
    for (column, shard) in lost.iter().zip(solved.chunks_exact(k)) {
        let factor = code.coefficient(parity, *column);
        row.iter_mut().zip(shard).for_each(|(target, x)| *target ^= mul(factor, *x));
    }
    row
}
