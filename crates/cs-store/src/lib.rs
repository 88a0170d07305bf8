#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod catalog;
mod disk;
mod fault;
mod format;
mod index;
mod index_file;
mod keys;
mod log;
mod mem_disk;
mod operation;
mod options;
mod recovery;
mod salvage;
mod scan;
mod store;

pub use catalog::{LocalFact, Staged};
pub use disk::{DirDisk, DirFile, DirLock, Disk, DiskFile};
pub use fault::{Damage, OpenError, Refused, StoreError};
pub use format::MAX_BATCH;
pub use mem_disk::{MemDisk, MemFile, MemLock, Traffic};
pub use operation::{DocumentId, MAX_CONTROL_HEADS, MAX_DEPS, MAX_OPERATION, MAX_SEALED, Operation};
pub use options::{IndexState, OnDamage, OpenOptions, Recovery};
pub use store::{Ids, MAX_LOCAL_KEY, MAX_LOCAL_VALUE, Records, Store};
