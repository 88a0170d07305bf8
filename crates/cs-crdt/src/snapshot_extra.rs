//! Parts of format 2 in a snapshot (CRDT-9): after a place's other parts, which of them there are as one byte, then each.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use crate::{
    actor::Dot,
    entries::Entries,
    extra::Extra,
    fault::{DecodeError, LoadError},
    fold::Fold,
    marks::{Anchor, Mark, Marks},
    moves::Moves,
    sequence::Span,
    slot::Slot,
    snapshot_read::{Claim, Source},
    snapshot_write::Sink,
    tree::{Node, Row, Spot, Tree},
    wire::{MAX_COUNTER, MAX_MARK_KEY_BYTES, put_u64},
};

/// The byte that says which parts follow.
mod part {
    pub(crate) const FOLDS: u8 = 1;
    pub(crate) const MARKS: u8 = 2;
    pub(crate) const MOVES: u8 = 4;
    pub(crate) const TREE: u8 = 8;
}

impl Sink {
    pub(crate) fn extra(&mut self, extra: &Extra) {
        self.is_later = true;
        let bits = [
            (!extra.folds.is_blank(), part::FOLDS),
            (!extra.marks.is_blank(), part::MARKS),
            (!extra.moves.is_blank(), part::MOVES),
            (!extra.tree.is_blank(), part::TREE),
        ];
        let tag = bits.into_iter().filter(|(present, _)| *present).map(|(_, bit)| bit).sum::<u8>();
        self.shape.push(tag);
        if tag & part::FOLDS > 0 {
            self.folds(extra);
        }
        if tag & part::MARKS > 0 {
            self.text_marks(&extra.marks);
        }
        if tag & part::MOVES > 0 {
            self.moves(&extra.moves);
        }
        if tag & part::TREE > 0 {
            self.tree(&extra.tree);
        }
    }

    fn folds(&mut self, extra: &Extra) {
        for fold in Fold::ALL {
            let writes = self.canonical(extra.folds.writes(fold).iter().collect(), |entry| entry.0);
            put_u64(writes.len() as u64, &mut self.shape);
            for (dot, values) in writes {
                self.dot(dot);
                put_u64(values.len() as u64, &mut self.shape);
                values.iter().for_each(|value| self.scalar(value));
            }
        }
    }

    fn text_marks(&mut self, marks: &Marks) {
        put_u64(marks.len() as u64, &mut self.shape);
        for (dot, mark) in self.canonical(marks.iter().collect(), |entry| entry.0) {
            self.dot(dot);
            put_u64(mark.rank, &mut self.shape);
            for anchor in [mark.from, mark.to] {
                let (tag, at) = match anchor {
                    Anchor::Edge => (0, None),
                    Anchor::Before(dot) => (1, Some(dot)),
                    Anchor::After(dot) => (2, Some(dot)),
                };
                self.shape.push(tag);
                at.into_iter().for_each(|dot| self.dot(dot));
            }
            put_u64(mark.key.len() as u64, &mut self.shape);
            self.shape.extend_from_slice(mark.key.as_bytes());
            self.scalar(&mark.value);
        }
    }

    fn moves(&mut self, moves: &Moves) {
        put_u64(moves.len() as u64, &mut self.shape);
        for (element, claims) in self.canonical(moves.iter().collect(), |entry| entry.0) {
            self.dot(element);
            put_u64(claims.entries.len() as u64, &mut self.shape);
            for (carrier, unix_ms) in self.canonical(claims.entries.iter().collect(), |entry| entry.0) {
                self.shape.push(0);
                self.dot(carrier);
                self.clock(*unix_ms);
            }
        }
    }

    /// Nodes, then the rows of positions with what each is for.
    fn tree(&mut self, tree: &Tree) {
        self.marks(&tree.presence);
        put_u64(tree.nodes.len() as u64, &mut self.shape);
        for (id, node) in self.canonical(tree.nodes.iter().collect(), |entry| *entry.0) {
            self.dot(*id);
            self.marks(&node.alive);
            put_u64(node.claims.len() as u64, &mut self.shape);
            for spot in self.canonical(node.claims.dots().collect(), |dot| *dot) {
                self.dot(spot);
            }
            self.slot(&node.content);
        }
        let mut rows: Vec<_> = tree.rows.iter().filter_map(|(parent, row)| Some(((*parent)?, row))).collect();
        rows = self.canonical(rows, |entry| entry.0);
        self.row(tree, None);
        put_u64(rows.len() as u64, &mut self.shape);
        for (parent, _) in rows {
            self.dot(parent);
            self.row(tree, Some(parent));
        }
    }

    fn row(&mut self, tree: &Tree, parent: Option<Dot>) {
        let empty = crate::sequence::Sequence::default();
        let runs = self.runs(tree.rows.get(&parent).unwrap_or(&empty));
        let mut items: Vec<Dot> = Vec::new();
        for part in runs.into_iter().flatten() {
            let count = u64::from(crate::sequence::Items::len(&part.items));
            items.extend((0..count).map(|at| part.id.plus(at)));
        }
        for dot in items {
            let Some(spot) = tree.spots.get(&dot) else { continue };
            let moved = (spot.node != dot).then_some(spot.node);
            for named in [moved, spot.from] {
                self.shape.push(u8::from(named.is_some()));
                named.into_iter().for_each(|dot| self.dot(dot));
            }
            self.clock(spot.unix_ms);
        }
    }
}

impl Source<'_> {
    pub(crate) fn extra(&mut self, slot: &mut Slot, depth: usize) -> Result<(), LoadError> {
        let tag = self.shape.u8()?;
        if tag == 0 || tag & !(part::FOLDS | part::MARKS | part::MOVES | part::TREE) != 0 {
            return Err(DecodeError::Invalid.into());
        }
        let mut extra = Extra::default();
        if tag & part::FOLDS > 0 {
            self.read_folds(&mut extra)?;
        }
        if tag & part::MARKS > 0 {
            self.read_marks(&mut extra, slot)?;
        }
        let moves = if tag & part::MOVES > 0 { self.read_moves(slot)? } else { Vec::new() };
        if tag & part::TREE > 0 {
            extra.tree = self.read_tree(depth)?;
        }
        let known = self.known;
        slot.edit_parts(|parts| {
            if let Some(list) = &mut parts.list {
                for (element, entries) in moves {
                    extra.moves.restore(list, element, entries, known);
                }
            }
            parts.extra = Some(Box::new(extra));
        });
        Ok(())
    }

    fn read_folds(&mut self, extra: &mut Extra) -> Result<(), LoadError> {
        for fold in Fold::ALL {
            for _ in 0..self.shape.count(2)? {
                let dot = self.used_dots(1)?;
                let count = self.shape.count(1)?;
                let values = (0..count).map(|_| self.scalar()).collect::<Result<Box<[_]>, _>>()?;
                if !fold.admits(&values) {
                    return Err(DecodeError::Invalid.into());
                }
                extra.folds.writes_mut(fold).insert(dot, values);
            }
        }
        Ok(())
    }

    fn read_marks(&mut self, extra: &mut Extra, slot: &Slot) -> Result<(), LoadError> {
        let text = slot.text().ok_or(LoadError::Inconsistent)?;
        for _ in 0..self.shape.count(5)? {
            let dot = self.used_dots(1)?;
            let rank = self.shape.u64()?;
            if rank == 0 || rank > MAX_COUNTER {
                return Err(DecodeError::Invalid.into());
            }
            let mut ends = [Anchor::Edge; 2];
            for end in &mut ends {
                *end = match self.shape.u8()? {
                    0 => Anchor::Edge,
                    1 => Anchor::Before(self.dots(1, 0)?),
                    2 => Anchor::After(self.dots(1, 0)?),
                    _ => return Err(DecodeError::Invalid.into()),
                };
            }
            let [from, to] = ends;
            let key = self.shape.str(MAX_MARK_KEY_BYTES)?.into();
            let mark = Mark { rank, from, to, key, value: self.scalar()? };
            if !extra.marks.add(text, dot, &mark, &[]) {
                return Err(LoadError::Inconsistent);
            }
        }
        Ok(())
    }

    fn read_moves(&mut self, slot: &Slot) -> Result<Vec<(Dot, Entries<u64>)>, LoadError> {
        let list = slot.list().ok_or(LoadError::Inconsistent)?;
        let mut moves = Vec::new();
        for _ in 0..self.shape.count(2)? {
            let element = self.dots(1, 0)?;
            let mut entries = Entries::Empty;
            for _ in 0..self.shape.count(1)? {
                if self.shape.u8()? != 0 {
                    return Err(DecodeError::Invalid.into());
                }
                let carrier = self.used_dots(1)?;
                entries.insert(carrier, self.clock()?);
                if !list.runs.contains(carrier) || carrier == element {
                    return Err(LoadError::Inconsistent);
                }
            }
            if entries.is_empty() || !list.runs.contains(element) {
                return Err(LoadError::Inconsistent);
            }
            moves.push((element, entries));
        }
        Ok(moves)
    }

    fn read_tree(&mut self, depth: usize) -> Result<Tree, LoadError> {
        let mut tree = Tree { presence: self.marks()?, ..Tree::default() };
        for _ in 0..self.shape.count(3)? {
            let id = self.dots(1, 0)?;
            let mut node = Node { alive: self.marks()?, ..Node::default() };
            for _ in 0..self.shape.count(0)? {
                node.claims.insert(self.dots(1, 0)?, ());
            }
            node.content = self.slot(depth + 1)?;
            if tree.nodes.insert(id, node).is_some() {
                return Err(DecodeError::NotCanonical.into());
            }
        }
        self.read_row(&mut tree, None)?;
        for _ in 0..self.shape.count(1)? {
            let parent = self.dots(1, 0)?;
            if !tree.nodes.contains_key(&parent) || tree.rows.contains_key(&Some(parent)) {
                return Err(LoadError::Inconsistent);
            }
            self.read_row(&mut tree, Some(parent))?;
        }
        for (id, node) in &tree.nodes {
            let is_own = |spot: Dot| tree.spots.get(&spot).is_some_and(|spot| spot.node == *id);
            if node.claims.is_empty() || !is_own(*id) || !node.claims.dots().all(is_own) {
                return Err(LoadError::Inconsistent);
            }
        }
        tree.rebuild(self.known);
        Ok(tree)
    }

    fn read_row(&mut self, tree: &mut Tree, parent: Option<Dot>) -> Result<(), LoadError> {
        let mut missing = BTreeMap::new();
        for Claim { id, count, mut left, right } in self.claims()? {
            for at in 0..count {
                let dot = id.plus(at);
                let mut named = || -> Result<Option<Dot>, LoadError> {
                    match self.shape.u8()? {
                        0 => Ok(None),
                        1 => self.dots(1, 0).map(Some),
                        _ => Err(DecodeError::Invalid.into()),
                    }
                };
                let (moved, from) = (named()?, named()?);
                let node = moved.unwrap_or(dot);
                if !tree.nodes.contains_key(&node) {
                    return Err(LoadError::Inconsistent);
                }
                let spot = Spot { node, parent, from, unix_ms: self.clock()? };
                tree.spots.insert(dot, spot);
                missing.insert(dot, Span { id: dot, left, right, items: Row::hidden(1) });
                left = Some(dot);
            }
        }
        if !missing.is_empty() {
            tree.rows.insert(parent, self.placed(missing)?);
        }
        Ok(())
    }
}
