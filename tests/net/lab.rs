//! A directory for one test with its folders and nodes, and waiting by looking.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cs_node::api::{Access, SpaceState};
use cs_tests::real::{Difference, Node, Setup, compare, until, until_every};
use tempfile::TempDir;

/// Nothing here takes nearly as long on an idle machine; a test that hangs shall say where.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    temp: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { temp: tempfile::Builder::new().prefix("cosync").tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A directory with these files.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        dir
    }

    /// A state directory of its own.
    pub(crate) fn setup(&self, name: &str) -> Setup {
        Setup::new(self.path(name))
    }
}

/// Two nodes with a folder in sync.
pub(crate) struct Pair {
    pub(crate) setups: [Setup; 2],
    pub(crate) nodes: [Node; 2],
    pub(crate) folders: [PathBuf; 2],
}

impl Pair {
    /// `a` shares `folder-a` with these files; `b` has joined and has received them.
    pub(crate) fn in_sync(lab: &Lab, files: &[(&str, &str)]) -> Self {
        let setups = [lab.setup("a"), lab.setup("b")];
        let nodes = [setups[0].up().unwrap(), setups[1].up().unwrap()];
        let folders = [lab.folder("folder-a", files), lab.folder("folder-b", &[])];
        let invited = nodes[0].share(&folders[0], Access::Write).unwrap();
        nodes[1].join(&invited.invitation, &folders[1]).unwrap();
        let pair = Self { setups, nodes, folders };
        pair.become_equal();
        pair
    }

    /// Waits until both folders are the same.
    pub(crate) fn become_equal(&self) {
        become_equal(&self.folders[0], &self.folders[1]);
    }
}

/// Waits until two folders are the same, and tells how they differ if they stay different.
pub(crate) fn become_equal(first: &Path, second: &Path) {
    let mut last: Option<Difference> = None;
    let equal = until_every(Duration::from_millis(50), LIMIT, || match compare(first, second) {
        Ok(None) => Some(()),
        Ok(difference) => {
            last = difference;
            None
        }
        // Something went away while it was looked at.
        Err(_) => None,
    });
    assert!(equal.is_some(), "the folders stay different: {last:?}");
}

/// Waits until a file has this content.
pub(crate) fn arrives(file: &Path, content: &str) {
    let arrived = until(LIMIT, || (fs::read(file).ok()? == content.as_bytes()).then_some(()));
    assert!(arrived.is_some(), "{} does not arrive", file.display());
}

/// Waits until a node has and has told everything.
pub(crate) fn rests(node: &Node) {
    let rested = until(LIMIT, || {
        node.space().filter(|space| space.state == SpaceState::UpToDate && space.files_wanted == 0)
    });
    assert!(rested.is_some(), "never up to date: {:?}", node.space());
}
