//! How an edit changes a document.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    change::{Action, Change, Edit, Item, Kind, Made},
    context::Seen,
    fold::Fold,
    observe,
    patch::Patch,
    path::Hop,
    slot::{Parts, Slot},
    tree::Spot,
};

/// Applies a change whose dots are in the document's numbering and whose references were all applied. Returns how many of its
/// edits had no effect because what they name is not what they take it for.
///
/// Clearing a large place walks through it. Such clears are gathered and done once for each place at the end, which
/// changes nothing, since a clear never covers a later dot; a flood of them then costs one walk.
pub(crate) fn apply_change(root: &mut Slot, change: &Change, author: u32, actors: &Actors) -> usize {
    let mut wide: BTreeMap<u32, Seen> = BTreeMap::new();
    let mut ineffective = 0;
    let mut dot = Dot::new(author, change.first);
    for edit in &change.edits {
        let hops = hops_of(change, edit.place);
        let effect = root.edit_at(&hops, &mut |slot| {
            let wide = (slot.is_wide() && clears_place(&edit.action)).then_some(&mut wide);
            apply_edit(slot, edit, dot, change.unix_ms, actors, wide)
        });
        ineffective += usize::from(effect != Some(true));
        dot = dot.plus(edit.action.width());
    }
    for (place, seen) in wide {
        root.edit_at(&hops_of(change, place), &mut |slot| slot.clear(&seen));
    }
    ineffective
}

/// As [`apply_change`], and tells what changed in what is shown. Nothing is gathered: each clear costs a walk of its own, so the
/// caller has bounded how many edits there are.
pub(crate) fn apply_observed(
    root: &mut Slot,
    change: &Change,
    author: u32,
    actors: &Actors,
    patches: &mut Vec<Patch>,
) -> usize {
    let mut ineffective = 0;
    let mut dot = Dot::new(author, change.first);
    for edit in &change.edits {
        let hops = hops_of(change, edit.place);
        let before = observe::before(root, &hops, &edit.action, actors);
        let effect =
            root.edit_at(&hops, &mut |slot| apply_edit(slot, edit, dot, change.unix_ms, actors, None));
        ineffective += usize::from(effect != Some(true));
        patches.extend(before.patches(root, &hops, &edit.action, dot, actors));
        dot = dot.plus(edit.action.width());
    }
    ineffective
}

/// Uses up a change's dots without its effects: what it inserts is in place and removed, and the rest is passed over
/// (CRDT-10).
pub(crate) fn apply_hidden(root: &mut Slot, change: &Change, author: u32, actors: &Actors) {
    let mut dot = Dot::new(author, change.first);
    for edit in &change.edits {
        let width = edit.action.width();
        root.edit_at(&hops_of(change, edit.place), &mut |slot| match &edit.action {
            Action::Insert { left, right, items } => slot.edit_parts(|parts| {
                let slots = items.iter().map(|_| Slot::default()).collect();
                parts.list.get_or_insert_default().insert(dot, *left, *right, slots, actors);
            }),
            Action::Splice { left, right, .. } => slot.edit_parts(|parts| {
                parts.text.get_or_insert_default().insert_removed(dot, *left, *right, width, actors);
            }),
            later => hide_later(slot, later, dot, change.unix_ms, actors),
        });
        dot = dot.plus(width);
    }
}

/// The positions that moves and nodes take.
fn hide_later(slot: &mut Slot, action: &Action, dot: Dot, unix_ms: u64, actors: &Actors) {
    match action {
        Action::Move { left, right, .. } => slot.edit_parts(|parts| {
            let list = parts.list.get_or_insert_default();
            list.insert(dot, *left, *right, Vec::from([Slot::default()]), actors);
        }),
        Action::Plant(target) => slot.edit_parts(|parts| {
            parts.extra.get_or_insert_default().tree.plant(dot, *target, unix_ms, false, actors);
        }),
        Action::Graft { node, from, target } => slot.edit_parts(|parts| {
            let tree = &mut parts.extra.get_or_insert_default().tree;
            if tree.content(*node).is_some() {
                let spot = Spot { node: *node, parent: target.parent, from: *from, unix_ms };
                tree.insert_spot(dot, spot, *target, actors);
            }
        }),
        _ => {}
    }
}

/// The steps from the root to a place of the change's table. At most `MAX_DEPTH` of them.
pub(crate) fn hops_of(change: &Change, place: u32) -> Vec<&Hop> {
    let mut hops = Vec::new();
    let mut at = place;
    while let Some(entry) = at.checked_sub(1).and_then(|index| change.places.get(index as usize)) {
        hops.push(&entry.hop);
        at = entry.parent;
    }
    hops.reverse();
    hops
}

/// Whether `seen` is about the whole place, and not a member or elements.
fn clears_place(action: &Action) -> bool {
    match action {
        Action::Add(_) | Action::Discard(_) | Action::Remove { .. } => false,
        Action::Make(Made::Tree) => true,
        other => !other.is_later() || matches!(other, Action::Insert { .. }),
    }
}

/// Applies one edit at its place; whether it took effect. What it replaces goes to `wide` instead, if given.
pub(crate) fn apply_edit(
    slot: &mut Slot,
    edit: &Edit,
    dot: Dot,
    unix_ms: u64,
    actors: &Actors,
    wide: Option<&mut BTreeMap<u32, Seen>>,
) -> bool {
    if clears_place(&edit.action) && !edit.seen.is_empty() {
        match wide {
            Some(wide) => wide.entry(edit.place).or_default().join(&edit.seen),
            None => slot.clear(&edit.seen),
        }
    }
    match &edit.action {
        Action::Put(scalar) => slot.put(dot, unix_ms, scalar.clone()),
        Action::Clear => {}
        Action::Drop(Kind::Register) => slot.register.clear(&edit.seen),
        Action::Make(made) => make(slot, *made, dot),
        Action::Increment(by) => slot.edit_parts(|parts| parts.counter.add(dot, 1, *by)),
        Action::Enable => slot.edit_parts(|parts| parts.flag.insert(dot, ())),
        Action::Add(member) => slot.edit_parts(|parts| parts.set.add(member.clone(), dot, &edit.seen)),
        Action::Discard(member) => slot.edit_parts(|parts| parts.set.discard(member, &edit.seen)),
        Action::Insert { left, right, items } => {
            let slots = slots_of(items, dot, unix_ms);
            return slot.edit_parts(|parts| {
                parts.list.get_or_insert_default().insert(dot, *left, *right, slots, actors)
            });
        }
        Action::Splice { left, right, text } => {
            return slot.edit_parts(|parts| {
                parts.text.get_or_insert_default().insert(dot, *left, *right, text, actors)
            });
        }
        Action::Remove { first, count } => {
            return slot.edit_parts(|parts| remove(parts, *first, *count, &edit.seen));
        }
        later => return slot.edit_parts(|parts| apply_later(parts, later, &edit.seen, dot, unix_ms, actors)),
    }
    true
}

/// The actions of format 2.
fn apply_later(
    parts: &mut Parts,
    action: &Action,
    seen: &Seen,
    dot: Dot,
    unix_ms: u64,
    actors: &Actors,
) -> bool {
    let Parts { list, text, extra, .. } = parts;
    match action {
        Action::Move { element, left, right } => {
            let Some(list) = list.as_mut().filter(|list| list.runs.contains(*element)) else { return false };
            if !list.insert(dot, *left, *right, Vec::from([Slot::default()]), actors) {
                return false;
            }
            extra.get_or_insert_default().moves.claim(list, *element, dot, seen, unix_ms, actors);
            true
        }
        Action::Fold { fold, values } => {
            let writes = extra.get_or_insert_default().folds.writes_mut(*fold);
            writes.clear(seen);
            writes.insert(dot, values.clone());
            true
        }
        Action::Mark { mark, replaced } => {
            let Some(text) = text else { return false };
            extra.get_or_insert_default().marks.add(text, dot, mark, replaced)
        }
        Action::Plant(target) => {
            extra.get_or_insert_default().tree.plant(dot, *target, unix_ms, true, actors)
        }
        Action::Graft { node, from, target } => {
            let spot = Spot { node: *node, parent: target.parent, from: *from, unix_ms };
            extra.get_or_insert_default().tree.graft(dot, spot, *target, seen, actors)
        }
        Action::Prune(nodes) => extra.get_or_insert_default().tree.prune(nodes, seen),
        Action::Touch(node) => extra.get_or_insert_default().tree.touch(dot, *node, seen),
        Action::Drop(kind) => {
            drop_kind(parts, *kind, seen);
            true
        }
        _ => false,
    }
}

/// Removes one kind of thing from a place, as far as `seen`, and leaves the others. A register is not among its parts.
fn drop_kind(parts: &mut Parts, kind: Kind, seen: &Seen) {
    let fold = Fold::ALL.into_iter().find(|fold| fold.kind() == kind);
    match (kind, fold) {
        (_, Some(fold)) => {
            parts.extra.iter_mut().for_each(|extra| extra.folds.writes_mut(fold).clear(seen));
        }
        (Kind::Map, _) => parts.map.iter_mut().for_each(|map| map.clear(seen)),
        (Kind::List, _) => {
            parts.list.iter_mut().for_each(|list| list.clear(seen));
            parts.refresh_moves();
        }
        (Kind::Text, _) => {
            parts.text.iter_mut().for_each(|text| text.clear(seen));
            parts.extra.iter_mut().for_each(|extra| extra.marks.clear(seen));
        }
        (Kind::Set, _) => parts.set.clear(seen),
        (Kind::Counter, _) => parts.counter.clear(seen),
        (Kind::Flag, _) => parts.flag.clear(seen),
        (Kind::Tree, _) => parts.extra.iter_mut().for_each(|extra| extra.tree.clear(seen)),
        _ => {}
    }
}

fn make(slot: &mut Slot, made: Made, dot: Dot) {
    slot.edit_parts(|parts| {
        let presence = match made {
            Made::Map => &mut parts.map.get_or_insert_default().presence,
            Made::List => &mut parts.list.get_or_insert_default().presence,
            Made::Text => &mut parts.text.get_or_insert_default().presence,
            Made::Tree => &mut parts.extra.get_or_insert_default().tree.presence,
        };
        presence.insert(dot, ());
    });
}

/// Removes items from whichever sequence holds them; a place's list and text have no dot in common.
fn remove(parts: &mut Parts, first: Dot, count: u64, seen: &Seen) -> bool {
    let mut removed = false;
    if let Some(list) = &mut parts.list {
        removed |= list.runs.contains(first);
        list.remove(first, count, seen);
        if let Some(extra) = &parts.extra {
            extra.moves.refresh(list, first, count);
        }
    }
    if let Some(text) = &mut parts.text {
        removed |= text.runs.contains(first);
        text.remove(first, count);
    }
    removed
}

fn slots_of(items: &[Item], dot: Dot, unix_ms: u64) -> Vec<Slot> {
    let slot_of = |(at, item): (usize, &Item)| {
        let mut slot = Slot::default();
        let dot = dot.plus(at as u64);
        match item {
            Item::Scalar(scalar) => slot.put(dot, unix_ms, scalar.clone()),
            Item::Made(made) => make(&mut slot, *made, dot),
        }
        slot
    };
    items.iter().enumerate().map(slot_of).collect()
}
