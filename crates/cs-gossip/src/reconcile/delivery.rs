//! Hands out what was found, in batches (REC-12).

use std::collections::VecDeque;
use std::vec;

use crate::reconcile::index::{Id, Index};
use crate::reconcile::session::{Output, PeerFault};
use crate::reconcile::wire::{MAX_IDS, Message};

/// The end of a session: what was found is told to the caller, and to the peer if that was asked for.
#[derive(Debug)]
pub(crate) struct Delivery {
    missing: vec::IntoIter<Id>,
    /// All of `missing` was named to the peer, or need not be.
    named: bool,
    /// The peer named all that we lack, or need not.
    told: bool,
    /// The last id that the peer named.
    told_last: Option<Id>,
    ready: VecDeque<Output>,
}

pub(crate) enum Delivered {
    Message(Message),
    Output(Output),
}

impl Delivery {
    pub(crate) fn new(ids: Vec<Id>, want_ids: bool) -> Self {
        Self {
            missing: ids.into_iter(),
            named: !want_ids,
            told: !want_ids,
            told_last: None,
            ready: VecDeque::new(),
        }
    }

    pub(crate) fn receive(&mut self, index: &Index, message: Message) -> Result<(), PeerFault> {
        let Message::Ids { last, ids } = message else {
            return Err(PeerFault::Unexpected);
        };
        let ordered = ids.first().is_none_or(|first| self.told_last.is_none_or(|before| before < *first));
        if self.told || !ordered || (ids.is_empty() && !last) {
            return Err(PeerFault::Unexpected);
        }
        self.told = last;
        self.told_last = ids.last().copied().or(self.told_last);
        let wanted: Vec<Id> = ids.into_iter().filter(|id| !index.contains(id)).collect();
        if !wanted.is_empty() {
            self.ready.push_back(Output::Wanted(wanted));
        }
        Ok(())
    }

    pub(crate) fn next(&mut self, want_ids: bool) -> Option<Delivered> {
        if let Some(output) = self.ready.pop_front() {
            return Some(Delivered::Output(output));
        }
        let batch: Vec<Id> = self.missing.by_ref().take(MAX_IDS).collect();
        if !batch.is_empty() {
            self.ready.push_back(Output::Missing(batch.clone()));
        }
        if want_ids && !self.named {
            self.named = self.missing.len() == 0;
            return Some(Delivered::Message(Message::Ids { last: self.named, ids: batch }));
        }
        if let Some(output) = self.ready.pop_front() {
            return Some(Delivered::Output(output));
        }
        self.told.then_some(Delivered::Output(Output::Done))
    }
}
