//! Undo and redo of one's own edits, among those of others.
//!
//! To undo is to edit: what a transaction did is done the other way round, as far as it is still there, so that everybody sees it
//! undone and what others did meanwhile stays. Removed characters come back as new ones in their old positions.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use crate::{
    actor::Dot,
    change::{Action, Kind, Made},
    context::Seen,
    document::Document,
    fault::EditError,
    fold::{Fold, Writes},
    marks::{Anchor, Expand, Mark},
    path::Hop,
    slot::Slot,
    transaction::Transaction,
    tree::Target,
    value::Scalar,
};

/// Transactions that can be undone or redone. Older ones are forgotten.
pub const MAX_UNDO: usize = 1000;

/// What this replica's transactions did.
#[derive(Clone, Debug, Default)]
pub(crate) struct UndoStack {
    undo: Vec<Vec<Step>>,
    redo: Vec<Vec<Step>>,
    /// Characters that came back -> what they are now.
    renamed: BTreeMap<Dot, Dot>,
}

/// What one edit did, and to what.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    hops: Vec<Hop>,
    did: Did,
}

#[derive(Clone, Debug)]
enum Did {
    /// Wrote to or cleared a place that was as here.
    Replaced(Box<Slot>),
    /// `made`: there was no counter before.
    Added {
        by: i64,
        made: bool,
    },
    Member {
        member: Scalar,
        was_in: bool,
    },
    Inserted {
        first: Dot,
        count: u64,
    },
    Characters(Vec<(Dot, String)>),
    Elements(Vec<(Dot, Slot)>),
    Moved {
        element: Dot,
        item: Dot,
    },
    Folded {
        fold: Fold,
        was: Writes,
    },
    /// Pieces of text, first and last character, with what they had at the key.
    Marked {
        dot: Dot,
        key: Box<str>,
        pieces: Vec<(Dot, Dot, Scalar)>,
    },
    Planted(Dot),
    Grafted {
        node: Dot,
        spot: Dot,
    },
    Pruned(Vec<Dot>),
    Nothing,
}

impl Document {
    /// From now on remembers how to undo this replica's transactions.
    pub fn keep_undo(&mut self) {
        self.undo.get_or_insert_default();
    }

    /// How many transactions can be undone, and how many redone.
    pub fn undoable(&self) -> (usize, usize) {
        self.undo.as_ref().map_or((0, 0), |stack| (stack.undo.len(), stack.redo.len()))
    }

    /// Undoes this replica's last transaction that is not undone, and leaves what others did. Returns the change to
    /// ship, `None` if there is none or nothing of it is left.
    ///
    /// # Errors
    /// See [`EditError`]; the document is then as it was.
    pub fn undo(&mut self, unix_ms: u64) -> Result<Option<Vec<u8>>, EditError> {
        self.turn_back(unix_ms, true)
    }

    /// Undoes the last undo; none once something else was edited.
    ///
    /// # Errors
    /// See [`EditError`]; the document is then as it was.
    pub fn redo(&mut self, unix_ms: u64) -> Result<Option<Vec<u8>>, EditError> {
        self.turn_back(unix_ms, false)
    }

    fn turn_back(&mut self, unix_ms: u64, is_undo: bool) -> Result<Option<Vec<u8>>, EditError> {
        let Some(stack) = &mut self.undo else { return Ok(None) };
        let from = if is_undo { &mut stack.undo } else { &mut stack.redo };
        let Some(steps) = from.pop() else { return Ok(None) };
        let renamed = core::mem::take(&mut stack.renamed);
        let mut transaction = Transaction::new(self, unix_ms);
        transaction.renamed = renamed.clone();
        let done = steps.iter().rev().try_for_each(|step| transaction.turn_back(step));
        let (renamed, reverse, change) = match done {
            Ok(()) => {
                let renamed = core::mem::take(&mut transaction.renamed);
                let reverse = core::mem::take(&mut transaction.reverse);
                (renamed, reverse, transaction.commit())
            }
            Err(error) => {
                transaction.roll_back();
                (renamed, Vec::new(), Err(error))
            }
        };
        if let Some(stack) = &mut self.undo {
            stack.renamed = renamed;
            match (&change, is_undo) {
                (Ok(None), _) => {}
                (Ok(Some(_)), true) => stack.redo.push(reverse),
                (Ok(Some(_)), false) => stack.undo.push(reverse),
                (Err(_), true) => stack.undo.push(steps),
                (Err(_), false) => stack.redo.push(steps),
            }
        }
        change
    }

    /// A transaction of new edits was committed.
    pub(crate) fn note_undo(&mut self, steps: Vec<Step>) {
        if let Some(stack) = &mut self.undo
            && !steps.is_empty()
        {
            stack.redo.clear();
            stack.undo.push(steps);
            if stack.undo.len() > MAX_UNDO {
                stack.undo.remove(0);
            }
        }
    }
}

impl Step {
    /// What `action`, about to be applied with `dot`, will do.
    pub(crate) fn of(root: &Slot, hops: &[Hop], action: &Action, dot: Dot, document: &Document) -> Self {
        let slot = root.at(hops);
        let extra = slot.and_then(Slot::extra);
        let did = match action {
            Action::Increment(by) => {
                let counter = slot.and_then(Slot::parts).map(|parts| &parts.counter);
                let made = counter.is_none_or(|counter| counter.is_empty());
                Did::Added { by: *by, made }
            }
            Action::Add(member) | Action::Discard(member) => {
                let was_in = slot.and_then(Slot::parts).is_some_and(|parts| parts.set.contains(member));
                Did::Member { member: member.clone(), was_in }
            }
            Action::Insert { .. } | Action::Splice { .. } => {
                Did::Inserted { first: dot, count: action.width() }
            }
            Action::Remove { first, count } => {
                match slot.and_then(Slot::text).filter(|text| text.runs.contains(*first)) {
                    Some(text) => Did::Characters(text.slices(*first, *count)),
                    None => {
                        let list = slot.and_then(Slot::list);
                        let elements = (0..*count).map(|at| first.plus(at));
                        let live = elements.filter_map(|dot| Some((dot, list?.element(dot)?.clone())));
                        Did::Elements(live.filter(|(_, slot)| slot.is_live()).collect())
                    }
                }
            }
            Action::Move { element, .. } => {
                let item = extra.map_or(*element, |extra| extra.moves.item_of(*element));
                Did::Moved { element: *element, item }
            }
            Action::Fold { fold, .. } => {
                let was = extra.map(|extra| extra.folds.writes(*fold).clone()).unwrap_or_default();
                Did::Folded { fold: *fold, was }
            }
            Action::Mark { mark, .. } => Self::marked(slot, mark, dot, document),
            Action::Plant(_) => Did::Planted(dot),
            Action::Graft { node, .. } => {
                let spot = extra.and_then(|extra| extra.tree.nodes.get(node)).and_then(|node| node.at);
                spot.map_or(Did::Nothing, |spot| Did::Grafted { node: *node, spot })
            }
            Action::Prune(nodes) => {
                let shown = nodes.iter().copied();
                Did::Pruned(shown.filter(|node| extra.is_some_and(|e| e.tree.is_shown(*node))).collect())
            }
            // One that brings a removed node back is undone by removing it.
            Action::Touch(node) if !extra.is_some_and(|extra| extra.tree.is_shown(*node)) => {
                Did::Planted(*node)
            }
            Action::Touch(_) => Did::Nothing,
            _ => Did::Replaced(Box::new(slot.cloned().unwrap_or_default())),
        };
        Self { hops: hops.to_vec(), did }
    }

    /// What the characters that a mark covers had at its key.
    fn marked(slot: Option<&Slot>, mark: &Mark, dot: Dot, document: &Document) -> Did {
        let Some(text) = slot.and_then(Slot::text) else { return Did::Nothing };
        let index = |dot: Option<Dot>, edge: usize| match dot {
            Some(dot) => text.runs.index_of(dot).unwrap_or(edge),
            None => edge,
        };
        let after = |anchor: Anchor| usize::from(matches!(anchor, Anchor::After(_)));
        let from = index(mark.from.dot(), 0) + after(mark.from);
        let to = (index(mark.to.dot(), text.len()) + after(mark.to)).min(text.len());
        let spans = slot.and_then(Slot::extra).map(|extra| extra.marks.resolve(text, &document.actors));
        let mut pieces = Vec::new();
        let mut piece = |range: core::ops::Range<usize>, value: Scalar| {
            let ends = text
                .runs
                .dot_of_visible(range.start)
                .zip(text.runs.dot_of_visible(range.end.wrapping_sub(1)));
            if let Some((first, last)) = ends.filter(|_| range.start < range.end) {
                pieces.push((first, last, value));
            }
        };
        let mut at = from;
        for span in spans.into_iter().flatten().filter(|span| *span.key == *mark.key) {
            let range = span.range.start.max(from)..span.range.end.min(to);
            if range.start < range.end {
                piece(at..range.start, Scalar::Null);
                at = range.end;
                piece(range, span.value);
            }
        }
        piece(at..to, Scalar::Null);
        Did::Marked { dot, key: mark.key.clone(), pieces }
    }
}

/// Kinds that can be there and empty.
const CONTAINERS: [(Kind, Made); 4] =
    [(Kind::Map, Made::Map), (Kind::List, Made::List), (Kind::Text, Made::Text), (Kind::Tree, Made::Tree)];

impl Transaction<'_> {
    fn turn_back(&mut self, step: &Step) -> Result<(), EditError> {
        let hops = &*step.hops;
        if !self.is_reachable(hops) {
            return Ok(());
        }
        match &step.did {
            Did::Replaced(was) => self.put_back(hops, was),
            Did::Added { by, made } => self.subtract(hops, *by, *made),
            Did::Member { member, was_in } => self.turn_member(hops, member, *was_in),
            Did::Inserted { first, count } => self.take_out(hops, *first, *count),
            Did::Characters(slices) => {
                slices.iter().try_for_each(|(first, text)| self.bring_back(hops, *first, text))
            }
            Did::Elements(elements) => elements.iter().try_for_each(|(dot, was)| {
                let mut child = hops.to_vec();
                child.push(Hop::Element(*dot));
                self.revive(&child, was)
            }),
            Did::Moved { element, item } => {
                let right = self.slot(hops).and_then(Slot::list).and_then(|list| list.runs.after(*item));
                right.map_or(Ok(()), |right| self.move_between(hops, *element, Some(*item), right))
            }
            Did::Folded { fold, was } => self.unfold(hops, *fold, was),
            Did::Marked { dot, key, pieces } => self.unmark_pieces(hops, *dot, key, pieces),
            Did::Planted(node) => {
                let mut place = hops.to_vec();
                place.push(Hop::Element(*node));
                match self.prune_at(&place) {
                    Err(EditError::NotFound) => Ok(()),
                    result => result,
                }
            }
            Did::Grafted { node, spot } => self.ungraft(hops, *node, *spot),
            Did::Pruned(nodes) => nodes.iter().try_for_each(|node| {
                if self.tree(hops).ok().and_then(|tree| tree.content(*node)).is_none() {
                    return Ok(());
                }
                let seen = self.alive_seen(hops, *node);
                self.emit(hops, seen, Action::Touch(*node))
            }),
            Did::Nothing => Ok(()),
        }
    }

    /// Whether a place is there or can be made: maps on the way can, elements and nodes cannot.
    fn is_reachable(&self, hops: &[Hop]) -> bool {
        let elements = (1..=hops.len()).filter_map(|length| hops.get(..length));
        let mut elements = elements.filter(|hops| matches!(hops.last(), Some(Hop::Element(_))));
        elements.all(|hops| self.slot(hops).is_some())
    }

    /// A place that was written or cleared: what the edit wrote goes, and unless others wrote there, what it replaced returns.
    ///
    /// Such an edit leaves nothing of what was there, and later ones of this replica are undone first: all of its
    /// own that is there now is by this one, under whatever dot an undo has given it.
    fn put_back(&mut self, hops: &[Hop], was: &Slot) -> Result<(), EditError> {
        let me = self.me;
        let now = self.slot(hops).map(Slot::seen).unwrap_or_default();
        let own: Seen = now.iter().filter(|(actor, _)| *actor == me).map(|(a, c)| Dot::new(a, c)).collect();
        let others = self.slot(hops).is_some_and(|slot| slot.register.dots().any(|dot| dot.actor != me));
        let old = was.winner(&self.document.actors).map(|(_, written)| written.scalar.clone());
        match old {
            Some(old) if !others => self.emit(hops, own, Action::Put(old))?,
            _ if !own.is_empty() => self.emit(hops, own, Action::Clear)?,
            _ => {}
        }
        self.revive_parts(hops, was)
    }

    /// Brings back what was alive in a place and is not any more.
    fn revive(&mut self, hops: &[Hop], was: &Slot) -> Result<(), EditError> {
        if self.slot(hops).is_none_or(|slot| slot.register.is_empty())
            && let Some((_, written)) = was.winner(&self.document.actors)
        {
            let scalar = written.scalar.clone();
            self.emit(hops, Seen::default(), Action::Put(scalar))?;
        }
        self.revive_parts(hops, was)
    }

    /// Recursion is bounded by the document's depth.
    fn revive_parts(&mut self, hops: &[Hop], was: &Slot) -> Result<(), EditError> {
        for (kind, made) in CONTAINERS {
            let live = |slot: &Slot| slot.kinds().contains(&Some(kind));
            if live(was) && !self.slot(hops).is_some_and(live) {
                self.emit(hops, Seen::default(), Action::Make(made))?;
            }
        }
        for (key, child) in was.map().into_iter().flat_map(|map| map.live_children()) {
            self.revive(&crate::transaction::below(hops, key)?, child)?;
        }
        for (dot, child) in was.list().into_iter().flat_map(|list| list.live_elements()) {
            let mut place = hops.to_vec();
            place.push(Hop::Element(dot));
            if self.slot(&place).is_some_and(|slot| !slot.is_live()) {
                self.revive(&place, child)?;
            }
        }
        for span in was.text().into_iter().flat_map(|text| text.runs.spans()) {
            if !span.items.text().is_empty() {
                self.bring_back(hops, span.id, span.items.text())?;
            }
        }
        self.revive_marks(hops, was)?;
        let Some(parts) = was.parts() else { return Ok(()) };
        for (member, _) in parts.set.members() {
            self.turn_member(hops, member, true)?;
        }
        if !parts.counter.is_empty()
            && self.slot(hops).and_then(Slot::parts).is_none_or(|p| p.counter.is_empty())
        {
            let total = parts.counter.total().clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            self.emit(hops, Seen::default(), Action::Increment(total))?;
        }
        if !parts.flag.is_empty() && self.slot(hops).and_then(Slot::parts).is_none_or(|p| p.flag.is_empty()) {
            self.emit(hops, Seen::default(), Action::Enable)?;
        }
        self.revive_extra(hops, was)
    }

    /// The marks of characters that came back.
    fn revive_marks(&mut self, hops: &[Hop], was: &Slot) -> Result<(), EditError> {
        let Some((text, extra)) = was.text().zip(was.extra()) else { return Ok(()) };
        let now: Vec<Dot> = match self.slot(hops).and_then(Slot::extra) {
            Some(extra) => extra.marks.iter().map(|(dot, _)| dot).collect(),
            None => Vec::new(),
        };
        if extra.marks.iter().all(|(dot, _)| now.contains(&dot)) {
            return Ok(());
        }
        for span in extra.marks.resolve(text, &self.document.actors) {
            let Some(new) = self.slot(hops).and_then(Slot::text) else { return Ok(()) };
            let index = |at: usize| {
                let dot = text.runs.dot_of_visible(at)?;
                new.runs.index_of(self.name_now(dot))
            };
            if let Some((first, last)) = index(span.range.start).zip(index(span.range.end - 1))
                && last < new.len()
            {
                self.mark_at(hops, first..last + 1, &span.key, span.value, Expand::None, None)?;
            }
        }
        Ok(())
    }

    /// What a character is called now, that was removed and came back.
    fn name_now(&self, mut dot: Dot) -> Dot {
        while let Some(newer) = self.renamed.get(&dot) {
            dot = *newer;
        }
        dot
    }

    fn revive_extra(&mut self, hops: &[Hop], was: &Slot) -> Result<(), EditError> {
        let Some(extra) = was.extra() else { return Ok(()) };
        for fold in Fold::ALL {
            let now = self.slot(hops).and_then(Slot::extra).map(|extra| extra.folds.writes(fold).len());
            for (_, values) in extra.folds.writes(fold).iter().filter(|_| now.is_none_or(|now| now == 0)) {
                let values = values.clone();
                self.emit(hops, Seen::default(), Action::Fold { fold, values })?;
            }
        }
        for (node, state) in extra.tree.nodes.iter().filter(|(_, node)| node.shown) {
            let now = self.tree(hops).is_ok_and(|tree| tree.content(*node).is_some());
            if now && !self.tree(hops)?.is_shown(*node) {
                self.emit(hops, Seen::default(), Action::Touch(*node))?;
                let mut place = hops.to_vec();
                place.push(Hop::Element(*node));
                self.revive(&place, &state.content)?;
            }
        }
        Ok(())
    }

    /// A counter that this made goes, unless others, or later edits, count on it.
    fn subtract(&mut self, hops: &[Hop], by: i64, made: bool) -> Result<(), EditError> {
        let me = self.me;
        let counter = self.slot(hops).and_then(Slot::parts).map(|parts| &parts.counter);
        let is_all = counter.is_some_and(|counter| counter.total() == i128::from(by));
        let seen = self.slot(hops).map(|slot| slot.seen_of(Kind::Counter)).unwrap_or_default();
        if made && is_all && seen.iter().all(|(actor, _)| actor == me) {
            return self.emit(hops, seen, Action::Drop(Kind::Counter));
        }
        self.emit(hops, Seen::default(), Action::Increment(by.saturating_neg()))
    }

    fn turn_member(&mut self, hops: &[Hop], member: &Scalar, wanted: bool) -> Result<(), EditError> {
        let set = self.slot(hops).and_then(Slot::parts).map(|parts| &parts.set);
        let (is_in, seen) =
            set.map_or((false, Seen::default()), |set| (set.contains(member), set.seen(member)));
        let me = self.me;
        match (wanted, is_in) {
            (true, false) => self.emit(hops, seen, Action::Add(member.clone())),
            (false, true) => {
                // What others added stays.
                let own: Seen =
                    seen.iter().filter(|(actor, _)| *actor == me).map(|(a, c)| Dot::new(a, c)).collect();
                if own.is_empty() { Ok(()) } else { self.emit(hops, own, Action::Discard(member.clone())) }
            }
            _ => Ok(()),
        }
    }

    /// Removes items that this replica inserted, as they are called now.
    fn take_out(&mut self, hops: &[Hop], first: Dot, count: u64) -> Result<(), EditError> {
        let mut runs: Vec<(Dot, u64)> = Vec::new();
        for at in 0..count {
            let dot = self.name_now(first.plus(at));
            match runs.last_mut() {
                Some(last) if last.0.plus(last.1) == dot => last.1 += 1,
                _ => runs.push((dot, 1)),
            }
        }
        for (first, count) in runs {
            let Some(slot) = self.slot(hops) else { return Ok(()) };
            if let Some(text) = slot.text().filter(|text| text.runs.contains(first)) {
                if text.slices(first, count).is_empty() {
                    continue;
                }
                self.emit(hops, Seen::default(), Action::Remove { first, count })?;
            } else if let Some(list) = slot.list() {
                let mut seen = Seen::default();
                let elements = (0..count).filter_map(|at| list.element(first.plus(at)));
                elements.for_each(|slot| slot.note(&mut seen));
                if !seen.is_empty() {
                    self.emit(hops, seen, Action::Remove { first, count })?;
                }
            }
        }
        Ok(())
    }

    /// Removed characters, typed again where they were.
    fn bring_back(&mut self, hops: &[Hop], first: Dot, text: &str) -> Result<(), EditError> {
        let mut run: Option<(Dot, Dot, String)> = None;
        for (at, character) in text.chars().enumerate() {
            let old = first.plus(at as u64);
            let Some(sequence) = self.slot(hops).and_then(Slot::text).map(|text| &text.runs) else {
                return Ok(());
            };
            let now = self.name_now(old);
            let is_dead = |dot: Dot| {
                sequence.find(dot).is_some_and(|(run, _)| crate::sequence::Items::visible(run) == 0)
            };
            if !is_dead(now) {
                self.type_again(hops, &mut run)?;
                continue;
            }
            match &mut run {
                Some((_, last, text)) if last.plus(1) == now => {
                    (*last, _) = (now, text.push(character));
                }
                _ => {
                    self.type_again(hops, &mut run)?;
                    run = Some((now, now, String::from(character)));
                }
            }
        }
        self.type_again(hops, &mut run)
    }

    fn type_again(&mut self, hops: &[Hop], run: &mut Option<(Dot, Dot, String)>) -> Result<(), EditError> {
        let Some((first, last, text)) = run.take() else { return Ok(()) };
        let Some(sequence) = self.slot(hops).and_then(Slot::text).map(|text| &text.runs) else {
            return Ok(());
        };
        let Some(right) = sequence.after(last) else { return Ok(()) };
        let count = text.chars().count() as u64;
        self.emit(hops, Seen::default(), Action::Splice { left: Some(last), right, text: text.into() })?;
        let new = Dot::new(self.me, self.next.saturating_sub(count));
        for at in 0..count {
            self.renamed.insert(first.plus(at), new.plus(at));
        }
        Ok(())
    }

    /// The writes to a fold register that this one replaced, in its place.
    fn unfold(&mut self, hops: &[Hop], fold: Fold, was: &Writes) -> Result<(), EditError> {
        let me = self.me;
        let now = self.slot(hops).map(|slot| slot.seen_of(fold.kind())).unwrap_or_default();
        let mut own: Seen =
            now.iter().filter(|(actor, _)| *actor == me).map(|(a, c)| Dot::new(a, c)).collect();
        let is_replaced = |dot: Dot| matches!(fold, Fold::Min | Fold::Max) || dot.actor == me;
        let gone = was.iter().filter(|(dot, _)| is_replaced(*dot)).map(|(_, values)| values.clone());
        let gone: Vec<Box<[Scalar]>> = gone.collect();
        if gone.is_empty() && !own.is_empty() {
            return self.emit(hops, own, Action::Drop(fold.kind()));
        }
        for values in gone {
            self.emit(hops, core::mem::take(&mut own), Action::Fold { fold, values })?;
        }
        Ok(())
    }

    fn unmark_pieces(
        &mut self,
        hops: &[Hop],
        dot: Dot,
        key: &str,
        pieces: &[(Dot, Dot, Scalar)],
    ) -> Result<(), EditError> {
        for (first, last, value) in pieces {
            let Some(text) = self.slot(hops).and_then(Slot::text) else { return Ok(()) };
            let shown = |dot: Dot| {
                text.runs.find(dot).is_some_and(|(run, _)| crate::sequence::Items::visible(run) > 0)
            };
            let (Some(from), Some(to)) = (text.runs.index_of(*first), text.runs.index_of(*last)) else {
                continue;
            };
            let range = from..to + usize::from(shown(*last));
            if range.start < range.end {
                self.mark_at(hops, range, key, value.clone(), Expand::None, Some(dot))?;
            }
        }
        Ok(())
    }

    fn ungraft(&mut self, hops: &[Hop], node: Dot, spot: Dot) -> Result<(), EditError> {
        let Ok(tree) = self.tree(hops) else { return Ok(()) };
        let parent = tree.spots.get(&spot).and_then(|spot| spot.parent);
        let mut above = parent;
        while let Some(next) = above {
            if next == node {
                return Ok(());
            }
            above = tree.parent(next);
        }
        let right = tree.rows.get(&parent).and_then(|row| row.after(spot));
        let target = right.map(|right| Target { parent, left: Some(spot), right });
        target.map_or(Ok(()), |target| self.graft_at(hops, node, target))
    }
}
