use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::code::{Code, Slices, count, slices};
use crate::decode::Decode;
use crate::fault::Refused;
use crate::gf16::mul;
use crate::kernel::Kernel;
use crate::{linear, matrix};

/// How to make lost shards from others: which to read, and their factors.
///
/// A plan depends on the numbers of the shards, not on their bytes: make it once for a loss pattern and run it for
/// each stripe. That of a [`Code`] reads exactly `k` shards, data before parity and lower numbers first; that of an
/// [`Lrc`](crate::Lrc) fewer where it can. A node that repairs fetches [`sources`](Self::sources) and nothing else.
///
/// Few losses are made by a matrix, many by transforms. Making a plan costs about `e * e * (e + k)` products for `e` lost
/// data shards in the first case and `p * (p + e)` in the second, for `p` the next power of two after min(k, m). Running it
/// costs a byte of each shard `k` products a target, or `(k + 4 p) * log2(p) / 2` for all together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Repair {
    sources: Vec<usize>,
    targets: Vec<usize>,
    method: Method,
    total: usize,
    is_wide: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Method {
    /// One row of factors of the sources a target.
    Matrix(Vec<u16>),
    Transform(Box<Decode>),
}

impl Repair {
    pub(crate) fn plan(code: &Code, available: &[usize], wanted: &[usize]) -> Result<Self, Refused> {
        let sources = choose(code, available, wanted)?;
        let method = if Decode::pays(code.shape(), &sources, wanted) {
            Method::Transform(Box::new(Decode::plan(code.shape(), &sources, wanted)))
        } else {
            Method::Matrix(rows(code, &sources, wanted))
        };
        let total = code.total_shards();
        Ok(Self { sources, targets: wanted.to_vec(), method, total, is_wide: code.shape().is_wide() })
    }

    /// A plan by a given matrix over GF(2^8), a row of factors of the sources a target.
    pub(crate) fn by_matrix(sources: Vec<usize>, targets: Vec<usize>, rows: Vec<u16>, total: usize) -> Self {
        Self { sources, targets, method: Method::Matrix(rows), total, is_wide: false }
    }

    /// The shards it reads, ascending: `k` of a [`Code`], fewer where a local parity suffices.
    pub fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// The shards it makes, in the order they were asked for.
    pub fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// Bytes to read for shards of `shard_bytes` each.
    pub fn bytes_read(&self, shard_bytes: usize) -> u64 {
        self.sources.len() as u64 * shard_bytes as u64
    }

    /// Writes the targets from the sources, each in the order of [`sources`](Self::sources) and
    /// [`targets`](Self::targets).
    pub fn run<S: AsRef<[u8]>, T: AsMut<[u8]>>(
        &self,
        sources: &[S],
        targets: &mut [T],
    ) -> Result<(), Refused> {
        let (sources, mut targets) = self.slices(sources, targets)?;
        self.run_with(Kernel::detect(), &sources, &mut targets);
        Ok(())
    }

    /// The shards fit the plan.
    pub(crate) fn run_with(&self, kernel: Kernel, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        match &self.method {
            _ if targets.is_empty() => {}
            Method::Matrix(rows) => linear::combine(kernel, rows, sources, targets),
            Method::Transform(plan) => plan.run(kernel, sources, targets),
        }
    }

    /// Sources and targets as [`slices`] of this plan.
    pub(crate) fn slices<'s, 't, S: AsRef<[u8]>, T: AsMut<[u8]>>(
        &self,
        sources: &'s [S],
        targets: &'t mut [T],
    ) -> Result<Slices<'s, 't>, Refused> {
        slices(sources, targets, (self.sources.len(), self.targets.len()), self.is_wide)
    }

    /// As [`run`](Self::run), in a slice of all shards of the code, of which only sources and targets are touched.
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

/// One row of factors of the sources for each wanted shard.
fn rows(code: &Code, sources: &[usize], wanted: &[usize]) -> Vec<u16> {
    let k = code.data_shards();
    let lost: Vec<usize> = (0..k).filter(|i| sources.binary_search(i).is_err()).collect();
    let solved = solve(code, sources, &lost);
    let mut rows = Vec::with_capacity(wanted.len() * k);
    for index in wanted {
        match lost.binary_search(index) {
            Ok(position) => rows.extend_from_slice(&solved[position * k..][..k]),
            Err(_) => rows.extend(parity_row(code, index - k, sources, &lost, &solved)),
        }
    }
    rows
}

/// The lost data shards in terms of the sources: their equations are as many of the parity rows, solved for them.
fn solve(code: &Code, sources: &[usize], lost: &[usize]) -> Vec<u16> {
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

fn parity_row(code: &Code, parity: usize, sources: &[usize], lost: &[usize], solved: &[u16]) -> Vec<u16> {
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
