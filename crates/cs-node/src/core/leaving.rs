//! The end of a node: what it holds for others is handed on, its peers are told, and then it stops.

use std::time::Duration;

use cs_store::Disk;

use crate::api::Reply;
use crate::core::NodeCore;
use crate::core::ports::Output;

/// What is held for others is handed on for so long at most: a few round trips do on a good network, and nobody who
/// presses Ctrl-C waits longer.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

impl<D: Disk> NodeCore<D> {
    /// Begins the end. It comes when the DHT has handed on what it holds, or when that takes too long; until then all
    /// else goes on.
    pub(crate) fn leave(&mut self) -> Reply {
        if self.leave_until.is_none() && !self.stopped {
            self.leave_until = Some(self.host.now + LEAVE_LIMIT);
            self.discovery.leave(&self.host, &mut self.store);
        }
        Reply::Done { message: "The node stops.".to_owned() }
    }

    /// Ends the node that leaves, once.
    pub(crate) fn end_leaving(&mut self) {
        if self.leave_until.take().is_none() || self.stopped {
            return;
        }
        self.stopped = true;
        for space in self.spaces.values_mut() {
            space.leave(&mut self.host);
        }
        self.host.push(Output::Stop);
    }
}
