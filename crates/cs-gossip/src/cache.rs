//! Payloads kept for a while for those who miss them: bounded in bytes and time.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use cs_identity::NodeId;

use crate::wire::{Broadcast, MessageId};

/// A broadcast is sent at most this often on request, whole or the same in parts: more is somebody's game.
const SERVED_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<MessageId, Entry>,
    order: VecDeque<(Duration, MessageId)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    broadcast: Broadcast,
    /// Who passed it on; `None` if it was published here.
    from: Option<NodeId>,
    /// Waits for a verdict.
    held: bool,
    /// Bytes sent on request.
    served: usize,
    /// Copies that came besides the first.
    copies: u8,
    /// When it is no longer served.
    expires_at: Duration,
}

impl Cache {
    /// Keeps a broadcast, at the expense of the oldest.
    pub(crate) fn insert(
        &mut self,
        (now, expires_at): (Duration, Duration),
        limit: usize,
        id: MessageId,
        broadcast: Broadcast,
        from: Option<NodeId>,
        held: bool,
    ) {
        self.bytes += broadcast.payload.len();
        self.order.push_back((now, id));
        self.entries.insert(id, Entry { broadcast, from, held, served: 0, copies: 0, expires_at });
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

    /// The broadcast and when it expires, to answer a request for a part of so many bytes.
    pub(crate) fn serve(
        &mut self,
        id: &MessageId,
        now: Duration,
        part: usize,
    ) -> Option<(&Broadcast, Duration)> {
        let entry = self.entries.get_mut(id).filter(|entry| !entry.held && entry.expires_at > now)?;
        let whole = entry.broadcast.payload.len().max(1);
        if entry.served >= whole * SERVED_MAX {
            return None;
        }
        entry.served += part.min(whole);
        Some((&entry.broadcast, entry.expires_at))
    }

    /// Counts a copy that came again: how many did.
    pub(crate) fn copied(&mut self, id: &MessageId) -> Option<u8> {
        let entry = self.entries.get_mut(id)?;
        entry.copies = entry.copies.saturating_add(1);
        Some(entry.copies)
    }

    /// Ends the wait for a verdict: what was held, and from whom it came.
    pub(crate) fn release(&mut self, id: &MessageId) -> Option<(Broadcast, NodeId)> {
        let entry = self.entries.get_mut(id).filter(|entry| entry.held)?;
        entry.held = false;
        Some((entry.broadcast.clone(), entry.from?))
    }

    /// Forgets a broadcast that was found to be bad.
    pub(crate) fn remove(&mut self, id: &MessageId) {
        if let Some(entry) = self.entries.remove(id) {
            self.bytes -= entry.broadcast.payload.len();
            self.order.retain(|(_, other)| other != id);
        }
    }

    /// The newest that may be passed on, at most `count`, with the links they crossed.
    pub(crate) fn newest(&self, count: usize) -> Vec<(MessageId, u8)> {
        let free = |(_, id): &(Duration, MessageId)| {
            let entry = self.entries.get(id).filter(|entry| !entry.held)?;
            Some((*id, entry.broadcast.hops))
        };
        self.order.iter().rev().filter_map(free).take(count).collect()
    }

    /// Who passed a broadcast on, and the links it had crossed then; `None` if it was published here or is
    /// forgotten.
    pub(crate) fn path(&self, id: &MessageId) -> Option<(NodeId, u8)> {
        let entry = self.entries.get(id)?;
        Some((entry.from?, entry.broadcast.hops))
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front()
            && let Some(entry) = self.entries.remove(&id)
        {
            self.bytes -= entry.broadcast.payload.len();
        }
    }
}
