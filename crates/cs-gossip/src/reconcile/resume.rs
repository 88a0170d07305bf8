//! What lets a session outlive its channel (REC-15): the messages that may not have arrived.

use std::collections::VecDeque;

use crate::reconcile::session::PeerFault;
use crate::reconcile::wire::Message;

/// Bytes of sent messages that are remembered: several turns of anything but large filters.
const JOURNAL_BYTES: usize = 256 * 1024;

/// The newest messages that were sent, and where a new channel takes up.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    sent: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many were forgotten.
    forgotten: u64,
    /// Our word on how far the peer's messages came is to be sent.
    greeting: Option<u64>,
    /// The peer's is waited for.
    waiting: bool,
    /// The next message to send again, counted from the first of the session.
    again: Option<u64>,
}

impl Journal {
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.sent.push_back(bytes.to_vec());
        while self.bytes > JOURNAL_BYTES {
            self.bytes -= self.sent.pop_front().map_or(0, |oldest| oldest.len());
            self.forgotten += 1;
        }
    }

    pub(crate) fn reconnect(&mut self, taken: u64) {
        self.greeting = Some(taken);
        self.waiting = true;
        self.again = None;
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The peer said how many messages it took: the others go out again.
    pub(crate) fn rewind(&mut self, taken: u64) -> Result<(), PeerFault> {
        let sent = self.forgotten + self.sent.len() as u64;
        if !self.waiting || !(self.forgotten..=sent).contains(&taken) {
            return Err(PeerFault::Unexpected);
        }
        self.waiting = false;
        self.again = Some(taken);
        Ok(())
    }

    /// `Some(None)`: nothing may be said before the peer did; `None`: nothing is to be said again.
    pub(crate) fn poll(&mut self) -> Option<Option<Vec<u8>>> {
        if let Some(taken) = self.greeting.take() {
            return Some(Some(Message::Resume { taken }.to_bytes()));
        }
        if self.waiting {
            return Some(None);
        }
        let next = self.again?;
        let bytes = self.sent.get(next.saturating_sub(self.forgotten) as usize).cloned();
        self.again = bytes.as_ref().map(|_| next + 1);
        bytes.map(Some)
    }
}
