//! What must always hold, and what must come to hold.

use crate::sim::world::World;
use cs_identity::{OpId, SpaceId};
use cs_node::api::{self, Reply, Request, SpaceState};
use cs_node::core::FolderCommand;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// After `handle_timeout` the next deadline was not later: the node would spin.
    #[error("n{node} wants to be woken at a moment that is past")]
    Stuck {
        /// Who.
        node: usize,
    },
    /// What was acknowledged before a crash is not there after it.
    #[error("n{node} forgot what it had acknowledged: {what}")]
    Forgot {
        /// Who.
        node: usize,
        /// What.
        what: String,
    },
    /// A store does not open after a crash.
    #[error("n{node} cannot open its store: {error}")]
    Unopenable {
        /// Whose.
        node: usize,
        /// Why.
        error: cs_store::OpenError,
    },
    /// More is on its way to a peer than a node may have in memory.
    #[error("n{node} has {bytes} bytes on their way on one session")]
    Unbounded {
        /// Who.
        node: usize,
        /// How much.
        bytes: usize,
    },
    /// What somebody wrote without the right to is at somebody else's.
    #[error("n{node} holds what n{author} had no right to write or give")]
    Unauthorised {
        /// Where it is.
        node: usize,
        /// Whose it is.
        author: usize,
    },
    /// A command was not answered.
    #[error("n{node} did not answer")]
    NoAnswer {
        /// Who.
        node: usize,
    },
    /// A node was asked that does not run.
    #[error("n{node} does not run")]
    Down {
        /// Who.
        node: usize,
    },
    /// Members did not come to hold the same.
    #[error("no convergence: {0}")]
    Diverged(String),
    /// The program panicked.
    #[error("panic: {0}")]
    Panic(String),
}

/// What was acknowledged to somebody, and must not be lost.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Versions that a core confirmed to its folder.
    confirmed: BTreeMap<(usize, SpaceId), BTreeSet<OpId>>,
    /// Keys of documents that a `put` was acknowledged with.
    puts: Vec<Put>,
    /// Contents that only their author may hold.
    forbidden: Vec<(usize, Vec<u8>)>,
    /// Members whose rights were taken away, by space.
    pub(crate) revoked: BTreeSet<(String, usize)>,
    /// Messages that were blamed on their sender.
    pub(crate) faults: u64,
}

/// An acknowledged `put`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Put {
    node: usize,
    space: String,
    path: String,
    key: String,
}

impl Ledger {
    /// A core tells a folder that its edits are operations now.
    pub(crate) fn note_command(&mut self, node: usize, space: SpaceId, command: &FolderCommand) {
        if let FolderCommand::Confirm { changes } = command {
            let ids = changes.iter().flat_map(|(_, _, versions)| versions.iter().copied());
            self.confirmed.entry((node, space)).or_default().extend(ids);
        }
    }
}

impl World {
    /// Messages that honest nodes blamed on their senders so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.ledger.faults
    }

    /// From now on nobody but `author` may hold these bytes in a folder.
    pub fn forbid(&mut self, author: usize, content: &[u8]) {
        self.ledger.forbidden.push((author, content.to_vec()));
    }

    /// A member's rights were taken: it need not converge, and what it wrote may leave the visible state.
    pub fn expel(&mut self, space: &str, node: usize) {
        self.ledger.revoked.insert((space.to_owned(), node));
        self.ledger.puts.retain(|put| put.node != node || put.space != space);
    }

    /// Adds a key of its own to a document, by reading and writing it in one instant as a program would.
    /// True when it was acknowledged; from then on it must never be lost.
    pub fn put_key(&mut self, node: usize, space: &str, path: &str, key: &str) -> bool {
        let (named, path) = (Some(space.to_owned()), path.to_owned());
        let get = Request::Get { space: named.clone(), path: path.clone() };
        let mut value = match self.ask_now(node, get) {
            Some(Ok(Reply::Document { value: serde_json::Value::Object(map), .. })) => map,
            Some(Err(problem)) if problem.code == api::ProblemCode::NotFound => serde_json::Map::new(),
            _ => return false,
        };
        value.insert(key.to_owned(), node.into());
        let put = Request::Put { space: named, path: path.clone(), value: value.into() };
        let done = matches!(self.ask_now(node, put), Some(Ok(Reply::Done { .. })));
        if done {
            self.ledger.puts.push(Put { node, space: space.to_owned(), path, key: key.to_owned() });
        }
        done
    }

    /// What a node acknowledged, it still has when it starts again.
    pub(crate) fn check_ledger(&mut self, node: usize) {
        // While its disk is full it answers nothing.
        if self.machines[node].disk_is_full {
            return;
        }
        let confirmed: Vec<(SpaceId, BTreeSet<OpId>)> = (self.ledger.confirmed.iter())
            .filter(|((who, _), _)| *who == node)
            .map(|((_, space), ids)| (*space, ids.clone()))
            .collect();
        for (space, ids) in confirmed {
            let known = self.log_ids(node, &space.to_string());
            if let Some(lost) = ids.iter().find(|id| !known.contains(&id.to_string())) {
                self.blame(Violation::Forgot { node, what: format!("operation {}", lost.short()) });
            }
        }
        let puts: Vec<Put> = self.ledger.puts.iter().filter(|put| put.node == node).cloned().collect();
        for put in puts {
            let there = self.document(node, &put.space, &put.path);
            if there.is_none_or(|value| value.get(&put.key).is_none()) {
                self.blame(Violation::Forgot { node, what: format!("{} in {}", put.key, put.path) });
            }
        }
    }

    fn log_ids(&mut self, node: usize, space: &str) -> BTreeSet<String> {
        let request = Request::Log { space: Some(space.to_owned()), path: None, limit: usize::MAX };
        match self.ask_now(node, request) {
            Some(Ok(Reply::Log { entries })) => entries.into_iter().map(|entry| entry.id).collect(),
            _ => BTreeSet::new(),
        }
    }

    fn document(&mut self, node: usize, space: &str, path: &str) -> Option<serde_json::Value> {
        let request = Request::Get { space: Some(space.to_owned()), path: path.to_owned() };
        match self.ask_now(node, request)? {
            Ok(Reply::Document { value, .. }) => Some(value),
            _ => None,
        }
    }

    /// A node's spaces as its `status` shows them.
    pub fn spaces(&mut self, node: usize) -> Vec<api::Space> {
        match self.ask_now(node, Request::Status) {
            Some(Ok(Reply::Status(status))) => status.spaces,
            _ => Vec::new(),
        }
    }

    /// Puts everything right: the network, the disks, the clocks, and machines that are down or asleep.
    pub fn heal_everything(&mut self) {
        self.heal();
        for node in 0..self.len() {
            self.fill_disk(node, false);
            self.wake(node);
            if self.machines[node].process.is_none() && !self.machines[node].boot_planned {
                self.start_after(node, Duration::from_millis(10 * node as u64));
            }
        }
    }

    /// Heals everything and lets time pass until all members of all spaces hold the same and say so. Deletions held
    /// back are accepted, as a person would. Returns how long it took.
    ///
    /// # Errors
    /// [`Violation::Diverged`] when they still differ after `limit`, with the first difference.
    pub fn converge(&mut self, limit: Duration) -> Result<Duration, Violation> {
        self.heal_everything();
        let begun_at = self.now();
        let mut wait = Duration::from_millis(200);
        loop {
            self.run_for(wait)?;
            wait = (wait * 5 / 4).min(Duration::from_secs(5));
            self.decide();
            let Some(difference) = self.difference() else { break };
            if self.now() >= begun_at + limit {
                return Err(Violation::Diverged(difference));
            }
        }
        self.check_authorised()?;
        self.check_nothing_lost()?;
        Ok(self.now() - begun_at)
    }

    /// What a person would do: spaces are taken up again, and deletions agreed to.
    fn decide(&mut self) {
        for node in 0..self.len() {
            if self.spaces(node).iter().any(|space| space.state == SpaceState::Paused) {
                self.ask_now(node, Request::Resume { space: None });
            }
            let held = self.spaces(node).into_iter().filter(|space| space.held_deletions > 0);
            for space in held.collect::<Vec<_>>() {
                self.ask_now(node, Request::Deletions { space: Some(space.id), accept: true });
            }
        }
    }

    /// Members of every space, with what each says of it.
    fn members(&mut self) -> BTreeMap<String, Vec<(usize, api::Space)>> {
        let mut members: BTreeMap<String, Vec<(usize, api::Space)>> = BTreeMap::new();
        for node in 0..self.len() {
            for space in self.spaces(node) {
                if !self.ledger.revoked.contains(&(space.id.clone(), node)) {
                    members.entry(space.id.clone()).or_default().push((node, space));
                }
            }
        }
        members
    }

    /// The first thing in which members of a space differ, if they do.
    fn difference(&mut self) -> Option<String> {
        let is_leaving = |node: usize| self.machines[node].process.as_ref().is_some_and(|p| p.is_leaving);
        if let Some(down) = (0..self.len()).find(|node| !self.is_up(*node) || is_leaving(*node)) {
            return Some(format!("n{down} is down"));
        }
        for (id, members) in self.members() {
            let name = members[0].1.name.clone();
            for (node, space) in &members {
                if let Some(what) = unrest(space, members.len()) {
                    let pending = self.pending(*node, &id);
                    return Some(format!(
                        "n{node}, {name}: {what}; {pending:?}; {}",
                        self.doctor(*node, &id)
                    ));
                }
            }
            let (first, theirs) = &members[0];
            let reference = self.picture(*first, theirs);
            for (node, space) in &members[1..] {
                let picture = self.picture(*node, space);
                if let Some(what) = reference.unlike(&picture) {
                    let findings = self.doctor(*node, &id);
                    return Some(format!("n{first} and n{node}, {name}: {what}; {findings}"));
                }
            }
        }
        None
    }

    fn entries(&mut self, node: usize, space: &str) -> Vec<api::Entry> {
        let request = Request::List { space: Some(space.to_owned()), prefix: String::new() };
        match self.ask_now(node, request) {
            Some(Ok(Reply::Entries { entries })) => entries,
            _ => Vec::new(),
        }
    }

    fn pending(&mut self, node: usize, space: &str) -> Vec<String> {
        let entries = self.entries(node, space).into_iter().filter(|entry| entry.pending);
        entries.map(|entry| format!("{} by {}", entry.path, &entry.author[..10])).collect()
    }

    fn doctor(&mut self, node: usize, space: &str) -> String {
        match self.ask_now(node, Request::Doctor { subject: Some(space.to_owned()) }) {
            Some(Ok(Reply::Findings { findings })) => {
                findings.into_iter().map(|f| f.finding).collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        }
    }

    fn picture(&mut self, node: usize, space: &api::Space) -> Picture {
        let vfs = space.folder.as_ref().and_then(|dir| self.directory(node, dir));
        let files = vfs.map(|vfs| {
            let contents = vfs.contents();
            contents
                .into_iter()
                .map(|(path, content)| (format!("{path:?}"), format!("{content:?}")))
                .collect()
        });
        let entries = self.entries(node, &space.id);
        let paths: Vec<String> =
            entries.iter().filter(|e| e.kind == "document").map(|e| e.path.clone()).collect();
        let documents =
            paths.into_iter().map(|path| (path.clone(), self.document(node, &space.id, &path))).collect();
        Picture { operations: space.operations, conflicts: space.conflicts, files, documents }
    }

    /// Nobody holds what its author had no right to give.
    ///
    /// # Errors
    /// [`Violation::Unauthorised`].
    pub fn check_authorised(&self) -> Result<(), Violation> {
        for (author, content) in &self.ledger.forbidden {
            for (node, machine) in self.machines.iter().enumerate().filter(|(node, _)| node != author) {
                let holds = |vfs: &cs_node::folder::MemVfs| {
                    vfs.contents().values().any(|(_, _, data)| data == content)
                };
                if machine.places.values().any(|place| holds(&place.vfs)) {
                    return Err(Violation::Unauthorised { node, author: *author });
                }
            }
        }
        Ok(())
    }

    /// Everything acknowledged by anybody is known to every member by now.
    fn check_nothing_lost(&mut self) -> Result<(), Violation> {
        let confirmed = self.ledger.confirmed.clone();
        for (id, members) in self.members() {
            for (node, _) in &members {
                let known = self.log_ids(*node, &id);
                for ((author, space), ids) in &confirmed {
                    if space.to_string() != id || self.ledger.revoked.contains(&(id.clone(), *author)) {
                        continue;
                    }
                    if let Some(lost) = ids.iter().find(|lost| !known.contains(&lost.to_string())) {
                        let what = format!("operation {} of n{author}", lost.short());
                        return Err(Violation::Forgot { node: *node, what });
                    }
                }
                let puts: Vec<Put> = self.ledger.puts.iter().filter(|put| put.space == id).cloned().collect();
                for put in puts {
                    let there = self.document(*node, &id, &put.path);
                    if there.is_none_or(|value| value.get(&put.key).is_none()) {
                        let what = format!("{} of n{} in {}", put.key, put.node, put.path);
                        return Err(Violation::Forgot { node: *node, what });
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a member holds, for comparison.
struct Picture {
    operations: u64,
    conflicts: u64,
    /// `None` for a member without a folder.
    files: Option<BTreeMap<String, String>>,
    documents: BTreeMap<String, Option<serde_json::Value>>,
}

impl Picture {
    fn unlike(&self, other: &Self) -> Option<String> {
        if self.operations != other.operations {
            return Some(format!("{} and {} operations", self.operations, other.operations));
        }
        if self.conflicts != other.conflicts {
            return Some(format!("{} and {} conflicts", self.conflicts, other.conflicts));
        }
        if let (Some(mine), Some(theirs)) = (&self.files, &other.files)
            && let Some(path) = first_unlike(mine, theirs)
        {
            let brief = |text: Option<&String>| text.map(|t| t.chars().take(60).collect::<String>());
            return Some(format!("{path}: {:?} and {:?}", brief(mine.get(&path)), brief(theirs.get(&path))));
        }
        let path = first_unlike(&self.documents, &other.documents)?;
        Some(format!("document {path}: {:?} and {:?}", self.documents.get(&path), other.documents.get(&path)))
    }
}

fn first_unlike<V: PartialEq>(mine: &BTreeMap<String, V>, theirs: &BTreeMap<String, V>) -> Option<String> {
    mine.keys().chain(theirs.keys()).find(|path| mine.get(*path) != theirs.get(*path)).cloned()
}

/// Why a space is not at rest with all of its members, if it is not.
fn unrest(space: &api::Space, members: usize) -> Option<String> {
    let others = members as u64 - 1;
    let resting = if others > 0 { SpaceState::UpToDate } else { SpaceState::Alone };
    if space.state != resting {
        return Some(format!("{:?}, {} files wanted", space.state, space.files_wanted));
    }
    if space.connected != others || space.in_sync_with != others {
        return Some(format!(
            "of {others} others {} connected, {} in sync",
            space.connected, space.in_sync_with
        ));
    }
    let problem = space.problems.first()?;
    Some(format!("{}: {}", problem.path, problem.why))
}
