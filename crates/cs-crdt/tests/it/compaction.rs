//! Forgetting, and what comes after it (CRDT-20).

use cs_crdt::{ChangeFault, CompactError, Document, LoadError, Path};
use proptest::{collection::vec, prelude::*};

use crate::histories::{events, hear_all, play};

/// `hello` with its middle removed, by one author; a second replica of it.
fn holed() -> (Document, Document) {
    let mut a = Document::new([1; 32]);
    let mut b = Document::new([2; 32]);
    let typed = a.edit(0, |tx| tx.splice("t", 0..0, "hello")).unwrap().unwrap();
    let cut = a.edit(1, |tx| tx.splice("t", 1..4, "")).unwrap().unwrap();
    b.apply(&typed).unwrap();
    b.apply(&cut).unwrap();
    (a, b)
}

#[test]
fn a_compacted_document_is_smaller_and_shows_the_same() {
    let mut document = Document::new([1; 32]);
    for n in 0..200 {
        let length = document.len("t");
        document.edit(n, |tx| tx.splice("t", length / 2..length / 2, "words ")).unwrap();
        document.edit(n, |tx| tx.splice("t", length / 3..length / 3 + 5, "")).unwrap();
        document.edit(n, |tx| tx.insert("l", 0, n as i64)).unwrap();
        document.edit(n, |tx| tx.remove(Path::from("l").index(0))).unwrap();
    }
    let (before, shown) = (document.save().len(), document.to_json());
    document.compact(&document.version()).unwrap();
    assert_eq!(document.to_json(), shown);
    assert_eq!(document.compacted_at(), document.version());
    assert!(document.save().len() * 3 < before * 2, "{before} bytes became {}", document.save().len());
    let mut loaded = Document::load(&document.save(), [9; 32]).unwrap();
    assert_eq!(loaded.save(), document.save());
    loaded.compact(&loaded.version()).unwrap();
    assert_eq!(loaded.save(), document.save(), "there is nothing left to forget");
}

#[test]
fn what_refers_to_the_forgotten_is_refused_and_changes_nothing() {
    let (mut a, mut b) = holed();
    let beside_the_removed = b.edit(2, |tx| tx.splice("t", 1..1, "X")).unwrap().unwrap();
    a.compact(&a.version()).unwrap();
    let before = a.save();
    assert_eq!(a.apply(&beside_the_removed), Err(ChangeFault::Forgotten));
    assert_eq!(a.apply_hidden(&beside_the_removed), Err(ChangeFault::Forgotten));
    assert_eq!(a.save(), before);
    let mut late = Document::load(&before, [3; 32]).unwrap();
    let after = late.edit(3, |tx| tx.splice("t", 1..1, "ey, ")).unwrap().unwrap();
    a.apply(&after).unwrap();
    assert_eq!(a.text("t").unwrap(), "hey, o");
}

/// Someone who had not seen what everybody else had, and puts something where something else is now.
#[test]
fn neighbours_that_were_parted_before_the_forgetting_are_refused() {
    let (mut a, mut b) = holed();
    let mut c = Document::load(&b.save(), [3; 32]).unwrap();
    a.compact(&a.version()).unwrap();
    b.compact(&b.version()).unwrap();
    c.compact(&c.version()).unwrap();
    let middle = a.edit(2, |tx| tx.splice("t", 1..1, "M")).unwrap().unwrap();
    b.apply(&middle).unwrap();
    a.compact(&a.version()).unwrap();
    let blind = c.edit(2, |tx| tx.splice("t", 1..1, "C")).unwrap().unwrap();
    assert_eq!(a.apply(&blind), Err(ChangeFault::Forgotten));
    assert!(b.apply(&blind).is_ok());
    let end = c.edit(3, |tx| tx.splice("t", 3..3, "!")).unwrap().unwrap();
    assert_eq!(a.apply(&end).unwrap().changes, 0, "it waits for the one before it");
    assert_eq!(a.text("t").unwrap(), "hMo");
}

#[test]
fn only_the_version_that_was_named_is_compacted() {
    let (mut a, b) = holed();
    let agreed = a.version();
    a.edit(5, |tx| tx.set("k", 1)).unwrap();
    let before = a.save();
    assert_eq!(a.compact(&agreed), Err(CompactError::NotThere));
    assert_eq!(a.save(), before);
    assert_eq!(b.clone().compact(&agreed), Ok(()));
}

#[test]
fn a_snapshot_that_has_forgotten_joins_with_what_it_had_seen_only() {
    let (mut a, b) = holed();
    let mut behind = Document::load(&b.save(), [4; 32]).unwrap();
    let mut ahead = Document::load(&b.save(), [5; 32]).unwrap();
    ahead.edit(3, |tx| tx.splice("t", 1..1, "X")).unwrap();
    a.compact(&a.version()).unwrap();
    behind.join(&a.save()).unwrap();
    assert_eq!(behind.save(), a.save());
    let own = a.save();
    a.join(&b.save()).unwrap();
    assert_eq!(a.save(), own, "there was nothing new in it");
    assert_eq!(ahead.join(&own), Err(LoadError::Forgotten));
    assert_eq!(a.join(&ahead.save()), Err(LoadError::Forgotten));
    assert_eq!(a.save(), own);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Replicas that compact at one version stay equal, whatever is edited afterwards and however it travels.
    #[test]
    fn replicas_that_forgot_together_go_on_together(
        history in events(40),
        later in vec((0usize..3, 0u8..8, 0u8..9), 0..30),
        order in vec(any::<u16>(), 7..8),
    ) {
        let mut played = play(&history);
        for replica in &mut played.replicas {
            hear_all(replica, &played.changes, &order);
            let shown = replica.to_json();
            prop_assert_eq!(replica.compact(&replica.version()), Ok(()));
            prop_assert_eq!(replica.to_json(), shown);
        }
        let [a, b, c] = &mut played.replicas[..] else { return Ok(()) };
        prop_assert_eq!(a.save(), b.save());
        prop_assert_eq!(b.save(), c.save());
        let start = a.save();
        let mut said = Vec::new();
        for (who, what, at) in later {
            let length = played.replicas[who].len("t");
            let at = usize::from(at).min(length);
            let replica = &mut played.replicas[who];
            let made = match what {
                0..4 => replica.edit(9, |tx| tx.splice("t", at..at, "xy")),
                4 => replica.edit(9, |tx| tx.splice("t", at..(at + 2).min(length), "")),
                5 => replica.edit(9, |tx| tx.push("l", i64::from(what))),
                6 => replica.edit(9, |tx| tx.remove(Path::from("l").index(0))),
                _ => replica.edit(9, |tx| tx.set("a", at as i64)),
            };
            said.extend(made.ok().flatten());
        }
        let saves: Vec<Vec<u8>> = played.replicas.iter().map(Document::save).collect();
        let mut joined = Document::load(&start, [9; 32]).unwrap();
        for saved in &saves {
            joined.join(saved).unwrap();
        }
        for replica in &mut played.replicas {
            for change in said.iter().rev() {
                prop_assert_eq!(replica.apply(change).unwrap().ineffective, 0);
            }
            prop_assert_eq!(replica.pending(), 0);
            prop_assert_eq!(replica.save(), joined.save());
        }
    }
}
