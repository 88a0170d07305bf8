//! Formatting of text: marks on ranges, as in Peritext (CRDT-13,
//! [Litt, Lim, Kleppmann, van Hardenberg 2022](https://doi.org/10.1145/3555644)).
//!
//! A mark is anchored to the gaps before and after characters, so that text typed at its ends is inside or outside as the mark's
//! rule says, and typed in it is inside. Marks are never changed: a later one wins where both are, one of no value takes off.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::ops::Range;

use crate::{
    actor::{Actors, Dot},
    context::{Context, Seen},
    entries::Entries,
    sequence::Items as _,
    text::Text,
    value::Scalar,
};

/// Which text typed at a mark's ends takes the mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expand {
    /// What is typed at the end, as for bold.
    #[default]
    After,
    /// What is typed at the start.
    Before,
    /// Both.
    Both,
    /// Neither, as for links and comments.
    None,
}

impl Expand {
    pub(crate) fn before(self) -> bool {
        matches!(self, Self::Before | Self::Both)
    }

    pub(crate) fn after(self) -> bool {
        matches!(self, Self::After | Self::Both)
    }
}

/// A stretch of text that one mark covers: characters `range` have `key` at `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkSpan {
    /// In Unicode scalar values.
    pub range: Range<usize>,
    /// What kind of mark, such as `bold`.
    pub key: String,
    /// Its value, such as `true` or a link's address.
    pub value: Scalar,
}

/// A stretch of text whose characters have the same marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RichRun {
    /// The characters.
    pub text: String,
    /// Their marks.
    pub marks: BTreeMap<String, Scalar>,
}

/// Where a mark begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The text's own start, or its end.
    Edge,
    Before(Dot),
    After(Dot),
}

impl Anchor {
    pub(crate) fn dot(self) -> Option<Dot> {
        match self {
            Self::Edge => None,
            Self::Before(dot) | Self::After(dot) => Some(dot),
        }
    }

    pub(crate) fn dot_mut(&mut self) -> Option<&mut Dot> {
        match self {
            Self::Edge => None,
            Self::Before(dot) | Self::After(dot) => Some(dot),
        }
    }
}

/// One mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Above that of every mark of this text that its author had seen: the later of two wins.
    pub(crate) rank: u64,
    pub(crate) from: Anchor,
    pub(crate) to: Anchor,
    pub(crate) key: Box<str>,
    /// `null` takes the key off.
    pub(crate) value: Scalar,
}

/// The marks of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Marks(Entries<Box<Mark>>);

impl Marks {
    pub(crate) fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &Mark)> {
        self.0.iter().map(|(dot, mark)| (dot, &**mark))
    }

    /// Adds a mark and drops those it replaces; whether it took effect: its ends must be in the text.
    pub(crate) fn add(&mut self, text: &Text, dot: Dot, mark: &Mark, replaced: &[Dot]) -> bool {
        let ends = [mark.from.dot(), mark.to.dot()];
        if !ends.into_iter().flatten().all(|end| text.runs.contains(end)) {
            return false;
        }
        self.remove(replaced);
        self.0.insert(dot, Box::new(mark.clone()));
        true
    }

    pub(crate) fn remove(&mut self, replaced: &[Dot]) {
        if !replaced.is_empty() {
            self.0.retain(|dot| replaced.binary_search(&dot).is_err());
        }
    }

    pub(crate) fn restore(&mut self, dot: Dot, mark: Mark) {
        self.0.insert(dot, Box::new(mark));
    }

    pub(crate) fn next_rank(&self) -> u64 {
        self.iter().map(|(_, mark)| mark.rank).max().map_or(1, |rank| rank.saturating_add(1))
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.0.clear(seen);
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.0.note(seen);
    }

    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context) {
        self.0.join(other.0, ours, theirs);
    }

    /// The visible offsets that each mark covers, as far as any. One walk through the text's runs.
    pub(crate) fn ranges(&self, text: &Text) -> Vec<(Dot, Range<usize>)> {
        let mut wanted: BTreeMap<(Dot, bool), usize> = BTreeMap::new();
        for anchor in self.iter().flat_map(|(_, mark)| [mark.from, mark.to]) {
            match anchor {
                Anchor::Edge => {}
                Anchor::Before(dot) => drop(wanted.insert((dot, false), 0)),
                Anchor::After(dot) => drop(wanted.insert((dot, true), 0)),
            }
        }
        let mut before = 0;
        for span in text.runs.spans() {
            let last = span.id.plus(u64::from(span.items.len()).saturating_sub(1));
            let visible = span.items.visible() as usize;
            for ((dot, after), offset) in wanted.range_mut((span.id, false)..=(last, true)) {
                let within = (dot.counter - span.id.counter) as usize + usize::from(*after);
                *offset = before + within.min(visible);
            }
            before += visible;
        }
        let offset = |anchor: Anchor, edge: usize| match anchor {
            Anchor::Edge => edge,
            Anchor::Before(dot) => wanted.get(&(dot, false)).copied().unwrap_or(edge),
            Anchor::After(dot) => wanted.get(&(dot, true)).copied().unwrap_or(edge),
        };
        let ranges = self.iter().map(|(dot, mark)| (dot, offset(mark.from, 0)..offset(mark.to, text.len())));
        ranges.filter(|(_, range)| range.start < range.end).collect()
    }

    /// What the marks come to: for each key, stretches that do not overlap, by key and place. n log n in the marks.
    pub(crate) fn resolve(&self, text: &Text, actors: &Actors) -> Vec<MarkSpan> {
        let mut ends: BTreeMap<&str, Ends> = BTreeMap::new();
        let marks: BTreeMap<Dot, &Mark> = self.iter().collect();
        for (dot, range) in self.ranges(text) {
            let Some(mark) = marks.get(&dot) else { continue };
            let of_key = ends.entry(&mark.key).or_default();
            of_key.entry(range.start).or_default().push((true, dot));
            of_key.entry(range.end).or_default().push((false, dot));
        }
        let mut spans: Vec<MarkSpan> = Vec::new();
        for (key, ends) in ends {
            let mut active: BTreeMap<(u64, crate::actor::Actor, u64), Dot> = BTreeMap::new();
            let mut from = 0;
            for (at, changes) in ends {
                let value =
                    active.last_key_value().and_then(|(_, dot)| marks.get(dot)).map(|mark| &mark.value);
                if let Some(value) = value.filter(|value| **value != Scalar::Null && from < at) {
                    match spans.last_mut() {
                        Some(last) if last.key == key && last.range.end == from && last.value == *value => {
                            last.range.end = at;
                        }
                        _ => spans.push(MarkSpan { range: from..at, key: key.into(), value: value.clone() }),
                    }
                }
                for (starts, dot) in changes {
                    let rank = marks.get(&dot).map_or(0, |mark| mark.rank);
                    let order = (rank, actors.id(dot.actor), dot.counter);
                    if starts {
                        active.insert(order, dot)
                    } else {
                        active.remove(&order)
                    };
                }
                from = at;
            }
        }
        spans
    }
}

/// Where marks start (`true`) and end, by offset.
type Ends = BTreeMap<usize, Vec<(bool, Dot)>>;

/// Cuts text where its marks change.
pub(crate) fn rich_runs(text: &str, spans: &[MarkSpan]) -> Vec<RichRun> {
    let mut cuts: BTreeMap<usize, Vec<(bool, &MarkSpan)>> = BTreeMap::new();
    for span in spans {
        cuts.entry(span.range.end).or_default().insert(0, (false, span));
        cuts.entry(span.range.start).or_default().push((true, span));
    }
    let mut runs = Vec::new();
    let mut marks: BTreeMap<String, Scalar> = BTreeMap::new();
    let mut rest = text.chars();
    let mut at = 0;
    for (cut, changes) in cuts {
        let part: String = rest.by_ref().take(cut - at).collect();
        if !part.is_empty() {
            runs.push(RichRun { text: part, marks: marks.clone() });
        }
        for (starts, span) in changes {
            match starts {
                true => marks.insert(span.key.clone(), span.value.clone()),
                false => marks.remove(&span.key),
            };
        }
        at = cut;
    }
    let part: String = rest.collect();
    if !part.is_empty() {
        runs.push(RichRun { text: part, marks });
    }
    runs
}
