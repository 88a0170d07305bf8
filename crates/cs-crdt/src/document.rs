//! The document: what an application holds.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use crate::{
    actor::{Actor, Actors},
    apply::{apply_change, apply_hidden, apply_observed},
    change::{Change, Kind},
    compare::compare,
    context::Context,
    fault::{ChangeFault, EditError, LoadError},
    history::History,
    observe::{MAX_PATCHES, Watch},
    path::{Hop, Path, Step},
    pending::Pending,
    schema::Schema,
    slot::Slot,
    transaction::Transaction,
    undo::UndoStack,
    value::Value,
    wire::MAX_CHANGE_BYTES,
};

/// How far a document has come: for each author, how many of its dots were applied.
///
/// Two replicas with equal versions and nothing pending are equal.
pub type Version = BTreeMap<Actor, u64>;

/// What applying a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes that took effect now: none for a duplicate or one that must wait, and more than one if
    /// others had waited for this one.
    pub changes: usize,
    /// Changes that now wait for others.
    pub waiting: usize,
    /// Edits without effect, because what they name is not what they take it for. Honest authors make none.
    pub ineffective: usize,
    /// Edits that are in the document and not shown, because they break its [`Schema`](crate::Schema). See
    /// [`Document::quarantine`].
    pub quarantined: usize,
}

/// A replica of a document. See the crate's documentation.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) me: Actor,
    pub(crate) actors: Actors,
    pub(crate) context: Context,
    pub(crate) root: Slot,
    pub(crate) pending: Pending,
    /// What others' dots this replica's own changes have already named as seen.
    pub(crate) told: Context,
    /// What had been seen when the document was compacted last.
    pub(crate) floor: Context,
    pub(crate) history: Option<Box<History>>,
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) undo: Option<Box<UndoStack>>,
    pub(crate) schema: Option<Box<Schema>>,
}

impl Document {
    /// An empty document whose edits will be `actor`'s. No two replicas may share an actor, nor may one go on from
    /// a state older than the last change it sent: dots would be used twice, and replicas would differ.
    pub fn new(actor: impl Into<Actor>) -> Self {
        Self {
            me: actor.into(),
            actors: Actors::default(),
            context: Context::default(),
            root: Slot::default(),
            pending: Pending::default(),
            told: Context::default(),
            floor: Context::default(),
            history: None,
            watch: None,
            undo: None,
            schema: None,
        }
    }

    /// The author of this replica's edits.
    pub fn actor(&self) -> Actor {
        self.me
    }

    /// Makes edits that take effect, here and everywhere, all or none. `unix_ms` is the wall clock in milliseconds
    /// since 1970, used only to pick which of several concurrent values is shown.
    ///
    /// Returns the bytes of the change, for every other replica's [`apply`](Self::apply); `None` if nothing was edited.
    ///
    /// # Errors
    /// Those of `edits`; the document is then as it was.
    pub fn edit<F>(&mut self, unix_ms: u64, edits: F) -> Result<Option<Vec<u8>>, EditError>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<(), EditError>,
    {
        let mut transaction = Transaction::new(self, unix_ms);
        match edits(&mut transaction) {
            Ok(()) => {
                let reverse = core::mem::take(&mut transaction.reverse);
                let change = transaction.commit()?;
                if change.is_some() {
                    self.note_undo(reverse);
                }
                Ok(change)
            }
            Err(error) => {
                transaction.roll_back();
                Err(error)
            }
        }
    }

    /// Makes the document equal to `value` by few edits, so that edits made elsewhere at the same time survive wherever
    /// they touch something else. Containers that are there keep their kind: an array updates a list or a set, a string a
    /// text, a number a counter.
    ///
    /// # Errors
    /// [`EditError::TooDeep`], [`EditError::TooLarge`].
    pub fn merge_json(&mut self, unix_ms: u64, value: &Value) -> Result<Option<Vec<u8>>, EditError> {
        self.edit(unix_ms, |tx| tx.merge(Path::root(), value))
    }

    /// Applies a change that another replica made, or this one before it was loaded. Changes come in any order and any
    /// number of times; one that builds on others that are missing waits for them, within
    /// [`MAX_PENDING`](crate::wire::MAX_PENDING).
    ///
    /// # Errors
    /// See [`ChangeFault`]; the document is then as it was.
    pub fn apply(&mut self, bytes: &[u8]) -> Result<Applied, ChangeFault> {
        match self.apply_plain(bytes) {
            Some(applied) => Ok(applied),
            None => self.apply_any(bytes),
        }
    }

    /// Whether edits are looked at as they are applied, so that none may take a short cut.
    pub(crate) fn is_attended(&self) -> bool {
        self.history.is_some() || self.watch.is_some() || self.undo.is_some() || self.schema.is_some()
    }

    /// As [`apply`](Self::apply), for changes of every shape.
    pub(crate) fn apply_any(&mut self, bytes: &[u8]) -> Result<Applied, ChangeFault> {
        if bytes.len() > MAX_CHANGE_BYTES {
            return Err(ChangeFault::Malformed(crate::fault::DecodeError::TooLarge));
        }
        let change = Change::from_bytes(bytes)?;
        let mut applied = Applied::default();
        match self.standing(&change) {
            Standing::Known => {}
            Standing::Overlap => return Err(ChangeFault::Overlap),
            Standing::Early => {
                if !self.pending.insert(change, bytes.len()) {
                    return Err(ChangeFault::BufferFull);
                }
            }
            Standing::Ready => {
                if !self.integrate(change, &mut applied) {
                    return Err(ChangeFault::Forgotten);
                }
                self.release(&mut applied);
            }
        }
        applied.waiting = self.pending.len();
        Ok(applied)
    }

    /// Takes note of a change that does not count, such as one whose author had lost the right to write (CRDT-10). Nothing that
    /// it wrote is shown and nothing that it removed is gone, but its dots are used and its items keep their positions, so that
    /// changes by others that build on it apply. A change that was applied already stays as it is.
    ///
    /// # Errors
    /// See [`ChangeFault`]; the document is then as it was.
    pub fn apply_hidden(&mut self, bytes: &[u8]) -> Result<Applied, ChangeFault> {
        let mut change = Change::from_bytes(bytes)?;
        let mut applied = Applied::default();
        match self.standing(&change) {
            Standing::Known => {}
            Standing::Overlap => return Err(ChangeFault::Overlap),
            Standing::Early => return Err(ChangeFault::Early),
            Standing::Ready => {
                let original = self.history.is_some().then(|| change.clone());
                let author = self.adopt(&mut change);
                if !self.remembers(&change) {
                    return Err(ChangeFault::Forgotten);
                }
                if let (Some(history), Some(original)) = (&mut self.history, original) {
                    history.note(&original, true);
                }
                apply_hidden(&mut self.root, &change, author, &self.actors);
                self.settle(&change, author, &mut applied);
                self.release(&mut applied);
            }
        }
        applied.waiting = self.pending.len();
        Ok(applied)
    }

    /// Whether all that the change mentions was applied, and its author's earlier dots (CRDT-1).
    fn standing(&self, change: &Change) -> Standing {
        let known = |actor: &Actor| self.actors.find(actor).map_or(0, |index| self.context.last(index));
        let seen = known(&change.author());
        if change.first <= seen {
            return if change.counters().1 <= seen { Standing::Known } else { Standing::Overlap };
        }
        if change.first > seen + 1 {
            return Standing::Early;
        }
        let limits: Vec<u64> = change.actors.iter().map(known).collect();
        let met = |dot: crate::actor::Dot| {
            dot.actor == 0 || limits.get(dot.actor as usize).is_some_and(|limit| dot.counter <= *limit)
        };
        if change.references().all(met) { Standing::Ready } else { Standing::Early }
    }

    /// `false`, and nothing is changed, if it refers to what was forgotten.
    fn integrate(&mut self, mut change: Change, applied: &mut Applied) -> bool {
        let original = self.history.is_some().then(|| change.clone());
        let author = self.adopt(&mut change);
        if !self.remembers(&change) {
            return false;
        }
        if let (Some(history), Some(original)) = (&mut self.history, original) {
            history.note(&original, false);
        }
        applied.ineffective += self.take_effect(&change, author);
        if let Some(schema) = &self.schema {
            applied.quarantined += schema.count_mismatches(&self.root, &change, &self.actors);
        }
        self.settle(&change, author, applied);
        true
    }

    /// An observer of a change of very many edits gets the whole document instead of patches.
    fn take_effect(&mut self, change: &Change, author: u32) -> usize {
        let (root, actors) = (&mut self.root, &self.actors);
        match &mut self.watch {
            Some(_) if change.edits.len() <= MAX_PATCHES / 4 => {
                let mut patches = Vec::new();
                let ineffective = apply_observed(root, change, author, actors, &mut patches);
                self.note_patches(patches);
                ineffective
            }
            watch => {
                watch.iter_mut().for_each(|watch| watch.fall_behind());
                apply_change(root, change, author, actors)
            }
        }
    }

    /// Rewrites a change to this document's numbering of authors, and returns its author's number.
    fn adopt(&mut self, change: &mut Change) -> u32 {
        let table: Vec<u32> = change.actors.iter().map(|actor| self.actors.intern(*actor)).collect();
        change.translate(&table);
        table.first().copied().unwrap_or_default()
    }

    fn settle(&mut self, change: &Change, author: u32, applied: &mut Applied) {
        applied.changes += 1;
        self.context.advance(author, change.counters().1);
    }

    /// Applies what waited and can now be; drops what an author used twice.
    pub(crate) fn release(&mut self, applied: &mut Applied) {
        loop {
            let mut pending = core::mem::take(&mut self.pending);
            let due = pending.take(|change| !matches!(self.standing(change), Standing::Early));
            self.pending = pending;
            if due.is_empty() {
                return;
            }
            for change in due {
                match self.standing(&change) {
                    // One that refers to what was forgotten is dropped, as one that comes now is refused.
                    Standing::Ready => drop(self.integrate(change, applied)),
                    Standing::Known | Standing::Overlap | Standing::Early => {}
                }
            }
        }
    }

    /// Joins a snapshot of another replica, as if all its changes had been applied. Snapshots that were taken apart
    /// join in any order, and with changes.
    ///
    /// # Errors
    /// See [`LoadError`]; the document is then as it was.
    pub fn join(&mut self, snapshot: &[u8]) -> Result<(), LoadError> {
        let other = crate::snapshot::read(snapshot, &self.actors)?;
        let before = self.watch.is_some().then(|| self.root.clone());
        if self.floor == other.floor {
            self.actors = other.actors;
            self.root.join(other.root, &self.context, &other.context, &self.actors);
            self.context.join(&other.context);
        } else if other.floor.covers(&self.context) {
            // All that is here is what the other had seen before it forgot.
            self.actors = other.actors;
            (self.root, self.context, self.floor) = (other.root, other.context, other.floor);
        } else if !self.floor.covers(&other.context) {
            return Err(LoadError::Forgotten);
        }
        for (change, bytes) in other.pending {
            self.pending.insert(change, bytes);
        }
        if let Some(before) = before {
            let patches = compare(&before, &self.root, &self.actors);
            self.note_patches(patches);
        }
        self.restart_history();
        self.release(&mut Applied::default());
        Ok(())
    }

    /// Opens a document that [`save`](Self::save) wrote. Further edits will be `actor`'s; see [`new`](Self::new).
    ///
    /// # Errors
    /// See [`LoadError`]. Any bytes either load to a state that replicas can be in, or are refused.
    pub fn load(snapshot: &[u8], actor: impl Into<Actor>) -> Result<Self, LoadError> {
        let mut document = Self::new(actor);
        document.open(snapshot)?;
        document.release(&mut Applied::default());
        Ok(document)
    }

    /// Makes an empty document what a snapshot says.
    pub(crate) fn open(&mut self, snapshot: &[u8]) -> Result<(), LoadError> {
        let other = crate::snapshot::read(snapshot, &self.actors)?;
        self.actors = other.actors;
        self.root = other.root;
        self.context = other.context;
        self.floor = other.floor;
        for (change, bytes) in other.pending {
            self.pending.insert(change, bytes);
        }
        Ok(())
    }

    /// The document as bytes, waiting changes included. Equal documents give equal bytes.
    pub fn save(&self) -> Vec<u8> {
        crate::snapshot::write(self)
    }

    /// How far this replica has come.
    pub fn version(&self) -> Version {
        self.context.iter().map(|(actor, counter)| (self.actors.id(actor), counter)).collect()
    }

    /// The authors whose changes are missing, and from which dot on, as far as waiting changes tell.
    pub fn missing(&self) -> Version {
        let mut missing = Version::new();
        for change in self.pending.iter() {
            let own = [(change.author(), change.first - 1)];
            let named = change.references().filter(|dot| dot.actor > 0);
            let named = named.filter_map(|dot| Some((*change.actors.get(dot.actor as usize)?, dot.counter)));
            for (actor, counter) in own.into_iter().chain(named) {
                let seen = self.actors.find(&actor).map_or(0, |index| self.context.last(index));
                if seen < counter {
                    missing.insert(actor, seen + 1);
                }
            }
        }
        missing
    }

    /// How many changes wait for others.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The place at `path`, in terms that survive edits. Keys may name what is not there.
    pub(crate) fn resolve(&self, path: &Path) -> Result<Vec<Hop>, EditError> {
        let mut hops = Vec::with_capacity(path.0.len());
        let mut slot = Some(&self.root);
        for step in &path.0 {
            let hop = match step {
                Step::Key(key) => Hop::Key(key.as_str().into()),
                Step::Index(index) => {
                    let list = slot.and_then(Slot::list).ok_or(EditError::NotFound)?;
                    Hop::Element(list.element_at(*index).ok_or(EditError::OutOfRange)?)
                }
                Step::Node(id) => {
                    let dot = id.dot(&self.actors).ok_or(EditError::NotFound)?;
                    let hop = Hop::Element(dot);
                    slot.and_then(|slot| slot.at(core::slice::from_ref(&hop))).ok_or(EditError::NotFound)?;
                    hop
                }
            };
            slot = slot.and_then(|slot| slot.at(core::slice::from_ref(&hop)));
            hops.push(hop);
        }
        Ok(hops)
    }

    /// The path that a JSON pointer (RFC 6901) names here: `/items/0/done`. A number is an index where there is a list now, and
    /// a key elsewhere. Inverse of a path's `to_string`.
    ///
    /// # Errors
    /// [`EditError::NotFound`] if it is not a pointer, or what should be an index is none.
    pub fn pointer(&self, pointer: &str) -> Result<Path, EditError> {
        let mut path = Path::root();
        let steps = match pointer.strip_prefix('/') {
            Some(rest) => rest,
            None if pointer.is_empty() => return Ok(path),
            None => return Err(EditError::NotFound),
        };
        for step in steps.split('/') {
            path = match self.kind(&path) {
                Some(Kind::List) if !step.contains('@') => {
                    path.index(step.parse().map_err(|_| EditError::NotFound)?)
                }
                Some(Kind::List | Kind::Tree) => path.node(step.parse()?),
                _ => path.key(&step.replace("~1", "/").replace("~0", "~")),
            };
        }
        Ok(path)
    }

    pub(crate) fn slot(&self, path: &Path) -> Option<&Slot> {
        let hops = self.resolve(path).ok()?;
        self.root.at(&hops).filter(|slot| slot.is_live())
    }
}

/// Equal content and history. The author of further edits does not count.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.save() == other.save()
    }
}

enum Standing {
    Ready,
    /// Waits for others, or for its author's earlier dots.
    Early,
    Known,
    Overlap,
}
