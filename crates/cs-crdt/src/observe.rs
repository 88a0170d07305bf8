//! Observers: what each edit changed in what is shown, while it is applied.
//!
//! For an edit the steps from the root are looked at before and after. If what is shown changed on the way, because
//! something came alive or died, the patch is for that place as a whole; otherwise it is for what the edit did where it is.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    change::{Action, Kind},
    compare::Comparison,
    document::Document,
    list::List,
    patch::Patch,
    path::{Hop, Path},
    slot::Slot,
    value::{Scalar, Value},
};

/// Patches that wait to be taken. More become one, for the whole document.
pub const MAX_PATCHES: usize = 4096;

/// Patches not yet taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) patches: VecDeque<Patch>,
    /// Too many: the whole is shown instead.
    is_behind: bool,
}

impl Watch {
    fn extend(&mut self, patches: Vec<Patch>) {
        self.patches.extend(patches);
        if self.patches.len() > MAX_PATCHES {
            self.fall_behind();
        }
    }

    pub(crate) fn fall_behind(&mut self) {
        self.patches.clear();
        self.is_behind = true;
    }

    /// How much there is, to come back to.
    pub(crate) fn mark(&self) -> usize {
        self.patches.len()
    }

    pub(crate) fn cut(&mut self, mark: usize) {
        self.patches.truncate(mark);
    }
}

impl Document {
    /// From now on notes what changes in what is shown, for [`poll_patch`](Self::poll_patch). Costs time with each
    /// edit, which for text, lists and maps is about that of the edit, and for trees and clears the size of what they are in.
    pub fn observe(&mut self) {
        self.watch.get_or_insert_default();
    }

    /// Stops noting and forgets what was not taken.
    pub fn stop_observing(&mut self) {
        self.watch = None;
    }

    /// The next change of what is shown, oldest first; `None` means wait. An observer that takes none for
    /// [`MAX_PATCHES`] gets one of the whole document.
    #[must_use]
    pub fn poll_patch(&mut self) -> Option<Patch> {
        let watch = self.watch.as_mut()?;
        if core::mem::take(&mut watch.is_behind) {
            watch.patches.clear();
            return Some(Patch::Put { path: Path::root(), value: self.root.to_json(&self.actors) });
        }
        watch.patches.pop_front()
    }

    pub(crate) fn note_patches(&mut self, patches: Vec<Patch>) {
        if let Some(watch) = &mut self.watch {
            watch.extend(patches);
        }
    }
}

/// What was shown before an edit.
pub(crate) struct Before {
    levels: Vec<Option<Kind>>,
    steps: Path,
    detail: Detail,
}

enum Detail {
    Nothing,
    /// Shown stretches of the text that go, first to last.
    Ranges(Vec<(usize, usize)>),
    /// Elements, where each is shown and what it shows.
    Elements(Vec<(Dot, usize, Value)>),
    /// Where the element is.
    Index(usize),
    Outline(Vec<(Dot, Option<Dot>)>),
    HasMember(bool),
    Place(Box<Slot>),
}

/// Looks at what an edit is about to change.
pub(crate) fn before(root: &Slot, hops: &[&Hop], action: &Action, actors: &Actors) -> Before {
    let (levels, steps) = shown(root, hops, actors);
    let owned: Vec<Hop> = hops.iter().map(|hop| (*hop).clone()).collect();
    let slot = root.at(&owned).filter(|_| levels.len() > hops.len());
    let detail = slot.map_or(Detail::Nothing, |slot| detail(slot, action, actors));
    Before { levels, steps, detail }
}

fn detail(slot: &Slot, action: &Action, actors: &Actors) -> Detail {
    match (action, slot.kind()) {
        (Action::Insert { .. }, _) | (Action::Splice { .. }, _) | (Action::Mark { .. }, _) => Detail::Nothing,
        (Action::Remove { first, count }, Some(Kind::Text)) => {
            let slices = slot.text().map(|text| (text, text.slices(*first, *count)));
            let (text, slices) = match slices {
                Some((text, slices)) => (Some(text), slices),
                None => (None, Vec::new()),
            };
            let range = |(dot, slice): (Dot, alloc::string::String)| {
                Some((text?.runs.index_of(dot)?, slice.chars().count()))
            };
            let mut ranges: Vec<(usize, usize)> = slices.into_iter().filter_map(range).collect();
            ranges.sort_unstable();
            Detail::Ranges(ranges)
        }
        (Action::Remove { first, count }, Some(Kind::List)) => {
            let shown = |dot: Dot| {
                let element = slot.list()?.element(dot)?;
                Some((dot, index_of(slot, dot)?, element.to_json(actors)))
            };
            Detail::Elements((0..*count).filter_map(|at| shown(first.plus(at))).collect())
        }
        (Action::Move { element, .. }, Some(Kind::List)) => {
            index_of(slot, *element).map_or(Detail::Nothing, Detail::Index)
        }
        (Action::Add(member) | Action::Discard(member), _) => {
            Detail::HasMember(slot.parts().is_some_and(|parts| parts.set.contains(member)))
        }
        (Action::Touch(node), Some(Kind::Tree)) if slot.tree().is_some_and(|tree| tree.is_shown(*node)) => {
            Detail::Nothing
        }
        (Action::Plant(_) | Action::Graft { .. } | Action::Prune(_) | Action::Touch(_), Some(Kind::Tree)) => {
            Detail::Outline(slot.tree().map(|tree| tree.outline(actors)).unwrap_or_default())
        }
        (Action::Plant(_) | Action::Graft { .. } | Action::Prune(_) | Action::Touch(_), _) => Detail::Nothing,
        _ => Detail::Place(Box::new(slot.clone())),
    }
}

/// Where a list's element is shown, if it is.
pub(crate) fn index_of(slot: &Slot, element: Dot) -> Option<usize> {
    let list = slot.list()?;
    if !list.is_alive(element) {
        return None;
    }
    let item = slot.extra().map_or(element, |extra| extra.moves.item_of(element));
    list.runs.index_of(item)
}

/// The kinds shown at the root and each step down, as far as the steps lead through what is shown, and those steps in JSON's
/// terms.
fn shown(root: &Slot, hops: &[&Hop], actors: &Actors) -> (Vec<Option<Kind>>, Path) {
    let mut levels = Vec::from([root.kind()]);
    let mut path = Path::root();
    let mut slot = root;
    for hop in hops {
        let next = match (hop, slot.kind()) {
            (Hop::Key(key), Some(Kind::Map)) => {
                let child = slot.map().and_then(|map| map.child(key)).filter(|child| child.is_live());
                child.map(|child| (child, core::mem::take(&mut path).key(key)))
            }
            (Hop::Element(dot), Some(Kind::List)) => {
                let index = index_of(slot, *dot);
                let element = slot.list().and_then(|list| list.element(*dot));
                element.zip(index).map(|(child, index)| (child, core::mem::take(&mut path).index(index)))
            }
            (Hop::Element(dot), Some(Kind::Tree)) => slot.tree().and_then(|tree| {
                let index = tree.outline(actors).iter().position(|(node, _)| node == dot)?;
                Some((tree.content(*dot)?, core::mem::take(&mut path).index(index).key("value")))
            }),
            _ => None,
        };
        let Some((child, longer)) = next else { break };
        (slot, path) = (child, longer);
        levels.push(slot.kind());
    }
    (levels, path)
}

impl Before {
    /// What the edit, applied now, changed.
    pub(crate) fn patches(
        self,
        root: &Slot,
        hops: &[&Hop],
        action: &Action,
        dot: Dot,
        actors: &Actors,
    ) -> Vec<Patch> {
        let (levels, steps) = shown(root, hops, actors);
        let common = self.levels.iter().zip(&levels).take_while(|(a, b)| a == b).count();
        if common < self.levels.len().max(levels.len()) {
            return self.replaced(common, &levels, &steps, root, hops, actors);
        }
        let owned: Vec<Hop> = hops.iter().map(|hop| (*hop).clone()).collect();
        let Some(slot) = root.at(&owned).filter(|_| levels.len() > hops.len()) else { return Vec::new() };
        self.within(slot, steps, action, dot, actors)
    }

    /// The shallowest place whose kind changed, as a whole.
    fn replaced(
        self,
        level: usize,
        levels: &[Option<Kind>],
        steps: &Path,
        root: &Slot,
        hops: &[&Hop],
        actors: &Actors,
    ) -> Vec<Patch> {
        let place: Vec<Hop> =
            hops.get(..level).unwrap_or_default().iter().map(|hop| (*hop).clone()).collect();
        let (was, is) = (level < self.levels.len(), level < levels.len());
        let path_of = |steps: &Path| {
            // A node of a tree takes two of JSON's steps.
            let mut taken = 0;
            for kind in levels.get(..level).unwrap_or_default() {
                taken += if *kind == Some(Kind::Tree) { 2 } else { 1 };
            }
            Path(steps.0.get(..taken).unwrap_or_default().to_vec())
        };
        let value = root.at(&place).map_or(Value::NULL, |slot| slot.to_json(actors));
        let parent = level.checked_sub(1).and_then(|above| levels.get(above)).copied().flatten();
        let path = path_of(if is { steps } else { &self.steps });
        match (parent, was, is) {
            (_, true, true) | (Some(Kind::Map), false, true) => Vec::from([Patch::Put { path, value }]),
            (Some(Kind::Map), true, false) => Vec::from([Patch::Remove { path }]),
            (Some(Kind::List), was, _) => {
                let mut list = path;
                let Some(crate::path::Step::Index(index)) = list.0.pop() else { return Vec::new() };
                Vec::from([match was {
                    true => Patch::Delete { path: list, range: index..index + 1 },
                    false => Patch::Insert { path: list, index, values: Vec::from([value]) },
                }])
            }
            _ => Vec::new(),
        }
    }

    fn within(self, slot: &Slot, path: Path, action: &Action, dot: Dot, actors: &Actors) -> Vec<Patch> {
        let mut patches = Vec::new();
        match (action, slot.kind(), self.detail) {
            (Action::Splice { text, .. }, Some(Kind::Text), _) => {
                let index = slot.text().and_then(|text| text.runs.index_of(dot));
                let text = alloc::string::String::from(&**text);
                patches.extend(index.map(|at| Patch::Splice { path, range: at..at, text }));
            }
            (Action::Insert { items, .. }, Some(Kind::List), _) => {
                let list = slot.list().into_iter();
                let index = list.clone().find_map(|list| list.runs.index_of(dot));
                let elements = (0..items.len() as u64).map(|at| dot.plus(at));
                let values = elements.filter_map(|dot| list.clone().find_map(|list| list.element(dot)));
                let values = values.map(|slot| slot.to_json(actors)).collect();
                patches.extend(index.map(|index| Patch::Insert { path, index, values }));
            }
            (Action::Remove { .. }, _, Detail::Ranges(ranges)) => {
                let gone = ranges.into_iter().rev().map(|(at, count)| at..at + count);
                patches.extend(gone.map(|range| Patch::Splice {
                    path: path.clone(),
                    range,
                    text: Default::default(),
                }));
            }
            (Action::Remove { .. }, _, Detail::Elements(mut elements)) => {
                elements.sort_by_key(|(_, index, _)| core::cmp::Reverse(*index));
                for (element, index, before) in elements {
                    if !slot.list().is_some_and(|list| List::is_alive(list, element)) {
                        patches.push(Patch::Delete { path: path.clone(), range: index..index + 1 });
                        continue;
                    }
                    let value = slot.list().and_then(|list| list.element(element));
                    let value = value.map_or(Value::NULL, |slot| slot.to_json(actors));
                    if value != before {
                        patches.push(Patch::Put { path: path.clone().index(index), value });
                    }
                }
            }
            (Action::Move { element, .. }, _, Detail::Index(from)) => {
                let to = index_of(slot, *element).filter(|to| *to != from);
                patches.extend(to.map(|to| Patch::Move { path, from, to }));
            }
            (Action::Mark { .. }, Some(Kind::Text), _) => {
                let found = slot.text().zip(slot.extra());
                let marks = found.map(|(text, extra)| extra.marks.resolve(text, actors)).unwrap_or_default();
                patches.push(Patch::Marks { path, marks });
            }
            (Action::Add(member) | Action::Discard(member), Some(Kind::Set), Detail::HasMember(had)) => {
                patches.extend(member_patch(slot, path, member, had));
            }
            (_, _, Detail::Outline(before)) => {
                let after = slot.tree().map(|tree| tree.outline(actors)).unwrap_or_default();
                let mut comparison = Comparison { actors, path, patches };
                comparison.outlines(&before, &after, slot);
                return comparison.patches;
            }
            (_, _, Detail::Place(old)) => {
                let mut comparison = Comparison { actors, path, patches };
                comparison.places(&old, slot);
                return comparison.patches;
            }
            _ => {}
        }
        patches
    }
}

fn member_patch(slot: &Slot, path: Path, member: &Scalar, had: bool) -> Option<Patch> {
    let set = &slot.parts()?.set;
    let has = set.contains(member);
    let index = set.members().take_while(|(other, _)| *other < member).count();
    match (had, has) {
        (false, true) => {
            Some(Patch::Insert { path, index, values: Vec::from([Value::Scalar(member.clone())]) })
        }
        (true, false) => Some(Patch::Delete { path, range: index..index + 1 }),
        _ => None,
    }
}
