//! The libraries that we compare with, each used as its documentation shows.

use automerge::{AutoCommit, ReadDoc as _, ScalarValue, transaction::Transactable as _};
use diamond_types::list::{
    ListCRDT,
    encoding::{ENCODE_FULL, ENCODE_PATCH},
};
use loro::{ExportMode, LoroDoc, VersionVector};
use yrs::{
    Doc, GetString as _, Map as _, OffsetKind, Options, ReadTxn as _, StateVector, Text as _, Transact as _,
    Update, updates::decoder::Decode as _,
};

use crate::{peer::Peer, traces::Patch};

pub struct Yrs {
    doc: Doc,
    text: yrs::TextRef,
    map: yrs::MapRef,
    records: bool,
    change: Vec<u8>,
}

impl Yrs {
    fn of(agent: usize) -> Self {
        let options = Options {
            offset_kind: OffsetKind::Utf16,
            ..Options::with_client_id(yrs::ClientID::new(agent as u64 + 1))
        };
        let doc = Doc::with_options(options);
        let (text, map) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("map"));
        Self { doc, text, map, records: false, change: Vec::new() }
    }
}

impl Peer for Yrs {
    const NAME: &'static str = "yrs 0.28";
    const HAS: [bool; 3] = [true, false, false];

    fn new(agent: usize) -> Self {
        Self::of(agent)
    }

    fn splice(&mut self, patches: &[Patch]) {
        let mut transaction = self.doc.transact_mut();
        for patch in patches {
            if patch.removed > 0 {
                self.text.remove_range(&mut transaction, patch.at as u32, patch.removed as u32);
            }
            if !patch.text.is_empty() {
                self.text.insert(&mut transaction, patch.at as u32, &patch.text);
            }
        }
        if self.records {
            self.change = transaction.encode_update_v1();
        }
    }

    fn record(&mut self, is_on: bool) {
        self.records = is_on;
    }

    fn change(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.change)
    }

    fn apply(&mut self, change: &[u8]) {
        let mut transaction = self.doc.transact_mut();
        transaction.apply_update(Update::decode_v1(change).expect("an update")).expect("it applies");
    }

    fn apply_all(&mut self, changes: &[Vec<u8>]) {
        let updates = changes.iter().map(|change| Update::decode_v1(change).expect("an update"));
        let merged = Update::merge_updates(updates);
        self.doc.transact_mut().apply_update(merged).expect("it applies");
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v2(&StateVector::default())
    }

    fn load(saved: &[u8]) -> Self {
        let loaded = Self::of(254);
        loaded
            .doc
            .transact_mut()
            .apply_update(Update::decode_v2(saved).expect("an update"))
            .expect("it applies");
        loaded
    }

    fn text(&self) -> String {
        self.text.get_string(&self.doc.transact())
    }

    fn set(&mut self, key: &str, value: i64) {
        let mut transaction = self.doc.transact_mut();
        self.map.insert(&mut transaction, key, value);
        if self.records {
            self.change = transaction.encode_update_v1();
        }
    }

    fn told(&self) -> (usize, i64, usize) {
        (self.map.len(&self.doc.transact()) as usize, 0, 0)
    }
}

pub struct Loro {
    doc: LoroDoc,
    seen: VersionVector,
}

impl Peer for Loro {
    const NAME: &'static str = "loro 1.17";
    const HAS: [bool; 3] = [true, true, false];

    fn new(agent: usize) -> Self {
        let doc = LoroDoc::new();
        doc.set_peer_id(agent as u64 + 1).expect("nothing is open");
        Self { doc, seen: VersionVector::default() }
    }

    fn splice(&mut self, patches: &[Patch]) {
        let text = self.doc.get_text("text");
        for patch in patches {
            if patch.removed > 0 {
                text.delete(patch.at, patch.removed).expect("within");
            }
            if !patch.text.is_empty() {
                text.insert(patch.at, &patch.text).expect("within");
            }
        }
        self.doc.commit();
    }

    fn change(&mut self) -> Vec<u8> {
        let change = self.doc.export(ExportMode::updates(&self.seen)).expect("a change");
        self.seen = self.doc.oplog_vv();
        change
    }

    fn apply(&mut self, change: &[u8]) {
        self.doc.import(change).expect("a change");
        self.seen = self.doc.oplog_vv();
    }

    fn apply_all(&mut self, changes: &[Vec<u8>]) {
        self.doc.import_batch(changes).expect("changes");
        self.seen = self.doc.oplog_vv();
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.export(ExportMode::Snapshot).expect("a snapshot")
    }

    fn load(saved: &[u8]) -> Self {
        let mut loaded = Self::new(254);
        loaded.apply(saved);
        loaded
    }

    fn text(&self) -> String {
        self.doc.get_text("text").to_string()
    }

    fn set(&mut self, key: &str, value: i64) {
        self.doc.get_map("map").insert(key, value).expect("a map");
        self.doc.commit();
    }

    fn increment(&mut self, by: i64) {
        self.doc.get_counter("counter").increment(by as f64).expect("a counter");
        self.doc.commit();
    }

    fn told(&self) -> (usize, i64, usize) {
        (self.doc.get_map("map").len(), self.doc.get_counter("counter").get_value() as i64, 0)
    }
}

pub struct Automerge {
    doc: AutoCommit,
    text: automerge::ObjId,
    map: automerge::ObjId,
}

impl Automerge {
    /// Every replica goes on from the same first change, which makes the containers.
    fn first() -> AutoCommit {
        let mut doc = AutoCommit::new().with_actor([0u8; 16].as_slice().into());
        doc.put_object(automerge::ROOT, "text", automerge::ObjType::Text).expect("the root is a map");
        doc.put_object(automerge::ROOT, "map", automerge::ObjType::Map).expect("the root is a map");
        doc.put(automerge::ROOT, "counter", ScalarValue::counter(0)).expect("the root is a map");
        doc.commit();
        doc
    }

    fn of(doc: AutoCommit) -> Self {
        let object = |key| doc.get(automerge::ROOT, key).expect("a key").expect("an object").1;
        let (text, map) = (object("text"), object("map"));
        Self { doc, text, map }
    }
}

impl Peer for Automerge {
    const NAME: &'static str = "automerge 0.12";
    const HAS: [bool; 3] = [true, true, false];
    const REMOTE_LAST: usize = 300;

    fn new(agent: usize) -> Self {
        Self::of(Self::first().with_actor([agent as u8 + 1; 16].as_slice().into()))
    }

    fn splice(&mut self, patches: &[Patch]) {
        for patch in patches {
            self.doc.splice_text(&self.text, patch.at, patch.removed as isize, &patch.text).expect("within");
        }
        self.doc.commit();
    }

    fn change(&mut self) -> Vec<u8> {
        let change = self.doc.get_last_local_change();
        change.map(|change| change.raw_bytes().to_vec()).unwrap_or_default()
    }

    fn apply(&mut self, change: &[u8]) {
        self.doc.load_incremental(change).expect("a change");
    }

    fn apply_all(&mut self, changes: &[Vec<u8>]) {
        self.doc.load_incremental(&changes.concat()).expect("changes");
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    fn load(saved: &[u8]) -> Self {
        Self::of(AutoCommit::load(saved).expect("an own document"))
    }

    fn text(&self) -> String {
        self.doc.text(&self.text).expect("a text")
    }

    fn set(&mut self, key: &str, value: i64) {
        self.doc.put(&self.map, key, value).expect("a map");
        self.doc.commit();
    }

    fn increment(&mut self, by: i64) {
        self.doc.increment(automerge::ROOT, "counter", by).expect("a counter");
        self.doc.commit();
    }

    fn told(&self) -> (usize, i64, usize) {
        let counter = self.doc.get(automerge::ROOT, "counter").ok().flatten();
        let counter = counter.and_then(|(value, _)| value.as_i64());
        (self.doc.length(&self.map), counter.unwrap_or_default(), 0)
    }
}

/// Text only.
pub struct Diamond {
    list: ListCRDT,
    agent: String,
    seen: Vec<usize>,
}

impl Peer for Diamond {
    const NAME: &'static str = "diamond-types 1.0";
    const HAS: [bool; 3] = [false; 3];

    fn new(agent: usize) -> Self {
        Self { list: ListCRDT::new(), agent: format!("agent{agent}"), seen: Vec::new() }
    }

    fn splice(&mut self, patches: &[Patch]) {
        let agent = self.list.get_or_create_agent_id(&self.agent);
        for patch in patches {
            if patch.removed > 0 {
                self.list.delete_without_content(agent, patch.at..patch.at + patch.removed);
            }
            if !patch.text.is_empty() {
                self.list.insert(agent, patch.at, &patch.text);
            }
        }
    }

    fn change(&mut self) -> Vec<u8> {
        let change = self.list.oplog.encode_from(ENCODE_PATCH, &self.seen);
        self.seen = self.list.oplog.local_version_ref().to_vec();
        change
    }

    fn apply(&mut self, change: &[u8]) {
        self.list.merge_data_and_ff(change).expect("a change");
        self.seen = self.list.oplog.local_version_ref().to_vec();
    }

    fn apply_all(&mut self, changes: &[Vec<u8>]) {
        for change in changes {
            self.list.oplog.decode_and_add(change).expect("a change");
        }
        let tip = self.list.oplog.local_version();
        self.list.branch.merge(&self.list.oplog, &tip);
    }

    fn save(&mut self) -> Vec<u8> {
        self.list.oplog.encode(ENCODE_FULL)
    }

    fn load(saved: &[u8]) -> Self {
        Self { list: ListCRDT::load_from(saved).expect("an own document"), ..Self::new(254) }
    }

    fn text(&self) -> String {
        self.list.branch.content().to_string()
    }

    fn told(&self) -> (usize, i64, usize) {
        (0, 0, 0)
    }
}
