//! Statements and operations on their way in: checked, judged, stored, applied (NODE-10).
//!
//! An operation is applied when its signature holds, what it names is here, its clock runs forward, and the control
//! graph calls it valid. One that names unknown things waits. One that nothing can ever make valid is refused and not
//! kept; one that a revocation put in quarantine is kept and does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use cs_crypto::epoch::{Announcement, EpochId, Epochs};
use cs_identity::control::{Action, Statement, Verdict};
use cs_identity::{NodeId, OpId, Rights, Signed, Unverified};
use cs_store::{Disk, MAX_SEALED, Operation};

use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::keys::document_id;
use crate::core::ports::FolderCommand;
use crate::core::space::documents::Documents;
use crate::core::space::{Fault, Space};
use crate::core::tree::{Head, Tree};
use crate::folder::{FileVersion, RelPath};

pub(crate) const KIND_FILE: u8 = 1;
pub(crate) const KIND_JSON: u8 = 2;

/// The plaintext of an operation.
#[derive(Debug)]
pub(crate) enum Body {
    /// A version of a file, directory or link.
    File(FileVersion),
    /// A change of a JSON document.
    Json {
        /// Its path.
        path: RelPath,
        /// The change, as the CRDT encodes it.
        change: Vec<u8>,
    },
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Self::File(_) => KIND_FILE,
            Self::Json { .. } => KIND_JSON,
        }
    }

    pub(crate) fn path(&self) -> &RelPath {
        match self {
            Self::File(file) => &file.path,
            Self::Json { path, .. } => path,
        }
    }

    /// The kind, then the file version, or the length of the path (2 bytes, little-endian), the path and the change.
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind()];
        match self {
            Self::File(file) => file.encode(&mut out),
            Self::Json { path, change } => {
                let path = path.as_bytes();
                out.extend_from_slice(&(path.len() as u16).to_le_bytes());
                out.extend_from_slice(path);
                out.extend_from_slice(change);
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            KIND_FILE => FileVersion::from_bytes(rest).ok().map(Self::File),
            KIND_JSON => {
                let (len, rest) = rest.split_first_chunk::<2>()?;
                let (path, change) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
                Some(Self::Json { path: RelPath::new(path).ok()?, change: change.to_vec() })
            }
            _ => None,
        }
    }
}

/// Whoever may begin an epoch leaves this long to whoever made it necessary.
const MEND_KEYS_AFTER: Duration = Duration::from_secs(2);

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is stored, and applied if it counts.
    New,
    /// It was here.
    Known,
    /// It waits for what it names.
    Held,
}

impl Space {
    /// Checks and takes a control statement. `false` when it was known or waits for others.
    pub(crate) fn take_statement<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        bytes: &[u8],
    ) -> Result<bool, Fault> {
        let unverified = Unverified::<Statement>::from_bytes(bytes).map_err(|_| Fault::Malformed)?;
        if self.graph.get(&unverified.id()).is_some() {
            return Ok(false);
        }
        let signed = unverified.verify().map_err(|_| Fault::Malformed)?;
        if signed.space() != self.id {
            return Err(Fault::OtherSpace);
        }
        let before = self.graph.len();
        self.graph.insert(signed).map_err(|_| Fault::Forbidden)?;
        if self.graph.len() == before {
            return Ok(false);
        }
        let new = self.store_new_statements(store)?;
        self.control_changed(host, store, &new)?;
        Ok(true)
    }

    /// Stores what the graph accepted: the statement itself and those that had waited for it.
    fn store_new_statements<D: Disk>(&mut self, store: &mut Archive<D>) -> Result<Vec<OpId>, Fault> {
        let new: Vec<OpId> = self.graph.ids().filter(|id| !self.control.contains(id.as_bytes())).collect();
        for id in &new {
            if let Some(statement) = self.graph.get(id) {
                store.stage_statement(statement)?;
                self.control.insert(*id.as_bytes());
            }
        }
        Ok(new)
    }

    /// Grants, cuts or keys changed: everything that depends on them is looked at again.
    fn control_changed<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        new: &[OpId],
    ) -> Result<(), Fault> {
        let had_keys = !self.keys.is_empty();
        let could_write = self.keys.writing().is_some();
        self.take_keys(host);
        if !had_keys && !self.keys.is_empty() {
            // Keys that a damaged log had lost come back from others; the folder has waited for them.
            self.open_folder(host, false);
        } else if !could_write && self.keys.writing().is_some() {
            // Edits that had to wait for a key are found again.
            self.files.troubles.clear();
            self.tell_folder(host, FolderCommand::Scan { scope: None });
        }
        self.changed(host.now);
        let peers: Vec<NodeId> = self.links.keys().copied().collect();
        for peer in peers {
            self.review_link(host, peer);
        }
        // A grant or an epoch leaves every verdict as it was, unless it forks its author's log; only a sealed operation may open
        // now.
        let forked: BTreeSet<NodeId> = self.graph.forks().map(|(author, _)| author).collect();
        let plain = |id: &OpId| {
            self.graph.get(id).is_some_and(|statement| {
                let action = &statement.action;
                matches!(action, Action::Genesis { .. } | Action::Grant { .. } | Action::Epoch { .. })
                    && !forked.contains(&statement.author)
            })
        };
        if !new.iter().all(plain) || !self.sealed.is_empty() {
            self.rebuild(store);
        }
        // What waited for a statement is tried again; what waits for another one is held again.
        let mut fault = Ok(());
        for id in new {
            fault = fault.and(self.release(host, store, *id));
        }
        fault
    }

    fn take_keys(&mut self, host: &Host) {
        for (_, statement) in self.graph.epochs() {
            self.keys.take(host, self.id, &statement.action);
        }
        let readers = self.readers().iter().map(|reader| *reader.as_bytes()).collect();
        let (known, revoked) = self.known_epochs();
        self.keys.review(known, &readers, &revoked);
        let is_lacking = self.keys.must_rotate() || !self.keys.unserved(&self.readers()).is_empty();
        self.keys_at = (is_lacking && self.may_invite(host).is_ok()).then_some(host.now + MEND_KEYS_AFTER);
    }

    /// What the statements say of epochs, each with the revocations that its author had seen; and all revocations.
    fn known_epochs(&self) -> (Epochs, BTreeSet<[u8; 32]>) {
        let standing: BTreeSet<OpId> = self.graph.epochs().map(|(id, _)| id).collect();
        let (mut known, mut all) = (Epochs::default(), Rc::default());
        let mut seen: BTreeMap<OpId, Rc<BTreeSet<[u8; 32]>>> = BTreeMap::new();
        for statement in self.graph.statements() {
            let mut revoked = Rc::new(BTreeSet::new());
            for past in statement.heads.iter().chain(&statement.backlink).filter_map(|id| seen.get(id)) {
                unite(&mut revoked, past);
            }
            match &statement.action {
                Action::Cut { .. } => {
                    Rc::make_mut(&mut revoked).insert(*statement.id().as_bytes());
                    unite(&mut all, &revoked);
                }
                Action::Epoch { number, root_commitment, boxes } => known.announce(&Announcement {
                    id: EpochId { number: *number, commitment: *root_commitment },
                    readers: &boxes.iter().map(|(reader, _)| *reader.as_bytes()).collect(),
                    revoked: &revoked,
                    unix_ms: statement.unix_ms,
                    stands: standing.contains(&statement.id()),
                }),
                _ => {}
            }
            seen.insert(statement.id(), revoked);
        }
        (known, Rc::unwrap_or_clone(all))
    }

    /// Checks and takes an operation, and whatever waited for it.
    pub(crate) fn take_operation<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        bytes: &[u8],
    ) -> Result<Taken, Fault> {
        let unverified = Unverified::<Operation>::from_bytes(bytes).map_err(|_| Fault::Malformed)?;
        if self.operations.contains(unverified.id().as_bytes()) {
            return Ok(Taken::Known);
        }
        let operation = unverified.verify().map_err(|_| Fault::Malformed)?;
        let id = operation.id();
        let taken = self.admit_operation(host, store, operation)?;
        if taken == Taken::New {
            self.changed(host.now);
            self.release(host, store, id)?;
        }
        Ok(taken)
    }

    fn release<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        arrived: OpId,
    ) -> Result<(), Fault> {
        let mut fault = Ok(());
        let mut arrived = vec![arrived];
        while let Some(id) = arrived.pop() {
            for bytes in self.waiting.release(&id) {
                // Held bytes were verified when they came.
                let Ok(held) = Unverified::<Operation>::from_bytes(&bytes) else { continue };
                let operation = held.assume_verified();
                let id = operation.id();
                match self.admit_operation(host, store, operation) {
                    Ok(Taken::New) => arrived.push(id),
                    Ok(_) => {}
                    Err(e) => fault = Err(e),
                }
            }
        }
        fault
    }

    fn admit_operation<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        operation: Signed<Operation>,
    ) -> Result<Taken, Fault> {
        if operation.space != self.id {
            return Err(Fault::OtherSpace);
        }
        if host.is_future(operation.clock) {
            return Err(Fault::Future);
        }
        if let Some(missing) = self.first_missing(&operation) {
            return self.hold(&operation, missing);
        }
        let mut previous = None;
        for dep in operation.deps.iter().chain(&operation.backlink) {
            let earlier = self.stored_operation(store, dep).ok_or(Fault::Disk)?;
            if earlier.clock >= operation.clock || earlier.document != operation.document {
                return Err(Fault::Inconsistent);
            }
            if operation.backlink == Some(*dep) {
                previous = Some(earlier.facts(*dep));
            }
        }
        let facts = operation.facts(operation.id());
        match self.graph.verdict(&facts) {
            // Every head it names is here, so a verdict that waits is about nothing that can arrive.
            Verdict::Pending => return Err(Fault::Inconsistent),
            Verdict::Quarantined(reason) if reason.is_final() => return Err(Fault::Forbidden),
            Verdict::Quarantined(_) | Verdict::Valid => {}
        }
        store.stage_operation(&operation)?;
        self.operations.insert_at(*operation.id().as_bytes(), operation.clock);
        host.observe(operation.clock);
        if self.logs.note(&self.graph, previous.as_ref(), &facts) {
            // What was applied of this log may stand behind the fault.
            self.rebuild(store);
        } else {
            let verdict = self.verdict(store, &operation);
            self.apply(&operation, verdict);
        }
        Ok(Taken::New)
    }

    /// The first thing that the operation names and that is not here.
    fn first_missing(&self, operation: &Operation) -> Option<OpId> {
        let data = operation.deps.iter().chain(&operation.backlink);
        let lacking = data.copied().find(|dep| !self.operations.contains(dep.as_bytes()));
        lacking
            .or_else(|| operation.control_heads.iter().copied().find(|head| self.graph.get(head).is_none()))
    }

    fn hold(&mut self, operation: &Signed<Operation>, missing: OpId) -> Result<Taken, Fault> {
        let held = self.waiting.hold(operation.id(), operation.bytes().to_vec(), missing);
        if held { Ok(Taken::Held) } else { Err(Fault::Flood) }
    }

    /// Lets a stored operation take effect, or stand aside.
    fn apply(&mut self, operation: &Signed<Operation>, verdict: Verdict) {
        if verdict == Verdict::Pending {
            // A damaged log lost a statement that it names: it is judged when that is back, and condemns nothing until then.
            self.sealed.push(operation.id());
            return;
        }
        if verdict != Verdict::Valid {
            self.tree.pass_over(operation.id(), &operation.deps);
            self.documents.pass_over(operation.id(), &operation.deps);
            return;
        }
        let Some(body) = self.open_body(operation) else {
            self.sealed.push(operation.id());
            return;
        };
        match body {
            Body::File(FileVersion { path, content, .. }) => {
                let head =
                    Head { id: operation.id(), author: operation.author, clock: operation.clock, content };
                self.tree.add(&path, &operation.deps, head);
            }
            Body::Json { path, change } => self.documents.add(&path, operation, &change),
        }
    }

    /// Opens an operation. `None` when no key here does, or when what is inside is not what the envelope says.
    pub(crate) fn open_body(&self, operation: &Operation) -> Option<Body> {
        let plain = self.keys.open(operation.epoch, &operation.aad(), &operation.sealed)?;
        let body = Body::decode(&plain)?;
        let path = self.keys.blind(body.path())?.ok()?;
        let fits = path == operation.path && document_id(body.kind(), &path) == operation.document;
        fits.then_some(body)
    }

    /// Judges and applies every stored operation anew.
    fn rebuild<D: Disk>(&mut self, store: &Archive<D>) {
        let on_disk = self.tree.take_on_disk();
        self.tree = Tree::default();
        self.documents = Documents::default();
        self.sealed.clear();
        self.apply_all(store, &store.operations(&self.id));
        for (path, versions) in on_disk {
            self.tree.set_on_disk(&path, versions);
        }
    }

    /// Fills a space from the store when the node starts.
    pub(crate) fn load<D: Disk>(&mut self, host: &mut Host, store: &Archive<D>) {
        for statement in store.statements(&self.id) {
            self.control.insert(*statement.id().as_bytes());
            // The graph buffers what comes before its past, and accepts again what it accepted before.
            let _ = self.graph.insert(statement);
        }
        self.take_keys(host);
        let operations = store.operations(&self.id);
        for operation in &operations {
            self.operations.insert_at(*operation.id().as_bytes(), operation.clock);
            host.observe(operation.clock);
        }
        self.note_logs(&operations);
        self.apply_all(store, &operations);
    }

    /// Judges and applies operations, each after those it names.
    fn apply_all<D: Disk>(&mut self, store: &Archive<D>, operations: &[Signed<Operation>]) {
        let odd = self.odd_verdicts(store);
        for operation in operations {
            let id = operation.id();
            let verdict = odd.get(&id).copied().unwrap_or_else(|| self.graph.verdict(&operation.facts(id)));
            self.apply(operation, verdict);
        }
    }

    /// Seals, signs, stores and spreads an operation of this device.
    ///
    /// # Errors
    /// [`Fault::Forbidden`] when no grant of this device lets it write there; nothing changed then.
    pub(crate) fn write<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        body: &Body,
        deps: Vec<OpId>,
    ) -> Result<OpId, Fault> {
        let path = self.keys.blind(body.path()).ok_or(Fault::NoKey)?.map_err(|_| Fault::TooLarge)?;
        if self.keys.must_rotate() && self.may_invite(host).is_ok() {
            self.rotate(host, store)?;
        }
        let (epoch, key) = self.keys.writing().ok_or(Fault::NoKey)?;
        let grant =
            self.graph.grant_for(&host.me, &path, host.unix_ms(), Rights::WRITE).ok_or(Fault::Forbidden)?;
        let document = document_id(body.kind(), &path);
        let last = self.logs.end(host.me, document);
        let mut operation = Operation {
            space: self.id,
            path,
            document,
            author: host.me,
            seq: last.map_or(0, |last| last.seq + 1),
            backlink: last.map(|last| last.id),
            deps,
            clock: host.tick(),
            grant,
            control_heads: self.graph.heads(),
            epoch,
            sealed: Vec::new(),
        };
        let plain = body.encode();
        if plain.len() + cs_crypto::epoch::OPERATION_OVERHEAD > MAX_SEALED {
            return Err(Fault::TooLarge);
        }
        operation.sealed = cs_crypto::epoch::seal_operation(&key, &operation.aad(), &plain);
        let signed = operation.sign(&host.secret).map_err(|_| Fault::TooLarge)?;
        let (id, bytes) = (signed.id(), signed.bytes().to_vec());
        self.admit_operation(host, store, signed)?;
        self.spread_operation(host, &bytes);
        Ok(id)
    }

    /// An operation of this space from the store.
    pub(crate) fn stored_operation<D: Disk>(
        &self,
        store: &Archive<D>,
        id: &OpId,
    ) -> Option<Signed<Operation>> {
        store.operation(id).filter(|operation| operation.space == self.id)
    }
}

/// Adds one set to another; the same set is shared where one holds all of the other.
fn unite(into: &mut Rc<BTreeSet<[u8; 32]>>, from: &Rc<BTreeSet<[u8; 32]>>) {
    if into.is_empty() {
        *into = Rc::clone(from);
    } else if !Rc::ptr_eq(into, from) && !from.is_subset(into) {
        Rc::make_mut(into).extend(from.iter());
    }
}
