//! The folder of a space: local edits become operations, operations become files, chunks are fetched and served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use cs_identity::{NodeId, OpId, Rights};
use cs_store::Disk;
use cs_transport::wire::Lane;

use crate::core::archive::Archive;
use crate::core::fetch::Fetch;
use crate::core::host::Host;
use crate::core::ports::{Event, FolderCommand, FolderEvent, Output};
use crate::core::space::{Body, Fault, Space};
use crate::folder::{ChunkList, Content, FileVersion, LocalChange, RelPath};
use crate::wire::{MAX_IDS, Message, split_pairs};

/// Paths on their way into the folder at a time: bounds memory while many files arrive.
const MAX_APPLYING: usize = 1024;

/// Paths in one `Apply`: one durable batch of the folder.
const APPLY_BATCH: usize = 256;

/// Paths that arrive between two looks at what else belongs in the folder: a look costs as much as all that are on their
/// way.
const LOOK_EVERY: usize = 128;

/// Deletions by others are applied when none has come for this long, so that many are seen as many.
const DELETION_PAUSE: Duration = Duration::from_millis(300);

/// Fewer deletions than this are never held back.
const FEW_DELETIONS: usize = 8;

/// A path in trouble is tried again after this long.
const TROUBLE_RETRY: Duration = Duration::from_secs(30);

/// A folder that failed is opened again after this long.
const REOPEN_AFTER: Duration = Duration::from_secs(5);

/// Where the folder stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FolderState {
    /// This device has the space without a folder.
    None,
    Opening,
    /// Open, and not yet looked through.
    Scanning,
    Ready,
    Failed(String),
}

/// Everything about the folder but its files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) state: FolderState,
    /// Paths given to the folder, with the versions they shall have.
    applying: BTreeMap<RelPath, Vec<OpId>>,
    /// Those of them that wait for what is on no connected device: they hold up nobody else.
    stranded: BTreeSet<RelPath>,
    /// Peers that sent bytes that were not the chunk: not asked again in this session.
    pub(crate) distrusted: BTreeSet<NodeId>,
    /// Paths edited here, whose edit the next scan tells.
    edited: BTreeSet<RelPath>,
    pub(crate) fetch: Fetch,
    pub(crate) troubles: BTreeMap<RelPath, String>,
    /// Deletions that wait for a person.
    pub(crate) held: BTreeSet<RelPath>,
    /// The person agreed to these.
    accepted: BTreeSet<RelPath>,
    deletions_at: Option<Duration>,
    retry_at: Option<Duration>,
    /// When a folder that failed is tried again.
    reopen_at: Option<Duration>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

impl Files {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        let state = if dir.is_some() { FolderState::Opening } else { FolderState::None };
        Self {
            dir,
            state,
            applying: BTreeMap::new(),
            stranded: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            edited: BTreeSet::new(),
            fetch: Fetch::default(),
            troubles: BTreeMap::new(),
            held: BTreeSet::new(),
            accepted: BTreeSet::new(),
            deletions_at: None,
            retry_at: None,
            reopen_at: None,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// Whether applying to the path would be in vain now.
    fn is_stuck(&self, path: &RelPath) -> bool {
        self.troubles.contains_key(path) || self.edited.contains(path)
    }

    /// Whether the folder carries out what it is told.
    fn is_open(&self) -> bool {
        matches!(self.state, FolderState::Scanning | FolderState::Ready)
    }

    /// Whether the folder has not been looked through since it was opened.
    pub(crate) fn is_scanning(&self) -> bool {
        matches!(self.state, FolderState::Opening | FolderState::Scanning)
    }

    /// Paths on their way into the folder that are going to arrive.
    fn under_way(&self) -> usize {
        self.applying.len() - self.stranded.len()
    }

    /// Whatever was under way for a path is over.
    fn take_back(&mut self, path: &RelPath) {
        self.applying.remove(path);
        self.stranded.remove(path);
    }

    /// Somebody new may have what nobody had.
    pub(crate) fn fetch_again(&mut self) {
        self.stranded.clear();
        self.fetch.retry();
    }

    fn take_back_all(&mut self) {
        self.applying.clear();
        self.stranded.clear();
    }

    /// Notes which paths turned out to be on no connected device. Whether there are any new ones.
    fn note_stranded(&mut self) -> bool {
        let parked = self.fetch.take_parked();
        if parked.is_empty() {
            return false;
        }
        let is_parked = |(_, versions): &(&RelPath, &Vec<OpId>)| versions.iter().any(|v| parked.contains(v));
        let paths: Vec<RelPath> = self.applying.iter().filter(is_parked).map(|(p, _)| p.clone()).collect();
        self.stranded.extend(paths);
        true
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        [self.deletions_at, self.retry_at, self.reopen_at].into_iter().flatten().min()
    }
}

impl Space {
    /// News from the folder.
    pub(crate) fn on_folder<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        event: FolderEvent,
    ) -> Result<(), Fault> {
        match event {
            FolderEvent::Holds { paths } => {
                for (path, versions) in paths {
                    self.tree.set_on_disk(&path, versions);
                }
            }
            FolderEvent::Edited { path } => {
                self.files.take_back(&path);
                // Nothing is applied there until the scan has told what the edit is.
                self.files.edited.insert(path);
            }
            FolderEvent::WrongChunk { from, .. } => {
                self.files.distrusted.insert(from);
                // What is under way is begun again, and asks others.
                self.files.take_back_all();
                host.event(Event::Fault {
                    peer: from,
                    what: "a chunk whose bytes are not what its name says",
                });
            }
            FolderEvent::Opened => {
                self.files.state = FolderState::Scanning;
                self.files.take_back_all();
                self.files.fetch.nothing_unwritten();
                self.tell_folder(host, FolderCommand::Scan { scope: None });
            }
            FolderEvent::Failed { why } => {
                self.files.state = FolderState::Failed(why);
                self.files.reopen_at = Some(host.now + REOPEN_AFTER);
            }
            FolderEvent::Dirty { scope } => self.tell_folder(host, FolderCommand::Scan { scope }),
            FolderEvent::Scanned => {
                self.files.edited.clear();
                if self.files.state == FolderState::Scanning {
                    self.files.state = FolderState::Ready;
                    self.changed(host.now);
                }
            }
            FolderEvent::Changed { changes } => self.take_local_changes(host, store, changes)?,
            FolderEvent::Applied { path, versions } => {
                self.files.take_back(&path);
                self.files.troubles.remove(&path);
                self.files.accepted.remove(&path);
                self.tree.set_on_disk(&path, versions);
                if self.tree.unsettled().is_empty() {
                    self.changed(host.now);
                }
                if !self.files.under_way().is_multiple_of(LOOK_EVERY) {
                    return Ok(());
                }
            }
            FolderEvent::Needs { path, chunks } => {
                if let Some(winner) = self.tree.node(&path).and_then(|n| n.winner()) {
                    self.files.fetch.want(winner.id, &chunks);
                }
                self.ask_for_chunks(host);
                return Ok(());
            }
            FolderEvent::Trouble { path, why } => {
                self.files.take_back(&path);
                self.files.troubles.insert(path, why);
                self.files.retry_at = Some(host.now + TROUBLE_RETRY);
            }
            FolderEvent::TroubleOver { path } => {
                self.files.troubles.remove(&path);
            }
            FolderEvent::Wrote { bytes } => {
                self.files.fetch.written(bytes);
                self.ask_for_chunks(host);
                return Ok(());
            }
            FolderEvent::ChunkRead { peer, id, data } => {
                self.send_chunk(host, peer, id, data);
                return Ok(());
            }
        }
        self.settle(host);
        Ok(())
    }

    /// Has the folder opened, if the space has one and its keys are known.
    pub(crate) fn open_folder(&self, host: &mut Host, create: bool) {
        if let (Some(dir), Some(chunk_key)) = (self.files.dir.clone(), self.keys.chunk_key()) {
            host.push(Output::OpenFolder { space: self.id, dir, chunk_key, create });
        }
    }

    pub(crate) fn tell_folder(&self, host: &mut Host, command: FolderCommand) {
        if self.files.is_open() {
            host.push(Output::Folder { space: self.id, command });
        }
    }

    /// Makes operations of local edits; one that already stands is only noted.
    fn take_local_changes<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        changes: Vec<(LocalChange, bool)>,
    ) -> Result<(), Fault> {
        let mut confirmed = Vec::with_capacity(changes.len());
        for (LocalChange { path, base, content }, ours) in changes {
            // Whatever was under way for this path is settled anew against the edit.
            self.files.take_back(&path);
            let node = self.tree.node(&path);
            let winner = node.and_then(|n| n.winner());
            let equal = winner.is_some_and(|w| w.content.same_data(&content));
            let versions = if equal && (ours || base.is_empty()) {
                node.map(|n| n.winning()).unwrap_or_default()
            } else if winner.is_none() && content == Content::Deleted {
                Vec::new()
            } else {
                let mut deps: Vec<OpId> = base.into_iter().filter(|v| store.has(v)).collect();
                // A user who makes a path what it is elsewhere, or again what was deleted, has seen both.
                if let Some(node) = node.filter(|n| equal || (deps.is_empty() && n.is_gone())) {
                    deps.extend(node.winning());
                }
                let body = Body::File(FileVersion::new(path.clone(), content.clone()));
                match self.write(host, store, &body, deps) {
                    Ok(id) => vec![id],
                    Err(fault) => {
                        self.tell_folder(host, FolderCommand::Withdraw { path: path.clone() });
                        self.files.troubles.insert(path, format!("this edit stays here: {fault}"));
                        continue;
                    }
                }
            };
            self.files.troubles.remove(&path);
            self.tree.set_on_disk(&path, versions.clone());
            confirmed.push((path, content, versions));
        }
        if !confirmed.is_empty() {
            self.tell_folder(host, FolderCommand::Confirm { changes: confirmed });
        }
        Ok(())
    }

    /// Gives the folder what it should hold and does not, and asks peers for the chunks it lacks.
    pub(crate) fn settle(&mut self, host: &mut Host) {
        if self.paused {
            return;
        }
        if self.files.state == FolderState::Ready {
            self.apply_unsettled(host);
        }
        self.ask_for_chunks(host);
    }

    fn apply_unsettled(&mut self, host: &mut Host) {
        let mut batch = Vec::new();
        let mut deletions = 0;
        for path in self.tree.unsettled() {
            if self.files.under_way() + batch.len() >= MAX_APPLYING || batch.len() >= APPLY_BATCH {
                break;
            }
            let Some(node) = self.tree.node(path) else { continue };
            let versions = node.winning();
            if self.files.applying.get(path) == Some(&versions) || self.files.is_stuck(path) {
                continue;
            }
            let Some(winner) = node.winner() else {
                if self.tree.is_withdrawn(node) {
                    batch.push((path.clone(), Content::Deleted, versions));
                }
                continue;
            };
            if winner.content == Content::Deleted
                && winner.author != host.me
                && !self.files.accepted.contains(path)
            {
                deletions += 1;
                continue;
            }
            batch.push((path.clone(), winner.content.clone(), versions));
        }
        if deletions > 0 && self.files.deletions_at.is_none() && self.files.held.is_empty() {
            self.files.deletions_at = Some(host.now + DELETION_PAUSE);
        }
        if batch.is_empty() {
            return;
        }
        batch.iter().for_each(|(path, ..)| self.files.take_back(path));
        self.files.applying.extend(batch.iter().map(|(path, _, versions)| (path.clone(), versions.clone())));
        self.tell_folder(host, FolderCommand::Apply { versions: batch });
    }

    /// Asks peers for the chunks that are wanted.
    pub(crate) fn ask_for_chunks(&mut self, host: &mut Host) {
        let peers: Vec<NodeId> = (self.links.iter())
            .filter(|(peer, link)| {
                link.rights.contains(Rights::READ) && !self.files.distrusted.contains(*peer)
            })
            .map(|(peer, _)| *peer)
            .collect();
        for (peer, pairs) in self.files.fetch.assign(host.now, &peers) {
            let pairs = pairs.iter().flat_map(|(v, id)| [v.as_bytes().as_slice(), id.as_slice()]).flatten();
            let message = Message::WantChunks { space: self.id.into(), pairs: pairs.copied().collect() };
            self.send(host, peer, Lane::Normal, &message);
        }
        if self.files.note_stranded() && self.files.state == FolderState::Ready {
            self.apply_unsettled(host);
        }
    }

    /// Deletions that were collected are applied, or held back when they are more than a quarter of the folder.
    pub(crate) fn on_files_timeout<D: Disk>(&mut self, host: &mut Host, store: &Archive<D>) {
        if self.files.deletions_at.is_some_and(|at| at <= host.now) {
            self.files.deletions_at = None;
            // While operations are still coming, more deletions may come with them.
            if self.links.values().any(|l| l.is_owed()) {
                self.files.deletions_at = Some(host.now + DELETION_PAUSE);
            } else {
                self.decide_deletions(host, store);
            }
        }
        if self.files.reopen_at.is_some_and(|at| at <= host.now) {
            self.files.reopen_at = None;
            self.open_folder(host, false);
        }
        if self.files.retry_at.is_some_and(|at| at <= host.now) {
            self.files.retry_at = None;
            self.files.troubles.clear();
            self.files.fetch_again();
        }
        if let Some(next) = self.files.fetch.expire(host.now) {
            self.files.retry_at = Some(self.files.retry_at.map_or(next, |at| at.min(next)));
        }
        self.settle(host);
    }

    fn decide_deletions<D: Disk>(&mut self, host: &mut Host, store: &Archive<D>) {
        let foreign_deletion = |path: &&RelPath| {
            let winner = self.tree.node(path).and_then(|n| n.winner());
            winner.is_some_and(|w| w.content == Content::Deleted && w.author != host.me)
        };
        let doomed: Vec<RelPath> = self
            .tree
            .unsettled()
            .iter()
            .filter(foreign_deletion)
            .filter(|p| !self.files.accepted.contains(*p))
            .cloned()
            .collect();
        let lost = if doomed.len() < FEW_DELETIONS { 0 } else { self.count_lost(store, &doomed) };
        let present = self.tree.totals().files as usize + doomed.len();
        if lost >= FEW_DELETIONS && lost * 4 > present {
            self.files.held.extend(doomed);
            host.event(Event::DeletionsHeld { space: self.id, count: self.files.held.len() as u64 });
        } else {
            self.files.accepted.extend(doomed);
        }
    }

    /// Of these paths, how many hold content that stands nowhere else: a renamed directory loses nothing.
    fn count_lost<D: Disk>(&self, store: &Archive<D>, doomed: &[RelPath]) -> usize {
        let live: BTreeSet<&ChunkList> = (self.tree.iter())
            .filter_map(|(_, node)| match &node.winner()?.content {
                Content::File { chunks, .. } => Some(chunks),
                _ => None,
            })
            .collect();
        let is_lost = |path: &&RelPath| match self.content_on_disk(store, path) {
            Some(Content::File { chunks, .. }) => !live.contains(&chunks),
            Some(Content::Symlink { .. }) => true,
            _ => false,
        };
        doomed.iter().filter(is_lost).count()
    }

    /// What the folder holds at a path, by the operation that it was confirmed or applied as.
    fn content_on_disk<D: Disk>(&self, store: &Archive<D>, path: &RelPath) -> Option<Content> {
        let version = self.tree.node(path)?.on_disk.first()?;
        match self.open_body(&*self.stored_operation(store, version)?)? {
            Body::File(file) => Some(file.content),
            Body::Json { .. } => None,
        }
    }

    /// A person decided about the deletions held back. Returns how many.
    pub(crate) fn decide_held<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        accept: bool,
    ) -> Result<usize, Fault> {
        let held = std::mem::take(&mut self.files.held);
        let count = held.len();
        for path in held {
            if accept {
                self.files.accepted.insert(path);
                continue;
            }
            let Some(content) = self.content_on_disk(store, &path) else { continue };
            let deps = self.tree.node(&path).map(|n| n.winning()).unwrap_or_default();
            self.write(host, store, &Body::File(FileVersion::new(path, content)), deps)?;
        }
        self.settle(host);
        Ok(count)
    }

    /// A chunk from a peer.
    pub(crate) fn on_chunk(&mut self, host: &mut Host, from: NodeId, id: [u8; 32], data: Option<Vec<u8>>) {
        match data {
            None => self.files.fetch.refused(from, &id),
            // The folder checks the bytes against the ID before it writes them.
            Some(data) => {
                if self.files.fetch.arrived(host.now, from, &id) {
                    self.files.bytes_received += data.len() as u64;
                    self.tell_folder(host, FolderCommand::WriteChunks { chunks: vec![(from, id, data)] });
                }
            }
        }
        self.ask_for_chunks(host);
    }

    /// A peer asks for chunks. They are read one by one and sent as they come (NODE-5).
    pub(crate) fn on_want_chunks<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &Archive<D>,
        from: NodeId,
        pairs: &[u8],
    ) -> Result<(), Fault> {
        let mut permitted: BTreeMap<OpId, bool> = BTreeMap::new();
        for (version, id) in split_pairs(pairs) {
            let version = OpId::from_bytes(version);
            let allowed = match permitted.get(&version) {
                Some(allowed) => *allowed,
                None => {
                    let allowed = self.may_read(host, store, &from, &version);
                    permitted.insert(version, allowed);
                    allowed
                }
            };
            let Some(link) = self.links.get_mut(&from) else { return Ok(()) };
            if !allowed || !self.files.is_open() {
                self.refuse_chunk(host, from, id);
                continue;
            }
            if link.serving >= 4 * MAX_IDS {
                return Err(Fault::Flood);
            }
            link.serving += 1;
            self.tell_folder(host, FolderCommand::ReadChunk { peer: from, id });
        }
        Ok(())
    }

    fn may_read<D: Disk>(&self, host: &Host, store: &Archive<D>, who: &NodeId, version: &OpId) -> bool {
        let Some(operation) = self.stored_operation(store, version) else { return false };
        self.graph.rights(who, &operation.path, host.unix_ms()).contains(Rights::READ)
    }

    fn refuse_chunk(&self, host: &mut Host, to: NodeId, id: [u8; 32]) {
        let message = Message::Chunk { space: self.id.into(), id: id.into(), data: None };
        self.send(host, to, Lane::Normal, &message);
    }

    fn send_chunk(&mut self, host: &mut Host, to: NodeId, id: [u8; 32], data: Option<Vec<u8>>) {
        let Some(link) = self.links.get_mut(&to) else { return };
        link.serving = link.serving.saturating_sub(1);
        self.files.bytes_sent += data.as_ref().map_or(0, |d| d.len() as u64);
        let message = Message::Chunk { space: self.id.into(), id: id.into(), data };
        self.send(host, to, Lane::Bulk, &message);
    }
}
