use crate::make::{after, open, operation, path, small, space};
use cs_store::{DirDisk, Disk, DiskFile, IndexState, MemDisk, OpenError, Staged, Store};

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let disk = MemDisk::new();
    let (mut store, recovery) = open(&disk);
    assert_eq!(recovery.index, IndexState::Created);
    let first = operation(1, &[1, 2], 1, 10);
    assert_eq!(store.stage_operation(&first), Ok(Staged::New));
    assert_eq!(store.stage_operation(&first), Ok(Staged::Duplicate));
    assert_eq!(store.operation(&first.id()).unwrap().as_deref(), Some(first.bytes()), "staged is visible");
    store.put_local(b"name", b"value").unwrap();
    store.commit().unwrap();
    drop(store);

    let (store, recovery) = open(&disk);
    assert_eq!(recovery.index, IndexState::Rebuilt, "no checkpoint had been written");
    assert_eq!(recovery.replayed, 2);
    assert_eq!(store.operation(&first.id()).unwrap().as_deref(), Some(first.bytes()));
    assert_eq!(store.local(b"name").unwrap().as_deref(), Some(b"value".as_slice()));
    store.close().unwrap();

    let (store, recovery) = open(&disk);
    assert_eq!((recovery.index, recovery.replayed), (IndexState::Opened, 0));
    assert_eq!(store.operation(&first.id()).unwrap().as_deref(), Some(first.bytes()));
}

#[test]
fn a_second_opener_is_told_that_the_disk_is_in_use() {
    let disk = MemDisk::new();
    let (store, _) = open(&disk);
    assert_eq!(Store::open(disk.clone(), small()).err(), Some(OpenError::Locked));
    drop(store);
    assert!(Store::open(disk, small()).is_ok());
}

/// STORE-11.
#[test]
fn a_prefix_lists_the_documents_at_and_under_it() {
    let (mut store, _) = open(&MemDisk::new());
    for (at, document) in [(&[1][..], 1), (&[1, 2], 2), (&[1, 2, 3], 3), (&[2], 4), (&[], 5)] {
        store.stage_operation(&operation(1, at, document, 1)).unwrap();
        store.stage_operation(&operation(1, at, document, 2)).unwrap();
    }
    store.commit().unwrap();
    let under = |store: &Store<MemDisk>, at: &[u8]| {
        let documents = store.documents(&space(1), &path(at)).unwrap();
        documents.iter().map(|(_, document)| document[0]).collect::<Vec<_>>()
    };
    assert_eq!(under(&store, &[1, 2]), [2, 3]);
    assert_eq!(under(&store, &[1]), [1, 2, 3]);
    assert_eq!(under(&store, &[]), [5, 1, 2, 3, 4]);
    store.checkpoint().unwrap();
    assert_eq!(under(&store, &[]), [5, 1, 2, 3, 4], "the same from the index file");
    assert_eq!(store.documents(&space(2), &path(&[])).unwrap(), []);
}

#[test]
fn heads_do_not_depend_on_the_order_of_arrival() {
    let root = after(&[], 1, 1);
    let left = after(&[root.id()], 1, 2);
    let right = after(&[root.id()], 1, 3);
    let merge = after(&[left.id(), right.id()], 1, 4);
    let mut heads = vec![left.id(), right.id()];
    heads.sort();
    for order in [[&root, &left, &right], [&right, &left, &root], [&left, &root, &right]] {
        let (mut store, _) = open(&MemDisk::new());
        for operation in order {
            store.stage_operation(operation).unwrap();
        }
        assert_eq!(store.heads(&space(1), &[1; 16]).unwrap(), heads);
        assert_eq!(store.missing(&space(1), &[1; 16]).unwrap(), []);
    }
    let (mut store, _) = open(&MemDisk::new());
    store.stage_operation(&merge).unwrap();
    assert_eq!(store.heads(&space(1), &[1; 16]).unwrap(), [merge.id()]);
    assert_eq!(store.missing(&space(1), &[1; 16]).unwrap(), heads);
}

/// STORE-7.
#[test]
fn a_torn_tail_is_cut_and_gone_after_the_next_close() {
    let disk = MemDisk::new();
    let (mut store, _) = open(&disk);
    let first = operation(1, &[1], 1, 10);
    store.stage_operation(&first).unwrap();
    store.commit().unwrap();
    drop(store);
    let segment = disk.open("log-00000000").unwrap();
    segment.write_at(segment.size().unwrap(), &[b'C'; 10_240]).unwrap();

    let (mut store, recovery) = open(&disk);
    assert_eq!((recovery.torn_bytes, recovery.damage.len()), (10_240, 0));
    store.put_local(b"after", b"the tear").unwrap();
    store.close().unwrap();
    let (store, recovery) = open(&disk);
    assert_eq!(recovery.torn_bytes, 0);
    assert!(store.contains(&first.id()).unwrap());
    assert_eq!(store.local(b"after").unwrap().as_deref(), Some(b"the tear".as_slice()));
}

/// STORE-12.
#[test]
fn a_power_cut_between_checkpoints_does_not_cost_the_index() {
    for seed in 0..64 {
        let disk = MemDisk::new();
        let (mut store, _) = open(&disk);
        store.stage_operation(&operation(1, &[1], 1, 10)).unwrap();
        store.checkpoint().unwrap();
        store.stage_operation(&operation(1, &[1], 1, 11)).unwrap();
        store.commit().unwrap();
        let (store, recovery) = open(&disk.crash(seed));
        assert_eq!(recovery.index, IndexState::Opened, "seed {seed}");
        assert_eq!(store.operations(&space(1)).unwrap().count(), 2);
    }
}

#[test]
fn a_directory_behaves_like_the_disk_in_memory() {
    let directory = std::env::temp_dir().join(format!("cs-store-it-{}", std::process::id()));
    let disk = DirDisk::new(&directory).unwrap();
    let (mut store, recovery) = Store::open(disk.clone(), small()).unwrap();
    assert_eq!(recovery.index, IndexState::Created);
    assert_eq!(Store::open(disk.clone(), small()).err(), Some(OpenError::Locked));
    let operations: Vec<_> = (0..100).map(|clock| operation(1, &[1], 1, clock)).collect();
    for operation in &operations {
        store.stage_operation(operation).unwrap();
        store.commit().unwrap();
    }
    drop(store);
    for expected in [IndexState::Opened, IndexState::Rebuilt] {
        let (store, recovery) = Store::open(disk.clone(), small()).unwrap();
        assert_eq!((recovery.index, recovery.damage.len()), (expected, 0));
        let found: Vec<_> =
            store.document_operations(&space(1), &[1; 16]).unwrap().map(Result::unwrap).collect();
        assert!(found.iter().map(|(id, _)| *id).eq(operations.iter().map(|operation| operation.id())));
        drop(store);
        disk.remove("index").unwrap();
    }
    std::fs::remove_dir_all(directory).unwrap();
}
