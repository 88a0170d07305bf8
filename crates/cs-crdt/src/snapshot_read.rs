//! Reading a document's columns, which anybody may have written.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    context::Context,
    counter::Counter,
    entries::Entries,
    fault::{DecodeError, LoadError},
    join::place_all,
    list::{self, List},
    map::Map,
    sequence::{Items, Sequence, Span},
    set::Set,
    slot::{Slot, Written},
    snapshot::{origin, part},
    text::{self, Text},
    value::Scalar,
    wire::{MAX_COUNTER, MAX_DEPTH, MAX_KEY_BYTES, Reader, read_scalar},
};

/// A column of runs, expanded as it is read.
struct Column<'a> {
    from: Reader<'a>,
    left: u64,
    /// The repeated value, or `None` while values are written out.
    repeated: Option<i64>,
}

impl<'a> Column<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { from: Reader::new(bytes), left: 0, repeated: None }
    }

    fn next(&mut self) -> Result<i64, DecodeError> {
        if self.left == 0 {
            let header = self.from.u64()?;
            self.left = header >> 1;
            if self.left == 0 {
                return Err(DecodeError::NotCanonical);
            }
            self.repeated = if header & 1 == 0 { Some(self.from.i64()?) } else { None };
        }
        self.left -= 1;
        match self.repeated {
            Some(value) => Ok(value),
            None => self.from.i64(),
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.from.is_empty()
    }
}

/// Columns being read.
pub(crate) struct Source<'a> {
    table: &'a [u32],
    context: &'a Context,
    pub(crate) known: &'a Actors,
    last: Vec<u64>,
    time: u64,
    pub(crate) shape: Reader<'a>,
    text: Reader<'a>,
    actors: Column<'a>,
    counters: Column<'a>,
    times: Column<'a>,
    lengths: Column<'a>,
    /// `None` where authors and steps come in turn.
    origin_authors: Option<Column<'a>>,
    origins: Column<'a>,
    /// Dots of writes and marks, and items of sequences: each may be there once.
    used: Vec<(Dot, u64)>,
    items: Vec<(Dot, u64)>,
}

impl<'a> Source<'a> {
    /// `table`: the snapshot's numbers of authors -> local ones. `None` if columns are missing.
    pub(crate) fn new(
        columns: &[&'a [u8]],
        table: &'a [u32],
        context: &'a Context,
        known: &'a Actors,
    ) -> Option<Self> {
        let (head, tail) = columns.split_at_checked(6)?;
        let [shape, text, actors, counters, times, lengths]: [&[u8]; 6] = head.try_into().ok()?;
        let (origin_authors, origins) = match *tail {
            [origins] => (None, origins),
            [authors, steps] => (Some(Column::new(authors)), steps),
            _ => return None,
        };
        Some(Self {
            table,
            context,
            known,
            last: alloc::vec![0; table.len()],
            time: 0,
            shape: Reader::new(shape),
            text: Reader::new(text),
            actors: Column::new(actors),
            counters: Column::new(counters),
            times: Column::new(times),
            lengths: Column::new(lengths),
            origin_authors,
            origins: Column::new(origins),
            used: Vec::new(),
            items: Vec::new(),
        })
    }

    /// Every column must be used up, and every dot used once.
    pub(crate) fn finish(mut self) -> Result<(), LoadError> {
        let columns = [&self.actors, &self.counters, &self.times, &self.lengths, &self.origins];
        let authors_done = self.origin_authors.as_ref().is_none_or(Column::is_done);
        if !authors_done
            || !self.shape.is_empty()
            || !self.text.is_empty()
            || !columns.iter().all(|column| column.is_done())
        {
            return Err(DecodeError::Leftover.into());
        }
        for dots in [&mut self.used, &mut self.items] {
            dots.sort_unstable();
            let overlap = |pair: &[(Dot, u64)]| match pair {
                [a, b] => a.0.actor == b.0.actor && a.0.plus(a.1) > b.0,
                _ => false,
            };
            if dots.windows(2).any(overlap) {
                return Err(LoadError::Inconsistent);
            }
        }
        Ok(())
    }

    /// `count` consecutive dots, within the context. Their author's next step is from `past` after the first.
    pub(crate) fn dots(&mut self, count: u64, past: u64) -> Result<Dot, LoadError> {
        let number = usize::try_from(self.actors.next()?).map_err(|_| DecodeError::Invalid)?;
        let step = self.counters.next()?;
        let (local, last) =
            self.table.get(number).zip(self.last.get_mut(number)).ok_or(DecodeError::Invalid)?;
        let counter = last.checked_add_signed(step).filter(|c| (1..=MAX_COUNTER).contains(c));
        let dot = Dot::new(*local, counter.ok_or(DecodeError::Invalid)?);
        *last = dot.counter + past;
        if count == 0 || count > MAX_COUNTER || !self.context.contains(dot.plus(count - 1)) {
            return Err(LoadError::Inconsistent);
        }
        Ok(dot)
    }

    pub(crate) fn used_dots(&mut self, count: u64) -> Result<Dot, LoadError> {
        let dot = self.dots(count, 0)?;
        self.used.push((dot, count));
        Ok(dot)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.lengths.next()?).map_err(|_| DecodeError::Invalid)
    }

    /// Recursion is bounded by `MAX_DEPTH`.
    pub(crate) fn slot(&mut self, depth: usize) -> Result<Slot, LoadError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep.into());
        }
        let mut tag = self.shape.u8()?;
        let has_extra = tag == part::EXTRA;
        if has_extra {
            tag = self.shape.u8()?;
        }
        let mut slot = Slot::default();
        slot.register = self.register(tag)?;
        if tag & !(part::ONE | part::MANY) == 0 && !has_extra {
            return Ok(slot);
        }
        let map = if tag & part::MAP > 0 { Some(self.map(depth)?) } else { None };
        let list = if tag & part::LIST > 0 { Some(self.list(depth)?) } else { None };
        let text = if tag & part::TEXT > 0 { Some(self.body()?) } else { None };
        let set = if tag & part::SET > 0 { self.set()? } else { Set::default() };
        let counter = if tag & part::COUNTER > 0 { self.counter()? } else { Counter::default() };
        let flag = if tag & part::FLAG > 0 { self.marks()? } else { Entries::Empty };
        slot.edit_parts(|parts| {
            parts.map = map;
            parts.list = list;
            parts.text = text;
            parts.set = set;
            parts.counter = counter;
            parts.flag = flag;
        });
        if has_extra {
            self.extra(&mut slot, depth)?;
        }
        Ok(slot)
    }

    fn register(&mut self, tag: u8) -> Result<Entries<Written>, LoadError> {
        let count = match tag & (part::ONE | part::MANY) {
            0 => 0,
            part::ONE => 1,
            part::MANY => self.shape.count(1)?,
            _ => return Err(DecodeError::NotCanonical.into()),
        };
        let mut register = Entries::Empty;
        for _ in 0..count {
            let dot = self.used_dots(1)?;
            let unix_ms = self.clock()?;
            let scalar = self.scalar()?;
            register.insert(dot, Written { unix_ms, scalar });
        }
        Ok(register)
    }

    pub(crate) fn clock(&mut self) -> Result<u64, LoadError> {
        self.time = self.time.wrapping_add(self.times.next()? as u64);
        Ok(self.time)
    }

    pub(crate) fn scalar(&mut self) -> Result<Scalar, LoadError> {
        if self.shape.rest().first() != Some(&5) {
            return Ok(read_scalar(&mut self.shape)?);
        }
        self.shape.u8()?;
        let count = self.length()?;
        let bytes = self.text.take(count)?;
        Ok(core::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid)?.into())
    }

    pub(crate) fn marks(&mut self) -> Result<Entries<()>, LoadError> {
        let mut marks = Entries::Empty;
        for _ in 0..self.shape.count(1)? {
            if self.shape.u8()? != 0 {
                return Err(DecodeError::Invalid.into());
            }
            marks.insert(self.used_dots(1)?, ());
        }
        Ok(marks)
    }

    fn map(&mut self, depth: usize) -> Result<Map, LoadError> {
        let mut map = Map::default();
        map.presence = self.marks()?;
        let mut last: Vec<u8> = Vec::new();
        for at in 0..self.shape.count(1)? {
            let (shared, rest) = (self.length()?, self.length()?);
            let mut key = last.get(..shared).ok_or(DecodeError::Invalid)?.to_vec();
            if rest > MAX_KEY_BYTES || shared + rest > MAX_KEY_BYTES {
                return Err(DecodeError::TooLarge.into());
            }
            key.extend_from_slice(self.text.take(rest)?);
            if at > 0 && key <= last {
                return Err(DecodeError::NotCanonical.into());
            }
            last.clone_from(&key);
            let key = String::from_utf8(key).map_err(|_| DecodeError::Invalid)?;
            let child = self.slot(depth + 1)?;
            if child.is_blank() {
                return Err(DecodeError::NotCanonical.into());
            }
            map.restore(Box::from(key), child);
        }
        Ok(map)
    }

    fn set(&mut self) -> Result<Set, LoadError> {
        let mut set = Set::default();
        for _ in 0..self.shape.count(2)? {
            let member = self.scalar()?;
            let adds = self.marks()?;
            if adds.is_empty() || set.contains(&member) {
                return Err(DecodeError::NotCanonical.into());
            }
            set.restore(member, Some(adds));
        }
        Ok(set)
    }

    fn counter(&mut self) -> Result<Counter, LoadError> {
        let mut counter = Counter::default();
        for _ in 0..self.shape.count(2)? {
            let (count, each) = (self.shape.u64()?, self.shape.i64()?);
            counter.add(self.used_dots(count)?, count, each);
        }
        Ok(counter)
    }

    fn list(&mut self, depth: usize) -> Result<List, LoadError> {
        let presence = self.marks()?;
        let mut missing = BTreeMap::new();
        for Claim { id, count, mut left, right } in self.claims()? {
            for at in 0..count {
                let (dot, slot) = (id.plus(at), self.slot(depth + 1)?);
                missing.insert(dot, Span { id: dot, left, right, items: list::List::single(slot) });
                left = Some(dot);
            }
        }
        Ok(List { presence, runs: self.placed(missing)? })
    }

    fn body(&mut self) -> Result<Text, LoadError> {
        let presence = self.marks()?;
        let claims = self.claims()?;
        let mut missing = BTreeMap::new();
        let (mut alive, mut left_alike) = (true, self.length()? as u64);
        for Claim { id, count, mut left, right } in claims {
            let mut at = 0;
            while at < count {
                if left_alike == 0 {
                    alive = !alive;
                    left_alike = self.length()? as u64;
                    if left_alike == 0 {
                        return Err(DecodeError::NotCanonical.into());
                    }
                }
                let dot = id.plus(at);
                let items = self.characters(alive, left_alike.min(count - at))?;
                let taken = u64::from(items.len());
                left_alike -= taken;
                at += taken;
                missing.insert(dot, Span { id: dot, left, right, items });
                left = Some(dot.plus(taken - 1));
            }
        }
        if left_alike > 0 {
            return Err(DecodeError::NotCanonical.into());
        }
        Ok(Text { presence, runs: self.placed(missing)? })
    }

    /// At most `wanted` characters, at least one.
    fn characters(&mut self, alive: bool, wanted: u64) -> Result<text::Run, LoadError> {
        if !alive {
            return Ok(text::Run::Dead(u32::try_from(wanted).unwrap_or(u32::MAX)));
        }
        let mut bytes = 0;
        for _ in 0..wanted.min(text::RUN_CHARS_MAX.into()) {
            let lead = *self.text.rest().get(bytes).ok_or(DecodeError::Truncated)?;
            bytes += match lead {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
        }
        let slice = core::str::from_utf8(self.text.take(bytes)?).map_err(|_| DecodeError::Invalid)?;
        Ok(text::Run::live(slice))
    }

    /// The runs of a sequence, without their items. Each takes bytes of its own.
    pub(crate) fn claims(&mut self) -> Result<Vec<Claim>, LoadError> {
        let count = self.shape.count(1)?;
        let mut claims = Vec::with_capacity(count);
        for _ in 0..count {
            let tag = self.shape.u8()?;
            if tag & !(origin::LEFT | origin::RIGHT | origin::NEXT) != 0 {
                return Err(DecodeError::Invalid.into());
            }
            let raw_left = if tag & origin::LEFT > 0 { Some(self.origin()?) } else { None };
            let raw_right = if tag & origin::RIGHT > 0 { Some(self.origin()?) } else { None };
            let count = u64::from(u32::try_from(self.length()?).map_err(|_| DecodeError::TooLarge)?);
            let id = self.dots(count, count)?;
            self.items.push((id, count));
            let left = raw_left.map(|(actor, step)| step_from(id, actor, step)).transpose()?;
            let base = left.unwrap_or(id);
            let right = match raw_right {
                Some((actor, step)) => Some(step_from(base, actor, step)?),
                None => left.filter(|_| tag & origin::NEXT > 0).map(|left| left.plus(1)),
            };
            claims.push(Claim { id, count, left, right });
        }
        Ok(claims)
    }

    fn origin(&mut self) -> Result<(u32, i64), LoadError> {
        let authors = self.origin_authors.as_mut().unwrap_or(&mut self.origins);
        let number = usize::try_from(authors.next()?).map_err(|_| DecodeError::Invalid)?;
        let actor = *self.table.get(number).ok_or(DecodeError::Invalid)?;
        Ok((actor, self.origins.next()?))
    }

    pub(crate) fn placed<C: Items>(&self, missing: BTreeMap<Dot, Span<C>>) -> Result<Sequence<C>, LoadError> {
        let mut sequence = Sequence::default();
        let failed = place_all(&mut sequence, missing, self.known);
        if failed > 0 { Err(LoadError::Inconsistent) } else { Ok(sequence) }
    }
}

/// A run as it is written: its dots and its neighbours.
pub(crate) struct Claim {
    pub(crate) id: Dot,
    pub(crate) count: u64,
    pub(crate) left: Option<Dot>,
    pub(crate) right: Option<Dot>,
}

fn step_from(base: Dot, actor: u32, step: i64) -> Result<Dot, DecodeError> {
    let counter = base.counter.checked_add_signed(step).filter(|counter| (1..=MAX_COUNTER).contains(counter));
    Ok(Dot::new(actor, counter.ok_or(DecodeError::Invalid)?))
}
