//! Who attests whom, by number.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::attestation::Level;
use crate::node_id::NodeId;

/// A principal's number: of no meaning outside one net.
pub(crate) type Node = u32;

/// An attestation that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) to: Node,
    pub(crate) level: Level,
}

/// A directed graph of principals. Rows are in the order of the subjects' IDs, so that what is computed by walking them does
/// not depend on the order in which edges came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    ids: Vec<NodeId>,
    numbers: BTreeMap<NodeId, Node>,
    out: Vec<Vec<Edge>>,
}

impl Net {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn id(&self, node: Node) -> NodeId {
        self.ids[node as usize]
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<Node> {
        self.numbers.get(id).copied()
    }

    pub(crate) fn out(&self, node: Node) -> &[Edge] {
        self.out.get(node as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn intern(&mut self, id: NodeId) -> Node {
        let next = self.ids.len() as Node;
        let node = *self.numbers.entry(id).or_insert(next);
        if node == next {
            self.ids.push(id);
            self.out.push(Vec::new());
        }
        node
    }

    /// Sets or removes an edge; says whether that changed anything. Nobody vouches for itself.
    pub(crate) fn set(&mut self, from: NodeId, to: NodeId, level: Option<Level>) -> bool {
        if from == to || level.is_none() && (self.find(&from).is_none() || self.find(&to).is_none()) {
            return false;
        }
        let (from, number) = (self.intern(from), self.intern(to));
        let ids = &self.ids;
        let row = &mut self.out[from as usize];
        match (row.binary_search_by_key(&to, |edge| ids[edge.to as usize]), level) {
            (Ok(at), Some(level)) if row[at].level == level => false,
            (Ok(at), Some(level)) => {
                row[at].level = level;
                true
            }
            (Ok(at), None) => {
                row.remove(at);
                true
            }
            (Err(at), Some(level)) => {
                row.insert(at, Edge { to: number, level });
                true
            }
            (Err(_), None) => false,
        }
    }
}
