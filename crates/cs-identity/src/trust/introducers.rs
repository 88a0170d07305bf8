//! Who is accepted when it takes one full introducer or several marginal ones, a few steps from the roots (rule ID-26).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::attestation::Level;
use super::net::{Net, Node};

/// How an accepted principal came to be so.
#[derive(Clone, Debug)]
pub(crate) struct Introduced {
    pub(crate) depth: u8,
    /// Whether it introduces others fully: a root, or fully attested by one that does.
    pub(crate) is_full: bool,
    /// Those that settled it: none for a root, one full, or the first marginal ones.
    pub(crate) by: Vec<Node>,
}

/// Ring by ring: each ring is judged by what the rings before say. Costs a look at each edge within reach.
pub(crate) fn introduce(net: &Net, roots: &[Node], marginals: u8, depth: u8) -> BTreeMap<Node, Introduced> {
    let root = |&root: &Node| (root, Introduced { depth: 0, is_full: true, by: Vec::new() });
    let mut accepted: BTreeMap<Node, Introduced> = roots.iter().map(root).collect();
    // What speaks for those not accepted yet: a full introducer, and marginal ones, in the order of rings and IDs.
    let mut pleas: BTreeMap<Node, (Option<Node>, Vec<Node>)> = BTreeMap::new();
    let mut ring: Vec<Node> = roots.to_vec();
    for depth in 1..=depth {
        let mut touched: Vec<Node> = Vec::new();
        for &from in &ring {
            let is_full = accepted.get(&from).is_some_and(|one| one.is_full);
            for edge in net.out(from).iter().filter(|edge| !accepted.contains_key(&edge.to)) {
                let plea = pleas.entry(edge.to).or_default();
                if is_full && edge.level == Level::Full {
                    plea.0.get_or_insert(from);
                } else if plea.1.len() < usize::from(marginals) {
                    plea.1.push(from);
                }
                touched.push(edge.to);
            }
        }
        touched.sort_unstable_by_key(|&node| net.id(node));
        touched.dedup();
        ring = touched;
        ring.retain(|node| {
            let Some((full, some)) = pleas.get(node) else { return false };
            let by = match full {
                Some(full) => Vec::from([*full]),
                None if some.len() >= usize::from(marginals) => some.clone(),
                None => return false,
            };
            accepted.insert(*node, Introduced { depth, is_full: full.is_some(), by });
            true
        });
    }
    accepted
}
