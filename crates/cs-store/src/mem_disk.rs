//! A disk in memory that loses power, tears writes, rots and fills up on command, the same way for the same seed.

use crate::disk::{Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit that a power cut writes or does not write. In a sector that was being written, bytes that were to change
/// may also become garbage; bytes that were to stay do stay ("powersafe overwrite", which log tails rely on).
const SECTOR: usize = 512;

/// A deterministic disk in memory. Clones are handles to one disk.
///
/// It keeps, beside what readers see, what would survive a power cut: [`MemDisk::crash`] gives the disk that the next
/// start would find. Faults are planted with [`MemDisk::cut_power_after`], [`MemDisk::set_capacity`],
/// [`MemDisk::fail_sync`] and [`MemDisk::flip_bit`].
#[derive(Debug, Clone, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

/// How many calls that change the disk there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Writes, cuts, extensions, renamings and removals.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Syncs of files and of names.
    pub syncs: u64,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_node: u64,
    locked: bool,
    capacity: Option<u64>,
    power_left: Option<u64>,
    sync_fails: bool,
    traffic: Traffic,
}

/// The content of a file: as seen, as durable, and which parts of it may or may not have reached the platter.
#[derive(Debug, Default, Clone)]
struct Node {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty_sectors: BTreeSet<usize>,
}

impl MemDisk {
    /// An empty disk without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk that a start after a power cut at this instant would find. This one is left as it is.
    ///
    /// Of what was not synced, each sector independently is old, new or (one in sixteen) garbage, in any order; each
    /// length is the old or the new; each change of names has happened or not, a renaming in one step.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let state = self.state();
        let mut after = State { next_node: state.next_node, capacity: state.capacity, ..State::default() };
        after.names = names_after_crash(&state, &mut chance);
        after.durable_names = after.names.clone();
        for node in after.names.values() {
            let content = state.nodes.get(node).map(|node| node.after_crash(&mut chance)).unwrap_or_default();
            after.nodes.insert(
                *node,
                Node { seen: content.clone(), durable: content, dirty_sectors: BTreeSet::new() },
            );
        }
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// Lets `calls` more changing calls (writes and syncs) through; then the power is off and every call fails. The
    /// call it is cut in may have happened in part.
    pub fn cut_power_after(&self, calls: u64) {
        self.state().power_left = Some(calls);
    }

    /// Ends the effect of [`MemDisk::cut_power_after`] without a loss: it was the process that died, not the machine,
    /// and what was written is still seen, though not yet durable.
    pub fn restore_power(&self) {
        self.state().power_left = None;
    }

    /// Limits the sum of all lengths to `bytes`; what would exceed it fails with `StorageFull`. `None` lifts it.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Makes every sync fail, or work again. A failed sync forgets which sectors were dirty, as kernels do: the data
    /// is never written, and a later sync that succeeds does not bring it back.
    pub fn fail_sync(&self, fails: bool) {
        self.state().sync_fails = fails;
    }

    /// Bit rot: inverts one bit (`bit` counts from the file's start) in what is seen and what is durable. False when
    /// the file is absent or shorter.
    pub fn flip_bit(&self, name: &str, bit: u64) -> bool {
        let mut state = self.state();
        let Some(node) = state.names.get(name).copied().and_then(|node| state.nodes.get_mut(&node)) else {
            return false;
        };
        let (byte, mask) = ((bit / 8) as usize, 1u8 << (bit % 8));
        if let Some(stored) = node.durable.get_mut(byte) {
            *stored ^= mask;
        }
        node.seen.get_mut(byte).map(|stored| *stored ^= mask).is_some()
    }

    /// The content of a file as readers see it.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).and_then(|node| state.nodes.get(node)).map(|node| node.seen.clone())
    }

    /// What has been asked of the disk so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.state().traffic
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemDisk {
    type File = MemFile;
    type Lock = MemLock;

    fn lock(&self) -> io::Result<Option<MemLock>> {
        let mut state = self.state();
        if state.locked {
            return Ok(None);
        }
        state.locked = true;
        Ok(Some(MemLock { disk: self.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<MemFile> {
        let mut state = self.state();
        let node = match state.names.get(name) {
            Some(node) => *node,
            None => {
                state.spend()?;
                let node = state.next_node;
                state.next_node += 1;
                state.nodes.insert(node, Node::default());
                state.names.insert(name.to_owned(), node);
                node
            }
        };
        Ok(MemFile { disk: self.clone(), node })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        let node = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.names.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.sync()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

/// The lock on a [`MemDisk`].
#[derive(Debug)]
pub struct MemLock {
    disk: MemDisk,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.disk.state().locked = false;
    }
}

/// A file of a [`MemDisk`].
#[derive(Debug)]
pub struct MemFile {
    disk: MemDisk,
    node: u64,
}

impl MemFile {
    fn with<T>(&self, work: impl FnOnce(&mut Node) -> io::Result<T>) -> io::Result<T> {
        work(self.disk.state().nodes.entry(self.node).or_default())
    }
}

impl DiskFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|node| Ok(node.seen.len() as u64))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|node| {
            let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(node.seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let end = offset.saturating_add(data.len() as u64);
        state.grow(self.node, end)?;
        let cut = state.spend();
        state.traffic.bytes += data.len() as u64;
        let node = state.nodes.entry(self.node).or_default();
        node.write(offset as usize, data);
        cut
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.grow(self.node, size)?;
        state.spend()?;
        state.nodes.entry(self.node).or_default().seen.resize(size as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let synced = state.sync();
        let lost = state.sync_fails;
        let node = state.nodes.entry(self.node).or_default();
        match synced {
            Ok(()) => node.sync(),
            Err(_) if lost => node.dirty_sectors.clear(),
            Err(_) => {}
        }
        synced
    }
}

impl State {
    /// Counts one changing call, and fails when the power is off.
    fn spend(&mut self) -> io::Result<()> {
        self.traffic.writes += 1;
        self.take_power()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.traffic.syncs += 1;
        self.take_power()?;
        if self.sync_fails { Err(io::Error::other("planted: the sync failed")) } else { Ok(()) }
    }

    fn take_power(&mut self) -> io::Result<()> {
        match &mut self.power_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("planted: the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Checks the capacity for a file that is to reach `end`. The power is checked first by the callers' order of
    /// calls only when there is room: a full disk is reported as such.
    fn grow(&self, node: u64, end: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let size = |node: &Node| node.seen.len() as u64;
        let used: u64 = self.names.values().filter_map(|node| self.nodes.get(node)).map(size).sum();
        let own = self.nodes.get(&node).map_or(0, size);
        if end > own && used - own.min(used) + end > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Node {
    fn write(&mut self, start: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = start + data.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        if let Some(target) = self.seen.get_mut(start..end) {
            target.copy_from_slice(data);
        }
        self.dirty_sectors.extend(start / SECTOR..=(end - 1) / SECTOR);
    }

    /// What was lost by an earlier failed sync stays lost: only sectors that are dirty now become durable.
    fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for sector in core::mem::take(&mut self.dirty_sectors) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.seen.len());
            if let (Some(from), Some(to)) = (self.seen.get(range.clone()), self.durable.get_mut(range)) {
                to.copy_from_slice(from);
            }
        }
    }

    fn after_crash(&self, chance: &mut Chance) -> Vec<u8> {
        let mut content = self.durable.clone();
        if chance.one_in(2) {
            content.resize(self.seen.len(), 0);
        }
        for sector in &self.dirty_sectors {
            let start = sector * SECTOR;
            let end = ((sector + 1) * SECTOR).min(content.len());
            if start >= end {
                continue;
            }
            let garbage = chance.one_in(16);
            let persisted = chance.one_in(2);
            for (index, byte) in content.iter_mut().enumerate().take(end).skip(start) {
                let new = self.seen.get(index).copied().unwrap_or(0);
                if garbage && self.durable.get(index) != Some(&new) {
                    *byte = chance.next() as u8;
                } else if persisted {
                    *byte = new;
                }
            }
        }
        content
    }
}

/// Each name independently points where it did or where it does; a node that would end up with two names after half
/// of a renaming keeps the new one, since journals make a renaming one step.
fn names_after_crash(state: &State, chance: &mut Chance) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    let every: BTreeSet<&String> = state.names.keys().chain(state.durable_names.keys()).collect();
    for name in every {
        let (old, new) = (state.durable_names.get(name), state.names.get(name));
        if let Some(node) = if chance.one_in(2) { new } else { old } {
            names.insert(name.clone(), *node);
        }
    }
    // A node that had a durable name must keep at least one.
    for (name, node) in &state.durable_names {
        let renamed = state.names.iter().find(|(_, other)| *other == node);
        if let Some((new_name, _)) = renamed.filter(|_| !names.values().any(|kept| kept == node)) {
            names.insert(if new_name == name { name.clone() } else { new_name.clone() }, *node);
        }
    }
    let mut seen = BTreeMap::new();
    for (name, node) in &names {
        seen.entry(*node).or_insert_with(Vec::new).push(name.clone());
    }
    for (node, doubled) in seen {
        let current = state.names.iter().find(|(_, other)| **other == node).map(|(name, _)| name);
        for name in doubled.iter().filter(|_| doubled.len() > 1).filter(|name| Some(*name) != current) {
            names.remove(name);
        }
    }
    names
}

/// SplitMix64: enough chance for a disk, and the same everywhere.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}
