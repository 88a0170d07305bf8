//! What the operations of a space say about its files: for each path, the versions that nothing supersedes (NODE-9).
//!
//! A version names the versions its author saw. One alone is the path's content; several that differ are a conflict,
//! which stays visible until a later version names them all. Operations enter in causal order.

use std::collections::{BTreeMap, BTreeSet};

use cs_identity::{NodeId, OpId};

use crate::folder::{Content, RelPath};

/// A version that nothing supersedes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: OpId,
    pub(crate) author: NodeId,
    /// Hybrid clock of the operation: Unix milliseconds << 16.
    pub(crate) clock: u64,
    pub(crate) content: Content,
}

impl Head {
    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock >> 16
    }
}

/// One path.
#[derive(Debug, Default)]
pub(crate) struct Node {
    heads: Vec<Head>,
    /// The versions whose content the folder here is known to hold; empty when the folder has nothing of it.
    pub(crate) on_disk: Vec<OpId>,
}

impl Node {
    /// All heads, in no particular order.
    pub(crate) fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The version that belongs in the folder: the newest by claimed time that is not a deletion, so that an edit
    /// survives a concurrent deletion; equal times go by ID. `None` for a path without versions.
    pub(crate) fn winner(&self) -> Option<&Head> {
        self.heads.iter().max_by_key(|h| (h.content != Content::Deleted, h.clock, h.id))
    }

    /// The heads that a later edit of the winner's content supersedes: the winner, its equals, and deletions it outlived.
    pub(crate) fn winning(&self) -> Vec<OpId> {
        let Some(winner) = self.winner() else { return Vec::new() };
        let stands = |h: &&Head| h.content == Content::Deleted || h.content.same_data(&winner.content);
        let mut ids: Vec<OpId> = self.heads.iter().filter(stands).map(|h| h.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Heads that hold something else than the winner.
    pub(crate) fn losers(&self) -> impl Iterator<Item = &Head> {
        let winner = self.winner();
        self.heads.iter().filter(move |h| {
            h.content != Content::Deleted && winner.is_some_and(|w| !h.content.same_data(&w.content))
        })
    }

    /// Whether people have to choose.
    pub(crate) fn in_conflict(&self) -> bool {
        self.losers().next().is_some()
    }

    /// Whether the folder holds the winner.
    pub(crate) fn is_settled(&self) -> bool {
        let wanted = self.winning();
        self.on_disk == wanted || (self.on_disk.is_empty() && self.is_gone())
    }

    /// Whether the path is deleted.
    pub(crate) fn is_gone(&self) -> bool {
        self.winner().is_none_or(|w| w.content == Content::Deleted)
    }
}

/// Totals of the paths that are not deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// All paths of a space.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<RelPath, Node>,
    /// Operations that do not count, each with the counting ones that stand behind it.
    transparent: BTreeMap<OpId, Vec<OpId>>,
    unsettled: BTreeSet<RelPath>,
    conflicts: BTreeSet<RelPath>,
    totals: Totals,
}

impl Tree {
    /// Adds a version whose `deps` are all in already.
    pub(crate) fn add(&mut self, path: &RelPath, deps: &[OpId], head: Head) {
        let superseded = resolve(&self.transparent, deps);
        self.change(path, |node| {
            node.heads.retain(|h| !superseded.contains(&h.id));
            if node.heads.iter().all(|h| h.id != head.id) {
                if node.heads.is_empty() {
                    // Nearly all paths have one head: room for four, as `push` makes it, would cost 400 bytes a file.
                    node.heads.reserve_exact(1);
                }
                node.heads.push(head);
            }
        });
    }

    /// Notes an operation that is known and does not count: what it named still stands behind it.
    pub(crate) fn pass_over(&mut self, id: OpId, deps: &[OpId]) {
        let behind = resolve(&self.transparent, deps);
        self.transparent.insert(id, behind);
    }

    /// The folder holds these versions of a path now.
    pub(crate) fn set_on_disk(&mut self, path: &RelPath, mut versions: Vec<OpId>) {
        versions.sort_unstable();
        self.change(path, |node| node.on_disk = versions);
    }

    /// What the folder holds, for a tree that is built anew.
    pub(crate) fn take_on_disk(&mut self) -> Vec<(RelPath, Vec<OpId>)> {
        let nodes = std::mem::take(&mut self.nodes);
        nodes.into_iter().filter(|(_, n)| !n.on_disk.is_empty()).map(|(path, n)| (path, n.on_disk)).collect()
    }

    /// Every change of a node goes through here, so that the sets and totals always agree with the nodes.
    fn change(&mut self, path: &RelPath, edit: impl FnOnce(&mut Node)) {
        let node = self.nodes.entry(path.clone()).or_default();
        let before = weight(node);
        edit(node);
        let after = weight(node);
        self.totals.files = self.totals.files + after.files - before.files;
        self.totals.bytes = self.totals.bytes + after.bytes - before.bytes;
        note(&mut self.unsettled, path, !node.is_settled());
        note(&mut self.conflicts, path, node.in_conflict());
    }

    /// One path.
    pub(crate) fn node(&self, path: &RelPath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All paths in byte order, deleted ones too.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RelPath, &Node)> {
        self.nodes.iter()
    }

    /// Paths whose folder content is not the winner, in byte order.
    pub(crate) fn unsettled(&self) -> &BTreeSet<RelPath> {
        &self.unsettled
    }

    /// Whether all that the folder holds at a path was put in quarantine, so that nothing belongs there any more.
    pub(crate) fn is_withdrawn(&self, node: &Node) -> bool {
        let is_passed_over = |version: &OpId| self.transparent.contains_key(version);
        node.heads.is_empty() && !node.on_disk.is_empty() && node.on_disk.iter().all(is_passed_over)
    }

    /// Paths in conflict, in byte order.
    pub(crate) fn conflicts(&self) -> &BTreeSet<RelPath> {
        &self.conflicts
    }

    /// Files and bytes.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }
}

/// What stands behind `deps` once those that do not count are looked through.
pub(crate) fn resolve(transparent: &BTreeMap<OpId, Vec<OpId>>, deps: &[OpId]) -> Vec<OpId> {
    let behind = |dep: &OpId| transparent.get(dep).cloned().unwrap_or_else(|| vec![*dep]);
    deps.iter().flat_map(behind).collect()
}

fn note(set: &mut BTreeSet<RelPath>, path: &RelPath, member: bool) {
    if member {
        if !set.contains(path) {
            set.insert(path.clone());
        }
    } else {
        set.remove(path);
    }
}

fn weight(node: &Node) -> Totals {
    match node.winner().map(|w| &w.content) {
        Some(Content::File { size, .. }) => Totals { files: 1, bytes: *size },
        Some(Content::Symlink { .. }) => Totals { files: 1, bytes: 0 },
        _ => Totals::default(),
    }
}

#[cfg(test)]
mod tests {
    //! NODE-9.

    use super::*;
    use crate::folder::ChunkList;
    use cs_identity::SecretKey;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn id(n: u8) -> OpId {
        OpId::from_bytes([n; 32])
    }

    fn file(size: u64) -> Content {
        Content::File { size, exec: false, mtime_ns: 0, chunks: ChunkList::Inline(Vec::new()) }
    }

    fn head(n: u8, clock: u64, content: Content) -> Head {
        Head { id: id(n), author: SecretKey::from_bytes([n; 32]).node_id(), clock, content }
    }

    #[test]
    fn a_version_supersedes_what_it_names_and_nothing_else() {
        let (mut tree, at) = (Tree::default(), path("a"));
        tree.add(&at, &[], head(1, 1, file(1)));
        tree.add(&at, &[id(1)], head(2, 2, file(2)));
        assert_eq!(tree.node(&at).unwrap().winning(), [id(2)]);
        assert!(tree.conflicts().is_empty());
        tree.add(&at, &[id(1)], head(3, 3, file(3)));
        let node = tree.node(&at).unwrap();
        assert_eq!(node.winning(), [id(3)], "the newest lies in the folder");
        assert_eq!(node.losers().map(|h| h.id).collect::<Vec<_>>(), [id(2)], "and the other stays visible");
        tree.add(&at, &[id(2), id(3)], head(4, 4, file(2)));
        assert!(tree.conflicts().is_empty());
    }

    #[test]
    fn an_edit_survives_a_concurrent_deletion_that_is_newer() {
        let (mut tree, at) = (Tree::default(), path("a"));
        tree.add(&at, &[], head(1, 1, file(1)));
        tree.add(&at, &[id(1)], head(2, 2, file(2)));
        tree.add(&at, &[id(1)], head(3, 9, Content::Deleted));
        let node = tree.node(&at).unwrap();
        assert_eq!(node.winner().unwrap().id, id(2));
        assert_eq!(node.winning(), [id(2), id(3)], "the next edit supersedes the deletion too");
        assert!(!node.in_conflict(), "there is nothing to choose");
    }

    #[test]
    fn the_same_edit_made_twice_is_no_conflict() {
        let (mut tree, at) = (Tree::default(), path("a"));
        tree.add(&at, &[], head(1, 1, file(5)));
        tree.add(&at, &[], head(2, 2, file(5)));
        assert!(tree.conflicts().is_empty());
        assert_eq!(tree.node(&at).unwrap().winning(), [id(1), id(2)]);
    }

    #[test]
    fn an_operation_that_does_not_count_is_transparent() {
        let (mut tree, at) = (Tree::default(), path("a"));
        tree.add(&at, &[], head(1, 1, file(1)));
        tree.pass_over(id(2), &[id(1)]);
        assert_eq!(tree.node(&at).unwrap().winning(), [id(1)], "it supersedes nothing itself");
        tree.add(&at, &[id(2)], head(3, 3, file(3)));
        assert_eq!(
            tree.node(&at).unwrap().winning(),
            [id(3)],
            "what names it supersedes what stood behind it"
        );
    }

    #[test]
    fn totals_and_sets_follow_every_change() {
        let (mut tree, at) = (Tree::default(), path("a"));
        tree.add(&at, &[], head(1, 1, file(7)));
        assert_eq!(tree.totals(), Totals { files: 1, bytes: 7 });
        assert!(tree.unsettled().contains(&at));
        tree.set_on_disk(&at, vec![id(1)]);
        assert!(tree.unsettled().is_empty());
        tree.add(&at, &[id(1)], head(2, 2, Content::Deleted));
        assert_eq!(tree.totals(), Totals::default());
        assert!(tree.unsettled().contains(&at), "the file is still to be removed");
        tree.set_on_disk(&at, vec![id(2)]);
        assert!(tree.unsettled().is_empty());
    }
}
