//! What is published from here, and when it is stored anew.

use crate::key::Key;
use crate::records::Slot;
use crate::wire::{Record, RecordKind};
use alloc::collections::BTreeMap;
use core::time::Duration;

#[derive(Clone, Debug)]
struct Publication {
    record: Record,
    /// When it is stored next.
    due_at: Duration,
    has_warned: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Publications(BTreeMap<Slot, Publication>);

impl Publications {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is published in the same place.
    pub(crate) fn current(&self, record: &Record) -> Option<&Record> {
        self.0.get(&Slot::of(record)).map(|publication| &publication.record)
    }

    pub(crate) fn set(&mut self, record: Record, due_at: Duration) {
        self.0.insert(Slot::of(&record), Publication { record, due_at, has_warned: false });
    }

    /// Publishes nothing more under this key. Returns whether anything was.
    pub(crate) fn withdraw(&mut self, key: &Key) -> bool {
        let before = self.0.len();
        self.0.retain(|slot, _| slot.key() != *key);
        self.0.len() < before
    }

    /// A store went badly or well: when to try again.
    pub(crate) fn reschedule(&mut self, record: &Record, due_at: Duration) {
        if let Some(publication) = self.0.get_mut(&Slot::of(record)) {
            publication.due_at = due_at;
        }
    }

    /// One record that is to be stored now; it comes again after `interval` unless rescheduled.
    pub(crate) fn take_due(&mut self, now: Duration, interval: Duration) -> Option<Record> {
        let publication = self.0.values_mut().find(|publication| publication.due_at <= now)?;
        publication.due_at = now + interval;
        Some(publication.record.clone())
    }

    /// One record that is due by then and that `is_near` accepts; it comes again after `interval`.
    pub(crate) fn take_due_near(
        &mut self,
        now: Duration,
        ahead: Duration,
        interval: Duration,
        is_near: impl Fn(&Key) -> bool,
    ) -> Option<Record> {
        let mut all = self.0.iter_mut();
        let (_, publication) =
            all.find(|(slot, publication)| publication.due_at <= now + ahead && is_near(&slot.key()))?;
        publication.due_at = now + interval;
        Some(publication.record.clone())
    }

    /// Everything is to be stored now: the network was lost and is back.
    pub(crate) fn all_due(&mut self, now: Duration) {
        self.0.values_mut().for_each(|publication| publication.due_at = publication.due_at.min(now));
    }

    /// Drops what has ended, and names one that ends before `warn_unix_ms`, once each.
    pub(crate) fn expire(&mut self, unix_ms: u64, warn_unix_ms: u64) -> Option<(Key, u64)> {
        self.0.retain(|_, publication| {
            publication.record.expires_unix_ms().is_none_or(|expires| expires > unix_ms)
        });
        self.0.iter_mut().find_map(|(slot, publication)| {
            let expires = publication.record.expires_unix_ms().filter(|expires| *expires <= warn_unix_ms)?;
            let is_new = !core::mem::replace(&mut publication.has_warned, true);
            is_new.then_some((slot.key(), expires))
        })
    }

    pub(crate) fn find(&self, key: Key, kind: RecordKind) -> impl Iterator<Item = &Record> {
        self.0.range(Slot::all(key, kind)).map(|(_, publication)| &publication.record)
    }
}
