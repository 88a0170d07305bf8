//! Trees whose nodes move, without cycles (CRDT-14).
//!
//! Every move is kept as a *spot*: an item in the row of its new parent's children, ordered as lists are. A node's register of
//! spots says where it is: the latest of concurrent ones wins, as in any register. No log is replayed and none is kept: the
//! shape is a function of the registers (`tree_shape`), so snapshots join and a late move costs the depth of the tree, not the
//! length of history. That is the log-free way of [Wallace](https://madebyevan.com/algos/crdt-mutable-tree-hierarchy/) with
//! the outcome that [Kleppmann et al. 2021](https://doi.org/10.1109/TPDS.2021.3118603) have: of moves that close a
//! cycle, the latest has no effect.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec,
    vec::Vec,
};

use crate::{
    actor::{Actors, Dot},
    context::{Context, Seen},
    entries::Entries,
    id::Id,
    join::adopt,
    sequence::{Items, Sequence, Span},
    slot::Slot,
    value::Value,
};

/// Positions to a run in memory.
const ROW_ITEMS_MAX: usize = 32;

/// Positions among the children of one node: whether each shows a node now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row(Vec<bool>);

impl Row {
    /// So many positions that show nothing.
    pub(crate) fn hidden(count: u32) -> Self {
        Self(vec![false; count as usize])
    }
}

impl Items for Row {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn visible(&self) -> u32 {
        self.0.iter().filter(|shown| **shown).count() as u32
    }

    fn split_off(&mut self, at: u32) -> Self {
        Self(self.0.split_off(at as usize))
    }

    fn append(&mut self, next: Self) -> Result<(), Self> {
        if self.0.len() + next.0.len() > ROW_ITEMS_MAX {
            return Err(next);
        }
        self.0.extend(next.0);
        Ok(())
    }

    fn offset_of_visible(&self, within: u32) -> u32 {
        let mut shown = self.0.iter().enumerate().filter(|(_, shown)| **shown);
        shown.nth(within as usize).map_or(within, |(at, _)| at as u32)
    }

    fn visible_before(&self, offset: u32) -> u32 {
        self.0.iter().take(offset as usize).filter(|shown| **shown).count() as u32
    }
}

/// One place that a node was put in: by its creation or by a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) node: Dot,
    /// `None` is the top of the tree.
    pub(crate) parent: Option<Dot>,
    /// The spot it was moved away from, as its mover saw it.
    pub(crate) from: Option<Dot>,
    pub(crate) unix_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    /// Creation, moves and edits that nobody's removal has seen.
    pub(crate) alive: Entries<()>,
    /// Spots that no later move has replaced.
    pub(crate) claims: Entries<()>,
    pub(crate) content: Slot,
    /// The latest of `claims`.
    pub(crate) winner: Option<Dot>,
    /// The spot that shows it; `None` if it went astray, which puts it last at the top.
    pub(crate) at: Option<Dot>,
    /// It is alive, or something below it is.
    pub(crate) shown: bool,
}

/// The part of a node that edits of the tree change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeState {
    alive: Entries<()>,
    claims: Entries<()>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree {
    pub(crate) presence: Entries<()>,
    pub(crate) nodes: BTreeMap<Dot, Node>,
    pub(crate) spots: BTreeMap<Dot, Spot>,
    pub(crate) rows: BTreeMap<Option<Dot>, Sequence<Row>>,
    /// Nodes whose winning spot would close a cycle.
    pub(crate) astray: BTreeSet<Dot>,
    /// Those of them that no other spot could take.
    pub(crate) strays: BTreeSet<Dot>,
}

/// Where a position is to be: under a node, between two spots of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) parent: Option<Dot>,
    pub(crate) left: Option<Dot>,
    pub(crate) right: Option<Dot>,
}

impl Tree {
    pub(crate) fn is_blank(&self) -> bool {
        self.presence.is_empty() && self.nodes.is_empty()
    }

    pub(crate) fn is_live(&self) -> bool {
        !self.presence.is_empty() || self.has_shown_children(None)
    }

    fn has_shown_children(&self, parent: Option<Dot>) -> bool {
        let strays = parent.is_none() && self.strays.iter().any(|node| self.is_shown(*node));
        strays || self.rows.get(&parent).is_some_and(|row| row.visible() > 0)
    }

    pub(crate) fn is_shown(&self, node: Dot) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.shown)
    }

    pub(crate) fn content(&self, node: Dot) -> Option<&Slot> {
        self.nodes.get(&node).map(|node| &node.content)
    }

    pub(crate) fn edit_content<R>(&mut self, node: Dot, edit: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        self.nodes.get_mut(&node).map(|node| edit(&mut node.content))
    }

    /// The node's parent as shown.
    pub(crate) fn parent(&self, node: Dot) -> Option<Dot> {
        let spot = self.nodes.get(&node)?.at?;
        self.spots.get(&spot)?.parent
    }

    /// The shown children, in order; those that went astray last.
    pub(crate) fn children(&self, parent: Option<Dot>, actors: &Actors) -> Vec<Dot> {
        let mut children = Vec::new();
        for span in self.rows.get(&parent).into_iter().flat_map(|row| row.spans()) {
            let shown = span.items.0.iter().enumerate().filter(|(_, shown)| **shown);
            let nodes = shown.filter_map(|(at, _)| self.spots.get(&span.id.plus(at as u64)));
            children.extend(nodes.map(|spot| spot.node));
        }
        if parent.is_none() {
            let mut strays: Vec<Dot> = self.strays.iter().copied().filter(|n| self.is_shown(*n)).collect();
            strays.sort_by(|a, b| actors.compare(*a, *b));
            children.extend(strays);
        }
        children
    }

    /// All shown nodes with their parents, parents before children, siblings in order. Linear, and no recursion.
    pub(crate) fn outline(&self, actors: &Actors) -> Vec<(Dot, Option<Dot>)> {
        let mut outline = Vec::new();
        let mut stack: Vec<(Dot, Option<Dot>)> = Vec::new();
        stack.extend(self.children(None, actors).into_iter().rev().map(|node| (node, None)));
        while let Some((node, parent)) = stack.pop() {
            outline.push((node, parent));
            if self.rows.contains_key(&Some(node)) {
                let children = self.children(Some(node), actors);
                stack.extend(children.into_iter().rev().map(|child| (child, Some(node))));
            }
        }
        outline
    }

    /// The nodes from the top, each after its parent: `{"id": .., "parent": .., "value": ..}`.
    pub(crate) fn to_json(&self, actors: &Actors) -> Value {
        let entry = |(node, parent): (Dot, Option<Dot>)| {
            let name = |dot| Value::from(String::from(Id::new(dot, actors)));
            let value = self.content(node).map_or(Value::NULL, |content| content.to_json(actors));
            let members =
                [("id", name(node)), ("parent", parent.map_or(Value::NULL, name)), ("value", value)];
            Value::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
        };
        Value::Array(self.outline(actors).into_iter().map(entry).collect())
    }

    pub(crate) fn insert_spot(&mut self, dot: Dot, spot: Spot, target: Target, actors: &Actors) -> bool {
        if spot.parent.is_some_and(|parent| !self.nodes.contains_key(&parent)) {
            return false;
        }
        let span = Span { id: dot, left: target.left, right: target.right, items: Row::hidden(1) };
        let row = self.rows.entry(spot.parent).or_default();
        if !row.insert(span, actors) {
            if row.is_empty() {
                self.rows.remove(&spot.parent);
            }
            return false;
        }
        self.spots.insert(dot, spot);
        true
    }

    /// Makes a node; whether it took effect. One that is not `alive` has its position and nothing else.
    pub(crate) fn plant(
        &mut self,
        dot: Dot,
        target: Target,
        unix_ms: u64,
        alive: bool,
        actors: &Actors,
    ) -> bool {
        let spot = Spot { node: dot, parent: target.parent, from: None, unix_ms };
        if !self.insert_spot(dot, spot, target, actors) {
            return false;
        }
        let mut node = Node { winner: Some(dot), at: Some(dot), ..Node::default() };
        node.claims.insert(dot, ());
        if alive {
            node.alive.insert(dot, ());
        }
        self.nodes.insert(dot, node);
        self.refresh(dot);
        true
    }

    /// Moves a node, which also keeps it alive; whether it took effect.
    pub(crate) fn graft(
        &mut self,
        dot: Dot,
        spot: Spot,
        target: Target,
        seen: &Seen,
        actors: &Actors,
    ) -> bool {
        if !self.nodes.contains_key(&spot.node) || !self.insert_spot(dot, spot, target, actors) {
            return false;
        }
        if let Some(node) = self.nodes.get_mut(&spot.node) {
            node.claims.clear(seen);
            node.claims.insert(dot, ());
            node.alive.clear(seen);
            node.alive.insert(dot, ());
        }
        self.reclaim(spot.node, actors);
        self.refresh(spot.node);
        true
    }

    /// A node was edited, so a removal that has not seen this does not take it.
    pub(crate) fn touch(&mut self, dot: Dot, node: Dot, seen: &Seen) -> bool {
        let Some(entry) = self.nodes.get_mut(&node) else { return false };
        entry.alive.clear(seen);
        entry.alive.insert(dot, ());
        self.refresh(node);
        true
    }

    /// Removes nodes as far as `seen`. They keep what is in them, for whoever edits or moves them at the same time.
    pub(crate) fn prune(&mut self, nodes: &[Dot], seen: &Seen) -> bool {
        let mut known = true;
        for id in nodes {
            match self.nodes.get_mut(id) {
                Some(node) => node.alive.clear(seen),
                None => known = false,
            }
            self.refresh(*id);
        }
        known
    }

    /// A node and all below it, as shown.
    pub(crate) fn subtree(&self, node: Dot, actors: &Actors) -> Vec<Dot> {
        let mut subtree = vec![node];
        let mut next = 0;
        while let Some(parent) = subtree.get(next).copied() {
            subtree.extend(self.children(Some(parent), actors));
            next += 1;
        }
        subtree
    }

    /// The neighbours of what is now put before the child `index`; `None` past the end. Those that went astray do not
    /// count: they have no position.
    pub(crate) fn gap(&self, parent: Option<Dot>, index: usize) -> Option<Target> {
        let Some(row) = self.rows.get(&parent) else {
            return (index == 0).then_some(Target { parent, left: None, right: None });
        };
        if index > row.visible() {
            return None;
        }
        let (left, right) = row.gap(index)?;
        Some(Target { parent, left, right })
    }

    /// What edits of the tree change in a node, to put it back.
    pub(crate) fn state(&self, id: Dot) -> Option<NodeState> {
        self.nodes.get(&id).map(|node| NodeState { alive: node.alive.clone(), claims: node.claims.clone() })
    }

    /// Takes back the newest position, if `spot` is one, and makes nodes what they were: `None` is gone.
    pub(crate) fn put_back(
        &mut self,
        spot: Option<Dot>,
        parent: Option<Dot>,
        nodes: Vec<(Dot, Option<NodeState>)>,
        actors: &Actors,
    ) {
        for (id, state) in nodes {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            match state {
                Some(NodeState { alive, claims }) => {
                    (node.alive, node.claims) = (alive, claims);
                    self.reclaim(id, actors);
                    self.refresh(id);
                }
                None => {
                    node.alive = Entries::Empty;
                    self.refresh(id);
                    self.nodes.remove(&id);
                }
            }
        }
        if let Some(spot) = spot {
            self.spots.remove(&spot);
            if let Some(row) = self.rows.get_mut(&parent) {
                row.take_back(spot, 1);
                if row.is_empty() {
                    self.rows.remove(&parent);
                }
            }
        }
    }

    pub(crate) fn claims_seen(&self, node: Dot) -> Seen {
        let mut seen = Seen::default();
        if let Some(node) = self.nodes.get(&node) {
            node.claims.note(&mut seen);
            node.alive.note(&mut seen);
        }
        seen
    }

    /// Works out again whether `node` is shown, and what that does to its ancestors.
    pub(crate) fn refresh(&mut self, node: Dot) {
        let mut next = Some(node);
        while let Some(id) = next {
            let below = self.rows.get(&Some(id)).is_some_and(|row| row.visible() > 0);
            let Some(node) = self.nodes.get_mut(&id) else { return };
            let shown = below || !node.alive.is_empty();
            if shown == node.shown {
                return;
            }
            node.shown = shown;
            let Some(spot) = node.at else { return };
            self.show(spot, shown);
            next = self.spots.get(&spot).and_then(|spot| spot.parent);
        }
    }

    pub(crate) fn show(&mut self, spot: Dot, shown: bool) {
        let parent = self.spots.get(&spot).and_then(|spot| spot.parent);
        if let Some(row) = self.rows.get_mut(&parent) {
            row.edit_item(spot, |items, at| {
                if let Some(flag) = items.0.get_mut(at as usize) {
                    *flag = shown;
                }
            });
        }
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.presence.clear(seen);
        let ids: Vec<Dot> = self.nodes.keys().copied().collect();
        for node in self.nodes.values_mut() {
            node.alive.clear(seen);
            node.content.clear(seen);
        }
        ids.into_iter().for_each(|id| self.refresh(id));
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.presence.note(seen);
        for node in self.nodes.values() {
            node.alive.note(seen);
            node.content.note(seen);
        }
    }

    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context, actors: &Actors) {
        self.presence.join(other.presence, ours, theirs);
        for (id, node) in other.nodes {
            let own = self.nodes.entry(id).or_default();
            own.alive.join(node.alive, ours, theirs);
            own.claims.join(node.claims, ours, theirs);
            own.content.join(node.content, ours, theirs, actors);
        }
        self.spots.extend(other.spots);
        for (parent, row) in other.rows {
            adopt(self.rows.entry(parent).or_default(), row, actors);
        }
        self.rebuild(actors);
    }
}
