//! Bit rot, full disks and failing ones (STORE-5, STORE-7 to STORE-10).

use crate::make::{key, open, operation, path, small, space};
use cs_identity::control::{Draft, Statement};
use cs_identity::{OpId, Signed};
use cs_store::{
    Disk, DiskFile, IndexState, MemDisk, OnDamage, OpenError, OpenOptions, Operation, Store, StoreError,
};

const SEGMENT: &str = "log-00000000";

fn salvage() -> OpenOptions {
    let mut options = small();
    options.on_damage = OnDamage::Salvage;
    options
}

fn flip(disk: &MemDisk, name: &str, byte: usize) {
    assert!(disk.flip_bit(name, byte as u64 * 8 + 3), "{name} has no byte {byte}");
}

/// The byte of the log at which `needle` begins.
fn find(disk: &MemDisk, needle: &[u8]) -> usize {
    let log = disk.content(SEGMENT).unwrap();
    log.windows(needle.len()).position(|window| window == needle).unwrap()
}

/// Three batches of two operations and a local fact each, never checkpointed.
fn three_batches() -> (MemDisk, Vec<Signed<Operation>>) {
    let disk = MemDisk::new();
    let (mut store, _) = open(&disk);
    let operations: Vec<_> = (0..6).map(|clock| operation(1, &[1], 1, clock)).collect();
    for (number, pair) in operations.chunks(2).enumerate() {
        pair.iter().for_each(|operation| assert!(store.stage_operation(operation).is_ok()));
        store.put_local(&[number as u8], b"a local fact").unwrap();
        store.commit().unwrap();
    }
    (disk, operations)
}

fn present(store: &Store<MemDisk>) -> Vec<OpId> {
    store.operations(&space(1)).unwrap().map(Result::unwrap).collect()
}

/// STORE-7: damage is not a tear.
#[test]
fn damage_between_durable_batches_is_reported_and_nothing_is_changed() {
    let (disk, operations) = three_batches();
    flip(&disk, SEGMENT, find(&disk, operations[2].bytes()) + 70);
    let before = disk.content(SEGMENT);
    let Err(OpenError::Corrupt(damage)) = Store::open(disk.clone(), small()) else {
        panic!("it must not open")
    };
    assert_eq!((damage.segment, damage.salvaged), (0, 1), "the batch's other operation is intact");
    assert!(damage.from < damage.until);
    assert_eq!(disk.content(SEGMENT), before);
}

/// STORE-8.
#[test]
fn salvage_keeps_the_damaged_segment_aside_and_everything_that_is_intact() {
    let (disk, operations) = three_batches();
    flip(&disk, SEGMENT, find(&disk, operations[2].bytes()) + 70);
    let damaged = disk.content(SEGMENT);
    let (store, recovery) = Store::open(disk.clone(), salvage()).unwrap();
    assert_eq!(recovery.damage.len(), 1);
    assert_eq!(recovery.kept_aside.len(), 1);
    assert_eq!(disk.content(&recovery.kept_aside[0]), damaged);
    for (number, operation) in operations.iter().enumerate() {
        let found = store.operation(&operation.id()).unwrap();
        assert_eq!(found.is_some(), number != 2, "operation {number}");
    }
    assert_eq!(store.local(&[2]).unwrap().as_deref(), Some(b"a local fact".as_slice()));
    store.close().unwrap();
    let (store, recovery) = open(&disk);
    assert_eq!((recovery.index, recovery.damage.len()), (IndexState::Opened, 0), "the log is sound again");
    assert_eq!(present(&store).len(), 5);
}

/// STORE-2: no bit of a batch is outside its check.
#[test]
fn every_flipped_bit_of_a_log_is_noticed_or_in_the_last_batch() {
    let (disk, operations) = three_batches();
    let last_batch = find(&disk, operations[4].bytes()) - 5 - 36;
    for byte in (0..disk.content(SEGMENT).unwrap().len()).step_by(7) {
        flip(&disk, SEGMENT, byte);
        match Store::open(disk.clone(), small()) {
            Err(OpenError::Corrupt(_)) => assert!(byte < last_batch, "byte {byte}"),
            Ok((store, recovery)) => {
                assert!(byte >= last_batch && recovery.torn_bytes > 0, "byte {byte} was not noticed");
                assert_eq!(present(&store).len(), 4);
                return;
            }
            Err(error) => panic!("byte {byte}: {error:?}"),
        }
        flip(&disk, SEGMENT, byte);
    }
}

/// STORE-7: the seal.
#[test]
fn after_a_close_even_the_last_batch_is_known_to_have_been_durable() {
    let (disk, operations) = three_batches();
    open(&disk).0.close().unwrap();
    flip(&disk, SEGMENT, find(&disk, operations[5].bytes()) + 70);
    disk.remove("index").unwrap();
    assert!(matches!(Store::open(disk, small()), Err(OpenError::Corrupt(_))));
}

/// STORE-8, STORE-9: reading a rotten record is an error; what proves itself not comes from the index.
#[test]
fn local_facts_in_a_damaged_batch_come_back_from_the_index() {
    let (disk, operations) = three_batches();
    let (mut store, _) = open(&disk);
    store.checkpoint().unwrap();
    store.put_local(&[0], b"changed later").unwrap();
    store.remove_local(&[2]).unwrap();
    store.commit().unwrap();
    drop(store);
    flip(&disk, SEGMENT, find(&disk, operations[2].bytes()) + 70);
    let mut options = salvage();
    let (store, recovery) = Store::open(disk.clone(), options.clone()).unwrap();
    assert_eq!(recovery.damage.len(), 0, "a start reads only what came after the checkpoint");
    let read = store.operation(&operations[2].id());
    assert!(matches!(read, Err(StoreError::Corrupt { segment: 0, .. })), "reading finds it: {read:?}");
    drop(store);
    options.rebuild_index = true;
    let (store, recovery) = Store::open(disk, options).unwrap();
    assert_eq!(recovery.damage.len(), 1);
    let locals: Vec<_> = [0, 1, 2].iter().map(|key| store.local(&[*key]).unwrap()).collect();
    let expected: [Option<&[u8]>; 3] = [Some(b"changed later"), Some(b"a local fact"), None];
    assert_eq!(locals.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn a_statement_among_damaged_bytes_is_rescued() {
    let disk = MemDisk::new();
    let (mut store, _) = open(&disk);
    let statement = Statement::sign(&key(1), Draft::genesis([1; 16], 5)).unwrap();
    let lost = operation(1, &[1], 1, 1);
    store.stage_operation(&lost).unwrap();
    store.stage_statement(&statement).unwrap();
    store.commit().unwrap();
    store.close().unwrap();
    flip(&disk, SEGMENT, find(&disk, lost.bytes()) + 70);
    disk.remove("index").unwrap();
    let (store, recovery) = Store::open(disk, salvage()).unwrap();
    assert_eq!(recovery.damage[0].salvaged, 1);
    assert_eq!(store.statement(&statement.id()).unwrap().as_deref(), Some(statement.bytes()));
    let all: Vec<_> = store.statements(&statement.space()).unwrap().map(Result::unwrap).collect();
    assert_eq!(all, [(statement.id(), statement.bytes().to_vec())]);
    assert!(!store.contains(&lost.id()).unwrap());
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = MemDisk::new();
    let (mut store, _) = open(&disk);
    let operations: Vec<_> = (0..60).map(|clock| operation(1, &[1], 1, clock)).collect();
    for operation in &operations {
        store.stage_operation(operation).unwrap();
        store.commit().unwrap();
    }
    drop(store);
    disk.remove("index").unwrap();
    disk.remove("log-00000001").unwrap();
    let error = Store::open(disk.clone(), small()).err();
    assert!(matches!(error, Some(OpenError::Corrupt(damage)) if damage.segment == 1), "{error:?}");
    let (store, recovery) = Store::open(disk, salvage()).unwrap();
    assert_eq!(recovery.damage.len(), 1);
    let left = present(&store);
    assert!(left.contains(&operations[0].id()) && left.contains(&operations[59].id()));
    assert!(left.len() < operations.len());
}

/// STORE-1, STORE-8.
#[test]
fn a_damaged_first_header_costs_nothing_that_is_signed() {
    let (disk, operations) = three_batches();
    flip(&disk, SEGMENT, 30);
    assert!(matches!(Store::open(disk.clone(), small()), Err(OpenError::Corrupt(_))));
    let (store, _) = Store::open(disk, salvage()).unwrap();
    assert_eq!(present(&store).len(), operations.len());
}

#[test]
fn a_damaged_index_is_made_anew() {
    let (disk, operations) = three_batches();
    open(&disk).0.close().unwrap();
    let index = disk.content("index").unwrap();
    for (name, damage) in [("zeros", 0..4104), ("truncated", 0..0), ("rot", 4104..index.len())] {
        let file = disk.open("index").unwrap();
        if damage.is_empty() {
            file.set_size(1000).unwrap();
        } else {
            file.write_at(damage.start as u64, &vec![0xa5; damage.len()]).unwrap();
        }
        let (store, recovery) = Store::open(disk.clone(), small()).unwrap();
        assert_eq!(recovery.index, IndexState::Rebuilt, "{name}");
        assert_eq!(present(&store).len(), operations.len(), "{name}");
        store.close().unwrap();
    }
}

/// STORE-10.
#[test]
fn every_rotten_bit_of_the_index_ends_in_an_error_or_the_right_answer() {
    let (disk, operations) = three_batches();
    open(&disk).0.close().unwrap();
    let size = disk.content("index").unwrap().len();
    for byte in (0..size).step_by(997) {
        let disk = disk.crash(0);
        flip(&disk, "index", byte);
        let (mut store, _) = Store::open(disk.clone(), small()).unwrap();
        for operation in &operations {
            match store.operation(&operation.id()) {
                Ok(found) => assert_eq!(found.as_deref(), Some(operation.bytes()), "byte {byte}"),
                Err(error) => assert_eq!(error, StoreError::IndexDamaged, "byte {byte}"),
            }
        }
        store.rebuild_index().unwrap();
        assert_eq!(present(&store).len(), operations.len(), "byte {byte}");
    }
}

/// STORE-5.
#[test]
fn a_full_disk_refuses_the_commit_keeps_the_batch_and_goes_on_when_there_is_room() {
    let (disk, operations) = three_batches();
    let (mut store, _) = open(&disk);
    let used: usize = disk.names().unwrap().iter().map(|name| disk.content(name).unwrap().len()).sum();
    disk.set_capacity(Some(used as u64 + 100));
    let more = operation(1, &[2], 2, 99);
    store.stage_operation(&more).unwrap();
    assert_eq!(store.commit(), Err(StoreError::DiskFull));
    assert_eq!(store.commit(), Err(StoreError::DiskFull), "as often as it is tried");
    assert_eq!(store.operation(&more.id()).unwrap().as_deref(), Some(more.bytes()), "still staged");
    assert_eq!(store.operation(&operations[0].id()).unwrap().as_deref(), Some(operations[0].bytes()));
    disk.set_capacity(None);
    store.commit().unwrap();
    drop(store);
    let (store, recovery) = open(&disk.crash(1));
    assert_eq!((recovery.torn_bytes, recovery.damage.len()), (0, 0));
    assert!(store.contains(&more.id()).unwrap());
}

#[test]
fn a_disk_too_full_for_the_index_still_commits_and_reads() {
    let disk = MemDisk::new();
    let (mut store, _) = open(&disk);
    let operations: Vec<_> = (0..200).map(|clock| operation(1, &[clock as u8], 1, clock)).collect();
    let (first, rest) = operations.split_at(20);
    first.iter().for_each(|operation| assert!(store.stage_operation(operation).is_ok()));
    store.checkpoint().unwrap();
    let used: usize = disk.names().unwrap().iter().map(|name| disk.content(name).unwrap().len()).sum();
    disk.set_capacity(Some(used as u64 + 50_000));
    for operation in rest {
        store.stage_operation(operation).unwrap();
        store.commit().unwrap();
    }
    for operation in &operations {
        assert_eq!(store.operation(&operation.id()).unwrap().as_deref(), Some(operation.bytes()));
    }
    assert_eq!(store.checkpoint(), Err(StoreError::DiskFull), "the script must have come to that point");
    disk.set_capacity(None);
    store.checkpoint().unwrap();
    drop(store);
    let (store, recovery) = open(&disk);
    assert_eq!((recovery.index, recovery.replayed), (IndexState::Opened, 0));
    assert_eq!(present(&store).len(), operations.len());
}

#[test]
fn after_a_failed_sync_nothing_more_is_accepted_and_a_restart_keeps_what_was_acknowledged() {
    let (disk, operations) = three_batches();
    let (mut store, _) = open(&disk);
    disk.fail_sync(true);
    let doubtful = operation(1, &[2], 2, 99);
    store.stage_operation(&doubtful).unwrap();
    assert!(matches!(store.commit(), Err(StoreError::Failed(_))));
    disk.fail_sync(false);
    assert!(matches!(store.commit(), Err(StoreError::Failed(_))), "a second sync would lie");
    assert_eq!(store.operation(&operations[0].id()).unwrap().as_deref(), Some(operations[0].bytes()));
    drop(store);
    for seed in 0..16 {
        let (store, recovery) = open(&disk.crash(seed));
        assert!(recovery.damage.is_empty());
        assert_eq!(present(&store).len(), operations.len());
        assert_eq!(store.documents(&space(1), &path(&[])).unwrap().len(), 1);
    }
}

/// STORE-1.
#[test]
fn a_log_of_a_later_version_is_left_alone() {
    let (disk, _) = three_batches();
    let segment = disk.open(SEGMENT).unwrap();
    segment.write_at(7, &[2, 9, 9, 9]).unwrap();
    let before = disk.content(SEGMENT);
    assert_eq!(Store::open(disk.clone(), salvage()).err(), Some(OpenError::Newer));
    assert_eq!(disk.content(SEGMENT), before);
}

/// STORE-12: the position names its log.
#[test]
fn an_index_of_another_log_is_not_believed() {
    let (disk, operations) = three_batches();
    open(&disk).0.close().unwrap();
    let mut options = small();
    options.salt = [8; 32];
    let other = MemDisk::new();
    let (mut store, _) = Store::open(other.clone(), options.clone()).unwrap();
    store.put_local(b"of", b"another log").unwrap();
    store.close().unwrap();
    let foreign = other.content("index").unwrap();
    let index = disk.open("index").unwrap();
    index.set_size(0).unwrap();
    index.write_at(0, &foreign).unwrap();
    let (store, recovery) = open(&disk);
    assert_eq!(recovery.index, IndexState::Rebuilt);
    assert_eq!(present(&store).len(), operations.len());
    assert_eq!(store.local(b"of").unwrap(), None);
}
