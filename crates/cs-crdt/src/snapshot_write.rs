//! Writing a document's columns.

use alloc::{vec, vec::Vec};

use crate::{
    actor::Dot,
    counter::Counter,
    entries::Entries,
    list::{self, List},
    map::Map,
    sequence::{Items, Sequence, Span},
    set::Set,
    slot::{Slot, Written},
    snapshot::{COLUMNS, origin, part},
    text::{self, Text},
    value::Scalar,
    wire::{put_i64, put_u64, write_scalar},
};

/// Columns being written.
pub(crate) struct Sink {
    /// Local number of an author -> its number in the snapshot.
    numbers: Vec<u32>,
    /// Whether anything of format 2 was written.
    pub(crate) is_later: bool,
    /// Highest counter written of each author: dots are written as steps from it.
    last: Vec<u64>,
    time: u64,
    key: Vec<u8>,
    pub(crate) shape: Vec<u8>,
    text: Vec<u8>,
    actors: Vec<i64>,
    counters: Vec<i64>,
    times: Vec<i64>,
    lengths: Vec<i64>,
    origin_authors: Vec<i64>,
    origin_steps: Vec<i64>,
}

impl Sink {
    pub(crate) fn new(numbers: Vec<u32>) -> Self {
        Self {
            last: vec![0; numbers.len()],
            numbers,
            is_later: false,
            time: 0,
            key: Vec::new(),
            shape: Vec::new(),
            text: Vec::new(),
            actors: Vec::new(),
            counters: Vec::new(),
            times: Vec::new(),
            lengths: Vec::new(),
            origin_authors: Vec::new(),
            origin_steps: Vec::new(),
        }
    }

    /// As versions 1 to 3 had them: authors and steps of neighbours in turn.
    pub(crate) fn into_old_columns(self) -> [Vec<u8>; COLUMNS - 1] {
        let pairs = self.origin_authors.iter().zip(&self.origin_steps);
        let in_turn: Vec<i64> = pairs.flat_map(|(author, step)| [*author, *step]).collect();
        let [shape, text, actors, counters, times, lengths, ..] = self.into_columns();
        [shape, text, actors, counters, times, lengths, runs(&in_turn)]
    }

    pub(crate) fn into_columns(self) -> [Vec<u8>; COLUMNS] {
        [
            self.shape,
            self.text,
            runs(&self.actors),
            runs(&self.counters),
            runs(&self.times),
            runs(&self.lengths),
            runs(&self.origin_authors),
            runs(&self.origin_steps),
        ]
    }

    fn number(&self, actor: u32) -> u32 {
        self.numbers.get(actor as usize).copied().unwrap_or(u32::MAX)
    }

    /// Ascending by the snapshot's numbers, since local ones differ between replicas.
    pub(crate) fn canonical<T>(&self, mut items: Vec<T>, dot: impl Fn(&T) -> Dot) -> Vec<T> {
        items.sort_by_key(|item| (self.number(dot(item).actor), dot(item).counter));
        items
    }

    /// A dot, as a step from the one of its author that was written last.
    pub(crate) fn dot(&mut self, dot: Dot) {
        let number = self.number(dot.actor);
        self.actors.push(number.into());
        if let Some(last) = self.last.get_mut(number as usize) {
            self.counters.push(dot.counter as i64 - *last as i64);
            *last = dot.counter;
        }
    }

    fn length(&mut self, length: usize) {
        self.lengths.push(length as i64);
    }

    /// Recursion is bounded by `MAX_DEPTH`, as the document is.
    pub(crate) fn slot(&mut self, slot: &Slot) {
        let mut tag = match slot.register.len() {
            0 => 0,
            1 => part::ONE,
            _ => part::MANY,
        };
        if let Some(parts) = slot.parts() {
            let mut add = |present: bool, bit: u8| tag |= if present { bit } else { 0 };
            add(parts.map.is_some(), part::MAP);
            add(parts.list.is_some(), part::LIST);
            add(parts.text.is_some(), part::TEXT);
            add(!parts.set.is_empty(), part::SET);
            add(!parts.counter.is_empty(), part::COUNTER);
            add(!parts.flag.is_empty(), part::FLAG);
        }
        let extra = slot.extra().filter(|extra| !extra.is_saved_blank());
        if extra.is_some() {
            self.shape.push(part::EXTRA);
        }
        self.shape.push(tag);
        self.register(&slot.register);
        let Some(parts) = slot.parts() else { return };
        parts.map.iter().for_each(|map| self.map(map));
        parts.list.iter().for_each(|list| self.list(list));
        parts.text.iter().for_each(|text| self.body(text));
        if !parts.set.is_empty() {
            self.set(&parts.set);
        }
        if !parts.counter.is_empty() {
            self.counter(&parts.counter);
        }
        if !parts.flag.is_empty() {
            self.marks(&parts.flag);
        }
        extra.iter().for_each(|extra| self.extra(extra));
    }

    fn register(&mut self, register: &Entries<Written>) {
        if register.len() > 1 {
            put_u64(register.len() as u64, &mut self.shape);
        }
        for (dot, written) in self.canonical(register.iter().collect(), |entry| entry.0) {
            self.dot(dot);
            self.clock(written.unix_ms);
            self.scalar(&written.scalar);
        }
    }

    /// A time, as a step from the one before.
    pub(crate) fn clock(&mut self, unix_ms: u64) {
        self.times.push(unix_ms.wrapping_sub(self.time) as i64);
        self.time = unix_ms;
    }

    /// The tag and numbers in the shape, a string's bytes with all text.
    pub(crate) fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::String(text) => {
                self.shape.push(5);
                self.length(text.len());
                self.text.extend_from_slice(text.as_bytes());
            }
            other => write_scalar(other, &mut self.shape),
        }
    }

    /// Marks: the number of them, and one byte each.
    pub(crate) fn marks(&mut self, marks: &Entries<()>) {
        put_u64(marks.len() as u64, &mut self.shape);
        for (dot, ()) in self.canonical(marks.iter().collect(), |entry| entry.0) {
            self.shape.push(0);
            self.dot(dot);
        }
    }

    fn map(&mut self, map: &Map) {
        self.marks(&map.presence);
        put_u64(map.child_count() as u64, &mut self.shape);
        self.key.clear();
        for (key, child) in map.children() {
            self.front_coded(key.as_bytes());
            self.slot(child);
            self.key.clear();
            self.key.extend_from_slice(key.as_bytes());
        }
    }

    /// A key without the bytes that it shares with the one before.
    fn front_coded(&mut self, key: &[u8]) {
        let shared = self.key.iter().zip(key).take_while(|(a, b)| a == b).count();
        self.length(shared);
        self.length(key.len() - shared);
        self.text.extend_from_slice(key.get(shared..).unwrap_or_default());
    }

    fn set(&mut self, set: &Set) {
        put_u64(set.len() as u64, &mut self.shape);
        for (member, adds) in set.members() {
            self.scalar(member);
            self.marks(adds);
        }
    }

    fn counter(&mut self, counter: &Counter) {
        let runs = self.canonical(counter.runs().collect(), |run| run.0);
        put_u64(runs.len() as u64, &mut self.shape);
        for (first, count, each) in runs {
            self.dot(first);
            put_u64(count, &mut self.shape);
            put_i64(each, &mut self.shape);
        }
    }

    fn list(&mut self, list: &List) {
        self.marks(&list.presence);
        for span in self.runs(&list.runs) {
            for slot in span.iter().flat_map(|part| list::Run::slots(&part.items)) {
                self.slot(slot);
            }
        }
    }

    /// The runs, then how many characters are alive, dead, alive and so on over all of them, then the live ones.
    fn body(&mut self, text: &Text) {
        self.marks(&text.presence);
        let mut alive = true;
        let mut count = 0;
        for part in self.runs(&text.runs).into_iter().flatten() {
            if matches!(part.items, text::Run::Live { .. }) != alive {
                self.length(count);
                count = 0;
                alive = !alive;
            }
            count += part.items.len() as usize;
            self.text.extend_from_slice(part.items.text().as_bytes());
        }
        self.length(count);
    }

    /// Writes the longest runs of items, by dot, and returns them with the parts each is kept in.
    pub(crate) fn runs<'a, C: Items>(&mut self, sequence: &'a Sequence<C>) -> Vec<Vec<&'a Span<C>>> {
        let spans = self.canonical(sequence.spans_by_dot().collect(), |span| span.id);
        let mut runs: Vec<Vec<&Span<C>>> = Vec::new();
        for span in spans {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| last.continues(span)) => run.push(span),
                _ => runs.push(vec![span]),
            }
        }
        put_u64(runs.len() as u64, &mut self.shape);
        for run in &runs {
            let Some(first) = run.first() else { continue };
            let count: usize = run.iter().map(|part| part.items.len() as usize).sum();
            self.origins(first);
            self.dot(first.id);
            self.length(count);
            if let Some(last) =
                self.last.get_mut(self.numbers.get(first.id.actor as usize).map_or(0, |n| *n as usize))
            {
                *last = first.id.counter + count as u64;
            }
        }
        runs
    }

    /// Neighbours: the left as a step back from the run, the right from the left.
    fn origins<C>(&mut self, span: &Span<C>) {
        let next = span.left.is_some() && span.right == span.left.map(|left| left.plus(1));
        let mut tag = if span.left.is_some() { origin::LEFT } else { 0 };
        tag |= if next { origin::NEXT } else { 0 };
        tag |= if span.right.is_some() && !next { origin::RIGHT } else { 0 };
        self.shape.push(tag);
        let mut from = span.id;
        for dot in [span.left, span.right.filter(|_| !next)].into_iter().flatten() {
            self.origin_authors.push(i64::from(self.number(dot.actor)));
            self.origin_steps.push(dot.counter as i64 - from.counter as i64);
            from = dot;
        }
    }
}

/// A column: `2n` and a value is that value n times, `2n + 1` and n values are those; every stretch of three or more
/// equal values is of the first kind.
fn runs(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut literal: Vec<i64> = Vec::new();
    let flush = |literal: &mut Vec<i64>, out: &mut Vec<u8>| {
        if !literal.is_empty() {
            put_u64(literal.len() as u64 * 2 + 1, out);
            literal.drain(..).for_each(|value| put_i64(value, out));
        }
    };
    for group in values.chunk_by(|a, b| a == b) {
        match group {
            [value, _, _, ..] => {
                flush(&mut literal, &mut out);
                put_u64(group.len() as u64 * 2, &mut out);
                put_i64(*value, &mut out);
            }
            _ => literal.extend_from_slice(group),
        }
    }
    flush(&mut literal, &mut out);
    out
}
