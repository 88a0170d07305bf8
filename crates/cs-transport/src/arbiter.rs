//! One session per pair of nodes, whichever side dialled, and however often (TP-7).
//!
//! Both nodes may dial each other at once, over several addresses each. The node with the lower ID decides which
//! connection is the session; the other one offers what it dialled and follows. The lower node's own dial therefore
//! needs no round trip, and the choice never depends on who was faster to notice what.

use cs_identity::NodeId;

/// What is known about the connections with one peer. Pure: no clock, no chance.
#[derive(Debug)]
pub struct Arbiter<C> {
    decides: bool,
    current: Option<Current<C>>,
    /// The decider's incarnation and the last number seen from it, where it does not.
    seen: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
struct Current<C> {
    connection: C,
    number: u64,
    peer_incarnation: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<C> {
    /// Send `Offer { seen }` on this connection and wait.
    Offer {
        /// To put into the message.
        seen: u64,
    },
    /// Send `Decide { number }` on this connection: it is the session. `replaced` is closed.
    Decide {
        /// To put into the message.
        number: u64,
        /// The session before it.
        replaced: Option<C>,
    },
    /// The peer decided: this connection is the session. `replaced` is closed.
    Follow {
        /// The session before it.
        replaced: Option<C>,
    },
    /// Close this connection: another one is the session, or is about to be.
    Drop,
    /// Wait for the peer's message.
    Wait,
    /// The peer broke the protocol: close this connection.
    Fault,
}

impl<C: Copy + PartialEq> Arbiter<C> {
    /// `me` and `peer` are different nodes.
    #[must_use]
    pub fn new(me: &NodeId, peer: &NodeId) -> Self {
        Self { decides: me < peer, current: None, seen: (0, 0) }
    }

    /// The connection that is the session.
    #[must_use]
    pub fn current(&self) -> Option<C> {
        self.current.as_ref().map(|current| current.connection)
    }

    /// A handshake was completed. `dialled`: by this side. `next`: a number above all that were passed before, for a
    /// decision; one counter per endpoint serves, so that a forgotten peer is no peer without a past.
    pub fn handle_connected(
        &mut self,
        connection: C,
        dialled: bool,
        peer_incarnation: u64,
        next: u64,
    ) -> Verdict<C> {
        let same_life =
            self.current.as_ref().is_some_and(|current| current.peer_incarnation == peer_incarnation);
        match (dialled, self.decides) {
            (false, _) => Verdict::Wait,
            (true, _) if same_life => Verdict::Drop,
            (true, true) => self.decide(connection, peer_incarnation, next),
            (true, false) => Verdict::Offer { seen: self.seen_from(peer_incarnation) },
        }
    }

    /// `Offer { seen }` arrived on `connection`, which the peer dialled. `next` as above.
    pub fn handle_offer(&mut self, connection: C, peer_incarnation: u64, seen: u64, next: u64) -> Verdict<C> {
        if !self.decides {
            return Verdict::Fault;
        }
        match &self.current {
            // The peer lives, and has not yet heard which connection it is: that decision is on its way.
            Some(current) if current.peer_incarnation == peer_incarnation && seen < current.number => {
                Verdict::Drop
            }
            Some(current) if current.connection == connection => Verdict::Fault,
            // It restarted, or lost the session that it knew.
            _ => self.decide(connection, peer_incarnation, next),
        }
    }

    /// `Decide { number }` arrived on `connection`, whoever dialled it.
    pub fn handle_decide(&mut self, connection: C, peer_incarnation: u64, number: u64) -> Verdict<C> {
        if self.decides {
            return Verdict::Fault;
        }
        if number <= self.seen_from(peer_incarnation) {
            return Verdict::Drop;
        }
        self.seen = (peer_incarnation, number);
        Verdict::Follow { replaced: self.replace(connection, number, peer_incarnation) }
    }

    /// `connection` is gone. Returns whether it was the session.
    pub fn handle_closed(&mut self, connection: C) -> bool {
        let was_current = self.current() == Some(connection);
        if was_current {
            self.current = None;
        }
        was_current
    }

    fn decide(&mut self, connection: C, peer_incarnation: u64, number: u64) -> Verdict<C> {
        Verdict::Decide { number, replaced: self.replace(connection, number, peer_incarnation) }
    }

    fn replace(&mut self, connection: C, number: u64, peer_incarnation: u64) -> Option<C> {
        let new = Current { connection, number, peer_incarnation };
        self.current.replace(new).map(|old| old.connection)
    }

    fn seen_from(&self, peer_incarnation: u64) -> u64 {
        let (incarnation, number) = self.seen;
        if incarnation == peer_incarnation { number } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use cs_identity::SecretKey;

    use super::*;

    /// The arbiters of the lower and the higher ID.
    fn pair() -> (Arbiter<u64>, Arbiter<u64>) {
        let mut ids = [1, 2].map(|seed| SecretKey::from_bytes([seed; 32]).node_id());
        ids.sort();
        (Arbiter::new(&ids[0], &ids[1]), Arbiter::new(&ids[1], &ids[0]))
    }

    #[test]
    fn tp_7_the_lower_id_decides_for_its_own_dial_without_a_round_trip() {
        let (mut low, mut high) = pair();
        let decided = low.handle_connected(10, true, 200, 1);
        assert_eq!(decided, Verdict::Decide { number: 1, replaced: None });
        assert_eq!(high.handle_connected(10, false, 100, 1), Verdict::Wait);
        assert_eq!(high.handle_decide(10, 100, 1), Verdict::Follow { replaced: None });
        assert_eq!((low.current(), high.current()), (Some(10), Some(10)));
    }

    #[test]
    fn tp_7_an_offer_that_crosses_a_decision_is_dropped() {
        let (mut low, _) = pair();
        low.handle_connected(10, true, 200, 1);
        assert_eq!(low.handle_offer(11, 200, 0, 2), Verdict::Drop);
        assert_eq!(low.current(), Some(10));
    }

    #[test]
    fn tp_7_a_peer_that_lost_the_session_it_knew_gets_a_new_one_at_once() {
        let (mut low, _) = pair();
        low.handle_connected(10, true, 200, 1);
        let decided = low.handle_offer(11, 200, 1, 2);
        assert_eq!(decided, Verdict::Decide { number: 2, replaced: Some(10) });
    }

    #[test]
    fn tp_7_a_peer_that_restarted_gets_a_new_session_at_once() {
        let (mut low, _) = pair();
        low.handle_connected(10, true, 200, 1);
        let decided = low.handle_offer(11, 201, 0, 2);
        assert_eq!(decided, Verdict::Decide { number: 2, replaced: Some(10) });
    }

    #[test]
    fn tp_7_a_stale_decision_is_dropped_and_a_later_one_replaces() {
        let (_, mut high) = pair();
        assert_eq!(high.handle_decide(10, 100, 5), Verdict::Follow { replaced: None });
        assert_eq!(high.handle_decide(11, 100, 4), Verdict::Drop);
        assert_eq!(high.handle_decide(12, 100, 6), Verdict::Follow { replaced: Some(10) });
        assert_eq!(
            high.handle_decide(13, 101, 1),
            Verdict::Follow { replaced: Some(12) },
            "another life counts anew"
        );
    }

    #[test]
    fn tp_7_messages_from_the_wrong_side_are_faults() {
        let (mut low, mut high) = pair();
        assert_eq!(low.handle_decide(10, 200, 1), Verdict::Fault);
        assert_eq!(high.handle_offer(10, 100, 0, 1), Verdict::Fault);
        low.handle_connected(10, true, 200, 1);
        assert_eq!(low.handle_offer(10, 200, 1, 2), Verdict::Fault, "the session cannot be offered again");
    }
}
