//! What the folder promises, one promise a test.

use std::collections::BTreeSet;
use std::time::Duration;

use super::harness::*;
use crate::folder::*;

/// Everything of `from` goes to `to`.
fn sync(from: &mut Peer, to: &mut Peer) {
    from.scan().expect("no fuse");
    exchange(from, to);
    to.materialise(&mut [from]).expect("no fuse");
}

fn version(n: u8) -> Version {
    Version::from_bytes([n; 32])
}

/// A content, and its chunks with their bytes.
fn file(bytes: &[u8]) -> (Content, Vec<(ChunkId, Vec<u8>)>) {
    let key = ChunkKey::new(KEY);
    let chunks = key.chunks(bytes);
    let (list, blobs) = key.list(&chunks.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>());
    let content = Content::File { size: bytes.len() as u64, exec: false, mtime_ns: 5, chunks: list };
    let data = chunks.into_iter().map(|(chunk, bytes)| (chunk.id, bytes.to_vec()));
    (content, data.chain(blobs.into_iter().map(|(chunk, bytes)| (chunk.id, bytes))).collect())
}

fn changes(peer: &mut Peer, scope: Scope) -> Vec<LocalChange> {
    let mut changes = Vec::new();
    let now = peer.now_ms;
    peer.folder().expect("no fuse").scan(scope, now, &mut |change| changes.push(change)).expect("memory");
    changes
}

fn apply(peer: &mut Peer, at: &str, content: &Content, n: u8) -> Applied {
    let now = peer.now_ms;
    peer.folder().expect("no fuse").apply(&path(at), content, &[version(n)], now).expect("memory")
}

fn give(peer: &mut Peer, chunks: &[(ChunkId, Vec<u8>)]) -> Written {
    let mut all = Written::default();
    for (id, bytes) in chunks {
        let written = peer.folder().expect("no fuse").write_chunk(id, bytes).expect("memory");
        all.staged.extend(written.staged);
        all.refused.extend(written.refused);
    }
    all
}

#[test]
fn everything_a_folder_can_hold_arrives() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    a.vfs.put(&path("empty"), b"");
    a.vfs.put(&RelPath::new(b"\xff\xfe not text \x80".to_vec()).expect("bytes"), b"x");
    a.vfs.put(&path("case"), b"lower");
    a.vfs.put(&path("CASE"), b"upper");
    a.vfs.put(&path(&["deep"; 30].join("/")), b"down");
    a.vfs.put(&path("big"), &noise(1, 3 << 20));
    a.vfs.make_dir(&path("empty dir")).expect("memory");
    a.vfs.make_link(&path("link"), b"/etc/passwd").expect("memory");
    a.vfs.put(&path("run"), b"#!/bin/sh");
    a.vfs.open(&path("run")).and_then(|file| file.set_meta(0o755, 1_000)).expect("memory");
    sync(&mut a, &mut b);
    assert_eq!(a.vfs.contents(), b.vfs.contents());
    assert_eq!(a.vfs.contents().len(), 38);
    assert_eq!(b.vfs.stat(&path("run")).map(|stat| (stat.exec(), stat.mtime_ns)), Ok((true, 1_000)));
    settle(&mut a, &mut b);
    assert_eq!(a.log.len(), 38, "and comes back as nobody's edit");
}

#[test]
fn a_rename_moves_no_data_in_whichever_order_its_halves_arrive() {
    for (delete_first, len) in [(true, 2 << 20), (false, 2 << 20), (true, 24 << 20)] {
        let (mut a, mut b) = (Peer::new(0), Peer::new(1));
        a.vfs.put(&path("old"), &noise(1, len));
        sync(&mut a, &mut b);
        a.vfs.rename(&path("old"), &path("new"), Rename::NoReplace).expect("memory");
        a.scan().expect("no fuse");
        let mut log = a.log.clone();
        log.retain(|_, op| {
            (op.content == Content::Deleted) == delete_first || op.base.is_empty() && op.path == path("old")
        });
        b.log.extend(log);
        b.fetched = 0;
        let inode = b.vfs.stat(&path("old")).expect("there").inode;
        b.materialise(&mut []).expect("no fuse");
        exchange(&mut a, &mut b);
        b.materialise(&mut []).expect("no fuse");
        assert_eq!((b.fetched, a.vfs.contents()), (0, b.vfs.contents()), "deletion first: {delete_first}");
        let same = b.vfs.stat(&path("new")).expect("there").inode == inode;
        assert_eq!(same, delete_first, "the kept file itself comes back");
    }
}

#[test]
fn an_edit_of_a_large_file_moves_the_chunks_around_it_and_a_part_of_the_list() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    let mut bytes = noise(1, 40 << 20);
    a.vfs.put(&path("large"), &bytes);
    sync(&mut a, &mut b);
    let op = a.log.values().next().expect("one edit");
    assert!(
        matches!(&op.content, Content::File { chunks: ChunkList::Indirect(refs), .. } if refs.len() < 10)
    );
    bytes.splice(20 << 20..20 << 20, *b"inserted");
    a.vfs.put(&path("large"), &bytes);
    b.fetched = 0;
    sync(&mut a, &mut b);
    assert_eq!(b.vfs.get(&path("large")), Some(bytes));
    assert!((1..1 << 20).contains(&b.fetched), "{}", b.fetched);
    settle(&mut a, &mut b);
}

#[test]
fn a_rescan_reads_nothing_and_a_touch_is_no_change() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("x/y"), b"data");
    a.scan().expect("no fuse");
    a.tick();
    let now = a.now_ms;
    let rescan = |a: &mut Peer| {
        a.folder()
            .expect("no fuse")
            .scan(Scope::All, now, &mut |change| panic!("{change:?}"))
            .expect("memory")
    };
    assert_eq!((rescan(&mut a).bytes, rescan(&mut a).paths), (0, 3));
    a.vfs.open(&path("x/y")).and_then(|file| file.set_meta(0o644, 12_345)).expect("memory");
    assert_eq!(rescan(&mut a).bytes, 4);
    assert_eq!(rescan(&mut a).bytes, 0);
}

#[test]
fn an_edit_too_fresh_for_its_time_to_tell_is_read_once_more() {
    let mut a = Peer::new(0);
    a.tick();
    a.vfs.put(&path("x"), b"data");
    assert_eq!(changes(&mut a, Scope::All).len(), 1);
    a.tick();
    let now = a.now_ms;
    let folder = a.folder().expect("no fuse");
    assert_eq!(folder.scan(Scope::All, now, &mut |_| {}).expect("memory").bytes, 4);
    assert_eq!(folder.scan(Scope::All, now, &mut |_| {}).expect("memory").bytes, 0);
}

#[test]
fn a_file_that_was_edited_and_not_scanned_is_never_overwritten() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    a.vfs.put(&path("x"), b"first");
    sync(&mut a, &mut b);
    let (content, chunks) = file(b"theirs");

    b.tick();
    b.vfs.put(&path("x"), b"mine");
    assert_eq!(apply(&mut b, "x", &content, 9), Applied::Edited);
    assert!(b.folder().expect("no fuse").needs_scan());
    assert_eq!(b.vfs.get(&path("x")), Some(b"mine".to_vec()));
    b.scan().expect("no fuse");

    assert!(matches!(apply(&mut b, "x", &content, 9), Applied::Needs(_)));
    b.tick();
    b.vfs.put(&path("x"), b"mine again");
    assert_eq!(give(&mut b, &chunks).staged, [path("x")]);
    assert_eq!(b.flush().expect("no fuse"), [(path("x"), Placed::Edited)]);
    assert_eq!(b.vfs.get(&path("x")), Some(b"mine again".to_vec()));
    b.scan().expect("no fuse");

    assert_eq!(apply(&mut b, "x", &content, 9), Applied::Staged, "what arrived is found again");
    let fault = Fault::GrowsWhenReplaced(path("x"));
    b.vfs.inject(fault.clone());
    assert_eq!(b.flush().expect("no fuse"), [(path("x"), Placed::Edited)]);
    assert!(!b.vfs.is_faulty(&fault), "it was edited between the look and the exchange");
    assert_eq!(b.vfs.get(&path("x")), Some(b"mine again+".to_vec()));
    assert_eq!(changes(&mut b, Scope::Paths(BTreeSet::new())).len(), 1, "and the edit is reported");
}

#[test]
fn a_removal_does_not_take_an_edit_with_it() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("x"), b"first");
    a.scan().expect("no fuse");
    a.vfs.inject(Fault::GrowsWhenReplaced(path("x")));
    assert_eq!(apply(&mut a, "x", &Content::Deleted, 9), Applied::Edited);
    assert_eq!(a.vfs.get(&path("x")), Some(b"first+".to_vec()));
    a.scan().expect("no fuse");
    assert_eq!(apply(&mut a, "x", &Content::Deleted, 9), Applied::Done);
    assert_eq!(a.vfs.get(&path("x")), None);
    let kept = a.folder().expect("no fuse").kept().expect("memory");
    assert_eq!(kept.iter().map(|kept| kept.path.clone()).collect::<Vec<_>>(), [path("x")]);
}

#[test]
fn where_names_cannot_be_exchanged_files_are_replaced_all_the_same() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    b.vfs.inject(Fault::NoExchange);
    a.vfs.put(&path("x"), b"first");
    sync(&mut a, &mut b);
    a.tick();
    a.vfs.put(&path("x"), b"second");
    sync(&mut a, &mut b);
    assert_eq!(b.vfs.get(&path("x")), Some(b"second".to_vec()));
    b.vfs.inject(Fault::GrowsWhenReplaced(path("x")));
    a.vfs.put(&path("x"), b"third");
    sync(&mut a, &mut b);
    assert_eq!(b.vfs.get(&path("x")), Some(b"second+".to_vec()));
}

#[test]
fn a_root_that_is_gone_or_another_one_is_an_error_and_no_deletion() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("x"), b"data");
    a.scan().expect("no fuse");
    let now = a.now_ms;
    let fails = |a: &mut Peer| {
        let (folder, sink) = (a.folder().expect("no fuse"), &mut |change| panic!("{change:?}"));
        folder.scan(Scope::All, now, sink).expect_err("a folder that is not there")
    };
    a.vfs.inject(Fault::Gone);
    assert_eq!(fails(&mut a), FolderError::RootMissing);
    a.vfs.clear_faults();

    let marker = path(".cosync/folder");
    a.vfs.rename(&marker, &path(".cosync/aside"), Rename::NoReplace).expect("memory");
    a.vfs.remove_all(&path("x"));
    assert_eq!(fails(&mut a), FolderError::MarkerMissing);
    assert_eq!(a.folder().expect("no fuse").flush(now), Err(FolderError::MarkerMissing));
    a.vfs.put(&marker, b"another");
    assert_eq!(fails(&mut a), FolderError::OtherFolder);
    a.vfs.remove_all(&marker);
    a.vfs.rename(&path(".cosync/aside"), &marker, Rename::NoReplace).expect("memory");
    let found = changes(&mut a, Scope::All);
    assert_eq!(found.iter().map(|change| &change.content).collect::<Vec<_>>(), [&Content::Deleted]);
}

#[test]
fn a_root_that_goes_while_it_is_scanned_deletes_nothing() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("x"), b"data");
    a.scan().expect("no fuse");
    let (now, vfs) = (a.now_ms, a.vfs.clone());
    let folder = a.folder().expect("no fuse");
    let mut scan = folder.begin_scan(Scope::All).expect("it is there");
    vfs.remove_all(&path("x"));
    vfs.remove_all(&path(".cosync"));
    let sink = &mut |change| panic!("{change:?}");
    assert_eq!(folder.scan_step(&mut scan, now, Budget::default(), sink), Err(FolderError::MarkerMissing));
}

#[test]
fn a_scan_goes_in_steps_and_may_stop_between_them() {
    let mut a = Peer::new(0);
    for n in 0..50 {
        a.vfs.put(&path(&format!("d{}/{n}", n % 5)), &noise(n, 2000));
    }
    let now = a.now_ms + 10_000;
    let folder = a.folder().expect("no fuse");
    let budget = Budget { paths: usize::MAX, bytes: 10_000 };
    let mut found = Vec::new();
    let mut scan = folder.begin_scan(Scope::All).expect("it is there");
    let step = folder.scan_step(&mut scan, now, budget, &mut |change| found.push(change)).expect("memory");
    assert!(matches!(step, Step::More(summary) if (10_000..20_000).contains(&summary.bytes)), "{step:?}");
    drop(scan);
    let summary = folder.scan(Scope::All, now, &mut |change| found.push(change)).expect("memory");
    assert!(summary.bytes <= 90_000, "what was read before the stop is not read again");
    let paths: BTreeSet<_> = found.iter().map(|change| change.path.clone()).collect();
    assert_eq!((found.len(), paths.len()), (55, 55), "each change is told once");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_later() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("log"), b"line");
    a.vfs.inject(Fault::GrowsWhenRead(path("log")));
    assert_eq!(changes(&mut a, Scope::All), []);
    assert_eq!(a.problems(), [(path("log"), Why::Changing)]);
    assert!(a.folder().expect("no fuse").needs_scan());
    a.vfs.clear_faults();
    assert_eq!(changes(&mut a, Scope::Paths(BTreeSet::new())).len(), 1);
    assert_eq!(a.problems(), []);
}

#[test]
fn what_cannot_be_read_is_a_problem_and_not_a_deletion() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("d/x"), b"data");
    a.vfs.put(&path("e"), b"data");
    a.scan().expect("no fuse");
    a.vfs.inject(Fault::Unreadable(path("d")));
    a.vfs.inject(Fault::Unreadable(path("e")));
    a.tick();
    a.vfs.open_or_create(&path("f")).map(drop).expect("memory");
    a.vfs.make_special(&path("pipe"));
    let denied = Why::Disk(VfsError::Denied);
    assert_eq!(changes(&mut a, Scope::All).len(), 1);
    assert_eq!(a.problems(), [(path("d"), denied), (path("pipe"), Why::Special)]);
    a.vfs.clear_faults();
    a.vfs.remove_all(&path("pipe"));
    assert_eq!(changes(&mut a, Scope::All), []);
    assert_eq!(a.problems(), []);
}

#[test]
fn a_directory_that_cannot_be_written_is_a_problem_of_its_path_and_tried_again() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    a.vfs.put(&path("d/x"), b"data");
    a.vfs.put(&path("y"), b"data");
    b.vfs.make_dir(&path("d")).expect("memory");
    b.vfs.inject(Fault::Unwritable(path("d")));
    sync(&mut a, &mut b);
    assert_eq!(b.problems(), [(path("d/x"), Why::Disk(VfsError::Denied))]);
    assert!(b.vfs.get(&path("y")).is_some());
    assert!(!b.folder().expect("no fuse").needs_flush(), "no flush is due for it alone");
    b.vfs.clear_faults();
    assert_eq!(b.flush().expect("no fuse"), [(path("d/x"), Placed::Done)]);
    assert_eq!((b.problems(), b.vfs.get(&path("d/x"))), (Vec::new(), Some(b"data".to_vec())));
}

#[test]
fn what_is_applied_again_after_a_refusal_is_due_for_a_flush_again() {
    let mut a = Peer::new(0);
    let (content, chunks) = file(b"data");
    a.vfs.make_dir(&path("d")).expect("memory");
    a.vfs.inject(Fault::Unwritable(path("d")));
    assert!(matches!(apply(&mut a, "d/x", &content, 1), Applied::Needs(_)));
    give(&mut a, &chunks);
    let denied = Placed::Refused(Why::Disk(VfsError::Denied));
    assert_eq!(a.flush().expect("no fuse"), [(path("d/x"), denied)]);
    assert!(!a.folder().expect("no fuse").needs_flush());
    a.vfs.clear_faults();
    assert_eq!(apply(&mut a, "d/x", &content, 1), Applied::Staged);
    assert!(a.folder().expect("no fuse").needs_flush(), "nobody else asks for it");
    assert_eq!(a.flush().expect("no fuse"), [(path("d/x"), Placed::Done)]);
}

#[test]
fn a_full_disk_stops_a_download_and_loses_nothing_of_it() {
    let mut a = Peer::new(0);
    let bytes = noise(1, 500_000);
    let (content, chunks) = file(&bytes);
    assert!(matches!(apply(&mut a, "x", &content, 1), Applied::Needs(needs) if needs.len() == chunks.len()));
    give(&mut a, &chunks[..2]);
    a.vfs.inject(Fault::Full);
    let (id, bytes_2) = &chunks[2];
    let full = a.folder().expect("no fuse").write_chunk(id, bytes_2);
    assert_eq!(full, Err(FolderError::Disk(VfsError::Full)));
    a.vfs.clear_faults();
    assert_eq!(give(&mut a, &chunks[2..]).staged, [path("x")]);
    assert_eq!(a.flush().expect("no fuse"), [(path("x"), Placed::Done)]);
    assert_eq!(a.vfs.get(&path("x")), Some(bytes));
}

#[test]
fn a_download_goes_on_after_a_restart_and_serves_what_it_has() {
    let mut a = Peer::new(0);
    let (content, chunks) = file(&noise(1, 1_000_000));
    assert!(matches!(apply(&mut a, "x", &content, 1), Applied::Needs(_)));
    give(&mut a, &chunks[..5]);
    assert_eq!(a.folder().expect("no fuse").read_chunk(&chunks[0].0), Ok(Some(chunks[0].1.clone())));
    a.restart();
    let Applied::Needs(needs) = apply(&mut a, "x", &content, 1) else { panic!("not complete yet") };
    assert_eq!(needs.len(), chunks.len() - 5);
    give(&mut a, &chunks[5..]);
    a.flush().expect("no fuse");
    assert_eq!(a.vfs.get(&path("x")), Some(noise(1, 1_000_000)));
}

#[test]
fn a_newer_version_takes_over_what_a_download_has() {
    let mut a = Peer::new(0);
    let mut bytes = noise(1, 1_000_000);
    let (old, old_chunks) = file(&bytes);
    bytes.extend(b"more");
    let (new, new_chunks) = file(&bytes);
    assert!(matches!(apply(&mut a, "x", &old, 1), Applied::Needs(_)));
    give(&mut a, &old_chunks[..old_chunks.len() - 1]);
    let Applied::Needs(needs) = apply(&mut a, "x", &new, 2) else { panic!("the end is new") };
    assert!(needs.len() <= 2, "{}", needs.len());
    give(&mut a, &new_chunks);
    a.flush().expect("no fuse");
    assert_eq!(a.vfs.get(&path("x")), Some(bytes));
    assert_eq!(a.vfs.list(Some(&path(".cosync/tmp"))), Ok(Vec::new()), "and leaves nothing behind");
}

#[test]
fn bytes_and_lists_that_lie_are_refused() {
    let mut a = Peer::new(0);
    let (content, chunks) = file(&noise(1, 100));
    assert!(matches!(apply(&mut a, "x", &content, 1), Applied::Needs(_)));
    let wrong = a.folder().expect("no fuse").write_chunk(&chunks[0].0, b"something else");
    assert_eq!(wrong, Err(FolderError::WrongChunk));

    let chunks_of = ChunkList::Inline(vec![ChunkRef { id: chunks[0].0, len: 99 }]);
    let lying = Content::File { size: 99, exec: false, mtime_ns: 0, chunks: chunks_of };
    assert!(matches!(apply(&mut a, "y", &lying, 1), Applied::Needs(_)));
    let written = give(&mut a, &chunks);
    assert_eq!((written.staged, written.refused), (vec![path("x")], vec![(path("y"), Why::BadChunkList)]));

    let list = ChunkList::Indirect(vec![ChunkRef { id: chunks[0].0, len: 100 }]);
    let nonsense = Content::File { size: 1 << 30, exec: false, mtime_ns: 0, chunks: list };
    assert_eq!(apply(&mut a, "z", &nonsense, 1), Applied::Refused(Why::BadChunkList));
}

#[test]
fn names_that_collide_are_refused_where_the_disk_cannot_tell_them_apart() {
    let (mut a, mut b) = (Peer::new(0), Peer::on(1, MemVfs::folding_case()));
    a.vfs.put(&path("read"), b"lower");
    a.vfs.put(&path("READ"), b"upper");
    a.vfs.put(&path("dir/x"), b"x");
    a.vfs.put(&path("DIR/y"), b"y");
    sync(&mut a, &mut b);
    let refused: Vec<_> = b.problems().into_iter().filter(|(_, why)| *why == Why::NameCollision).collect();
    assert_eq!(refused.len(), 3, "{:?}", b.problems());
    assert_eq!(b.scan().expect("no fuse"), 0, "what is there is not taken for something else");
    assert_eq!(a.scan().expect("no fuse"), 0);
}

#[test]
fn ignored_paths_stay_where_they_are_and_travel_nowhere() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    a.vfs.put(&path("keep"), b"1");
    a.vfs.put(&path("later.o"), b"2");
    sync(&mut a, &mut b);
    a.vfs.put(&path(IGNORE_FILE), b"*.o\n/target/\n");
    a.vfs.put(&path("target/debug/x"), b"3");
    a.vfs.remove_all(&path("later.o"));
    sync(&mut a, &mut b);
    assert_eq!(b.vfs.get(&path("later.o")), Some(b"2".to_vec()), "its removal is not told");
    assert_eq!(b.vfs.get(&path("target/debug/x")), None);
    b.scan().expect("no fuse");
    assert_eq!(apply(&mut b, "y.o", &Content::Dir, 1), Applied::Refused(Why::Ignored));
    assert_eq!(apply(&mut b, ".cosync/kept/0", &Content::Deleted, 1), Applied::Refused(Why::Reserved));
}

#[test]
fn kept_versions_go_by_bytes_and_by_age_the_oldest_first() {
    let mut a = Peer::new(0);
    for n in 0..4 {
        a.vfs.put(&path(&format!("f{n}")), &noise(n, 1000));
    }
    a.scan().expect("no fuse");
    let chunks: Vec<_> = (0..4).map(|n| file(&noise(n, 1000)).1[0].0).collect();
    (0..4).for_each(|n| {
        a.tick();
        assert_eq!(apply(&mut a, &format!("f{n}"), &Content::Deleted, 9), Applied::Done);
    });
    let now = a.now_ms;
    let folder = a.folder().expect("no fuse");
    folder.options.retention = Retention { bytes_max: 2500, age_max: Duration::from_secs(60) };
    assert_eq!(folder.expire(now), Ok(2));
    let held: Vec<_> = chunks.iter().map(|id| folder.read_chunk(id).expect("memory").is_some()).collect();
    assert_eq!(held, [false, false, true, true]);
    assert_eq!(folder.expire(now + 59_500), Ok(1), "one is a second older");
    assert_eq!(folder.kept().expect("memory").len(), 1);
}

#[test]
fn a_directory_goes_when_what_is_in_it_has_gone() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("d/x"), b"data");
    a.scan().expect("no fuse");
    assert_eq!(apply(&mut a, "d", &Content::Deleted, 8), Applied::Refused(Why::NotEmpty));
    assert_eq!(a.problems(), [(path("d"), Why::NotEmpty)]);
    assert_eq!(apply(&mut a, "d/x", &Content::Deleted, 9), Applied::Done);
    assert_eq!(a.flush().expect("no fuse"), [(path("d"), Placed::Done)]);
    assert_eq!((a.vfs.contents().len(), a.problems()), (0, Vec::new()));
}

#[test]
fn an_edit_made_before_the_last_was_confirmed_is_based_on_it() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("x"), b"one");
    let first = changes(&mut a, Scope::All).remove(0);
    a.tick();
    a.vfs.put(&path("x"), b"two!");
    assert_eq!(changes(&mut a, Scope::All), [], "one at a time");
    assert_eq!(a.folder().expect("no fuse").confirm(&first.path, &first.content, &[version(1)]), Ok(false));
    let second = changes(&mut a, Scope::Paths(BTreeSet::new())).remove(0);
    assert_eq!((second.base, second.content.same_data(&first.content)), (vec![version(1)], false));
    a.vfs.remove_all(&path("x"));
    assert_eq!(changes(&mut a, Scope::All), []);
    assert_eq!(a.folder().expect("no fuse").confirm(&path("x"), &second.content, &[version(2)]), Ok(false));
    let third = changes(&mut a, Scope::Paths(BTreeSet::new())).remove(0);
    assert_eq!((third.base, third.content), (vec![version(2)], Content::Deleted));
}

#[test]
fn what_was_not_confirmed_is_told_again_after_a_restart() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("d/x"), b"one");
    a.vfs.put(&path("y"), b"one");
    a.scan().expect("no fuse");
    a.flush().expect("no fuse");
    a.vfs.remove_all(&path("d"));
    a.tick();
    a.vfs.put(&path("y"), b"two");
    let told = changes(&mut a, Scope::All);
    assert_eq!(told.len(), 3);
    a.flush().expect("no fuse");
    a.log.clear();
    a.restart();
    assert_eq!(a.folder().expect("no fuse").unconfirmed().map(|changes| changes.len()), Ok(3));
    let again = changes(&mut a, Scope::All);
    assert_eq!(again.iter().collect::<Vec<_>>().len(), 3);
    assert!(told.iter().all(|change| again.contains(change)));
}

#[test]
fn an_edit_that_is_not_allowed_can_be_set_aside_and_what_was_there_restored() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    a.vfs.put(&path("x"), b"theirs");
    sync(&mut a, &mut b);
    let (content, versions) = shown(&b.log)[&path("x")].clone();
    b.tick();
    b.vfs.put(&path("x"), b"vandalised");
    assert_eq!(changes(&mut b, Scope::All).len(), 1);
    let now = b.now_ms;
    assert_eq!(b.folder().expect("no fuse").set_aside(&path("x"), now), Ok(Placed::Done));
    let applied = b.folder().expect("no fuse").apply(&path("x"), &content, &versions, now);
    let Ok(Applied::Needs(needs)) = applied else { panic!("{applied:?}") };
    let chunk = a.folder().expect("no fuse").read_chunk(&needs[0].id).expect("memory").expect("it has it");
    give(&mut b, &[(needs[0].id, chunk)]);
    b.flush().expect("no fuse");
    assert_eq!(b.vfs.get(&path("x")), Some(b"theirs".to_vec()));
    assert_eq!(changes(&mut b, Scope::All), []);
    let kept = b.folder().expect("no fuse").kept().expect("memory");
    assert!(kept.iter().any(|kept| kept.content.same_data(&file(b"vandalised").0)));
}

#[test]
fn a_scan_of_one_path_reads_that_path_and_new_directories_above_it() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("old/x"), b"1");
    a.scan().expect("no fuse");
    a.tick();
    a.vfs.put(&path("old/x"), b"22");
    a.vfs.put(&path("old/other"), b"33");
    a.vfs.put(&path("new/deep/y"), b"44");
    let found = |found: Vec<LocalChange>| found.into_iter().map(|change| change.path).collect::<Vec<_>>();
    let scope = Scope::Paths(BTreeSet::from([path("old/x"), path("new/deep/y"), path(".cosync/tmp/z")]));
    let expected = [path("new"), path("new/deep"), path("new/deep/y"), path("old/x")];
    assert_eq!(found(changes(&mut a, scope)), expected);
    assert_eq!(found(changes(&mut a, Scope::All)), [path("old/other")]);
    a.vfs.remove_all(&path("old"));
    let scope = Scope::Paths(BTreeSet::from([path("old")]));
    assert_eq!(found(changes(&mut a, scope)), [path("old")], "what was in it waits for its confirmation");
}

#[test]
fn an_index_that_is_lost_costs_a_rehash_and_no_conflict() {
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    for n in 0..20 {
        a.vfs.put(&path(&format!("f{n}")), &noise(n, 3000));
    }
    sync(&mut a, &mut b);
    settle(&mut a, &mut b);
    let ops = a.log.len();
    a.index = MemIndexFile::new();
    a.restart();
    settle(&mut a, &mut b);
    assert_eq!(a.log.len(), ops);
}

#[test]
fn what_was_replaced_or_removed_just_before_a_crash_is_kept_and_no_ones_edit() {
    let mut a = Peer::new(0);
    a.vfs.put(&path("removed"), b"one");
    a.vfs.put(&path("replaced"), b"two");
    a.scan().expect("no fuse");
    a.flush().expect("no fuse");
    let (content, chunks) = file(b"theirs");
    assert!(matches!(apply(&mut a, "replaced", &content, 9), Applied::Needs(_)));
    give(&mut a, &chunks);
    assert_eq!(a.flush().expect("no fuse"), [(path("replaced"), Placed::Done)]);
    assert_eq!(apply(&mut a, "removed", &Content::Deleted, 9), Applied::Done);
    a.restart();
    for bytes in [b"one", b"two"] {
        let id = file(bytes).1[0].0;
        assert_eq!(a.folder().expect("no fuse").read_chunk(&id), Ok(Some(bytes.to_vec())));
    }
    let base = heads(&a.log, &path("replaced"));
    assert_eq!(a.folder().expect("no fuse").has_kept(&path("replaced"), &base), Ok(true));
    let found = changes(&mut a, Scope::All);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].content.same_data(&content) && found[0].base == base, "{found:?}");
}
