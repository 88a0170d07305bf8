//! Who may do what: grants, revocations, and the keys that follow them.

use std::collections::BTreeMap;

use cs_identity::control::{Action, DataFrontier, DocumentId, Frontier, Holding, Mark, Statement};
use cs_identity::{Area, NodeId, OpId, Rights};
use cs_store::Disk;
use cs_transport::wire::Lane;
use minicbor::bytes::ByteVec;

use crate::api::Access;
use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::space::{Fault, Space};
use crate::wire::Message;

/// How many further grants a manager's own may stand above.
const MANAGER_DEPTH: u8 = 8;

impl Access {
    /// The rights it stands for.
    #[must_use]
    pub fn rights(self) -> Rights {
        match self {
            Self::Read => Rights::RELAY | Rights::READ,
            Self::Write => Rights::RELAY | Rights::READ | Rights::WRITE,
            Self::Manage => Rights::ALL,
        }
    }
}

/// The word for a set of rights.
pub(crate) fn access_name(rights: Rights) -> &'static str {
    if rights.contains(Rights::MANAGE) {
        "manage"
    } else if rights.contains(Rights::WRITE) {
        "write"
    } else if rights.contains(Rights::READ) {
        "read"
    } else if rights.contains(Rights::RELAY) {
        "relay"
    } else {
        "none"
    }
}

impl Space {
    /// Rights of a device over the whole space, in this node's own view.
    pub(crate) fn rights_of(&self, host: &Host, who: &NodeId) -> Rights {
        self.graph.rights(who, &cs_identity::BlindPath::root(), host.unix_ms())
    }

    /// Whether a device has any right here, anywhere.
    pub(crate) fn is_member(&self, who: &NodeId) -> bool {
        self.graph.root() == Some(*who) || !self.graph.grants_of(who).is_empty()
    }

    /// Gives a device access, and the keys to go with it.
    ///
    /// # Errors
    /// [`Fault::Forbidden`] when this device may not.
    pub(crate) fn admit<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        who: NodeId,
        access: Access,
    ) -> Result<(), Fault> {
        if self.rights_of(host, &who).contains(access.rights()) {
            return Ok(());
        }
        let parent = self.managing_grant(host)?;
        let depth = if access == Access::Manage { MANAGER_DEPTH } else { 0 };
        let grant =
            Action::Grant { parent, holder: who, area: Area::everything(), rights: access.rights(), depth };
        self.state(host, store, grant)?;
        for epoch in self.keys.boxes_for(host, self.id, &[who]) {
            self.state(host, store, epoch)?;
        }
        Ok(())
    }

    /// Takes every grant from a device, and begins an epoch whose key it does not get. Returns how many were cut.
    ///
    /// # Errors
    /// [`Fault::Forbidden`] when this device may not, or when `who` is the root.
    pub(crate) fn revoke<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        who: NodeId,
    ) -> Result<usize, Fault> {
        self.managing_grant(host)?;
        if self.graph.root() == Some(who) {
            return Err(Fault::Forbidden);
        }
        let grants: Vec<OpId> = self.graph.grants_of(&who).into_iter().map(|(id, _)| id).collect();
        let frontier = self.frontier_of(store, &who);
        for grant in &grants {
            let cut = Action::Cut { grant: *grant, frontier: frontier.clone(), cascade: false };
            self.state(host, store, cut)?;
        }
        self.tell_revoked(host, who);
        self.rotate(host, store)?;
        Ok(grants.len())
    }

    /// Tells a connected device what took its rights away, so that it need not guess: it is sent nothing else any more.
    pub(crate) fn tell_revoked(&self, host: &mut Host, who: NodeId) {
        let is_theirs = |grant: &OpId| {
            let grant = self.graph.get(grant).and_then(|s| s.action.as_grant());
            grant.is_some_and(|g| g.holder == who)
        };
        let cuts = self
            .graph
            .statements()
            .filter(|s| matches!(&s.action, Action::Cut { grant, .. } if is_theirs(grant)));
        let credentials: Vec<ByteVec> = cuts.map(|s| s.bytes().to_vec().into()).collect();
        if !credentials.is_empty() {
            self.send(host, who, Lane::Control, &Message::Open { space: self.id.into(), credentials });
        }
    }

    /// Begins a new epoch, its root sealed to everybody who may still read.
    pub(crate) fn rotate<D: Disk>(&mut self, host: &mut Host, store: &mut Archive<D>) -> Result<(), Fault> {
        let epoch = self.keys.next_epoch(host, self.id, &self.readers());
        self.state(host, store, epoch)
    }

    /// Everybody who may read.
    pub(crate) fn readers(&self) -> Vec<NodeId> {
        let members = self.graph.members().into_iter();
        members.filter(|(_, rights)| rights.contains(Rights::READ)).map(|(who, _)| who).collect()
    }

    /// Begins the epoch that is lacking, or gives the present one to those who were left out.
    pub(crate) fn mend_keys<D: Disk>(&mut self, host: &mut Host, store: &mut Archive<D>) {
        if self.keys_at.is_none_or(|at| at > host.now) {
            return;
        }
        self.keys_at = None;
        if self.keys.is_empty() || self.may_invite(host).is_err() {
            return;
        }
        let action = match self.keys.must_rotate() {
            true => Some(self.keys.next_epoch(host, self.id, &self.readers())),
            false => match &self.keys.unserved(&self.readers())[..] {
                [] => None,
                unserved => self.keys.box_for(host, self.id, unserved),
            },
        };
        // What the disk does not take now is taken up with the next statement.
        let _ = action.map(|action| self.state(host, store, action));
    }

    /// The grant by which this device may grant and revoke; `None` for the root, whose right needs none.
    fn managing_grant(&self, host: &Host) -> Result<Option<OpId>, Fault> {
        if self.graph.root() == Some(host.me) {
            return Ok(None);
        }
        let mine = self.graph.grants_of(&host.me);
        let manages = |held: &&(OpId, Holding)| held.1.rights.contains(Rights::MANAGE) && held.1.depth > 0;
        mine.iter().find(manages).map(|(id, _)| Some(*id)).ok_or(Fault::Forbidden)
    }

    /// Whether this device may invite others.
    pub(crate) fn may_invite(&self, host: &Host) -> Result<(), Fault> {
        self.managing_grant(host).map(drop)
    }

    /// How far the work of a grant's holder counts once it is cut: what this node has now.
    fn frontier_of<D: Disk>(&self, store: &Archive<D>, who: &NodeId) -> Vec<(NodeId, Frontier)> {
        let mut ends: BTreeMap<DocumentId, Mark> = BTreeMap::new();
        for operation in store.operations(&self.id).iter().filter(|o| o.author == *who) {
            let mark = Mark { seq: operation.seq, id: operation.id() };
            let end = ends.entry(operation.document).or_insert(mark);
            *end = (*end).max(mark);
        }
        vec![(*who, self.graph.frontier_of(who, DataFrontier::Listed(ends.into_iter().collect())))]
    }

    /// Signs and takes a statement of this device.
    pub(crate) fn state<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        action: Action,
    ) -> Result<(), Fault> {
        let draft = self.graph.next_draft(host.me, action, host.unix_ms());
        let signed = Statement::sign(&host.secret, draft).map_err(|_| Fault::TooLarge)?;
        self.take_statement(host, store, signed.bytes())?;
        self.spread_statement(host, signed.bytes());
        Ok(())
    }
}
