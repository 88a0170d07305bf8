//! History: the changes behind a document, for those who want to look back (time travel, deltas, explanations).

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use crate::{
    actor::{Actor, Dot},
    change::Change,
    document::{Document, Version},
    fault::{DecodeError, HistoryError, LoadError},
    wire::{HISTORY_VERSION, MAX_CHANGE_BYTES, Reader, put_u64},
};

/// One change that a document remembers.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Who made it.
    pub author: Actor,
    /// Its first dot's counter and its last one's.
    pub counters: (u64, u64),
    /// When, by its author's clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// It was applied hidden: nothing of it shows.
    pub is_hidden: bool,
    /// The change itself.
    pub bytes: &'a [u8],
}

#[derive(Clone, Debug)]
struct Kept {
    author: Actor,
    counters: (u64, u64),
    unix_ms: u64,
    is_hidden: bool,
    /// What it names of others: all of that was in its author's view.
    mentions: Box<[(Actor, u64)]>,
    bytes: Box<[u8]>,
}

/// The changes since some state, in an order in which they apply.
#[derive(Clone, Debug)]
pub(crate) struct History {
    base: Vec<u8>,
    base_version: Version,
    changes: Vec<Kept>,
    /// (author, last counter) -> index.
    index: BTreeMap<(Actor, u64), usize>,
}

impl History {
    fn starting_with(document: &Document) -> Self {
        Self {
            base: document.save(),
            base_version: document.version(),
            changes: Vec::new(),
            index: BTreeMap::new(),
        }
    }

    /// Notes a change that was just applied; its dots are in its own numbering.
    pub(crate) fn note(&mut self, change: &Change, is_hidden: bool) {
        let mut mentions: BTreeMap<Actor, u64> = BTreeMap::new();
        for Dot { actor, counter } in change.references().filter(|dot| dot.actor > 0) {
            if let Some(actor) = change.actors.get(actor as usize) {
                let seen = mentions.entry(*actor).or_default();
                *seen = counter.max(*seen);
            }
        }
        let mut bytes = Vec::new();
        change.encode(&mut bytes);
        let (author, counters) = (change.author(), change.counters());
        self.index.insert((author, counters.1), self.changes.len());
        self.changes.push(Kept {
            author,
            counters,
            unix_ms: change.unix_ms,
            is_hidden,
            mentions: mentions.into_iter().collect(),
            bytes: bytes.into(),
        });
    }

    /// The change that a dot is of.
    fn change_of(&self, author: Actor, counter: u64) -> Option<&Kept> {
        let (_, at) = self.index.range((author, counter)..=(author, u64::MAX)).next()?;
        self.changes.get(*at).filter(|kept| kept.counters.0 <= counter)
    }

    /// When a dot was made, by its author's clock.
    pub(crate) fn clock_of(&self, author: Actor, counter: u64) -> Option<u64> {
        self.change_of(author, counter).map(|kept| kept.unix_ms)
    }

    /// What the author of a dot had seen when making its change. Costs that author's changes.
    pub(crate) fn seen_by(&self, author: Actor, counter: u64) -> Option<Version> {
        let last = self.change_of(author, counter)?;
        let mut seen = Version::new();
        for (_, at) in self.index.range((author, 0)..=(author, last.counters.1)) {
            for (actor, counter) in self.changes.get(*at).into_iter().flat_map(|kept| kept.mentions.iter()) {
                let entry = seen.entry(*actor).or_default();
                *entry = (*counter).max(*entry);
            }
        }
        if last.counters.0 > 1 {
            seen.insert(author, last.counters.0 - 1);
        }
        Some(self.closed(seen))
    }

    /// With all that what is in it builds on.
    fn closed(&self, mut version: Version) -> Version {
        for (actor, counter) in &self.base_version {
            let entry = version.entry(*actor).or_default();
            *entry = (*counter).max(*entry);
        }
        for kept in self.changes.iter().rev() {
            if version.get(&kept.author).is_some_and(|seen| *seen >= kept.counters.0) {
                for (actor, counter) in kept.mentions.iter().chain([&(kept.author, kept.counters.1)]) {
                    let entry = version.entry(*actor).or_default();
                    *entry = (*counter).max(*entry);
                }
            }
        }
        version
    }

    fn reaches(&self, version: &Version) -> bool {
        let seen = |actor: &Actor| version.get(actor).copied().unwrap_or(0);
        self.base_version.iter().all(|(actor, counter)| seen(actor) >= *counter)
    }
}

impl Document {
    /// From now on keeps the changes that make this document, so that it can be looked at as it was. They take as much memory
    /// as they took bytes; [`forget_history`](Self::forget_history) frees it.
    pub fn keep_history(&mut self) {
        if self.history.is_none() {
            self.history = Some(Box::new(History::starting_with(self)));
        }
    }

    /// Forgets all changes kept so far and keeps none.
    pub fn forget_history(&mut self) {
        self.history = None;
    }

    /// The changes that are kept, in an order in which they apply.
    pub fn changes(&self) -> impl Iterator<Item = Entry<'_>> {
        self.history.iter().flat_map(|history| history.changes.iter()).map(|kept| Entry {
            author: kept.author,
            counters: kept.counters,
            unix_ms: kept.unix_ms,
            is_hidden: kept.is_hidden,
            bytes: &kept.bytes,
        })
    }

    /// What a replica at `version` lacks: the changes since then, in an order in which they apply. Costs the changes kept.
    ///
    /// # Errors
    /// [`HistoryError::NotKept`], [`HistoryError::Forgotten`] if it lacks older ones: send it a snapshot.
    pub fn changes_since(&self, version: &Version) -> Result<Vec<&[u8]>, HistoryError> {
        let history = self.history.as_ref().ok_or(HistoryError::NotKept)?;
        if !history.reaches(version) {
            return Err(HistoryError::Forgotten);
        }
        let seen = |actor: &Actor| version.get(actor).copied().unwrap_or(0);
        let missing = history.changes.iter().filter(|kept| kept.counters.1 > seen(&kept.author));
        Ok(missing.map(|kept| &*kept.bytes).collect())
    }

    /// The document as it was at `version`, by the same author and without a history. Costs the snapshot and the changes kept.
    ///
    /// # Errors
    /// [`HistoryError::NotKept`], [`HistoryError::Forgotten`] for one before the history begins,
    /// [`HistoryError::Unknown`] for one that no replica can have been at, or not yet.
    pub fn at(&self, version: &Version) -> Result<Self, HistoryError> {
        let history = self.history.as_ref().ok_or(HistoryError::NotKept)?;
        if !history.reaches(version) {
            return Err(HistoryError::Forgotten);
        }
        let mut past = Self::new(self.me);
        past.actors = self.actors.clone();
        past.open(&history.base).map_err(|_| HistoryError::Unknown)?;
        // What waited when the history began came in later, with a note of its own.
        past.pending = crate::pending::Pending::default();
        let seen = |actor: &Actor| version.get(actor).copied().unwrap_or(0);
        for kept in history.changes.iter().filter(|kept| kept.counters.1 <= seen(&kept.author)) {
            let applied = match kept.is_hidden {
                true => past.apply_hidden(&kept.bytes),
                false => past.apply(&kept.bytes),
            };
            applied.map_err(|_| HistoryError::Unknown)?;
        }
        let wanted = version.iter().filter(|(_, counter)| **counter > 0);
        let is_there = wanted.map(|(actor, counter)| (*actor, *counter)).eq(past.version());
        if is_there { Ok(past) } else { Err(HistoryError::Unknown) }
    }

    /// The document with its history as bytes, for [`load_with_history`](Self::load_with_history).
    pub fn save_with_history(&self) -> Vec<u8> {
        let fresh;
        let history = match &self.history {
            Some(history) => &**history,
            None => {
                fresh = History::starting_with(self);
                &fresh
            }
        };
        let mut out = alloc::vec![HISTORY_VERSION];
        put_u64(history.base.len() as u64, &mut out);
        out.extend_from_slice(&history.base);
        let waiting = self.pending.iter().map(|change| {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            (false, bytes)
        });
        let kept = history.changes.iter().map(|kept| (kept.is_hidden, kept.bytes.to_vec()));
        let all: Vec<(bool, Vec<u8>)> = kept.chain(waiting).collect();
        put_u64(all.len() as u64, &mut out);
        for (is_hidden, bytes) in all {
            out.push(u8::from(is_hidden));
            put_u64(bytes.len() as u64, &mut out);
            out.extend_from_slice(&bytes);
        }
        out
    }

    /// Opens what [`save_with_history`](Self::save_with_history) wrote, by replaying it.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_with_history(bytes: &[u8], actor: impl Into<Actor>) -> Result<Self, LoadError> {
        let mut from = Reader::new(bytes);
        if from.u8()? != HISTORY_VERSION {
            return Err(DecodeError::Version.into());
        }
        let size = from.count(1)?;
        let mut document = Self::load(from.take(size)?, actor)?;
        document.keep_history();
        for _ in 0..from.count(3)? {
            let is_hidden = from.u8()?;
            let size = from.count(1)?;
            if size > MAX_CHANGE_BYTES {
                return Err(DecodeError::TooLarge.into());
            }
            let change = from.take(size)?;
            let applied = match is_hidden {
                0 => document.apply(change),
                1 => document.apply_hidden(change),
                _ => return Err(DecodeError::Invalid.into()),
            };
            applied.map_err(|_| LoadError::Inconsistent)?;
        }
        if from.is_empty() { Ok(document) } else { Err(DecodeError::Leftover.into()) }
    }

    /// A second replica that goes on from here as `actor`, as a branch does. [`merge`](Self::merge) brings it back.
    #[must_use]
    pub fn fork(&self, actor: impl Into<Actor>) -> Self {
        let mut fork = self.clone();
        fork.me = actor.into();
        fork.told = crate::context::Context::default();
        fork.undo = None;
        fork.watch = None;
        fork
    }

    /// Takes in all that another replica has. Where its history holds what is missing here, by its changes; otherwise as
    /// [`join`](Self::join) does.
    ///
    /// # Errors
    /// See [`LoadError`]; the document is then as it was.
    pub fn merge(&mut self, other: &Self) -> Result<(), LoadError> {
        match other.changes_since(&self.version()) {
            Ok(changes) if !other.changes().any(|change| change.is_hidden) && other.pending() == 0 => {
                for change in changes {
                    self.apply(change).map_err(|_| LoadError::Inconsistent)?;
                }
                Ok(())
            }
            _ => self.join(&other.save()),
        }
    }

    /// A new beginning for the history, after something came in that was no change.
    pub(crate) fn restart_history(&mut self) {
        if self.history.take().is_some() {
            self.keep_history();
        }
    }
}
