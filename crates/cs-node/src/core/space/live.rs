//! Live changes: the space's gossip machine, and which links it may use.

use cs_gossip::{
    Event as GossipEvent, Input as GossipInput, Lane as GossipLane, MessageId, Output as GossipOutput,
    Verdict,
};
use cs_identity::{NodeId, Rights};
use cs_store::Disk;
use cs_transport::wire::Lane;
use minicbor::{Decode, Encode};

use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::ports::Event;
use crate::core::space::{Fault, Space};
use crate::wire::Message;

/// Larger operations are found by reconciliation, which a summary begins at once.
const MAX_LIVE: usize = 8 << 10;

/// What is gossiped.
#[derive(Encode, Decode)]
enum Live {
    #[n(0)]
    Statement(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    #[n(1)]
    Operation(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
}

impl Space {
    /// Tells everybody of a new operation of this device.
    pub(crate) fn spread_operation(&mut self, host: &mut Host, bytes: &[u8]) {
        if bytes.len() <= MAX_LIVE {
            self.publish(host, GossipLane::Normal, &Live::Operation(bytes.to_vec()));
        }
        self.changed(host.now);
    }

    /// Tells everybody of a new statement of this device.
    pub(crate) fn spread_statement(&mut self, host: &mut Host, bytes: &[u8]) {
        if bytes.len() <= MAX_LIVE {
            self.publish(host, GossipLane::Control, &Live::Statement(bytes.to_vec()));
        }
        self.changed(host.now);
    }

    fn publish(&mut self, host: &mut Host, lane: GossipLane, live: &Live) {
        if self.links.is_empty() {
            return;
        }
        let payload = minicbor::to_vec(live).expect("writing to a vector cannot fail");
        // A full queue is no loss: the summary that follows makes up for it.
        let _ = self.gossip.publish(host.now, lane, payload);
        self.pump_gossip(host);
    }

    /// A gossip message from a peer.
    pub(crate) fn on_gossip<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        if !self.links.get(&from).is_some_and(|l| l.gossiping) {
            return Ok(());
        }
        if self.gossip.handle_input(host.now, GossipInput::Message { from, bytes }).is_err() {
            // Only a message can be a fault.
            let _ = self.gossip.handle_input(host.now, GossipInput::Blame { peer: from });
            self.pump_gossip(host);
            return Err(Fault::Malformed);
        }
        self.drain_gossip(host, store)
    }

    /// Runs the gossip machine's timers.
    pub(crate) fn on_gossip_timeout<D: Disk>(&mut self, host: &mut Host, store: &mut Archive<D>) {
        self.gossip.handle_timeout(host.now);
        // What is delivered on a timer was checked when it came; a fault in it is the publisher's, who is not known.
        let _ = self.drain_gossip(host, store);
    }

    /// Looks at a peer's rights again, and lets gossip use its link or not.
    pub(crate) fn review_link(&mut self, host: &mut Host, peer: NodeId) {
        let rights = self.rights_of(host, &peer);
        let Some(link) = self.links.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut link.rights, rights);
        let may = rights.contains(Rights::RELAY);
        if may != link.gossiping {
            link.gossiping = may;
            let input = if may { GossipInput::PeerUp { peer } } else { GossipInput::PeerDown { peer } };
            // Only a message can be a fault.
            let _ = self.gossip.handle_input(host.now, input);
            self.pump_gossip(host);
        }
        if before != rights {
            self.changed(host.now);
            self.files.fetch_again();
        }
    }

    /// A session with a peer is over.
    pub(crate) fn link_down(&mut self, host: &mut Host, peer: NodeId) {
        let Some(link) = self.links.remove(&peer) else { return };
        self.files.fetch.peer_gone(peer);
        self.files.distrusted.remove(&peer);
        if link.gossiping {
            // Only a message can be a fault.
            let _ = self.gossip.handle_input(host.now, GossipInput::PeerDown { peer });
            self.pump_gossip(host);
        }
        self.ask_for_chunks(host);
    }

    /// Says goodbye to the neighbours.
    pub(crate) fn leave(&mut self, host: &mut Host) {
        self.gossip.leave(host.now);
        self.pump_gossip(host);
    }

    fn drain_gossip<D: Disk>(&mut self, host: &mut Host, store: &mut Archive<D>) -> Result<(), Fault> {
        let mut fault = Ok(());
        for (id, payload) in self.pump_gossip(host) {
            let taken = match minicbor::decode(&payload) {
                Ok(Live::Statement(bytes)) => self.take_statement(host, store, &bytes).map(|_| ()),
                Ok(Live::Operation(bytes)) => self.take_operation(host, store, &bytes).map(|_| ()),
                Err(_) => Err(Fault::Malformed),
            };
            let verdict = match taken {
                // Every honest peer sees that, and passes it on to nobody.
                Err(Fault::Malformed | Fault::OtherSpace) => Verdict::Reject,
                _ => Verdict::Accept,
            };
            // It has waited since a moment ago.
            let _ = self.gossip.validate(host.now, id, verdict);
            fault = fault.and(taken);
        }
        self.pump_gossip(host);
        self.settle(host);
        fault
    }

    /// Sends what the machine has to send; returns what it delivered and may be passed on after a verdict.
    fn pump_gossip(&mut self, host: &mut Host) -> Vec<(MessageId, Vec<u8>)> {
        let mut delivered = Vec::new();
        while let Some(output) = self.gossip.poll_output() {
            match output {
                GossipOutput::Send { to, lane, bytes } => {
                    let message = Message::Gossip { space: self.id.into(), body: bytes };
                    self.send(host, to, lane_of(lane), &message);
                }
                GossipOutput::Event(GossipEvent::Deliver { id, payload, .. }) => {
                    delivered.push((id, payload))
                }
                GossipOutput::Event(GossipEvent::Shunned { peer }) => {
                    let what =
                        "so much needless or faulty gossip that its live changes are ignored for ten minutes";
                    host.event(Event::Fault { peer, what });
                }
                // Sessions are the node's own business: it keeps one with every member it can reach.
                GossipOutput::Connect { .. } | GossipOutput::Disconnect { .. } | GossipOutput::Event(_) => {}
            }
        }
        delivered
    }
}

fn lane_of(lane: GossipLane) -> Lane {
    match lane {
        GossipLane::Control => Lane::Control,
        GossipLane::Urgent => Lane::Urgent,
        GossipLane::Normal => Lane::Normal,
        GossipLane::Bulk => Lane::Bulk,
    }
}
