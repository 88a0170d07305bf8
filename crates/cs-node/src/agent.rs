//! Runs one [`Folder`] by the commands of the core: on a thread of its own in a node, inline in the simulator.
//!
//! Work comes in steps, so that a long scan neither delays a chunk that a peer waits for nor a stop.

use std::collections::{BTreeSet, VecDeque};

use cs_identity::{NodeId, OpId};

use crate::core::{FolderCommand, FolderEvent};
use crate::folder::{
    Applied, Budget, Content, Folder, FolderError, LocalChange, Placed, RelPath, Scan, Scope, Step, Vfs,
    VfsError, Why,
};

/// Complete files that wait for a flush at most: one sync of the disk serves them all.
const MAX_STAGED: usize = 256;

/// Paths listed when a folder opens, in one event.
const PAGE: usize = 1024;

/// A folder and the work it was given.
pub struct Agent<F: Vfs> {
    folder: Folder<F>,
    commands: VecDeque<FolderCommand>,
    scan: Option<Scan<F>>,
    /// What to scan next.
    scope: Option<Scope>,
    staged: usize,
    /// Changes from before a crash that the core has not answered yet: a scan would build on the wrong base.
    unanswered: usize,
    /// Paths whose trouble was told.
    troubled: BTreeSet<RelPath>,
}

impl<F: Vfs> std::fmt::Debug for Agent<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("commands", &self.commands.len()).finish_non_exhaustive()
    }
}

impl<F: Vfs> Agent<F> {
    /// Takes a folder that is open, and tells what it holds.
    pub fn new(folder: Folder<F>, tell: &mut dyn FnMut(FolderEvent)) -> Self {
        let mut agent = Self {
            folder,
            commands: VecDeque::new(),
            scan: None,
            scope: None,
            staged: 0,
            unanswered: 0,
            troubled: BTreeSet::new(),
        };
        match agent.inventory(tell) {
            Ok(()) => {}
            Err(error) => tell(failed(error)),
        }
        agent
    }

    fn inventory(&mut self, tell: &mut dyn FnMut(FolderEvent)) -> Result<(), FolderError> {
        let mut after: Option<RelPath> = None;
        loop {
            let page = self.folder.materialised_after(after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let holds =
                page.into_iter().filter(|(_, m)| !m.versions.is_empty()).map(|(path, m)| (path, m.versions));
            tell(FolderEvent::Holds { paths: holds.collect() });
        }
        tell(FolderEvent::Opened);
        let unconfirmed = self.folder.unconfirmed()?;
        self.unanswered = unconfirmed.len();
        self.tell_changes(unconfirmed, tell)
    }

    /// Tells of edits. They are on disk by then: what is announced to others must not vanish with a power cut.
    fn tell_changes(
        &mut self,
        changes: Vec<LocalChange>,
        tell: &mut dyn FnMut(FolderEvent),
    ) -> Result<(), FolderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let kept: BTreeSet<(RelPath, Vec<OpId>)> = match changes.iter().all(|c| c.base.is_empty()) {
            true => BTreeSet::new(),
            false => self.folder.kept()?.into_iter().map(|k| (k.path, k.versions)).collect(),
        };
        let ours = |change: LocalChange| {
            let replaced_here = kept.contains(&(change.path.clone(), change.base.clone()));
            (change, replaced_here)
        };
        tell(FolderEvent::Changed { changes: changes.into_iter().map(ours).collect() });
        Ok(())
    }

    /// Takes a command; [`Agent::step`] carries it out.
    pub fn command(&mut self, command: FolderCommand) {
        match command {
            FolderCommand::Scan { scope } => self.want_scan(scope),
            other => self.commands.push_back(other),
        }
    }

    fn want_scan(&mut self, scope: Option<RelPath>) {
        self.scope = Some(match (scope, self.scope.take()) {
            (None, _) | (_, Some(Scope::All)) => Scope::All,
            (Some(path), None) => Scope::Paths(BTreeSet::from([path])),
            (Some(path), Some(Scope::Paths(mut paths))) => {
                paths.insert(path);
                Scope::Paths(paths)
            }
        });
    }

    /// Does a piece of what is to be done. `false` when nothing was left.
    pub fn step(&mut self, unix_ms: u64, tell: &mut dyn FnMut(FolderEvent)) -> bool {
        let worked = self.work(unix_ms, tell);
        worked.unwrap_or_else(|error| {
            self.scan = None;
            tell(failed(error));
            false
        })
    }

    fn work(&mut self, unix_ms: u64, tell: &mut dyn FnMut(FolderEvent)) -> Result<bool, FolderError> {
        if self.staged >= MAX_STAGED {
            self.flush(unix_ms, tell)?;
            return Ok(true);
        }
        if let Some(command) = self.commands.pop_front() {
            self.carry_out(command, unix_ms, tell)?;
            return Ok(true);
        }
        if self.folder.needs_flush() {
            self.flush(unix_ms, tell)?;
            return Ok(true);
        }
        self.scan_on(unix_ms, tell)
    }

    fn scan_on(&mut self, unix_ms: u64, tell: &mut dyn FnMut(FolderEvent)) -> Result<bool, FolderError> {
        if self.unanswered > 0 {
            return Ok(false);
        }
        let mut scan = match (self.scan.take(), self.scope.take()) {
            (Some(scan), scope) => {
                self.scope = scope;
                scan
            }
            (None, Some(scope)) => self.folder.begin_scan(scope)?,
            (None, None) => return Ok(false),
        };
        let mut changes: Vec<LocalChange> = Vec::new();
        let step = self
            .folder
            .scan_step(&mut scan, unix_ms, Budget::default(), &mut |change| changes.push(change))?;
        if !changes.is_empty() {
            self.flush(unix_ms, tell)?;
            self.tell_changes(changes, tell)?;
        }
        match step {
            Step::More(_) => self.scan = Some(scan),
            Step::Done(_) => {
                self.tell_problems(tell);
                tell(FolderEvent::Scanned);
            }
        }
        Ok(true)
    }

    fn tell_problems(&mut self, tell: &mut dyn FnMut(FolderEvent)) {
        let now: Vec<(RelPath, Why)> =
            self.folder.problems().map(|(path, why)| (path.clone(), why)).collect();
        let paths: BTreeSet<RelPath> = now.iter().map(|(path, _)| path.clone()).collect();
        for path in self.troubled.difference(&paths) {
            tell(FolderEvent::TroubleOver { path: path.clone() });
        }
        for (path, why) in now {
            if !self.troubled.contains(&path) {
                tell(FolderEvent::Trouble { path, why: advice(why) });
            }
        }
        self.troubled = paths;
    }

    fn carry_out(
        &mut self,
        command: FolderCommand,
        unix_ms: u64,
        tell: &mut dyn FnMut(FolderEvent),
    ) -> Result<(), FolderError> {
        match command {
            FolderCommand::Scan { scope } => self.want_scan(scope),
            FolderCommand::Confirm { changes } => {
                self.unanswered = self.unanswered.saturating_sub(changes.len());
                for (path, content, versions) in changes {
                    if !self.folder.confirm(&path, &content, &versions)? {
                        self.want_scan(Some(path));
                    }
                }
            }
            FolderCommand::Withdraw { path } => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.folder.withdraw(&path);
            }
            FolderCommand::Apply { versions } => {
                for (path, content, versions) in versions {
                    self.apply(path, &content, versions, unix_ms, tell)?;
                }
            }
            FolderCommand::WriteChunks { chunks } => {
                for (from, id, bytes) in chunks {
                    self.write(from, &id, &bytes, tell)?;
                    tell(FolderEvent::Wrote { bytes: bytes.len() as u64 });
                }
            }
            FolderCommand::ReadChunk { peer, id } => {
                let data = self.folder.read_chunk(&id)?;
                tell(FolderEvent::ChunkRead { peer, id, data });
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        path: RelPath,
        content: &Content,
        versions: Vec<OpId>,
        unix_ms: u64,
        tell: &mut dyn FnMut(FolderEvent),
    ) -> Result<(), FolderError> {
        match self.folder.apply(&path, content, &versions, unix_ms)? {
            Applied::Done => tell(FolderEvent::Applied { path, versions }),
            Applied::Staged => self.staged += 1,
            Applied::Needs(chunks) => tell(FolderEvent::Needs { path, chunks }),
            Applied::Edited => self.edited(path, tell),
            Applied::Refused(why) => tell(FolderEvent::Trouble { path, why: advice(why) }),
        }
        Ok(())
    }

    /// A user was faster: the scan tells the core what is there now, and the core decides anew.
    fn edited(&mut self, path: RelPath, tell: &mut dyn FnMut(FolderEvent)) {
        tell(FolderEvent::Edited { path: path.clone() });
        self.want_scan(Some(path));
    }

    fn write(
        &mut self,
        from: NodeId,
        id: &[u8; 32],
        bytes: &[u8],
        tell: &mut dyn FnMut(FolderEvent),
    ) -> Result<(), FolderError> {
        let written = match self.folder.write_chunk(id, bytes) {
            Err(FolderError::WrongChunk) => {
                tell(FolderEvent::WrongChunk { from, id: *id });
                return Ok(());
            }
            other => other?,
        };
        self.staged += written.staged.len();
        for (path, chunks) in written.needs {
            tell(FolderEvent::Needs { path, chunks });
        }
        for (path, why) in written.refused {
            tell(FolderEvent::Trouble { path, why: advice(why) });
        }
        Ok(())
    }

    fn flush(&mut self, unix_ms: u64, tell: &mut dyn FnMut(FolderEvent)) -> Result<(), FolderError> {
        self.staged = 0;
        for (path, placed) in self.folder.flush(unix_ms)? {
            match placed {
                Placed::Done => {
                    let versions = self.folder.materialised(&path)?.map(|m| m.versions).unwrap_or_default();
                    tell(FolderEvent::Applied { path, versions });
                }
                Placed::Edited => self.edited(path, tell),
                Placed::Refused(why) => tell(FolderEvent::Trouble { path, why: advice(why) }),
            }
        }
        Ok(())
    }

    /// Drops kept versions that exceed their retention. For every few minutes.
    pub fn expire(&mut self, unix_ms: u64) {
        // What cannot be removed now is tried again the next time.
        let _ = self.folder.expire(unix_ms);
    }

    /// The folder, to look at.
    pub fn folder(&self) -> &Folder<F> {
        &self.folder
    }
}

/// A folder that cannot go on, in words that say what to do.
pub(crate) fn failed(error: FolderError) -> FolderEvent {
    let advice = match error {
        FolderError::RootMissing => "Bring it back, and sync goes on by itself.",
        FolderError::MarkerMissing | FolderError::OtherFolder => {
            "Bring the right folder back to its place, or share this one anew."
        }
        FolderError::Disk(_) => "Make room, or look at the disk; sync goes on by itself.",
        _ => "Restart cosync; if it stays, look at the disk.",
    };
    FolderEvent::Failed { why: format!("{error}. {advice}") }
}

/// Why a path cannot be synced, in words that say what to do.
fn advice(why: Why) -> String {
    let text = match why {
        Why::Changing => "it keeps changing while it is read; it is read again when it rests",
        Why::Special => "it is a device, socket or pipe, which cannot be synced",
        Why::OtherFileSystem => "another disk is mounted there; share that one by itself",
        Why::Ignored => "the ignore file here names it, so it is not brought into this folder",
        Why::Reserved => "`.cosync` belongs to cosync itself",
        Why::NotEmpty => "the directory was deleted by others, and still holds files that are only here",
        Why::ParentNotDirectory => "a file is where its directory should be; move one of the two",
        Why::NameCollision => "this disk cannot hold two names that differ only in case; rename one",
        Why::TooLarge => "it is larger, or its path longer, than cosync syncs",
        Why::BadChunkList => "its author's node described it wrongly; have it saved again there",
        Why::Disk(VfsError::Full) => "the disk is full; make room, and it comes by itself",
        Why::Disk(VfsError::Denied) => "permission denied; let cosync read and write it",
        Why::Disk(VfsError::ReadOnly) => "the disk is read-only",
        Why::Disk(VfsError::NameTooLong) => "its name is too long for this disk; shorten it",
        Why::Disk(error) => return format!("the disk says: {error}"),
    };
    text.to_owned()
}
