//! The shape of a tree, from where its nodes say they are (CRDT-14).
//!
//! Every node follows its winning spot. Where these close a cycle, exactly the latest of its moves is passed over:
//! that node takes the
//! next of its other spots that closes none: its concurrent ones, latest first, then those it came from, then the top.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::cmp::Ordering;

use crate::{
    actor::{Actors, Dot},
    sequence::Items as _,
    tree::{Row, Tree},
};

/// How many of the spots a node came from are tried.
const FORMER_SPOTS_MAX: usize = 16;

impl Tree {
    /// The node's claims changed: follows the winner.
    pub(crate) fn reclaim(&mut self, id: Dot, actors: &Actors) {
        let Some(node) = self.nodes.get(&id) else { return };
        let (old, new) = (node.winner, self.latest(node.claims.dots(), actors));
        if old == new && !self.astray.contains(&id) {
            return;
        }
        let mut changed = self.astray.clone();
        // Of this cycle only: the one that was passed over in it is found again below if it is still there.
        for member in self.cycle(id) {
            self.astray.remove(&member);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.winner = new;
        }
        if let Some(newest) = self.newest(&self.cycle(id), actors) {
            self.astray.insert(newest);
        }
        changed.extend(&self.astray);
        changed.insert(id);
        self.resettle(&changed, actors);
    }

    /// Works everything out anew, after loading or joining.
    pub(crate) fn rebuild(&mut self, actors: &Actors) {
        let ids: Vec<Dot> = self.nodes.keys().copied().collect();
        for row in self.rows.values_mut() {
            row.edit_all(|_, items| *items = Row::hidden(items.len()));
        }
        for id in &ids {
            let winner = self.nodes.get(id).and_then(|node| self.latest(node.claims.dots(), actors));
            if let Some(node) = self.nodes.get_mut(id) {
                (node.winner, node.at, node.shown) = (winner, winner, false);
            }
        }
        self.strays.clear();
        self.astray = self.all_astray(&ids, actors);
        for (id, spot) in self.fallbacks(actors) {
            self.attach(id, spot);
        }
        for id in ids {
            self.refresh(id);
        }
    }

    /// Of each cycle of winning spots, the node whose is the latest.
    fn all_astray(&self, ids: &[Dot], actors: &Actors) -> BTreeSet<Dot> {
        let mut astray = BTreeSet::new();
        let mut done: BTreeSet<Dot> = BTreeSet::new();
        for id in ids {
            let mut walk: Vec<Dot> = Vec::new();
            let mut on_walk: BTreeMap<Dot, usize> = BTreeMap::new();
            let mut next = Some(*id);
            while let Some(node) = next.filter(|node| !done.contains(node)) {
                if let Some(start) = on_walk.get(&node) {
                    astray.extend(self.newest(walk.get(*start..).unwrap_or_default(), actors));
                    break;
                }
                on_walk.insert(node, walk.len());
                walk.push(node);
                next = self.claimed_parent(node);
            }
            done.extend(walk);
        }
        astray
    }

    fn claimed_parent(&self, node: Dot) -> Option<Dot> {
        self.spots.get(&self.nodes.get(&node)?.winner?)?.parent
    }

    /// The nodes of the cycle of winning spots that `id` is on, if it is on one. Costs the depth.
    fn cycle(&self, id: Dot) -> Vec<Dot> {
        let mut walk = Vec::from([id]);
        let mut known = BTreeSet::new();
        let mut next = self.claimed_parent(id);
        while let Some(node) = next.filter(|node| *node != id) {
            if !known.insert(node) {
                return Vec::new();
            }
            walk.push(node);
            next = self.claimed_parent(node);
        }
        if next == Some(id) { walk } else { Vec::new() }
    }

    fn newest(&self, nodes: &[Dot], actors: &Actors) -> Option<Dot> {
        let winner = |node: &Dot| self.nodes.get(node).and_then(|node| node.winner);
        nodes.iter().copied().max_by(|a, b| match (winner(a), winner(b)) {
            (Some(a), Some(b)) => self.compare_spots(a, b, actors),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
    }

    fn latest(&self, spots: impl Iterator<Item = Dot>, actors: &Actors) -> Option<Dot> {
        spots.max_by(|a, b| self.compare_spots(*a, *b, actors))
    }

    fn compare_spots(&self, a: Dot, b: Dot, actors: &Actors) -> Ordering {
        let clock = |dot: Dot| self.spots.get(&dot).map_or(0, |spot| spot.unix_ms);
        clock(a).cmp(&clock(b)).then_with(|| actors.compare(a, b))
    }

    /// A spot for each node that is astray, `None` for the top. Earlier moves choose first.
    fn fallbacks(&self, actors: &Actors) -> BTreeMap<Dot, Option<Dot>> {
        let winner = |node: &Dot| self.nodes.get(node).and_then(|node| node.winner);
        let mut order: Vec<(Dot, Dot)> =
            self.astray.iter().filter_map(|node| Some((*node, winner(node)?))).collect();
        order.sort_by(|a, b| self.compare_spots(a.1, b.1, actors));
        let mut settled = BTreeMap::new();
        for (node, winner) in order {
            let mut candidates = self.other_spots(node, winner, actors).into_iter();
            let fits = candidates.find(|spot| !self.would_close_a_cycle(node, *spot, &settled));
            settled.insert(node, fits);
        }
        settled
    }

    fn other_spots(&self, id: Dot, winner: Dot, actors: &Actors) -> Vec<Dot> {
        let claims = self.nodes.get(&id).into_iter().flat_map(|node| node.claims.dots());
        let mut spots: Vec<Dot> = claims.filter(|spot| *spot != winner).collect();
        spots.sort_by(|a, b| self.compare_spots(*b, *a, actors));
        let mut from = self.spots.get(&winner).and_then(|spot| spot.from);
        for _ in 0..FORMER_SPOTS_MAX {
            let Some((dot, spot)) = from.and_then(|dot| Some((dot, self.spots.get(&dot)?))) else { break };
            if spot.node == id {
                spots.push(dot);
            }
            from = spot.from.filter(|earlier| *earlier != dot);
        }
        spots
    }

    /// Whether `node` is above the parent of `spot`, if those astray are where `settled` says or detached. Costs the depth.
    fn would_close_a_cycle(&self, node: Dot, spot: Dot, settled: &BTreeMap<Dot, Option<Dot>>) -> bool {
        let parent_at = |spot: Option<Dot>| self.spots.get(&spot?)?.parent;
        let mut next = parent_at(Some(spot));
        while let Some(above) = next {
            if above == node {
                return true;
            }
            next = match settled.get(&above) {
                Some(spot) => parent_at(*spot),
                None if self.astray.contains(&above) => None,
                None => self.claimed_parent(above),
            };
        }
        false
    }

    /// Puts the changed nodes where they belong. All are taken out first, so that no cycle is ever there.
    fn resettle(&mut self, changed: &BTreeSet<Dot>, actors: &Actors) {
        let settled = self.fallbacks(actors);
        let mut moving: Vec<(Dot, Option<Dot>)> = Vec::new();
        for id in changed {
            let Some(node) = self.nodes.get(id) else { continue };
            let wanted = settled.get(id).copied().unwrap_or(node.winner);
            if wanted != node.at || (wanted.is_none() && !self.strays.contains(id)) {
                moving.push((*id, wanted));
            }
        }
        for (id, _) in &moving {
            self.detach(*id);
        }
        for (id, spot) in moving {
            self.attach(id, spot);
            if let Some(spot) = spot.filter(|_| self.is_shown(id)) {
                self.show(spot, true);
                if let Some(parent) = self.spots.get(&spot).and_then(|spot| spot.parent) {
                    self.refresh(parent);
                }
            }
        }
    }

    fn detach(&mut self, id: Dot) {
        self.strays.remove(&id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(spot) = node.at.take() else { return };
        if node.shown {
            self.show(spot, false);
            if let Some(parent) = self.spots.get(&spot).and_then(|spot| spot.parent) {
                self.refresh(parent);
            }
        }
    }

    fn attach(&mut self, id: Dot, spot: Option<Dot>) {
        if spot.is_none() {
            self.strays.insert(id);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.at = spot;
        }
    }
}
