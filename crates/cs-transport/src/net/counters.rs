//! What happened so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Events since the endpoint was bound. All only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams that belong to no protocol of ours.
    pub garbage: u64,
    /// Datagrams beside QUIC that were dropped because too many waited.
    pub overrun: u64,
    /// Requests (sealed or STUN) refused by a source's rate limit.
    pub rate_limited: u64,
    /// Sealed datagrams that did not open, or were malformed inside.
    pub forged: u64,
    /// Sealed requests that were seen before.
    pub replayed: u64,
    /// Sealed requests outside the time window, answered with this node's clock.
    pub skewed: u64,
    /// Sealed requests delivered.
    pub requests: u64,
    /// Questions on sessions delivered, those of first flights among them.
    pub asks: u64,
    /// Own questions in a first flight that the peer read there.
    pub early_accepted: u64,
    /// Own questions in a first flight that the peer threw away, and that were asked again.
    pub early_refused: u64,
    /// Answers to nothing that was asked.
    pub stray_answers: u64,
    /// STUN binding requests answered.
    pub stun_served: u64,
    /// Handshakes that were told to prove their address first.
    pub retries: u64,
    /// First packets left unanswered: too many handshakes are under way, in all or from their source.
    pub ignored: u64,
    /// Connections refused: over the limit.
    pub refused: u64,
    /// Connections closed because the peer broke the protocol.
    pub peer_faults: u64,
    /// Paths that were given up because nothing came back on them.
    pub paths_died: u64,
    /// Signals passed on between two other nodes.
    pub signals_passed: u64,
    /// Own signals that could not be passed on, or were not answered.
    pub signals_lost: u64,
    /// Attempts to punch, of either side.
    pub punches: u64,
    /// Paths that such an attempt opened.
    pub punched: u64,
    /// Times that the network was another one, by what was told or seen.
    pub network_changes: u64,
    /// TCP connections made to relays.
    pub relay_streams: u64,
    /// Messages to this relay, or from peers to its clients, that did no good: malformed, not permitted, or above the rate.
    pub relay_refused: u64,
    /// Datagrams that the relay could not pass on, because what was to take them was full or gone.
    pub relay_dropped: u64,
}

/// The live side of [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) garbage: Count,
    pub(crate) overrun: Count,
    pub(crate) rate_limited: Count,
    pub(crate) forged: Count,
    pub(crate) replayed: Count,
    pub(crate) skewed: Count,
    pub(crate) requests: Count,
    pub(crate) asks: Count,
    pub(crate) early_accepted: Count,
    pub(crate) early_refused: Count,
    pub(crate) stray_answers: Count,
    pub(crate) stun_served: Count,
    pub(crate) retries: Count,
    pub(crate) ignored: Count,
    pub(crate) refused: Count,
    pub(crate) peer_faults: Count,
    pub(crate) paths_died: Count,
    pub(crate) signals_passed: Count,
    pub(crate) signals_lost: Count,
    pub(crate) punches: Count,
    pub(crate) punched: Count,
    pub(crate) network_changes: Count,
    pub(crate) relay_streams: Count,
    pub(crate) relay_refused: Count,
    pub(crate) relay_dropped: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    pub(crate) fn snapshot(&self) -> Counters {
        Counters {
            garbage: self.garbage.read(),
            overrun: self.overrun.read(),
            rate_limited: self.rate_limited.read(),
            forged: self.forged.read(),
            replayed: self.replayed.read(),
            skewed: self.skewed.read(),
            requests: self.requests.read(),
            asks: self.asks.read(),
            early_accepted: self.early_accepted.read(),
            early_refused: self.early_refused.read(),
            stray_answers: self.stray_answers.read(),
            stun_served: self.stun_served.read(),
            retries: self.retries.read(),
            ignored: self.ignored.read(),
            refused: self.refused.read(),
            peer_faults: self.peer_faults.read(),
            paths_died: self.paths_died.read(),
            signals_passed: self.signals_passed.read(),
            signals_lost: self.signals_lost.read(),
            punches: self.punches.read(),
            punched: self.punched.read(),
            network_changes: self.network_changes.read(),
            relay_streams: self.relay_streams.read(),
            relay_refused: self.relay_refused.read(),
            relay_dropped: self.relay_dropped.read(),
        }
    }
}
