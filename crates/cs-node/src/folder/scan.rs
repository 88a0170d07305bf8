//! Finding what a user changed, in steps that a driver can stop between.

use std::collections::{BTreeMap, BTreeSet};

use super::chunker::Chunker;
use super::content::{ChunkRef, Content, LocalChange, Why};
use super::ignore::is_reserved;
use super::record::{Entry, Place};
use super::source::FullList;
use super::vfs::{Kind, Stat, Vfs, VfsError, VfsFile};
use super::{Folder, FolderError, RelPath};

/// What to scan. Paths that a failed read or a refused apply marked are scanned along in any case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The whole folder.
    All,
    /// These paths and everything below them.
    Paths(BTreeSet<RelPath>),
}

/// When a step ends; whatever comes first. A step overshoots by at most one directory or 1 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Paths looked at.
    pub paths: usize,
    /// Bytes read and hashed.
    pub bytes: u64,
}

impl Default for Budget {
    /// 1,024 paths, 16 MiB: some ten milliseconds.
    fn default() -> Self {
        Self { paths: 1024, bytes: 16 << 20 }
    }
}

/// Where a scan stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There is more to do.
    More(Summary),
    /// The scan is complete.
    Done(Summary),
}

/// What a scan found so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Paths looked at.
    pub paths: u64,
    /// Bytes read and hashed, because their files had changed.
    pub bytes: u64,
    /// Changes reported other than deletions.
    pub changed: u64,
    /// Deletions reported.
    pub deleted: u64,
    /// Files that changed while they were read: scan again soon.
    pub unstable: u64,
}

/// A scan under way. Dropping it stops it; everything reported so far stands, and the next scan finds the rest.
#[derive(Debug)]
pub struct Scan<F: Vfs> {
    scope: Scope,
    work: Vec<Work>,
    reading: Option<Reading<F::File>>,
    missing: Vec<RelPath>,
    missing_sorted: bool,
    problems: BTreeMap<RelPath, Why>,
    summary: Summary,
    unix_ms: u64,
}

impl<F: Vfs> Scan<F> {
    fn note(&mut self, path: RelPath, why: Why) {
        self.problems.insert(path, why);
    }
}

#[derive(Debug)]
enum Work {
    /// List a directory and compare.
    Dir(Option<RelPath>),
    /// Read what changed here.
    Path(RelPath, Stat),
    /// Look whether anything is here.
    Probe(RelPath),
}

#[derive(Debug)]
struct Reading<H> {
    path: RelPath,
    file: H,
    before: Stat,
    chunker: Chunker,
}

/// Where changes go.
type Sink<'a> = &'a mut dyn FnMut(LocalChange);

impl<F: Vfs> Folder<F> {
    /// Starts a scan. Fails when the folder is not there.
    pub fn begin_scan(&mut self, scope: Scope) -> Result<Scan<F>, FolderError> {
        self.check_root()?;
        self.rules.refresh(&self.vfs);
        if scope == Scope::All {
            self.staged.values_mut().for_each(|staged| staged.tried = false);
        }
        let dirty = core::mem::take(&mut self.dirty);
        let (scope, work) = match scope {
            Scope::All => {
                let probes = dirty.into_iter().map(Work::Probe);
                (Scope::All, probes.chain([Work::Dir(None)]).collect())
            }
            Scope::Paths(mut paths) => {
                paths.extend(dirty);
                let tops = self.tops(paths)?;
                let work = tops.iter().rev().cloned().map(Work::Probe).collect();
                (Scope::Paths(tops), work)
            }
        };
        Ok(Scan {
            scope,
            work,
            reading: None,
            missing: Vec::new(),
            missing_sorted: false,
            problems: BTreeMap::new(),
            summary: Summary::default(),
            unix_ms: 0,
        })
    }

    /// Goes on with a scan for about `budget`, and hands what changed to `sink`: each change once, until it is confirmed.
    /// `unix_ms` is the wall clock now.
    ///
    /// An error ends the scan; nothing is lost by starting another one.
    pub fn scan_step(
        &mut self,
        scan: &mut Scan<F>,
        unix_ms: u64,
        budget: Budget,
        sink: Sink<'_>,
    ) -> Result<Step, FolderError> {
        scan.unix_ms = unix_ms;
        let paths_end = scan.summary.paths.saturating_add(budget.paths as u64);
        let bytes_end = scan.summary.bytes.saturating_add(budget.bytes);
        while scan.summary.paths < paths_end && scan.summary.bytes < bytes_end {
            if let Some(reading) = scan.reading.take() {
                self.read_on(scan, reading, bytes_end, sink)?;
            } else if let Some(work) = scan.work.pop() {
                match work {
                    Work::Dir(dir) => self.scan_dir(scan, dir.as_ref())?,
                    Work::Path(path, stat) => self.scan_path(scan, path, stat, sink)?,
                    Work::Probe(path) => self.probe(scan, path)?,
                }
            } else if !self.report_missing(scan, sink)? {
                self.keep_problems(scan);
                return Ok(Step::Done(scan.summary));
            }
        }
        Ok(Step::More(scan.summary))
    }

    /// A whole scan in one call: for tools, tests and the simulator.
    pub fn scan(&mut self, scope: Scope, unix_ms: u64, sink: Sink<'_>) -> Result<Summary, FolderError> {
        let mut scan = self.begin_scan(scope)?;
        loop {
            if let Step::Done(summary) = self.scan_step(&mut scan, unix_ms, Budget::default(), sink)? {
                return Ok(summary);
            }
        }
    }

    /// The outermost of these paths, each raised to the first directory above it that the index does not know.
    fn tops(&mut self, paths: BTreeSet<RelPath>) -> Result<BTreeSet<RelPath>, FolderError> {
        let mut tops: BTreeSet<RelPath> = BTreeSet::new();
        for path in paths {
            if is_reserved(&path) {
                continue;
            }
            let mut top = if self.folds_case { path.parent().unwrap_or(path) } else { path };
            let above: Vec<RelPath> = top.ancestors().collect();
            for dir in above {
                let known = self.index.entry(&dir)?;
                if known.is_none_or(|entry| entry.content != Content::Dir) {
                    top = dir;
                    break;
                }
            }
            if !tops.range(..=&top).next_back().is_some_and(|last| last.holds(&top)) {
                tops.insert(top);
            }
        }
        Ok(tops)
    }

    fn probe(&mut self, scan: &mut Scan<F>, path: RelPath) -> Result<(), FolderError> {
        scan.summary.paths += 1;
        match self.vfs.stat(&path) {
            Ok(stat) if self.rules.ignores_at_any_depth(&path, stat.kind == Kind::Dir) => {}
            Ok(stat) => self.compare(scan, path, stat)?,
            Err(VfsError::NotFound | VfsError::NotDirectory) => {
                if !self.rules.ignores_at_any_depth(&path, false) {
                    scan.missing.extend(self.index.subtree(&path)?);
                }
            }
            Err(error) => {
                scan.note(path, Why::Disk(error));
            }
        }
        Ok(())
    }

    /// Compares a directory with what the index has directly in it.
    fn scan_dir(&mut self, scan: &mut Scan<F>, dir: Option<&RelPath>) -> Result<(), FolderError> {
        let listed = match self.vfs.list(dir) {
            Ok(listed) => listed,
            Err(error) => {
                let why =
                    if error == VfsError::OtherFileSystem { Why::OtherFileSystem } else { Why::Disk(error) };
                match dir {
                    Some(dir) => scan.note(dir.clone(), why),
                    None => return Err(FolderError::Disk(error)),
                }
                return Ok(());
            }
        };
        let known = self.index.children(dir)?;
        let mut known: BTreeMap<RelPath, Entry> = known.into_iter().collect();
        let mut found = BTreeMap::new();
        for (name, stat) in listed {
            match RelPath::under(dir, &name) {
                Ok(path) => drop(found.insert(path, stat)),
                Err(_) => {
                    if let Some(dir) = dir {
                        scan.note(dir.clone(), Why::TooLarge);
                    }
                }
            }
        }
        scan.summary.paths += found.len() as u64;
        let mut work = Vec::new();
        for (path, stat) in found {
            let entry = known.remove(&path);
            if is_reserved(&path) || self.rules.ignores(&path, stat.kind == Kind::Dir) {
                continue;
            }
            if !self.is_unchanged(&path, entry.as_ref(), &stat) {
                work.push(Work::Path(path, stat));
            } else if stat.kind == Kind::Dir {
                work.push(Work::Dir(Some(path)));
            }
        }
        scan.work.extend(work.into_iter().rev());
        for (path, entry) in known {
            if !self.rules.ignores(&path, entry.content == Content::Dir) {
                scan.missing.extend(self.index.subtree(&path)?);
            }
        }
        Ok(())
    }

    fn compare(&mut self, scan: &mut Scan<F>, path: RelPath, stat: Stat) -> Result<(), FolderError> {
        let entry = self.index.entry(&path)?.filter(Entry::is_present);
        if !self.is_unchanged(&path, entry.as_ref(), &stat) {
            scan.work.push(Work::Path(path, stat));
        } else if stat.kind == Kind::Dir {
            scan.work.push(Work::Dir(Some(path)));
        }
        Ok(())
    }

    fn is_unchanged(&self, path: &RelPath, entry: Option<&Entry>, stat: &Stat) -> bool {
        let Some(entry) = entry else { return false };
        let settled = !entry.racy && (!entry.pending || self.awaiting.contains(path)) && !stat.foreign;
        settled && entry.still_has(stat)
    }

    fn scan_path(
        &mut self,
        scan: &mut Scan<F>,
        path: RelPath,
        stat: Stat,
        sink: Sink<'_>,
    ) -> Result<(), FolderError> {
        if stat.foreign {
            scan.note(path, Why::OtherFileSystem);
            return Ok(());
        }
        match stat.kind {
            Kind::Special => scan.note(path, Why::Special),
            Kind::Dir => {
                self.found(scan, &path, stat, Content::Dir, FullList::default(), sink)?;
                scan.work.push(Work::Dir(Some(path)));
            }
            Kind::Symlink => match self.vfs.read_link(&path) {
                Ok(target) if (1..=Content::MAX_TARGET).contains(&target.len()) => {
                    self.found(scan, &path, stat, Content::Symlink { target }, FullList::default(), sink)?;
                }
                Ok(_) => scan.note(path, Why::TooLarge),
                Err(error) => note_unreadable(scan, path, error),
            },
            Kind::File if stat.size > Content::MAX_FILE_BYTES => scan.note(path, Why::TooLarge),
            Kind::File => {
                // A settled edit that only waits to be reported is not read again.
                let entry = self.index.entry(&path)?;
                if let Some(entry) =
                    entry.filter(|entry| entry.pending && !entry.racy && entry.still_has(&stat))
                {
                    self.report(scan, &path, entry, sink);
                    return Ok(());
                }
                match self.vfs.open(&path).and_then(|file| Ok((file.stat()?, file))) {
                    Ok((before, file)) => {
                        let chunker = Chunker::new(before.size);
                        scan.reading = Some(Reading { path, file, before, chunker });
                    }
                    Err(error) => note_unreadable(scan, path, error),
                }
            }
        }
        Ok(())
    }

    fn read_on(
        &mut self,
        scan: &mut Scan<F>,
        mut reading: Reading<F::File>,
        bytes_end: u64,
        sink: Sink<'_>,
    ) -> Result<(), FolderError> {
        let had = reading.chunker.read();
        let done =
            reading.chunker.step(&self.options.chunk_key, &reading.file, bytes_end - scan.summary.bytes);
        scan.summary.bytes += reading.chunker.read() - had;
        match done {
            Ok(false) => scan.reading = Some(reading),
            Err(error) => note_unreadable(scan, reading.path, error),
            Ok(true) => {
                let after = reading.file.stat();
                let (size, list) = reading.chunker.finish();
                if after != Ok(reading.before) || size != reading.before.size {
                    scan.summary.unstable += 1;
                    self.dirty.insert(reading.path.clone());
                    scan.note(reading.path, Why::Changing);
                    return Ok(());
                }
                let (content, full) = self.file_content(&reading.before, list);
                self.found(scan, &reading.path, reading.before, content, full, sink)?;
            }
        }
        Ok(())
    }

    pub(crate) fn file_content(&self, stat: &Stat, list: Vec<ChunkRef>) -> (Content, FullList) {
        let (chunks, blobs) = self.options.chunk_key.list(&list);
        let content = Content::File { size: stat.size, exec: stat.exec(), mtime_ns: stat.mtime_ns, chunks };
        (content, FullList { list, blobs })
    }

    /// `content` is what `path` holds. Records it, and reports it if it is news.
    fn found(
        &mut self,
        scan: &mut Scan<F>,
        path: &RelPath,
        stat: Stat,
        mut content: Content,
        full: FullList,
        sink: Sink<'_>,
    ) -> Result<(), FolderError> {
        self.unsynced = true;
        let racy = is_racy(&stat, scan.unix_ms);
        let mut entry = self.index.entry(path)?.unwrap_or_else(|| Entry::tombstone(Vec::new()));
        keep_exec(&mut content, &entry, &stat);
        if entry.content == Content::Dir && content != Content::Dir {
            scan.missing.extend(self.index.subtree(path)?.into_iter().skip(1));
        }
        if entry.content.same_data(&content) {
            entry = Entry { stat: Some(stat), racy, ..entry };
        } else {
            self.forget_source(&entry)?;
            let is_file = matches!(content, Content::File { .. });
            let place = Place::Path(path.clone());
            let source =
                if is_file { Some(self.index.add_source(&place, &full.list, &full.blobs)?) } else { None };
            entry =
                Entry { stat: Some(stat), content, versions: entry.versions, pending: true, racy, source };
        }
        self.index.put_entry(path, &entry)?;
        if entry.pending {
            self.report(scan, path, entry, sink);
        }
        Ok(())
    }

    fn report(&mut self, scan: &mut Scan<F>, path: &RelPath, entry: Entry, sink: Sink<'_>) {
        if !self.awaiting.insert(path.clone()) {
            return;
        }
        if entry.is_present() {
            scan.summary.changed += 1;
        } else {
            scan.summary.deleted += 1;
        }
        sink(LocalChange { path: path.clone(), base: entry.versions, content: entry.content });
    }

    /// Reports deletions, the innermost first, a page at a time. False when none is left.
    fn report_missing(&mut self, scan: &mut Scan<F>, sink: Sink<'_>) -> Result<bool, FolderError> {
        const PAGE: usize = 256;
        if scan.missing.is_empty() {
            return Ok(false);
        }
        self.check_root()?;
        if !scan.missing_sorted {
            scan.missing.sort();
            scan.missing.dedup();
            scan.missing_sorted = true;
        }
        for _ in 0..PAGE {
            let Some(path) = scan.missing.pop() else { break };
            scan.summary.paths += 1;
            let gone = matches!(self.vfs.stat(&path), Err(VfsError::NotFound | VfsError::NotDirectory));
            let entry = self.index.entry(&path)?;
            if let Some(entry) = entry.filter(|entry| gone && (entry.is_present() || entry.pending)) {
                self.found_missing(scan, &path, entry, sink)?;
            }
        }
        Ok(true)
    }

    fn found_missing(
        &mut self,
        scan: &mut Scan<F>,
        path: &RelPath,
        entry: Entry,
        sink: Sink<'_>,
    ) -> Result<(), FolderError> {
        self.unsynced = true;
        self.forget_source(&entry)?;
        let never_told = entry.versions.is_empty() && !self.awaiting.contains(path);
        if never_told {
            return Ok(self.index.remove_entry(path)?);
        }
        let gone = Entry { pending: true, ..Entry::tombstone(entry.versions) };
        self.index.put_entry(path, &gone)?;
        self.report(scan, path, gone, sink);
        Ok(())
    }

    fn keep_problems(&mut self, scan: &mut Scan<F>) {
        match &scan.scope {
            Scope::All => self.scan_problems.clear(),
            Scope::Paths(tops) => {
                self.scan_problems.retain(|path, _| !tops.iter().any(|top| top.holds(path)))
            }
        }
        self.scan_problems.append(&mut scan.problems);
    }
}

fn note_unreadable<F: Vfs>(scan: &mut Scan<F>, path: RelPath, error: VfsError) {
    // What vanished or turned into something else since it was listed is seen as such by the next scan.
    let why = match error {
        VfsError::NotFound | VfsError::NotDirectory | VfsError::NotFile => Why::Changing,
        other => Why::Disk(other),
    };
    scan.note(path, why);
}

/// On file systems that have no executable bit, what was written does not read back: the bit changed only if it changed since
/// it was recorded.
fn keep_exec(content: &mut Content, entry: &Entry, stat: &Stat) {
    if let (Content::File { exec, .. }, Content::File { exec: known, .. }, Some(before)) =
        (content, &entry.content, entry.stat)
        && before.exec() == stat.exec()
    {
        *exec = *known;
    }
}

/// Whether another modification could leave the times as they are: the clock of the file system has ticks (10 ms at worst;
/// seconds where the times are whole seconds).
pub(crate) fn is_racy(stat: &Stat, unix_ms: u64) -> bool {
    const TICK_MS: u64 = 20;
    const COARSE_TICK_MS: u64 = 2100;
    if stat.kind != Kind::File {
        return false;
    }
    let last_ns = if stat.ctime_ns == 0 { stat.mtime_ns } else { stat.mtime_ns.min(stat.ctime_ns) };
    let tick = if stat.mtime_ns % 1_000_000_000 == 0 { COARSE_TICK_MS } else { TICK_MS };
    u64::try_from(last_ns / 1_000_000).is_ok_and(|last_ms| last_ms.saturating_add(tick) > unix_ms)
}
