//! Lists whose elements are whole documents.

use alloc::{vec, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    context::{Context, Seen},
    entries::Entries,
    map::Tie,
    moves::Position,
    sequence::{Items, Sequence, Span},
    slot::Slot,
};

/// Elements to a run in memory.
const RUN_ITEMS_MAX: usize = 32;

/// Elements with consecutive dots. One that nothing alive is in is removed; it keeps its position, and an edit
/// that its remover had not seen brings it back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    slots: Vec<Slot>,
    live: u32,
}

impl Run {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        let mut run = Self { slots, live: 0 };
        run.recount();
        run
    }

    fn recount(&mut self) {
        self.live = self.slots.iter().filter(|slot| slot.is_shown()).count() as u32;
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn edit_all(&mut self, edit: impl FnMut(&mut Slot)) {
        self.slots.iter_mut().for_each(edit);
        self.recount();
    }
}

impl Items for Run {
    fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    fn visible(&self) -> u32 {
        self.live
    }

    fn split_off(&mut self, at: u32) -> Self {
        let tail = Self::new(self.slots.split_off(at as usize));
        self.live -= tail.live;
        tail
    }

    fn append(&mut self, next: Self) -> Result<(), Self> {
        if self.slots.len() + next.slots.len() > RUN_ITEMS_MAX {
            return Err(next);
        }
        self.slots.extend(next.slots);
        self.live += next.live;
        Ok(())
    }

    fn offset_of_visible(&self, within: u32) -> u32 {
        let mut live = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_shown());
        live.nth(within as usize).map_or(within, |(at, _)| at as u32)
    }

    fn visible_before(&self, offset: u32) -> u32 {
        self.slots.iter().take(offset as usize).filter(|slot| slot.is_shown()).count() as u32
    }
}

/// A list. Like a map, it is named by its place, and exists while its mark or any element is alive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct List {
    pub(crate) presence: Entries<()>,
    pub(crate) runs: Sequence<Run>,
}

impl List {
    pub(crate) fn is_live(&self) -> bool {
        !self.presence.is_empty() || self.runs.visible() > 0
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.presence.is_empty() && self.runs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.visible()
    }

    pub(crate) fn element(&self, dot: Dot) -> Option<&Slot> {
        let (run, offset) = self.runs.find(dot)?;
        run.slots.get(offset as usize)
    }

    /// Live elements with their dots, in the order in which they are shown.
    pub(crate) fn live_elements(&self) -> impl Iterator<Item = (Dot, &Slot)> {
        self.runs.spans().flat_map(move |span| {
            let slots = span.items.slots.iter().enumerate().filter(|(_, slot)| slot.is_shown());
            slots.filter_map(move |(at, slot)| match slot.position() {
                Position::Carrier { element, .. } => Some((element, self.element(element)?)),
                Position::Home | Position::Away => Some((span.id.plus(at as u64), slot)),
            })
        })
    }

    /// The element that is shown at `index`.
    pub(crate) fn element_at(&self, index: usize) -> Option<Dot> {
        Some(self.element_of(self.runs.dot_of_visible(index)?))
    }

    /// The element that an item shows: one that was moved there, or itself.
    pub(crate) fn element_of(&self, item: Dot) -> Dot {
        match self.position(item) {
            Position::Carrier { element, .. } => element,
            Position::Home | Position::Away => item,
        }
    }

    /// The elements that runs of items show, as runs.
    pub(crate) fn elements_of(&self, items: Vec<(Dot, u64)>) -> Vec<(Dot, u64)> {
        let mut elements: Vec<(Dot, u64)> = Vec::new();
        for (first, count) in items {
            for at in 0..count {
                let element = self.element_of(first.plus(at));
                match elements.last_mut() {
                    Some(last) if last.0.plus(last.1) == element => last.1 += 1,
                    _ => elements.push((element, 1)),
                }
            }
        }
        elements
    }

    pub(crate) fn position(&self, item: Dot) -> Position {
        self.element(item).map(Slot::position).unwrap_or_default()
    }

    pub(crate) fn set_position(&mut self, item: Dot, position: Position) {
        self.edit_element(item, |slot| slot.set_position(position));
    }

    /// Whether anything alive is in the element, wherever it is shown.
    pub(crate) fn is_alive(&self, element: Dot) -> bool {
        self.element(element).is_some_and(Slot::is_live)
    }

    pub(crate) fn edit_element<R>(&mut self, dot: Dot, edit: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        let change = |run: &mut Run, offset: u32| {
            let slot = run.slots.get_mut(offset as usize)?;
            let before = slot.is_shown();
            let result = edit(slot);
            run.live = run.live + u32::from(slot.is_shown()) - u32::from(before);
            Some(result)
        };
        self.runs.edit_item(dot, change)?
    }

    /// Inserts `slots` with dots from `id` on; whether it took effect.
    pub(crate) fn insert(
        &mut self,
        id: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
        slots: Vec<Slot>,
        actors: &Actors,
    ) -> bool {
        let mut rest = slots;
        let (mut id, mut left) = (id, left);
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(RUN_ITEMS_MAX));
            let count = rest.len() as u64;
            if !self.runs.insert(Span { id, left, right, items: Run::new(rest) }, actors) {
                return false;
            }
            left = Some(id.plus(count - 1));
            id = id.plus(count);
            rest = tail;
        }
        true
    }

    /// Clears what `seen` covers in the elements `first .. first + count`.
    pub(crate) fn remove(&mut self, first: Dot, count: u64, seen: &Seen) {
        self.runs.edit_range(first, count, |run| run.edit_all(|slot| slot.clear(seen)));
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.presence.clear(seen);
        self.runs.edit_all(|_, run| run.edit_all(|slot| slot.clear(seen)));
    }

    /// Forgets removed elements (CRDT-20).
    pub(crate) fn compact(&mut self) {
        self.runs.compact(|run| {
            let mut parts: Vec<(u32, Option<Run>)> = Vec::new();
            for mut slot in run.slots {
                slot.compact();
                let kept = slot.is_live();
                match parts.last_mut() {
                    Some((count, Some(run))) if kept => {
                        *count += 1;
                        run.slots.push(slot);
                        run.live += 1;
                    }
                    _ => parts.push((1, kept.then(|| Self::single(slot)))),
                }
            }
            parts
        });
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.presence.note(seen);
        for slot in self.runs.spans().flat_map(|span| span.items.slots.iter()) {
            slot.note(seen);
        }
    }

    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context, tie: Tie<'_>) {
        self.presence.join(other.presence, ours, theirs);
        let mut shared: Vec<(Dot, Slot)> = Vec::new();
        let mut others = other.runs;
        let runs = &self.runs;
        others.edit_all(|first, run| {
            for (at, slot) in run.slots.iter_mut().enumerate() {
                let dot = first.plus(at as u64);
                if runs.contains(dot) {
                    shared.push((dot, core::mem::take(slot)));
                }
            }
            run.recount();
        });
        crate::join::adopt(&mut self.runs, others, tie);
        for (dot, slot) in shared {
            self.edit_element(dot, |own| own.join(slot, ours, theirs, tie));
        }
    }

    /// One element in a run of its own: how joins and snapshots hand elements over.
    pub(crate) fn single(slot: Slot) -> Run {
        Run::new(vec![slot])
    }
}
