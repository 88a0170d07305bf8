//! Every known input through every target, on stable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cs_fuzz::TARGETS;

/// All inputs together: a corpus is kept small, so that a clone is.
const MAX_CORPUS: u64 = 1 << 20;

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_target_has_a_binary_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(TARGETS.len(), targets.len(), "no name is used twice");
    let binaries =
        names(&here("targets")).iter().map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(targets, binaries);
    assert_eq!(targets, names(&here("corpus")));
    let manifest = include_str!("../Cargo.toml");
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no [[bin]]");
    }
}

#[test]
fn every_seed_is_accepted_by_its_target() {
    for target in TARGETS {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            assert!((target.run)(seed), "{} refuses its seed {number}", target.name);
        }
    }
}

#[test]
fn no_known_input_breaks_a_target() {
    let mut total = 0;
    for target in TARGETS {
        let folder = here("corpus").join(target.name);
        for name in names(&folder) {
            let bytes = fs::read(folder.join(&name)).expect("readable");
            total += bytes.len() as u64;
            (target.run)(&bytes);
        }
    }
    assert!(total <= MAX_CORPUS, "{total} bytes of corpus");
}

/// What a fuzzer tries first, without one: each seed cut short and altered in a few places.
#[test]
fn seeds_cut_and_altered_break_no_target() {
    for target in TARGETS {
        for seed in (target.seeds)().iter().filter(|seed| seed.len() < 2048) {
            let step = seed.len() / 24 + 1;
            for at in (0..seed.len()).step_by(step) {
                (target.run)(&seed[..at]);
                for flip in [0x01, 0x80, 0xff] {
                    let mut altered = seed.clone();
                    altered[at] ^= flip;
                    (target.run)(&altered);
                }
            }
            (target.run)(&[seed, &[0][..]].concat());
        }
    }
}
