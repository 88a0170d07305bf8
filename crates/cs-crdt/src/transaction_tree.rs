//! Local edits of trees.

use alloc::vec::Vec;

use crate::{
    actor::Dot,
    change::{Action, Kind},
    context::Seen,
    fault::EditError,
    id::Id,
    path::{Hop, Path},
    slot::Slot,
    transaction::Transaction,
    tree::{Target, Tree},
};

impl Transaction<'_> {
    /// Makes a node in the tree at `path`, made if nothing is there: the child `index` of `parent`, or of the top.
    /// What it holds is at the path with [`node`](Path::node).
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there, [`EditError::NotFound`] without such a parent,
    /// [`EditError::OutOfRange`].
    pub fn plant(
        &mut self,
        path: impl Into<Path>,
        parent: Option<Id>,
        index: usize,
    ) -> Result<Id, EditError> {
        let hops = self.open_as(path, Kind::Tree)?;
        let parent = self.node_named(&hops, parent)?;
        let target = self.tree(&hops)?.gap(parent, index).ok_or(EditError::OutOfRange)?;
        self.emit(&hops, Seen::default(), Action::Plant(target))?;
        let dot = Dot::new(self.me, self.next.saturating_sub(1));
        Ok(Id::new(dot, &self.document.actors))
    }

    /// Moves a node with all below it: to be the child `index` of `parent`, or of the top, when it is done. Of
    /// concurrent moves of one node the latest wins; of concurrent moves that would put nodes below each other, the latest has
    /// no effect. A moved node survives a concurrent removal.
    ///
    /// # Errors
    /// [`EditError::Cycle`] if `parent` is the node or below it; [`EditError::NotFound`], [`EditError::OutOfRange`].
    pub fn graft(
        &mut self,
        path: impl Into<Path>,
        node: Id,
        parent: Option<Id>,
        index: usize,
    ) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::Tree)?;
        let parent = self.node_named(&hops, parent)?;
        let node = self.node_named(&hops, Some(node))?.ok_or(EditError::NotFound)?;
        let tree = self.tree(&hops)?;
        let mut above = parent;
        while let Some(next) = above {
            if next == node {
                return Err(EditError::Cycle);
            }
            above = tree.parent(next);
        }
        // Its own place does not count when it moves on among its siblings.
        let siblings = tree.children(parent, &self.document.actors);
        let own = siblings.iter().position(|sibling| *sibling == node);
        let gap = if own.is_some_and(|own| own < index) { index + 1 } else { index };
        if own == Some(index) {
            return Ok(());
        }
        let target = tree.gap(parent, gap).ok_or(EditError::OutOfRange)?;
        self.graft_at(&hops, node, target)
    }

    pub(crate) fn graft_at(&mut self, hops: &[Hop], node: Dot, target: Target) -> Result<(), EditError> {
        let tree = self.tree(hops)?;
        let from = tree.nodes.get(&node).and_then(|node| node.at);
        let seen = tree.claims_seen(node);
        self.emit(hops, seen, Action::Graft { node, from, target })
    }

    /// Removes the node at `hops` and all below it.
    pub(crate) fn prune_at(&mut self, hops: &[Hop]) -> Result<(), EditError> {
        let (node, place) = self.node_at(hops).ok_or(EditError::NotFound)?;
        let place = place.to_vec();
        let tree = self.tree(&place)?;
        if !tree.is_shown(node) {
            return Err(EditError::NotFound);
        }
        let mut nodes = tree.subtree(node, &self.document.actors);
        nodes.sort_unstable();
        let mut seen = Seen::default();
        nodes.iter().filter_map(|id| tree.nodes.get(id)).for_each(|node| node.alive.note(&mut seen));
        self.emit(&place, seen, Action::Prune(nodes))
    }

    pub(crate) fn tree(&self, hops: &[Hop]) -> Result<&Tree, EditError> {
        self.slot(hops).and_then(Slot::tree).ok_or(EditError::NotFound)
    }

    fn node_named(&self, hops: &[Hop], id: Option<Id>) -> Result<Option<Dot>, EditError> {
        let Some(id) = id else { return Ok(None) };
        let dot = id.dot(&self.document.actors).ok_or(EditError::NotFound)?;
        let known = self.tree(hops)?.content(dot).is_some();
        if known { Ok(Some(dot)) } else { Err(EditError::NotFound) }
    }

    /// The tree's node that is exactly this place, with the tree's place.
    pub(crate) fn node_at<'a>(&self, hops: &'a [Hop]) -> Option<(Dot, &'a [Hop])> {
        let (Hop::Element(dot), place) = hops.split_last()? else { return None };
        let slot = self.slot(place)?;
        if slot.list().is_some_and(|list| list.element(*dot).is_some()) {
            return None;
        }
        slot.tree()?.content(*dot)?;
        Some((*dot, place))
    }

    /// Before an edit inside a node of a tree: keeps the node alive against removals that do not know of the edit.
    /// Recursion is bounded by the length of `hops`.
    pub(crate) fn touch_nodes(&mut self, hops: &[Hop]) -> Result<(), EditError> {
        for length in 1..=hops.len() {
            let node = hops.get(..length).unwrap_or_default();
            if !matches!(node.last(), Some(Hop::Element(_))) || self.touched.contains(node) {
                continue;
            }
            let Some((dot, place)) = self.node_at(node) else { continue };
            let place: Vec<Hop> = place.to_vec();
            self.touched.insert(node.to_vec());
            let seen = self.alive_seen(&place, dot);
            self.emit(&place, seen, Action::Touch(dot))?;
        }
        Ok(())
    }

    pub(crate) fn alive_seen(&self, place: &[Hop], node: Dot) -> Seen {
        let node = self.tree(place).ok().and_then(|tree| tree.nodes.get(&node));
        node.map(|node| node.alive.dots().collect()).unwrap_or_default()
    }
}
