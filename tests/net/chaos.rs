//! A folder under constant edit while its nodes are killed at random: at the end both are equal, and nothing that was
//! acknowledged is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cs_node::api::{Reply, Request};
use cs_tests::real::{Setup, until};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::lab::{LIMIT, Lab, Pair, become_equal};

/// How long without `COSYNC_CHAOS_SECONDS`.
const SECONDS: u64 = 20;

/// Edits come this far apart.
const EDIT_INTERVAL: Duration = Duration::from_millis(40);

/// Who edits on one device: its files in a directory of its own, and a document of its own.
struct Editor {
    setup: Setup,
    folder: PathBuf,
    name: &'static str,
    rng: ChaCha8Rng,
    files: BTreeMap<String, String>,
    /// The newest count that the node acknowledged.
    acknowledged: u64,
    edits: u64,
}

impl Editor {
    fn edit_until(mut self, stop: &AtomicBool) -> Self {
        while !stop.load(Ordering::Relaxed) {
            self.edit();
            std::thread::sleep(EDIT_INTERVAL);
        }
        self
    }

    fn edit(&mut self) {
        self.edits += 1;
        let number = self.rng.random_range(0..50_u32);
        let (name, text) = (format!("{}/{number}.txt", self.name), format!("{} {}", self.name, self.edits));
        let path = self.folder.join(&name);
        match self.rng.random_range(0..20_u32) {
            0 if self.files.remove(&name).is_some() => fs::remove_file(&path).unwrap(),
            1 => self.rename(&name),
            2..=6 => self.put(),
            7 => self.write(&name, text.repeat(20_000)),
            8..=12 => {
                // As editors save: a new file takes the place of the old.
                let fresh = self.folder.join(format!("{}/.saved", self.name));
                fs::write(&fresh, &text).unwrap();
                fs::rename(fresh, path).unwrap();
                self.files.insert(name, text);
            }
            _ => self.write(&name, text),
        }
    }

    fn write(&mut self, name: &str, text: String) {
        fs::write(self.folder.join(name), &text).unwrap();
        self.files.insert(name.to_owned(), text);
    }

    fn rename(&mut self, name: &str) {
        let Some(text) = self.files.remove(name) else { return };
        let moved = format!("{}/moved-{}.txt", self.name, self.edits);
        fs::rename(self.folder.join(name), self.folder.join(&moved)).unwrap();
        self.files.insert(moved, text);
    }

    fn put(&mut self) {
        let value = serde_json::json!({ "count": self.edits });
        // The node may be dead: then nothing is acknowledged.
        if self.setup.ask(&Request::Put { space: None, path: format!("counts/{}", self.name), value }).is_ok()
        {
            self.acknowledged = self.edits;
        }
    }

    /// What this editor left behind lies in a folder, to the letter.
    fn is_kept_in(&self, folder: &Path) {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder.join(self.name)).unwrap() {
            let name = format!("{}/{}", self.name, entry.unwrap().file_name().to_string_lossy());
            let text = fs::read_to_string(folder.join(&name)).unwrap();
            found.insert(name, text);
        }
        let lost: Vec<_> = self.files.iter().filter(|(name, text)| found.get(*name) != Some(text)).collect();
        assert!(
            lost.is_empty(),
            "lost in {}: {:?}",
            folder.display(),
            lost.iter().map(|l| l.0).collect::<Vec<_>>()
        );
        let extra: Vec<_> = found.keys().filter(|name| !self.files.contains_key(*name)).collect();
        assert!(extra.is_empty(), "came back in {}: {extra:?}", folder.display());
    }
}

#[test]
fn constant_edits_survive_nodes_that_are_killed_at_random() {
    let seconds =
        std::env::var("COSYNC_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let lab = Lab::new();
    let Pair { setups, nodes, folders } = Pair::in_sync(&lab, &[("base.txt", "base")]);
    // Deletions of more than a quarter wait for a person: these make a quarter many.
    for number in 0..200 {
        fs::write(folders[0].join(format!("still-{number}.txt")), number.to_string()).unwrap();
    }
    become_equal(&folders[0], &folders[1]);
    let editors = [0, 1].map(|at| {
        let name = ["of-a", "of-b"][at];
        fs::create_dir(folders[at].join(name)).unwrap();
        Editor {
            setup: setups[at].clone(),
            folder: folders[at].clone(),
            name,
            rng: ChaCha8Rng::seed_from_u64(at as u64),
            files: BTreeMap::new(),
            acknowledged: 0,
            edits: 0,
        }
    });
    let stop = AtomicBool::new(false);
    let mut nodes = nodes.map(Some);
    let (editors, kills) = std::thread::scope(|scope| {
        let edited = editors.map(|editor| scope.spawn(|| editor.edit_until(&stop)));
        let (begun, mut rng, mut kills) = (Instant::now(), ChaCha8Rng::seed_from_u64(9), 0_u32);
        while begun.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(rng.random_range(200..1500)));
            let at = rng.random_range(0..2_usize);
            nodes[at].take().expect("it was started").kill().unwrap();
            nodes[at] = Some(setups[at].up().unwrap());
            kills += 1;
        }
        stop.store(true, Ordering::Relaxed);
        (edited.map(|thread| thread.join().unwrap()), kills)
    });

    let edits: Vec<u64> = editors.iter().map(|editor| editor.edits).collect();
    println!("{edits:?} edits while nodes were killed {kills} times");
    assert!(kills >= 3 && edits.iter().all(|count| *count > 50), "no chaos: {kills} kills, {edits:?} edits");
    become_equal(&folders[0], &folders[1]);
    for editor in &editors {
        folders.iter().for_each(|folder| editor.is_kept_in(folder));
        let get = Request::Get { space: None, path: format!("counts/{}", editor.name) };
        for setup in &setups {
            let kept = until(LIMIT, || match setup.ask(&get).ok()? {
                Reply::Document { value, .. } => {
                    value["count"].as_u64().filter(|count| *count >= editor.acknowledged)
                }
                _ => None,
            });
            assert!(kept.is_some(), "{} was acknowledged: {:?}", editor.acknowledged, setup.ask(&get));
        }
    }
}
