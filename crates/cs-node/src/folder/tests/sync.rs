//! Random trees and edits on two folders reach equality, through restarts and power cuts, and no edit is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::*;
use crate::folder::*;

#[derive(Clone, Debug)]
enum Action {
    Put { peer: usize, at: usize, len: usize },
    Remove { peer: usize, at: usize },
    Rename { peer: usize, from: usize, to: usize },
    MakeDir { peer: usize, at: usize },
    Link { peer: usize, at: usize },
    Exec { peer: usize, at: usize },
    Scan { peer: usize, fuse: Option<u32> },
    Exchange,
    Materialise { peer: usize, fuse: Option<u32> },
    PowerCut { peer: usize, seed: u64 },
}

const NAMES: [&str; 9] = ["a", "b", "a/x", "a/y", "b/x", "a/x/z", "c", "A", "b/x/deep/er"];

fn action() -> impl Strategy<Value = Action> {
    let peer = || 0..2usize;
    let at = || 0..NAMES.len();
    let fuse = || prop::option::weighted(0.3, 0..12u32);
    let len = prop_oneof![1 => Just(0), 4 => 16..200usize, 1 => Just(70_000), 1 => Just(600_000)];
    prop_oneof![
        5 => (peer(), at(), len).prop_map(|(peer, at, len)| Action::Put { peer, at, len }),
        2 => (peer(), at()).prop_map(|(peer, at)| Action::Remove { peer, at }),
        3 => (peer(), at(), at()).prop_map(|(peer, from, to)| Action::Rename { peer, from, to }),
        1 => (peer(), at()).prop_map(|(peer, at)| Action::MakeDir { peer, at }),
        1 => (peer(), at()).prop_map(|(peer, at)| Action::Link { peer, at }),
        1 => (peer(), at()).prop_map(|(peer, at)| Action::Exec { peer, at }),
        3 => (peer(), fuse()).prop_map(|(peer, fuse)| Action::Scan { peer, fuse }),
        2 => Just(Action::Exchange),
        3 => (peer(), fuse()).prop_map(|(peer, fuse)| Action::Materialise { peer, fuse }),
        1 => (peer(), any::<u64>()).prop_map(|(peer, seed)| Action::PowerCut { peer, seed }),
    ]
}

struct World {
    peers: [Peer; 2],
    written: u64,
    cuts: bool,
    /// Edits whose only copy is in the folder of the peer that made them.
    unread: BTreeMap<(usize, RelPath), Vec<u8>>,
}

impl World {
    fn new(cuts: bool) -> Self {
        Self { peers: [Peer::new(0), Peer::new(1)], written: 0, cuts, unread: BTreeMap::new() }
    }

    fn run(&mut self, action: &Action) {
        match *action {
            Action::Put { peer, at, len } => {
                self.written += 1;
                let bytes = noise(self.written, len);
                let at = path(NAMES[at]);
                self.peers[peer].tick();
                if self.peers[peer].vfs.put(&at, &bytes) {
                    self.unread.insert((peer, at), bytes);
                }
            }
            Action::Remove { peer, at } => {
                let at = path(NAMES[at]);
                self.peers[peer].vfs.remove_all(&at);
                self.unread.retain(|(by, path), _| *by != peer || !at.holds(path));
            }
            Action::Rename { peer, from, to } => {
                let (from, to) = (path(NAMES[from]), path(NAMES[to]));
                let vfs = &self.peers[peer].vfs;
                if !from.holds(&to) && vfs.rename(&from, &to, Rename::NoReplace).is_ok() {
                    let moved: Vec<_> = self
                        .unread
                        .keys()
                        .filter(|(by, path)| *by == peer && from.holds(path))
                        .cloned()
                        .collect();
                    for key in moved {
                        let bytes = self.unread.remove(&key).expect("just listed");
                        let rest = &key.1.as_bytes()[from.as_bytes().len()..];
                        let name = RelPath::new([to.as_bytes(), rest].concat()).expect("short");
                        self.unread.insert((peer, name), bytes);
                    }
                }
            }
            Action::MakeDir { peer, at } => {
                let _ = self.peers[peer].vfs.make_dir(&path(NAMES[at]));
            }
            Action::Link { peer, at } => {
                let _ = self.peers[peer].vfs.make_link(&path(NAMES[at]), b"../out");
            }
            Action::Exec { peer, at } => {
                self.peers[peer].tick();
                if let Ok(file) = self.peers[peer].vfs.open(&path(NAMES[at])) {
                    let stat = file.stat().expect("open");
                    file.set_meta(stat.mode ^ 0o111, stat.mtime_ns).expect("memory");
                }
            }
            Action::Scan { peer, fuse } => {
                self.peers[peer].fuse = fuse;
                match self.peers[peer].scan() {
                    Ok(_) => self.check_heard(peer),
                    Err(Died) => self.peers[peer].restart(),
                }
                self.peers[peer].fuse = None;
            }
            Action::Exchange => {
                let [a, b] = &mut self.peers;
                exchange(a, b);
            }
            Action::Materialise { peer, fuse } => {
                let [a, b] = &mut self.peers;
                let (here, there) = if peer == 0 { (a, b) } else { (b, a) };
                here.fuse = fuse;
                if here.materialise(&mut [there]).is_err() {
                    here.restart();
                }
                here.fuse = None;
            }
            Action::PowerCut { peer, seed } if self.cuts => {
                self.peers[peer].power_cut(seed);
                // What was never synced may be gone: that is the disk's doing.
                self.unread.retain(|(by, _), _| *by != peer);
            }
            Action::PowerCut { peer, .. } => self.peers[peer].restart(),
        }
    }

    /// After a scan, every edit of the peer is in some operation.
    fn check_heard(&mut self, peer: usize) {
        let key = ChunkKey::new(KEY);
        let mine: Vec<_> = self.unread.keys().filter(|(by, _)| *by == peer).cloned().collect();
        for at in mine {
            let bytes = self.unread.remove(&at).expect("just listed");
            let first = key.chunks(&bytes).first().map(|(chunk, _)| *chunk);
            let of = |op: &Op| op.content.refs().first().copied() == first;
            let ops = &self.peers[peer].log;
            assert!(
                ops.values().any(|op| op.path == at.1 && of(op)),
                "the edit of {} was not heard of",
                at.1
            );
        }
    }

    /// Every operation that none replaced can be read somewhere, also those not shown.
    fn check_kept(&mut self) {
        let log = self.peers[0].log.clone();
        for op in log.values() {
            for id in heads(&log, &op.path) {
                for chunk in log[&id].content.refs() {
                    let found = self.peers.iter_mut().any(|peer| {
                        let folder = peer.folder.as_mut().expect("open");
                        folder.read_chunk(&chunk.id).expect("memory").is_some()
                    });
                    assert!(found, "a chunk of {} is nowhere", op.path);
                }
            }
        }
    }

    fn settle(&mut self) {
        let [a, b] = &mut self.peers;
        settle(a, b);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_folders_become_equal_and_lose_no_edit_when_processes_die(actions in prop::collection::vec(action(), 1..40)) {
        let mut world = World::new(false);
        actions.iter().for_each(|action| world.run(action));
        world.settle();
        world.check_kept();
    }

    #[test]
    fn two_folders_become_equal_when_the_power_fails(actions in prop::collection::vec(action(), 1..40)) {
        let mut world = World::new(true);
        actions.iter().for_each(|action| world.run(action));
        world.settle();
        world.check_kept();
    }
}
