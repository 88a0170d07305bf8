//! Sessions, and what peers say on them.

use std::net::SocketAddr;
use std::path::PathBuf;

use cs_identity::{NodeId, OpId, Rights, SpaceId};
use cs_store::Disk;
use cs_transport::wire::Lane;
use minicbor::bytes::ByteVec;

use crate::api::{Problem, ProblemCode, Reply};
use crate::core::commands::folder_problem;
use crate::core::invitations::Invitation;
use crate::core::keys::Keyring;
use crate::core::ports::{Event, Output, SessionId};
use crate::core::space::{Fault, Files, Space, Summary};
use crate::core::{NodeCore, PeerFault};
use crate::wire::{Key32, MAX_ADDRS, Message, Refusal, VERSION};

/// A connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) session: SessionId,
    pub(crate) addr: SocketAddr,
    pub(crate) exporter: [u8; 32],
    /// Tags of its spaces, once it said hello.
    tags: Vec<[u8; 16]>,
}

impl<D: Disk> NodeCore<D> {
    pub(crate) fn session_up(
        &mut self,
        session: SessionId,
        peer: NodeId,
        addr: SocketAddr,
        exporter: [u8; 32],
    ) {
        if self.peers.contains_key(&peer) {
            self.forget_links(peer);
        }
        self.peers.insert(peer, Peer { session, addr, exporter, tags: Vec::new() });
        self.discovery.connected(&self.host, peer, addr);
        self.host.event(Event::PeerUp(peer));
        self.say_hello(peer);
        for join in &mut self.joins {
            if let Some(message) = join.session_up(&mut self.host, peer, &exporter) {
                self.host.send(session, Lane::Control, &message);
            }
        }
    }

    pub(crate) fn session_down(&mut self, session: SessionId, peer: NodeId) {
        if self.peers.get(&peer).is_none_or(|p| p.session != session) {
            return;
        }
        self.peers.remove(&peer);
        self.forget_links(peer);
        self.invitations.peer_gone(&peer);
        self.discovery.disconnected(&self.host, peer);
        self.joins.iter_mut().for_each(|join| join.peer_failed(&peer));
        self.host.event(Event::PeerDown(peer));
    }

    fn forget_links(&mut self, peer: NodeId) {
        for space in self.spaces.values_mut() {
            space.link_down(&mut self.host, peer);
        }
    }

    pub(crate) fn dial_failed(&mut self, peer: NodeId) {
        self.discovery.dial_failed(&mut self.host, peer);
        self.joins.iter_mut().for_each(|join| join.peer_failed(&peer));
    }

    pub(crate) fn lan_peer(&mut self, peer: NodeId, addrs: Vec<SocketAddr>, codes: &[[u8; 8]]) {
        self.discovery.learn(&mut self.host, &mut self.store, peer, &addrs);
        let offers = |sought: &[u8; 32]| codes.iter().any(|code| sought.starts_with(code));
        self.candidate(peer, addrs, |sought| sought.as_ref().is_none_or(offers));
    }

    pub(crate) fn address_observed(&mut self, addr: SocketAddr) {
        let addrs = &mut self.discovery.addrs;
        if !addrs.contains(&addr) && addrs.len() < MAX_ADDRS {
            addrs.push(addr);
            self.discovery.announce_soon(self.host.now);
        }
    }

    /// Tells a peer who we are and, blinded, which spaces we have.
    pub(crate) fn say_hello(&mut self, peer: NodeId) {
        let Some(Peer { session, exporter, .. }) = self.peers.get(&peer) else { return };
        let tags = self.spaces.values().filter(|s| !s.paused).flat_map(|s| s.tag(exporter)).collect();
        let addrs = self.discovery.addrs.iter().take(MAX_ADDRS).copied().collect();
        let is_member = self.spaces.values().any(|space| space.is_member(&peer));
        let (claim, heard) = if is_member { self.claims.for_member(&peer) } else { (None, None) };
        let hello = Message::Hello { version: VERSION, addrs, tags, claim, heard };
        self.host.send(*session, Lane::Control, &hello);
    }

    /// The list of spaces to sync changed: everybody is told, and what both have is opened.
    pub(crate) fn spaces_changed(&mut self) {
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.say_hello(peer);
            self.open_common(peer);
        }
    }

    /// Opens the spaces that both sides named.
    fn open_common(&mut self, peer: NodeId) {
        let Some(Peer { session, exporter, tags, .. }) = self.peers.get(&peer) else { return };
        let me = self.host.me;
        for space in self.spaces.values_mut().filter(|s| !s.paused) {
            if space.links.contains_key(&peer) || !tags.contains(&space.tag(exporter)) {
                continue;
            }
            let credentials =
                space.graph.credentials(&me).iter().map(|s| s.bytes().to_vec().into()).collect();
            self.host.send(*session, Lane::Control, &Message::Open { space: space.id.into(), credentials });
            space.link_up(&mut self.host, peer, *session);
            if space.rights_of(&self.host, &peer).is_empty() {
                space.tell_revoked(&mut self.host, peer);
            }
        }
    }

    /// A message from a peer.
    pub(crate) fn on_message(
        &mut self,
        session: SessionId,
        peer: NodeId,
        bytes: &[u8],
    ) -> Result<(), PeerFault> {
        if self.peers.get(&peer).is_none_or(|p| p.session != session) {
            return Ok(());
        }
        let blame = |what| PeerFault { peer, what };
        let message = Message::from_bytes(bytes).map_err(|_| blame("not a message of this protocol"))?;
        match self.take_message(peer, message) {
            Ok(()) => Ok(()),
            Err(fault) => {
                let what = fault_text(fault);
                self.host.event(Event::Fault { peer, what });
                if fault == Fault::Flood {
                    self.host.push(Output::Close { session });
                }
                Err(blame(what))
            }
        }
    }

    fn take_message(&mut self, peer: NodeId, message: Message) -> Result<(), Fault> {
        match message {
            Message::Hello { version, addrs, tags, claim, heard } => {
                self.on_hello(peer, version, &addrs, &tags);
                if self.spaces.values().any(|space| space.is_member(&peer)) {
                    let [claim, heard] = [&claim, &heard].map(|bytes| bytes.as_ref().map(|bytes| &bytes[..]));
                    self.claims.hear(&mut self.store, peer, claim, heard)?;
                }
            }
            Message::Redeem { invitation, proof } => self.on_redeem(peer, &invitation, &proof),
            Message::Code { rendezvous, hello } => self.on_code(peer, &rendezvous, &hello),
            Message::CodeAnswer { answer } => self.on_code_answer(peer, &answer),
            Message::CodeProof { proof } => self.on_code_proof(peer, &proof),
            Message::Welcome { space, name, statements, proof } => {
                self.on_welcome(peer, space_of(space), name, &statements, &proof);
            }
            Message::Refused { why } => self.on_refused(peer, why),
            other => return self.take_space_message(peer, other),
        }
        Ok(())
    }

    fn take_space_message(&mut self, peer: NodeId, message: Message) -> Result<(), Fault> {
        let (host, store) = (&mut self.host, &mut self.store);
        let Some(space) = message.space().and_then(|id| self.spaces.get_mut(&space_of(id))) else {
            return Ok(());
        };
        if !space.links.contains_key(&peer) {
            return Ok(());
        }
        match message {
            Message::Open { credentials, .. } => {
                for statement in &credentials {
                    space.take_statement(host, store, statement)?;
                }
                space.review_link(host, peer);
                space.changed(host.now);
                space.seek_statements(host, peer);
            }
            Message::Summary { control, operations, pending, scanning, .. } => {
                space.on_summary(host, peer, Summary { control, operations, pending, scanning });
            }
            Message::Reconcile { set, session, initiator, body, .. } => {
                space.on_reconcile(host, peer, set, session, initiator, &body)?;
            }
            Message::Want { set, ids, .. } => space.on_want(host, store, peer, set, &ids),
            Message::Answer { set, items, done, .. } => {
                space.on_answer(host, store, peer, set, &items, done)?
            }
            Message::Gossip { body, .. } => space.on_gossip(host, store, peer, &body)?,
            Message::WantChunks { pairs, .. } => space.on_want_chunks(host, store, peer, &pairs)?,
            Message::Chunk { id, data, .. } => space.on_chunk(host, peer, id.0, data),
            _ => {}
        }
        Ok(())
    }

    fn on_hello(&mut self, peer: NodeId, version: u16, addrs: &[SocketAddr], tags: &[u8]) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if version < VERSION {
            let session = known.session;
            self.host.push(Output::Close { session });
            return;
        }
        known.tags = tags.as_chunks::<16>().0.to_vec();
        for space in self.spaces.values_mut() {
            let is_named = known.tags.contains(&space.tag(&known.exporter));
            space.retain_links(&mut self.host, |linked| *linked != peer || is_named);
        }
        self.discovery.learn(&mut self.host, &mut self.store, peer, addrs);
        self.open_common(peer);
    }

    fn on_redeem(&mut self, peer: NodeId, id: &[u8; 16], proof: &[u8; 32]) {
        let Some(exporter) = self.peers.get(&peer).map(|p| p.exporter) else { return };
        match self.invitations.redeem(&self.host, peer, &exporter, id, proof) {
            Ok(invitation) => self.welcome(peer, invitation, Vec::new()),
            Err(why) => self.refuse(peer, why),
        }
    }

    fn on_code(&mut self, peer: NodeId, rendezvous: &[u8; 32], hello: &[u8]) {
        let Some(Peer { session, exporter, .. }) = self.peers.get(&peer) else { return };
        let (session, exporter) = (*session, *exporter);
        match self.invitations.begin(&mut self.host, peer, &exporter, rendezvous, hello) {
            Ok(answer) => self.host.send(session, Lane::Control, &Message::CodeAnswer { answer }),
            Err(why) => self.refuse(peer, why),
        }
    }

    fn on_code_answer(&mut self, peer: NodeId, answer: &[u8]) {
        let Some(session) = self.peers.get(&peer).map(|p| p.session) else { return };
        for join in &mut self.joins {
            if let Some(message) = join.answered(peer, answer) {
                self.host.send(session, Lane::Control, &message);
            }
        }
    }

    fn on_code_proof(&mut self, peer: NodeId, proof: &[u8]) {
        match self.invitations.finish(&self.host, &mut self.store, peer, proof) {
            Ok((invitation, mine)) => self.welcome(peer, invitation, mine),
            Err(why) => {
                if why == Refusal::Unknown {
                    self.host.event(Event::CodeBurned { peer });
                    self.announce_codes();
                }
                self.refuse(peer, why);
            }
        }
    }

    /// Lets the bearer of an invitation in.
    fn welcome(&mut self, peer: NodeId, invitation: Invitation, proof: Vec<u8>) {
        let id = invitation.space();
        let Some(space) = self.spaces.get_mut(&id) else { return self.refuse(peer, Refusal::Unknown) };
        // Whoever used it and has no rights any more was revoked since.
        if invitation.is_used() && space.rights_of(&self.host, &peer).is_empty() {
            return self.refuse(peer, Refusal::Used);
        }
        if space.admit(&mut self.host, &mut self.store, peer, invitation.access()).is_err() {
            return self.refuse(peer, Refusal::Unknown);
        }
        self.invitations.use_up(&mut self.store, invitation, peer);
        let statements: Vec<ByteVec> = space.statements().map(ByteVec::from).collect();
        let message = Message::Welcome { space: id.into(), name: space.name.clone(), statements, proof };
        if let Some(Peer { session, .. }) = self.peers.get(&peer) {
            self.host.send(*session, Lane::Control, &message);
        }
        self.host.event(Event::MemberJoined { space: id, member: peer });
        self.announce_codes();
    }

    fn refuse(&mut self, peer: NodeId, why: Refusal) {
        if let Some(Peer { session, .. }) = self.peers.get(&peer) {
            self.host.send(*session, Lane::Control, &Message::Refused { why });
        }
    }

    fn on_refused(&mut self, peer: NodeId, why: Refusal) {
        let Some(at) = self.joins.iter().position(|j| j.concerns(&peer)) else { return };
        let mut join = self.joins.remove(at);
        self.host.push(Output::Answer { id: join.command, result: Err(join.refused(why)) });
    }

    /// What a redeemed invitation gives: the space begins to exist here.
    fn on_welcome(&mut self, peer: NodeId, id: SpaceId, name: String, statements: &[ByteVec], proof: &[u8]) {
        let Some(at) = self.joins.iter_mut().position(|j| j.concerns(&peer)) else { return };
        if !self.joins[at].welcomed(peer, proof) {
            return;
        }
        let join = self.joins.remove(at);
        let result = match self.enter(id, name, statements, join.folder) {
            Ok(true) => {
                self.opening.insert(id, join.command);
                return;
            }
            Ok(false) => Ok(self.joined(id)),
            Err(problem) => Err(problem),
        };
        self.host.push(Output::Answer { id: join.command, result });
    }

    /// Takes a space that this device was let into. `true` when its folder is being opened.
    fn enter(
        &mut self,
        id: SpaceId,
        name: String,
        statements: &[ByteVec],
        folder: Option<PathBuf>,
    ) -> Result<bool, Problem> {
        let name = self.name_for(id, name);
        if let Some(dir) = self.folder_of(&id).filter(|_| folder.is_some()) {
            return Err(Problem::new(
                ProblemCode::Folder,
                format!("This device has this space already, in {}.", dir.display()),
                "Use it there; one device keeps a space in one folder.",
            ));
        }
        let known = self.spaces.remove(&id);
        let mut space =
            known.unwrap_or_else(|| Space::new(&mut self.host, id, name, None, Keyring::default()));
        let mut taken = Ok(());
        for statement in statements {
            taken = taken.and(space.take_statement(&mut self.host, &mut self.store, statement).map(|_| ()));
        }
        let rights = space.rights_of(&self.host, &self.host.me);
        if taken.is_err() || !rights.contains(Rights::READ) || space.keys.is_empty() {
            return Err(Problem::new(
                ProblemCode::BadInvitation,
                "The inviting device sent a space that does not let this device in.",
                "Ask for a new invitation from somebody who manages the space.",
            ));
        }
        let opens = folder.is_some() && space.files.dir.is_none();
        if opens {
            space.files = Files::new(folder);
            space.open_folder(&mut self.host, true);
        }
        self.spaces.insert(id, space);
        self.keep_settings(id);
        self.spaces_changed();
        Ok(opens)
    }

    /// The inviter's name for the space, unless another space here has it.
    fn name_for(&self, id: SpaceId, name: String) -> String {
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let taken = |name: &str| self.spaces.values().any(|s| s.id != id && s.name == name);
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        std::iter::once(name.clone()).chain(numbered).find(|n| !taken(n)).unwrap_or(name)
    }

    fn joined(&self, id: SpaceId) -> Reply {
        let name = self.spaces.get(&id).map(|s| s.name.clone()).unwrap_or_default();
        Reply::Joined { space: id.to_string(), name }
    }

    /// The folder of a joined space is open, or cannot be.
    pub(crate) fn answer_join(&mut self, id: SpaceId, failed: Option<String>) {
        let Some(command) = self.opening.remove(&id) else { return };
        let result = match failed {
            None => Ok(self.joined(id)),
            Some(why) => Err(folder_problem(why)),
        };
        self.host.push(Output::Answer { id: command, result });
    }

    /// Tells the local network which codes can be met here.
    pub(crate) fn announce_codes(&mut self) {
        let open = self.invitations.open_codes(self.host.unix_ms());
        let codes = open.iter().map(|c| std::array::from_fn(|i| c[i])).collect();
        self.host.push(Output::Announce { codes });
        self.discovery.codes_changed(self.host.now);
    }
}

fn space_of(key: Key32) -> SpaceId {
    SpaceId::from(OpId::from_bytes(key.0))
}

/// A fault as a peer's; `Display` of the same says it without the blame.
fn fault_text(fault: Fault) -> &'static str {
    match fault {
        Fault::Malformed => "a statement, operation, claim or gossip message that does not decode or verify",
        Fault::OtherSpace => "a statement or operation of another space",
        Fault::Forbidden => "an operation whose author had no right to it",
        Fault::Inconsistent => "an operation that contradicts its author's earlier ones",
        Fault::Future => "an operation from more than a day ahead",
        Fault::Flood => "more requests at once than a peer may make",
        Fault::Reconciliation => "a reconciliation message that no honest peer sends",
        Fault::NoKey | Fault::TooLarge | Fault::Disk => {
            "nothing: this node's own disk or keys are in the way"
        }
    }
}
