//! Catching up with a peer: summaries, reconciliation, and asking for what is lacking (NODE-8).
//!
//! Summaries travel whenever a set changes. When they differ, one side begins a reconciliation, control statements
//! first, since operations are judged by them. What a side turns out to lack it asks for itself, so that the asker's
//! pace bounds what is under way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use cs_gossip::reconcile;
use cs_identity::{NodeId, OpId, Rights};
use cs_store::Disk;
use cs_transport::wire::Lane;
use minicbor::bytes::ByteVec;

use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::space::link::{Link, Reconciling, Summary};
use crate::core::space::{Fault, Space, Taken};
use crate::wire::{MAX_IDS, Message, Set, split_ids};

/// A summary goes out this long after the first change that it tells of.
const SUMMARY_AFTER: Duration = Duration::from_millis(50);

/// And at least this often, in case one side lost track.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);

/// The side with the higher ID begins a reconciliation itself when the other has not for this long.
const BEGIN_ANYWAY_AFTER: Duration = Duration::from_secs(3);

/// A reconciliation without an end after this long is given up and begun anew.
const RECONCILE_LIMIT: Duration = Duration::from_secs(30);

/// What was asked for and has not come after this long is asked for again, of whoever has it.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// In few turns: what they cost in bytes is little beside the operations. Nobody names what it lacks, since the other side
/// finds out the same.
const RECONCILIATION: reconcile::Config =
    reconcile::Config { mode: reconcile::Mode::Quick, want_ids: false, verify: false, since: None };

/// Most bytes of operations in one message.
const MAX_BATCH: usize = 256 << 10;

/// A fingerprint of 40 bytes in 16: equal sets are equal, and nobody can search for a collision without the secret
/// operations to make it of.
fn short(fingerprint: reconcile::Fingerprint) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::derive_key("cosync 2026 summary of a set", &fingerprint.to_bytes())[..16]);
    out
}

impl Space {
    /// What this node has.
    pub(crate) fn summary(&self) -> Summary {
        Summary {
            control: short(self.control.fingerprint()),
            operations: short(self.operations.fingerprint()),
            pending: self.tree.unsettled().len() as u64,
            scanning: self.files.is_scanning(),
        }
    }

    /// A set changed: peers are told shortly.
    pub(crate) fn changed(&mut self, now: Duration) {
        let at = now + SUMMARY_AFTER;
        self.summary_at = self.summary_at.min(at);
    }

    /// Sends summaries that are due, and begins or gives up what has waited too long.
    pub(crate) fn on_sync_timeout(&mut self, host: &mut Host) {
        if self.summary_at <= host.now {
            self.summary_at = host.now + SUMMARY_INTERVAL;
            let peers: Vec<NodeId> = self.links.keys().copied().collect();
            for peer in peers {
                self.send_summary(host, peer);
            }
        }
        let peers: Vec<NodeId> = self.links.keys().copied().collect();
        for peer in peers {
            self.give_up_what_stalls(host.now, peer);
            self.compare(host, peer);
        }
    }

    /// The next moment at which catching up has something to do.
    pub(crate) fn sync_timeout(&self) -> Duration {
        let waits = self.links.values().flat_map(|link| {
            let answers = link.is_owed().then_some(link.progress_at + ANSWER_LIMIT);
            let ends = link.reconciling.values().map(|r| r.begun_at + RECONCILE_LIMIT);
            // What `compare` would not begin yet is no deadline: it looks again when that changes.
            let may_begin = !link.is_owed() && link.rights.contains(Rights::RELAY);
            let begins = link.differs_since.filter(|_| may_begin && link.reconciling.is_empty());
            let begins = begins.map(|at| at + BEGIN_ANYWAY_AFTER);
            answers.into_iter().chain(ends).chain(begins)
        });
        waits.chain([self.summary_at]).min().unwrap_or(self.summary_at)
    }

    fn send_summary(&mut self, host: &mut Host, peer: NodeId) {
        let summary = self.summary();
        let Some(link) = self.links.get_mut(&peer) else { return };
        if link.rights.is_empty() {
            return;
        }
        link.told = Some(summary);
        let message = Message::Summary {
            space: self.id.into(),
            control: summary.control,
            operations: summary.operations,
            pending: summary.pending,
            scanning: summary.scanning,
        };
        self.send(host, peer, Lane::Control, &message);
    }

    /// A peer said what it has.
    pub(crate) fn on_summary(&mut self, host: &mut Host, peer: NodeId, summary: Summary) {
        if let Some(link) = self.links.get_mut(&peer) {
            let before = link.theirs.replace(summary);
            if before.is_some_and(|before| summary.has_more_than(&before)) {
                self.files.fetch_again();
                self.ask_for_chunks(host);
            }
        }
        self.compare(host, peer);
    }

    /// Begins a reconciliation with a peer that has something else, if none is under way and nothing is owed.
    fn compare(&mut self, host: &mut Host, peer: NodeId) {
        let mine = self.summary();
        let Some(link) = self.links.get_mut(&peer) else { return };
        let Some(theirs) = link.theirs else { return };
        if link.in_sync(&mine) {
            link.differs_since = None;
            return;
        }
        let since = *link.differs_since.get_or_insert(host.now);
        let busy = link.is_owed() || link.reconciling.keys().any(|(_, mine)| *mine);
        let turn = host.me < peer || host.now >= since + BEGIN_ANYWAY_AFTER;
        if busy || !turn || !link.rights.contains(Rights::RELAY) {
            if host.now >= since + BEGIN_ANYWAY_AFTER {
                link.differs_since = Some(host.now);
            }
            return;
        }
        link.differs_since = Some(host.now);
        let set = if theirs.control == mine.control { Set::Operations } else { Set::Control };
        self.begin(host, peer, set);
    }

    fn begin(&mut self, host: &mut Host, peer: NodeId, set: Set) {
        let seed = host.random();
        self.reconciliations += 1;
        let number = self.reconciliations;
        let machine = reconcile::Session::initiate(RECONCILIATION, self.set(set), seed);
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.reconciling.insert((set, true), Reconciling::new(number, machine, host.now));
        self.pump(host, peer, set, true);
    }

    pub(crate) fn set(&self, set: Set) -> &reconcile::Index {
        match set {
            Set::Control => &self.control,
            Set::Operations => &self.operations,
        }
    }

    /// A step of a reconciliation from a peer.
    pub(crate) fn on_reconcile(
        &mut self,
        host: &mut Host,
        peer: NodeId,
        set: Set,
        number: u32,
        from_initiator: bool,
        body: &[u8],
    ) -> Result<(), Fault> {
        let seed = host.random();
        let index = match set {
            Set::Control => &self.control,
            Set::Operations => &self.operations,
        };
        let Some(link) = self.links.get_mut(&peer) else { return Ok(()) };
        if !link.rights.contains(Rights::RELAY) {
            return Ok(());
        }
        let key = (set, !from_initiator);
        if from_initiator && link.answered.get(&set).is_none_or(|last| *last < number) {
            link.answered.insert(set, number);
            let machine = reconcile::Session::respond(RECONCILIATION, index, seed);
            link.reconciling.insert(key, Reconciling::new(number, machine, host.now));
        }
        let Some(running) = link.reconciling.get_mut(&key).filter(|r| r.number == number) else {
            return Ok(());
        };
        if running.machine.handle_input(index, body).is_err() {
            link.reconciling.remove(&key);
            return Err(Fault::Reconciliation);
        }
        self.pump(host, peer, set, !from_initiator);
        Ok(())
    }

    /// Sends what the machine has to say, and in the end asks for what it found lacking.
    fn pump(&mut self, host: &mut Host, peer: NodeId, set: Set, initiator: bool) {
        loop {
            let space = self.id.into();
            let Some(link) = self.links.get_mut(&peer) else { return };
            let Some(running) = link.reconciling.get_mut(&(set, initiator)) else { break };
            match running.machine.poll_output() {
                None => break,
                Some(reconcile::Output::Send(body)) => {
                    let session = running.number;
                    self.send(
                        host,
                        peer,
                        Lane::Control,
                        &Message::Reconcile { space, set, session, initiator, body },
                    );
                }
                Some(reconcile::Output::Missing(ids)) => {
                    running.found.extend(ids.into_iter().map(OpId::from_bytes));
                }
                Some(reconcile::Output::Wanted(_)) => {}
                Some(reconcile::Output::Done) => {
                    let ended = link.reconciling.remove(&(set, initiator));
                    link.missing.insert(set, ended.map(|ended| ended.found).unwrap_or_default());
                    self.pull(host, peer, set);
                }
            }
        }
    }

    /// Asks a peer for what it found this node to lack: a request without identifiers. It follows the last step of the
    /// reconciliation in the same lane, so that the peer knows by then.
    fn pull(&mut self, host: &mut Host, peer: NodeId, set: Set) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.pulling.insert(set);
        link.progress_at = host.now;
        self.send(host, peer, Lane::Control, &Message::Want { space: self.id.into(), set, ids: Vec::new() });
    }

    /// Asks a peer for the statements that others name and that are not here, whatever its rights: they may be what
    /// gives it any. Only a damaged log lacks such statements for long.
    pub(crate) fn seek_statements(&mut self, host: &mut Host, peer: NodeId) {
        let wanted: Vec<OpId> = self.graph.wanted().collect();
        let Some(link) = self.links.get_mut(&peer).filter(|_| !wanted.is_empty()) else {
            return;
        };
        link.lacking.entry(Set::Control).or_default().extend(wanted);
        self.ask(host, peer);
    }

    /// Asks a peer for what it may have and this node lacks, one message at a time in each set.
    fn ask(&mut self, host: &mut Host, peer: NodeId) {
        for set in [Set::Control, Set::Operations] {
            let known: &reconcile::Index = match set {
                Set::Control => &self.control,
                Set::Operations => &self.operations,
            };
            let Some(link) = self.links.get_mut(&peer) else { return };
            if link.pulling.contains(&set) || link.asked.get(&set).is_some_and(|asked| !asked.is_empty()) {
                continue;
            }
            let Some(lacking) = link.lacking.get_mut(&set) else { continue };
            let mut ids = Vec::new();
            while ids.len() < MAX_IDS {
                let Some(id) = lacking.pop_front() else { break };
                if !known.contains(id.as_bytes()) && !self.waiting.contains(&id) {
                    ids.push(id);
                }
            }
            if ids.is_empty() {
                continue;
            }
            link.progress_at = host.now;
            let bytes = ids.iter().flat_map(|id| *id.as_bytes()).collect();
            link.asked.entry(set).or_default().extend(ids);
            self.send(host, peer, Lane::Normal, &Message::Want { space: self.id.into(), set, ids: bytes });
        }
    }

    /// A peer asks for statements or operations, or for the next of all that it lacks.
    pub(crate) fn on_want<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &Archive<D>,
        peer: NodeId,
        set: Set,
        ids: &[u8],
    ) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        if !link.rights.contains(Rights::RELAY) {
            return;
        }
        if ids.is_empty() {
            let mut missing = link.missing.remove(&set).unwrap_or_default();
            let batch = self.batch(host, store, peer, set, &mut missing);
            let done = missing.is_empty();
            if let Some(link) = self.links.get_mut(&peer) {
                link.missing.insert(set, missing);
            }
            return self.send_batch(host, peer, set, batch, done);
        }
        let mut wanted: VecDeque<OpId> = split_ids(ids).map(OpId::from_bytes).collect();
        while !wanted.is_empty() {
            let batch = self.batch(host, store, peer, set, &mut wanted);
            self.send_batch(host, peer, set, batch, wanted.is_empty());
        }
    }

    /// Takes one message's worth off the front of `ids`. What is not here, or not for the peer, is passed over.
    fn batch<D: Disk>(
        &self,
        host: &Host,
        store: &Archive<D>,
        peer: NodeId,
        set: Set,
        ids: &mut VecDeque<OpId>,
    ) -> Vec<ByteVec> {
        let mut batch: Vec<ByteVec> = Vec::new();
        let mut size = 0;
        while size < MAX_BATCH
            && let Some(id) = ids.pop_front()
        {
            let bytes = match set {
                Set::Control => self.graph.get(&id).map(|s| s.bytes().to_vec()),
                Set::Operations => self.readable_operation(host, store, &peer, &id),
            };
            size += bytes.as_ref().map_or(0, Vec::len);
            batch.extend(bytes.map(ByteVec::from));
        }
        batch
    }

    fn readable_operation<D: Disk>(
        &self,
        host: &Host,
        store: &Archive<D>,
        who: &NodeId,
        id: &OpId,
    ) -> Option<Vec<u8>> {
        let operation = self.stored_operation(store, id)?;
        let rights = self.graph.rights(who, &operation.path, host.unix_ms());
        rights.contains(Rights::RELAY).then(|| operation.bytes().to_vec())
    }

    fn send_batch(&self, host: &mut Host, peer: NodeId, set: Set, batch: Vec<ByteVec>, done: bool) {
        let message = Message::Answer { space: self.id.into(), set, items: batch, done };
        self.send(host, peer, Lane::Normal, &message);
    }

    /// What was asked for, or part of it.
    pub(crate) fn on_answer<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        peer: NodeId,
        set: Set,
        items: &[ByteVec],
        done: bool,
    ) -> Result<(), Fault> {
        let mut fault = Ok(());
        let mut brought = false;
        let wanted: Vec<OpId> = self.graph.wanted().collect();
        for item in items {
            let taken = match set {
                Set::Control => self.take_statement(host, store, item),
                Set::Operations => self.take_operation(host, store, item).map(|taken| taken != Taken::Known),
            };
            brought |= taken == Ok(true);
            // One bad item does not cost the good ones that came with it.
            fault = fault.and(taken.map(|_| ()));
        }
        if let Some(link) = self.links.get_mut(&peer) {
            link.progress_at = host.now;
            if done {
                link.asked.remove(&set);
            }
            let pulled = link.asked.get(&set).is_none_or(BTreeSet::is_empty) && link.pulling.remove(&set);
            if pulled && !done && brought {
                self.pull(host, peer, set);
            }
        }
        self.ask(host, peer);
        // Only what brought something is followed by another request, or a peer could keep us asking for ever.
        if !self.graph.wanted().eq(wanted) {
            self.seek_statements(host, peer);
        }
        self.compare(host, peer);
        self.settle(host);
        fault
    }

    fn give_up_what_stalls(&mut self, now: Duration, peer: NodeId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.reconciling.retain(|_, r| r.begun_at + RECONCILE_LIMIT > now);
        if link.is_owed() && link.progress_at + ANSWER_LIMIT <= now {
            link.asked.clear();
            link.pulling.clear();
            link.lacking.clear();
        }
    }

    /// A session opened the space with a peer.
    pub(crate) fn link_up(&mut self, host: &mut Host, peer: NodeId, session: u64) {
        self.links.insert(peer, Link::new(session, host.now));
        self.review_link(host, peer);
        self.compare(host, peer);
    }
}
