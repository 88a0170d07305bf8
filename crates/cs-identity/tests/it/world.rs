//! Devices that write to one space, each from what it knows, honestly or not.

use cs_identity::control::{
    Action, ControlGraph, DataFrontier, Draft, Frontier, InsertError, Inserted, Mark, OpFacts, Statement,
};
use cs_identity::{Area, BlindPath, NodeId, OpId, Rights, SecretKey, Signed, Tag};

pub(crate) fn tag(n: u8) -> Tag {
    Tag::from_bytes([n; 16])
}

pub(crate) fn path(tags: &[u8]) -> BlindPath {
    BlindPath::new(tags.iter().copied().map(tag).collect()).unwrap()
}

pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n + 1; 32])
}

/// One device: its key and what it knows of the space.
pub(crate) struct Device {
    pub(crate) key: SecretKey,
    pub(crate) graph: ControlGraph,
}

/// A space with its devices, everything they ever signed, and all their operations. Device 0 is the root.
pub(crate) struct World {
    pub(crate) devices: Vec<Device>,
    pub(crate) statements: Vec<Signed<Statement>>,
    pub(crate) operations: Vec<OpFacts>,
}

impl World {
    pub(crate) fn new(devices: u8) -> Self {
        let genesis = Statement::sign(&key(0), Draft::genesis([7; 16], 1000)).unwrap();
        let device = |n| {
            let mut graph = ControlGraph::new(genesis.space());
            assert_eq!(graph.insert(genesis.clone()), Ok(Inserted::New));
            Device { key: key(n), graph }
        };
        Self {
            devices: (0..devices).map(device).collect(),
            statements: vec![genesis.clone()],
            operations: vec![],
        }
    }

    pub(crate) fn id(&self, device: usize) -> NodeId {
        self.devices[device].key.node_id()
    }

    pub(crate) fn genesis(&self) -> OpId {
        self.statements[0].id()
    }

    /// A device says something; it goes into the pool whether or not anyone takes it.
    pub(crate) fn say(&mut self, device: usize, unix_ms: u64, action: Action) -> Result<OpId, InsertError> {
        let author = self.id(device);
        let draft = self.devices[device].graph.next_draft(author, action, unix_ms);
        self.publish(device, draft)
    }

    /// As `say`, but in place of the device's last statement: a fork.
    pub(crate) fn say_instead(
        &mut self,
        device: usize,
        unix_ms: u64,
        action: Action,
    ) -> Result<OpId, InsertError> {
        let author = self.id(device);
        let graph = &self.devices[device].graph;
        let mut draft = graph.next_draft(author, action, unix_ms);
        let last = draft.backlink.and_then(|backlink| graph.get(&backlink));
        if let Some(last) = last.filter(|last| last.space.is_some()) {
            (draft.seq, draft.backlink, draft.heads) = (last.seq, last.backlink, last.heads.clone());
        }
        self.publish(device, draft)
    }

    pub(crate) fn publish(&mut self, device: usize, draft: Draft) -> Result<OpId, InsertError> {
        let Device { key, graph } = &mut self.devices[device];
        let statement = Statement::sign(key, draft).unwrap();
        let id = statement.id();
        self.statements.push(statement.clone());
        graph.insert(statement).map(|_| id)
    }

    /// Shorthand for a grant over a prefix for ever.
    pub(crate) fn grant(
        &mut self,
        from: usize,
        parent: Option<OpId>,
        to: usize,
        prefix: &[u8],
        rights: Rights,
        depth: u8,
    ) -> Result<OpId, InsertError> {
        let holder = self.id(to);
        self.say(from, 2000, Action::Grant { parent, holder, area: Area::under(path(prefix)), rights, depth })
    }

    /// What `author` would publish to recover the space for `to`, with these guardians' agreement.
    pub(crate) fn recovery(&self, author: usize, guardians: OpId, cosigners: &[u8], to: NodeId) -> Draft {
        let action = Action::Recover { guardians, holder: to, cosigned: vec![] };
        let mut draft = self.devices[author].graph.next_draft(self.id(author), action, 4000);
        let proposed = draft.clone().proposed_by(self.id(author));
        let agreed = |&n: &u8| (key(n).node_id(), proposed.cosign(&key(n)));
        if let Action::Recover { cosigned, .. } = &mut draft.action {
            *cosigned = cosigners.iter().map(agreed).collect();
        }
        draft
    }

    pub(crate) fn sync(&mut self, from: usize, to: usize) {
        let known: Vec<_> = self.devices[from].graph.statements().cloned().collect();
        for statement in known {
            self.devices[to].graph.insert(statement).unwrap();
        }
    }

    pub(crate) fn sync_all(&mut self) {
        for device in 0..self.devices.len() {
            self.sync(device, 0);
        }
        for device in 1..self.devices.len() {
            self.sync(0, device);
        }
    }

    /// The facts of the device's next operation in a document under a grant.
    pub(crate) fn write(
        &mut self,
        device: usize,
        grant: OpId,
        document: u8,
        at: &[u8],
        unix_ms: u64,
    ) -> OpFacts {
        let author = self.id(device);
        let last = self.operations.iter().rfind(|op| op.author == author && op.document == [document; 16]);
        let facts = OpFacts {
            id: OpId::of(&(self.operations.len() as u64).to_le_bytes()),
            author,
            document: [document; 16],
            seq: last.map_or(0, |last| last.seq + 1),
            backlink: last.map(|last| last.id),
            path: path(at),
            unix_ms,
            grant,
            heads: self.devices[device].graph.heads(),
        };
        self.operations.push(facts.clone());
        facts
    }

    /// A frontier of `of` that keeps what `device` knows of its statements, and its operations so far.
    pub(crate) fn frontier(&self, device: usize, of: usize) -> (NodeId, Frontier) {
        let author = self.id(of);
        let mut documents: Vec<([u8; 16], Mark)> = vec![];
        for op in self.operations.iter().filter(|op| op.author == author) {
            documents.retain(|(document, mark)| *document != op.document || mark.seq > op.seq);
            if documents.iter().all(|(document, _)| *document != op.document) {
                documents.push((op.document, Mark { seq: op.seq, id: op.id }));
            }
        }
        (author, self.devices[device].graph.frontier_of(&author, DataFrontier::Listed(documents)))
    }
}
