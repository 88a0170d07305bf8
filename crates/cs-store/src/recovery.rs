//! Opening: from whatever a crash, a full disk or a failing one left, to a log and an index that agree (STORE-6 to
//! STORE-9).

use crate::catalog::{Catalog, ReplayFault};
use crate::disk::{Disk, DiskFile};
use crate::fault::{Damage, OpenError};
use crate::format::{BATCH_HEADER, Place, SEGMENT_HEADER, SegmentHeader, records};
use crate::index::{Index, IndexFault};
use crate::log::{Log, Position, segment_name, segment_numbers};
use crate::options::{IndexState, OnDamage, OpenOptions, Recovery};
use crate::salvage;
use crate::scan::{Next, SegmentReader};
use std::io;

/// The file of the index.
pub(crate) const INDEX_NAME: &str = "index";

/// What [`open`] gives.
#[derive(Debug)]
pub(crate) struct Opened<D: Disk> {
    pub(crate) log: Log<D>,
    pub(crate) catalog: Catalog,
    pub(crate) recovery: Recovery,
}

/// Why one attempt to open ended.
#[derive(Debug)]
enum Stop {
    /// For good.
    Final(OpenError),
    /// The log is damaged here.
    Damage(Damage),
    /// The index cannot be used.
    Index(IndexFault),
}

impl<E: Into<OpenError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// Opens what is on the disk, whose lock the caller holds. Tries again after each repair that the options allow.
pub(crate) fn open<D: Disk>(disk: D, options: &OpenOptions) -> Result<Opened<D>, OpenError> {
    let mut options = options.clone();
    let mut found = Findings::default();
    if options.rebuild_index && options.on_damage == OnDamage::Salvage {
        found.kept.take_from(&disk, &options);
    }
    loop {
        match Opening::new(&disk, &options).and_then(|opening| opening.run(&mut found)) {
            Ok((log, catalog)) => {
                let mut opened = Opened { log, catalog, recovery: found.recovery() };
                if !opened.recovery.damage.is_empty() {
                    salvage::restore(&mut opened, &found.rescued, &found.kept)?;
                }
                return Ok(opened);
            }
            Err(Stop::Final(error)) => return Err(error),
            Err(Stop::Index(IndexFault::Full)) => return Err(OpenError::Io(io::ErrorKind::StorageFull)),
            Err(Stop::Index(_)) if options.rebuild_index => return Err(OpenError::Io(io::ErrorKind::Other)),
            Err(Stop::Index(_)) => options.rebuild_index = true,
            Err(Stop::Damage(damage)) if options.on_damage == OnDamage::Refuse => {
                return Err(OpenError::Corrupt(salvage::assess(&disk, damage)?));
            }
            Err(Stop::Damage(damage)) => {
                if !options.rebuild_index {
                    found.kept.take_from(&disk, &options);
                }
                let salvaged = salvage::set_aside(&disk, damage, found.kept.salt.unwrap_or(options.salt))?;
                found.rescued.extend(salvaged.rescued);
                found.damage.extend(salvaged.damage);
                found.kept_aside.extend(salvaged.kept_as);
                options.rebuild_index = true;
            }
        }
    }
}

/// What the attempts found together.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    index: Option<IndexState>,
    replayed: u64,
    torn_bytes: u64,
    damage: Vec<Damage>,
    kept_aside: Vec<String>,
    rescued: Vec<salvage::Rescued>,
    kept: salvage::Kept,
}

impl Findings {
    fn recovery(&mut self) -> Recovery {
        Recovery {
            index: self.index.unwrap_or(IndexState::Opened),
            replayed: self.replayed,
            torn_bytes: self.torn_bytes,
            damage: core::mem::take(&mut self.damage),
            kept_aside: core::mem::take(&mut self.kept_aside),
        }
    }
}

/// One attempt.
#[derive(Debug)]
struct Opening<'a, D: Disk> {
    disk: &'a D,
    options: &'a OpenOptions,
    segments: Vec<u32>,
    salt: [u8; 32],
    is_new: bool,
}

impl<'a, D: Disk> Opening<'a, D> {
    fn new(disk: &'a D, options: &'a OpenOptions) -> Result<Self, Stop> {
        salvage::finish_rewrites(disk)?;
        let mut segments = segment_numbers(&disk.names()?);
        drop_unborn_segment(disk, &mut segments)?;
        let is_new = segments.is_empty();
        if is_new {
            let header = SegmentHeader { number: 0, generation: 0, first_batch: 0, salt: options.salt };
            Log::create_segment(disk, &header)?;
            segments.push(0);
        }
        let salt = find_salt(disk, &segments)?.unwrap_or(options.salt);
        Ok(Self { disk, options, segments, salt, is_new })
    }

    fn run(self, found: &mut Findings) -> Result<(Log<D>, Catalog), Stop> {
        let mut catalog = self.open_catalog(found)?;
        let first = self.segments.first().copied().unwrap_or(0);
        let stored = catalog.position(&self.salt).map_err(Stop::Index)?;
        let start = Position { segment: first, offset: SEGMENT_HEADER, batch: 0 };
        if stored.is_none() {
            found.index = Some(if self.is_new { IndexState::Created } else { IndexState::Rebuilt });
        }
        let tail = self.replay(&mut catalog, stored.unwrap_or(start), found)?;
        let limit = self.options.segment_bytes.clamp(4 << 10, 1 << 30);
        let earlier = self.earlier_bytes(tail.segment)?;
        Ok((Log::at(self.disk.clone(), self.salt, limit, tail, earlier), catalog))
    }

    /// Opens the index, or a new one in place of what is there when asked to, or when that is another log's.
    fn open_catalog(&self, found: &mut Findings) -> Result<Catalog, Stop> {
        if self.options.rebuild_index || self.is_new {
            self.remove_index()?;
            found.replayed = 0;
        }
        let catalog = self.open_index()?;
        if catalog.position(&self.salt).map_err(Stop::Index)?.is_some() {
            return Ok(catalog);
        }
        // Whatever it holds, nothing says how far it has come.
        drop(catalog);
        self.remove_index()?;
        self.open_index()
    }

    fn open_index(&self) -> Result<Catalog, Stop> {
        let file = self.disk.open(INDEX_NAME)?;
        let index = Index::open(file, self.options.cache_bytes).map_err(Stop::Index)?;
        // redb syncs what is in the file; that the file is there is for us to see to.
        self.disk.sync_names()?;
        Catalog::new(index).map_err(Stop::Index)
    }

    fn remove_index(&self) -> Result<(), Stop> {
        match self.disk.remove(INDEX_NAME) {
            Ok(()) => Ok(self.disk.sync_names()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings the index from `position` to the end of the log, and gives that end.
    fn replay(
        &self,
        catalog: &mut Catalog,
        position: Position,
        found: &mut Findings,
    ) -> Result<Position, Stop> {
        let mut at = position;
        let mut previous = None;
        // STORE-6: what is about to be read may be in memory alone: the index must not come to rest on it before it is durable.
        let last = self.segments.last().copied().unwrap_or(0);
        self.disk.open(&segment_name(last))?.sync()?;
        if !self.segments.contains(&at.segment) {
            return Err(Stop::Damage(Damage::absent(at.segment)));
        }
        for number in self.segments.iter().copied().filter(|number| *number >= position.segment) {
            if previous.is_some_and(|previous: u32| previous.saturating_add(1) != number) {
                return Err(Stop::Damage(Damage::absent(number.saturating_sub(1))));
            }
            if previous.is_some() {
                at = Position { segment: number, offset: SEGMENT_HEADER, ..at };
            }
            at = self.replay_segment(catalog, at, found)?;
            previous = Some(number);
        }
        Ok(at)
    }

    fn replay_segment(
        &self,
        catalog: &mut Catalog,
        mut at: Position,
        found: &mut Findings,
    ) -> Result<Position, Stop> {
        let (header, reader) = SegmentReader::open(self.disk.open(&segment_name(at.segment))?, at.segment)?;
        if header.is_none_or(|header| header.salt != self.salt) {
            return Err(Stop::Damage(Damage::of(at.segment, 0, SEGMENT_HEADER.min(reader.size()))));
        }
        if reader.size() < at.offset {
            return Err(Stop::Damage(Damage::of(at.segment, reader.size(), at.offset)));
        }
        loop {
            match reader.next(at.offset, at.batch)? {
                Next::End => break,
                Next::Batch { header, body, end } => {
                    let after = Position { offset: end, batch: header.number + 1, ..at };
                    self.replay_batch(catalog, at, after, &body, found)?;
                    at = after;
                }
                Next::Broken { later: None, size } if self.segments.last() == Some(&at.segment) => {
                    found.torn_bytes = u64::from(size - at.offset);
                    self.disk.open(&segment_name(at.segment))?.set_size(u64::from(at.offset))?;
                    break;
                }
                Next::Broken { later, size } => {
                    return Err(Stop::Damage(Damage::of(at.segment, at.offset, later.unwrap_or(size))));
                }
            }
        }
        Ok(at)
    }

    fn replay_batch(
        &self,
        catalog: &mut Catalog,
        at: Position,
        after: Position,
        body: &[u8],
        found: &mut Findings,
    ) -> Result<(), Stop> {
        for record in records(body) {
            let record = record.ok_or(OpenError::Newer)?;
            let offset = at.offset + BATCH_HEADER as u32 + record.start as u32;
            let place = Place { segment: at.segment, offset, length: record.payload.len() as u32 };
            catalog.replay(record.kind, record.payload, place).map_err(|fault| match fault {
                ReplayFault::Index(fault) => Stop::Index(fault),
                ReplayFault::Newer => Stop::Final(OpenError::Newer),
            })?;
            found.replayed += 1;
        }
        catalog.index.commit_staged();
        // A rebuild of a long log must fit in memory too.
        if catalog.index.pending_bytes() >= self.options.checkpoint_bytes {
            catalog.checkpoint(after, &self.salt).map_err(Stop::Index)?;
        }
        Ok(())
    }

    fn earlier_bytes(&self, current: u32) -> Result<u64, Stop> {
        let mut bytes = 0;
        for number in self.segments.iter().filter(|number| **number < current) {
            bytes += self.disk.open(&segment_name(*number))?.size()?;
        }
        Ok(bytes)
    }
}

/// A last segment that is no longer than its header, and has none that is sound, is one whose creation a crash cut
/// short (STORE-1): nothing was in it. Its name must go, or the log would seem to end in a damaged segment.
fn drop_unborn_segment<D: Disk>(disk: &D, segments: &mut Vec<u32>) -> Result<(), OpenError> {
    let Some(last) = segments.last().copied() else { return Ok(()) };
    let (header, reader) = SegmentReader::open(disk.open(&segment_name(last))?, last)?;
    if header.is_none() && reader.size() <= SEGMENT_HEADER {
        disk.remove(&segment_name(last))?;
        disk.sync_names()?;
        segments.pop();
    }
    Ok(())
}

/// The salt of the first segment whose header is sound; all have the same.
pub(crate) fn find_salt<D: Disk>(disk: &D, segments: &[u32]) -> Result<Option<[u8; 32]>, OpenError> {
    for number in segments {
        if let (Some(header), _) = SegmentReader::open(disk.open(&segment_name(*number))?, *number)? {
            return Ok(Some(header.salt));
        }
    }
    Ok(None)
}
