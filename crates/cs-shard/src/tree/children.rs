//! What each child told last (SHARD-17).

use core::time::Duration;
use std::collections::BTreeMap;

use cs_identity::NodeId;

use crate::summary::Summary;

/// A child's incarnation, and its count of changes.
pub(crate) type Version = (u64, u64);

#[derive(Debug, Default)]
pub(crate) struct Children(BTreeMap<NodeId, Child>);

#[derive(Debug)]
struct Child {
    level: u8,
    /// The latest version heard of, also after the child said goodbye: an older report that comes late is not taken.
    version: Version,
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    summary: Summary,
    heard_at: Duration,
    /// Of its oldest part when it was heard.
    age: Duration,
}

impl Children {
    pub(crate) fn admit(&mut self, id: NodeId, level: u8, max: usize) {
        if let Some(child) = self.0.get_mut(&id) {
            child.level = level;
        } else if self.0.len() < max {
            self.0.insert(id, Child { level, version: (0, 0), told: None });
        }
    }

    pub(crate) fn dismiss(&mut self, id: &NodeId) {
        self.0.remove(id);
    }

    pub(crate) fn keep_below(&mut self, level: u8) {
        self.0.retain(|_, child| child.level < level);
    }

    pub(crate) fn contains(&self, id: &NodeId) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn level(&self, id: &NodeId) -> Option<u8> {
        self.0.get(id).map(|child| child.level)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    pub(crate) fn summaries(&self) -> impl Iterator<Item = &Summary> {
        self.0.values().filter_map(|child| child.told.as_ref()).map(|told| &told.summary)
    }

    /// Takes a newer summary in place of the older one; false if it is not newer. The same one is taken again where it
    /// was forgotten.
    pub(crate) fn replace(
        &mut self,
        id: &NodeId,
        version: Version,
        summary: Summary,
        now: Duration,
        age: Duration,
    ) -> bool {
        let Some(child) = self.0.get_mut(id) else { return false };
        let is_newer = version > child.version || (version == child.version && child.told.is_none());
        if is_newer {
            child.version = version;
            child.told = Some(Told { summary, heard_at: now, age });
        }
        is_newer
    }

    /// The summary of this version still holds; false if it is not the one that is known.
    pub(crate) fn refresh(&mut self, id: &NodeId, version: Version, now: Duration, age: Duration) -> bool {
        let Some(child) = self.0.get_mut(id) else { return true };
        if version < child.version {
            return true;
        }
        match &mut child.told {
            Some(told) if child.version == version => {
                (told.heard_at, told.age) = (now, age);
                true
            }
            _ => false,
        }
    }

    /// The child reports elsewhere. Nothing up to this version counts any more.
    pub(crate) fn silence(&mut self, id: &NodeId, version: Version) {
        if let Some(child) = self.0.get_mut(id)
            && version >= child.version
        {
            child.version = (version.0, version.1.saturating_add(1));
            child.told = None;
        }
    }

    /// Forgets what was told too long ago; returns how many that was.
    pub(crate) fn forget_silent(&mut self, now: Duration, lifetime: Duration) -> u64 {
        let mut lost = 0;
        for child in self.0.values_mut() {
            if child.told.as_ref().is_some_and(|told| told.heard_at + lifetime <= now) {
                child.told = None;
                lost += 1;
            }
        }
        lost
    }

    /// When the first of them will have been silent for too long.
    pub(crate) fn next_silent(&self, lifetime: Duration) -> Option<Duration> {
        self.0.values().filter_map(|child| child.told.as_ref()).map(|told| told.heard_at + lifetime).min()
    }

    /// Children that count, children that are silent, and the age of the oldest part of what they told.
    pub(crate) fn coverage(&self, now: Duration) -> (u32, u32, Option<Duration>) {
        let told = || self.0.values().filter_map(|child| child.told.as_ref());
        let oldest = told().map(|told| told.age.saturating_add(now.saturating_sub(told.heard_at))).max();
        let count = told().count() as u32;
        (count, self.0.len() as u32 - count, oldest)
    }
}
