//! cs-crdt.

use cs_crdt::{Document, Path};

use crate::{peer::Peer, traces::Patch};

pub struct Ours {
    document: Document,
    sent: Vec<u8>,
    text: Path,
}

impl From<Document> for Ours {
    fn from(document: Document) -> Self {
        Self { document, sent: Vec::new(), text: Path::from("text") }
    }
}

impl Ours {
    fn keep(&mut self, change: Option<Vec<u8>>) {
        self.sent = change.unwrap_or_default();
    }
}

impl Peer for Ours {
    const NAME: &'static str = "cs-crdt";
    const HAS: [bool; 3] = [true; 3];

    fn new(agent: usize) -> Self {
        Document::new([agent as u8 + 1; 32]).into()
    }

    fn splice(&mut self, patches: &[Patch]) {
        let path = &self.text;
        let change = match patches {
            [patch] => self.document.splice(0, path, patch.at..patch.at + patch.removed, &patch.text),
            patches => self.document.edit(0, |tx| {
                let mut patches = patches.iter();
                patches.try_for_each(|patch| tx.splice(path, patch.at..patch.at + patch.removed, &patch.text))
            }),
        };
        self.keep(change.expect("the text is long enough"));
    }

    fn change(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    fn apply(&mut self, change: &[u8]) {
        if !change.is_empty() {
            self.document.apply(change).expect("it is well formed");
        }
    }

    fn save(&mut self) -> Vec<u8> {
        self.document.save()
    }

    fn load(saved: &[u8]) -> Self {
        Document::load(saved, [255; 32]).expect("an own snapshot").into()
    }

    fn text(&self) -> String {
        self.document.text("text").unwrap_or_default()
    }

    fn set(&mut self, key: &str, value: i64) {
        let change = self.document.set(0, &Path::from(["map", key]), value);
        self.keep(change.expect("a map"));
    }

    fn increment(&mut self, by: i64) {
        let change = self.document.increment(0, &Path::from("counter"), by);
        self.keep(change.expect("a counter"));
    }

    fn member(&mut self, member: i64, is_in: bool) {
        let change = self.document.edit(0, |tx| match is_in {
            true => tx.add("set", member),
            false => tx.discard("set", member),
        });
        self.keep(change.expect("a set"));
    }

    fn told(&self) -> (usize, i64, usize) {
        let counter = self.document.value("counter").and_then(|value| value.as_i64());
        (self.document.len("map"), counter.unwrap_or_default(), self.document.len("set"))
    }
}
