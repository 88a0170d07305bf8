//! What durability costs: `cargo run --release -p cs-store --example append [DIRECTORY] [OPERATIONS]`.
//!
//! Prints the latency of one durable operation beside that of a bare append and `fdatasync` on the same file system,
//! operations a second in batches, bytes written for each byte of operation, reading, and reopening after a kill.

use cs_identity::{BlindPath, OpId, SecretKey, Signed, SpaceId, Tag};
use cs_store::{DirDisk, Disk, DiskFile, OpenOptions, Operation, Store};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SINGLE: usize = 1_000;
const BATCH: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory =
        arguments.next().map_or_else(|| std::env::temp_dir().join("cs-store-append"), PathBuf::from);
    let count: usize = arguments.next().map_or(Ok(200_000), |count| count.parse())?;
    if directory.exists() {
        return Err(format!("{} is there already: remove it or name another", directory.display()).into());
    }
    let result = run(&directory, count);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn run(directory: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let operations = make_operations(count + SINGLE);
    let size = operations[0].bytes().len();
    let (floor_p50, floor_p99) = bare_appends(directory, size)?;
    println!("append + fdatasync of {size} B     p50 {floor_p50:>9.1?}  p99 {floor_p99:.1?}");

    let disk = DirDisk::new(directory.join("store"))?;
    let (mut store, _) = Store::open(disk.clone(), OpenOptions::default())?;
    let (single, batched) = operations.split_at(SINGLE);
    let mut times = Vec::new();
    for operation in single {
        let start = Instant::now();
        store.stage_operation(operation)?;
        store.commit()?;
        times.push(start.elapsed());
    }
    let (p50, p99) = percentiles(&mut times);
    println!(
        "one durable operation          p50 {p50:>9.1?}  p99 {p99:.1?}  ({:.2} x the floor)",
        p50.as_secs_f64() / floor_p50.as_secs_f64()
    );

    let written_before = written_bytes();
    let start = Instant::now();
    for batch in batched.chunks(BATCH) {
        for operation in batch {
            store.stage_operation(operation)?;
        }
        store.commit()?;
    }
    let took = start.elapsed();
    println!("batches of {BATCH}                 {:>11.0} operations/s", count as f64 / took.as_secs_f64());
    if let (Some(before), Some(after)) = (written_before, written_bytes()) {
        println!("written / bytes of operations  {:>11.2}", (after - before) as f64 / (count * size) as f64);
    }
    read_back(&store, &operations)?;
    drop(store);
    reopen(&disk)?;
    if let Some(resident) = status_kib("VmRSS:") {
        let own = operations.len() * (size + size_of::<Signed<Operation>>()) / 1024;
        println!(
            "resident memory                {:>11} MiB  (of it {} for the operations to write)",
            resident / 1024,
            own / 1024
        );
    }
    Ok(())
}

fn read_back(store: &Store<DirDisk>, operations: &[Signed<Operation>]) -> Result<(), Box<dyn Error>> {
    let space = operations[0].space;
    let start = Instant::now();
    let ids = store.operations(&space)?.collect::<Result<Vec<OpId>, _>>()?;
    println!("all {} ids in           {:>15.1?}", ids.len(), start.elapsed());
    let start = Instant::now();
    let looked_up = 20_000;
    for at in 0..looked_up {
        let id = operations[at * 7919 % operations.len()].id();
        store.operation(&id)?.ok_or("an operation is missing")?;
    }
    println!("one operation by its id        {:>15.1?}", start.elapsed() / looked_up as u32);
    Ok(())
}

/// The first start after a kill, and the next one.
fn reopen(disk: &DirDisk) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let (store, recovery) = Store::open(disk.clone(), OpenOptions::default())?;
    println!(
        "reopen after a kill            {:>15.1?}  ({} records replayed)",
        start.elapsed(),
        recovery.replayed
    );
    println!("log                            {:>11.1} MB", store.log_bytes() as f64 / 1e6);
    drop(store);
    let start = Instant::now();
    let mut options = OpenOptions::default();
    options.rebuild_index = true;
    let (_store, recovery) = Store::open(disk.clone(), options)?;
    println!("rebuild of the index           {:>15.1?}  ({} records)", start.elapsed(), recovery.replayed);
    Ok(())
}

/// Operations of one author on documents of a thousand operations each, 100 bytes of ciphertext.
fn make_operations(count: usize) -> Vec<Signed<Operation>> {
    let key = SecretKey::from_bytes([1; 32]);
    let space = SpaceId::from_bytes([2; 32]);
    let mut last: Option<OpId> = None;
    let mut operations: Vec<Signed<Operation>> = Vec::with_capacity(count);
    for number in 0..count {
        let (document, seq) = ((number / 1000) as u64, (number % 1000) as u64);
        let backlink = last.filter(|_| seq > 0);
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&document.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let operation = Operation {
            space,
            path: BlindPath::new(vec![Tag::from_bytes(tag)]).expect("one component"),
            document: tag,
            author: key.node_id(),
            seq,
            backlink,
            deps: backlink.into_iter().collect(),
            clock: (1_760_000_000_000 + number as u64) << 16,
            grant: space.genesis(),
            control_heads: vec![space.genesis()],
            epoch: 1,
            sealed: vec![number as u8; 100],
        };
        let signed = operation.sign(&key).expect("within every bound");
        last = Some(signed.id());
        operations.push(signed);
    }
    operations
}

fn bare_appends(directory: &Path, size: usize) -> Result<(Duration, Duration), Box<dyn Error>> {
    let file = DirDisk::new(directory.join("floor"))?.open("bare")?;
    let mut times = Vec::new();
    for number in 0..SINGLE {
        let start = Instant::now();
        file.write_at((number * size) as u64, &vec![number as u8; size])?;
        file.sync()?;
        times.push(start.elapsed());
    }
    Ok(percentiles(&mut times))
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Bytes that this process has caused to be written, where the system tells.
fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

fn status_kib(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().strip_suffix(" kB")?.trim().parse().ok()
}
