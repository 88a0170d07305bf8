//! Payloads kept for a while for those who miss them: bounded in bytes and time.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use cs_identity::NodeId;

use crate::wire::{Broadcast, MessageId};

/// A broadcast is sent at most this often on request: more is somebody's game.
const SERVED_MAX: u8 = 64;

#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<MessageId, Entry>,
    order: VecDeque<(Duration, MessageId)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    broadcast: Broadcast,
    /// Waits for a verdict; came from this peer.
    held_from: Option<NodeId>,
    served: u8,
}

impl Cache {
    /// Keeps a broadcast, at the expense of the oldest.
    pub(crate) fn insert(
        &mut self,
        now: Duration,
        limit: usize,
        id: MessageId,
        broadcast: Broadcast,
        held_from: Option<NodeId>,
    ) {
        self.bytes += broadcast.payload.len();
        self.order.push_back((now, id));
        self.entries.insert(id, Entry { broadcast, held_from, served: 0 });
        while self.bytes > limit && self.order.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Forgets what came before `before`; returns when the oldest of the rest came.
    pub(crate) fn expire(&mut self, before: Duration) -> Option<Duration> {
        while self.order.front().is_some_and(|(at, _)| *at <= before) {
            self.drop_oldest();
        }
        self.order.front().map(|(at, _)| *at)
    }

    /// The broadcast, to answer a request for it.
    pub(crate) fn serve(&mut self, id: &MessageId) -> Option<&Broadcast> {
        let entry = self.entries.get_mut(id).filter(|entry| entry.held_from.is_none())?;
        if entry.served >= SERVED_MAX {
            return None;
        }
        entry.served += 1;
        Some(&entry.broadcast)
    }

    /// Ends the wait for a verdict: what was held, and from whom it came.
    pub(crate) fn release(&mut self, id: &MessageId) -> Option<(Broadcast, NodeId)> {
        let entry = self.entries.get_mut(id)?;
        let from = entry.held_from.take()?;
        Some((entry.broadcast.clone(), from))
    }

    /// Forgets a broadcast that was found to be bad.
    pub(crate) fn remove(&mut self, id: &MessageId) {
        if let Some(entry) = self.entries.remove(id) {
            self.bytes -= entry.broadcast.payload.len();
            self.order.retain(|(_, other)| other != id);
        }
    }

    /// The newest that may be passed on, at most `count`.
    pub(crate) fn newest(&self, count: usize) -> Vec<MessageId> {
        let free = |id: &MessageId| self.entries.get(id).is_some_and(|entry| entry.held_from.is_none());
        self.order.iter().rev().map(|(_, id)| *id).filter(free).take(count).collect()
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front()
            && let Some(entry) = self.entries.remove(&id)
        {
            self.bytes -= entry.broadcast.payload.len();
        }
    }
}
