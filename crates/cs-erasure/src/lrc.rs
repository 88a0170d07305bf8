use alloc::vec;
use alloc::vec::Vec;

use crate::code::slices;
use crate::fault::{ConfigError, Refused};
use crate::gf16::div;
use crate::kernel::Kernel;
use crate::matrix::{NARROW_SHARDS, Shape, generator};
use crate::repair::Repair;
use crate::{linear, solve};

/// A local reconstruction code (k, l, g) as of Azure's storage (Huang and others, USENIX ATC 2012): `k` data shards in `l`
/// groups, a local parity for each group, and `g` global parities over all data.
///
/// One lost shard of a group is rebuilt from the rest of its group, `ceil(k / l)` shards instead of `k`; any `g + 1` losses
/// are survived, and most of up to `g + l`. Shards are numbered data first, then local parities by group, then
/// global parities. Groups are runs of data shards, the first `k % l` of them longer by one.
///
/// The code is fixed by ERA-9: the parities of the MDS code of `g + 1` parities, the first of them scaled to a plain sum and
/// split into the sums of the groups (a pyramid code: Huang, Chen and Li, NCA 2007).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lrc {
    data: usize,
    locals: usize,
    globals: usize,
    /// One row of coefficients a parity shard, local ones first.
    rows: Vec<u16>,
}

impl Lrc {
    /// A code of `data` (k), `locals` (l) and `globals` (g) shards: 1 <= l <= k, g at least 1, and 256 shards at most.
    /// Cost: about `k * (l + g)` products.
    pub fn new(data: usize, locals: usize, globals: usize) -> Result<Self, ConfigError> {
        if data == 0 {
            return Err(ConfigError::NoData);
        }
        if globals == 0 {
            return Err(ConfigError::NoParity);
        }
        if locals == 0 || locals > data {
            return Err(ConfigError::Groups);
        }
        if data.saturating_add(locals).saturating_add(globals) > NARROW_SHARDS {
            return Err(ConfigError::TooManyShards);
        }
        let mut code = Self { data, locals, globals, rows: vec![0; (locals + globals) * data] };
        let matrix = generator(Shape::new(data, globals + 1));
        for column in 0..data {
            let group = code.group_of_data(column);
            code.rows[group * data + column] = 1;
            for global in 0..globals {
                let scaled = div(matrix[(global + 1) * data + column], matrix[column]);
                code.rows[(locals + global) * data + column] = scaled;
            }
        }
        Ok(code)
    }

    /// What to take for a cluster of `nodes`, one shard each, that shall survive any two losses; `None` below 6 nodes, where
    /// three copies, or a [`Code`](crate::Code) of two parities, cost no more and read no more.
    ///
    /// | nodes | k, l, g | stored | reads to repair one |
    /// |---|---|---|---|
    /// | 6 | 3, 2, 1 | 2.00 | 1 or 2 |
    /// | 7 to 9 | 4, 2, 1 | 1.75 | 2 |
    /// | 10 to 15 | 6, 2, 2 | 1.67 | 3 |
    /// | 16 and more | 12, 2, 2 | 1.33 | 6 |
    ///
    /// From 10 nodes on any three losses are survived. More nodes than shards are for placement to choose from.
    pub fn for_nodes(nodes: usize) -> Option<Self> {
        let (data, locals, globals) = match nodes {
            0..6 => return None,
            6 => (3, 2, 1),
            7..10 => (4, 2, 1),
            10..16 => (6, 2, 2),
            _ => (12, 2, 2),
        };
        Self::new(data, locals, globals).ok()
    }

    /// Data shards, k.
    pub fn data_shards(&self) -> usize {
        self.data
    }

    /// Local parities, l: as many as there are groups.
    pub fn local_shards(&self) -> usize {
        self.locals
    }

    /// Global parities, g.
    pub fn global_shards(&self) -> usize {
        self.globals
    }

    /// All shards, k + l + g.
    pub fn total_shards(&self) -> usize {
        self.data + self.locals + self.globals
    }

    /// The group of a data shard or local parity; `None` for global parities and numbers that are no shard's.
    pub fn group(&self, index: usize) -> Option<usize> {
        if index < self.data {
            return Some(self.group_of_data(index));
        }
        Some(index - self.data).filter(|local| *local < self.locals)
    }

    /// Writes all parity shards, local ones first. What the buffers held is lost. Cost a byte: `k * (g + 1)` products.
    pub fn encode<D: AsRef<[u8]>, P: AsMut<[u8]>>(
        &self,
        data: &[D],
        parity: &mut [P],
    ) -> Result<(), Refused> {
        let (sources, mut targets) = slices(data, parity, (self.data, self.locals + self.globals), false)?;
        let kernel = Kernel::detect();
        let (locals, globals) = targets.split_at_mut(self.locals);
        for (group, local) in locals.iter_mut().enumerate() {
            let members: Vec<&[u8]> = self.members(group).map(|index| sources[index]).collect();
            linear::combine(kernel, &vec![1; members.len()], &members, &mut [local]);
        }
        linear::combine(kernel, &self.rows[self.locals * self.data..], &sources, globals);
        Ok(())
    }

    /// A plan to make the shards `wanted` from some of those `available`. [`Repair::sources`] says what to read and
    /// [`Repair::bytes_read`] how many bytes.
    ///
    /// A shard whose group is otherwise complete is made from its group alone. For the others the plan solves over
    /// all shards at hand, data before local and local before global parities, and reads those that count.
    /// [`Refused::Unrecoverable`] if they do not determine what is wanted.
    pub fn repair(&self, available: &[usize], wanted: &[usize]) -> Result<Repair, Refused> {
        let total = self.total_shards();
        let is_available = self.named_once(available, wanted)?;
        let mut sources: Vec<usize> = Vec::new();
        let mut rest: Vec<usize> = Vec::new();
        for index in wanted {
            match self.locally(*index, &is_available) {
                Some(read) => sources.extend(read),
                None => rest.push(*index),
            }
        }
        if !rest.is_empty() {
            sources.extend(self.globally(&rest, available)?);
        }
        sources.sort_unstable();
        sources.dedup();
        let rows = self.rows_of(&sources, wanted)?;
        Ok(Repair::by_matrix(sources, wanted.to_vec(), rows, total))
    }

    fn group_of_data(&self, column: usize) -> usize {
        let (size, longer) = (self.data / self.locals, self.data % self.locals);
        let in_longer = longer * (size + 1);
        if column < in_longer { column / (size + 1) } else { longer + (column - in_longer) / size }
    }

    /// The data shards of a group.
    fn members(&self, group: usize) -> core::ops::Range<usize> {
        let (size, longer) = (self.data / self.locals, self.data % self.locals);
        let start = group * size + group.min(longer);
        start..start + size + usize::from(group < longer)
    }

    /// ERA-4: each number in range and none twice. Which are available.
    fn named_once(&self, available: &[usize], wanted: &[usize]) -> Result<Vec<bool>, Refused> {
        let mut seen = vec![false; self.total_shards()];
        let mut is_available = seen.clone();
        for (position, index) in available.iter().chain(wanted).copied().enumerate() {
            let seen = seen.get_mut(index).ok_or(Refused::NoSuchShard { index })?;
            if core::mem::replace(seen, true) {
                return Err(Refused::Duplicate { index });
            }
            is_available[index] = position < available.len();
        }
        Ok(is_available)
    }

    /// The rest of the shard's group, if all of it is there.
    fn locally(&self, index: usize, is_available: &[bool]) -> Option<Vec<usize>> {
        let group = self.group(index)?;
        let circle = self.members(group).chain([self.data + group]);
        let others: Vec<usize> = circle.filter(|other| *other != index).collect();
        others.iter().all(|other| is_available[*other]).then_some(others)
    }

    /// The shards that express all of `wanted`, of independent ones taken by ascending number.
    fn globally(&self, wanted: &[usize], available: &[usize]) -> Result<Vec<usize>, Refused> {
        let mut candidates = available.to_vec();
        candidates.sort_unstable();
        let rows: Vec<Vec<u16>> = candidates.iter().map(|index| self.row(*index)).collect();
        let mut needed = vec![false; candidates.len()];
        for index in wanted {
            let factors = solve::express(&rows, &self.row(*index)).ok_or(Refused::Unrecoverable)?;
            needed.iter_mut().zip(&factors).for_each(|(needed, factor)| *needed |= *factor != 0);
        }
        Ok(candidates.into_iter().zip(needed).filter(|(_, needed)| *needed).map(|(index, _)| index).collect())
    }

    /// One row of factors of the sources for each wanted shard.
    fn rows_of(&self, sources: &[usize], wanted: &[usize]) -> Result<Vec<u16>, Refused> {
        let known: Vec<Vec<u16>> = sources.iter().map(|index| self.row(*index)).collect();
        let mut rows = Vec::with_capacity(sources.len() * wanted.len());
        for index in wanted {
            rows.extend(solve::express(&known, &self.row(*index)).ok_or(Refused::Unrecoverable)?);
        }
        Ok(rows)
    }

    /// A shard in terms of the data.
    fn row(&self, index: usize) -> Vec<u16> {
        if let Some(parity) = index.checked_sub(self.data) {
            return self.rows[parity * self.data..][..self.data].to_vec();
        }
        let mut row = vec![0; self.data];
        row[index] = 1;
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gf16::mul;

    /// ERA-9.
    #[test]
    fn local_parities_add_up_to_the_first_parity_of_the_mds_code() {
        let code = Lrc::new(12, 2, 2).expect("a geometry");
        let matrix = generator(Shape::new(12, 3));
        for column in 0..12 {
            assert_eq!(code.rows[column] ^ code.rows[12 + column], 1);
            for global in 0..2 {
                let scaled = code.rows[(2 + global) * 12 + column];
                assert_eq!(mul(scaled, matrix[column]), matrix[(1 + global) * 12 + column]);
            }
        }
    }

    #[test]
    fn groups_are_runs_of_nearly_one_length() {
        for (data, locals) in [(12, 2), (10, 3), (5, 5), (7, 1), (11, 4)] {
            let code = Lrc::new(data, locals, 2).expect("a geometry");
            let runs: Vec<usize> = (0..locals).flat_map(|group| code.members(group)).collect();
            assert_eq!(runs, (0..data).collect::<Vec<_>>());
            for group in 0..locals {
                assert!(code.members(group).all(|index| code.group(index) == Some(group)));
                assert!(code.members(group).len().abs_diff(data / locals) <= 1);
                assert_eq!(code.group(data + group), Some(group));
            }
            assert_eq!(code.group(data + locals), None);
        }
    }
}
