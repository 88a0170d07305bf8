//! How a store is opened, and what opening found.

use crate::fault::Damage;

/// How to open a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Random bytes for a new log, ignored by an existing one: the key of its checks, so that bytes received from a
    /// peer can never pass for a batch of the log when a damaged one is searched. It is no secret on this machine.
    /// Default: zeros.
    pub salt: [u8; 32],
    /// Bytes that the index may cache. Default: 4 MiB; at least 64 KiB is sensible.
    pub cache_bytes: usize,
    /// Bytes of memory that records not yet in the index file may take before a commit writes them there. It bounds
    /// what the next start has to replay. Default: 4 MiB.
    pub checkpoint_bytes: usize,
    /// The length from which on a segment of the log takes no further batch. Default: 64 MiB; clamped to 4 KiB..=1 GiB.
    pub segment_bytes: u32,
    /// What to do when the log is damaged. Default: [`OnDamage::Refuse`].
    pub on_damage: OnDamage,
    /// Discard the index file and make it anew from the log. Default: false.
    pub rebuild_index: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            salt: [0; 32],
            cache_bytes: 4 << 20,
            checkpoint_bytes: 4 << 20,
            segment_bytes: 64 << 20,
            on_damage: OnDamage::Refuse,
            rebuild_index: false,
        }
    }
}

/// What to do when the log is damaged where it was durable. A torn tail, which a crash leaves, is not damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Do not open, change nothing, and say what could be saved.
    #[default]
    Refuse,
    /// Keep the damaged segment under another name, put a segment with everything that is intact in its place, and
    /// make the index anew.
    Salvage,
}

/// What opening a store found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Where the index came from.
    pub index: IndexState,
    /// Records that were read from the log to bring the index up to date.
    pub replayed: u64,
    /// Bytes that an interrupted commit had left at the end of the log, and that were cut.
    pub torn_bytes: u64,
    /// Damage that was set aside: only with [`OnDamage::Salvage`].
    pub damage: Vec<Damage>,
    /// The files that keep the damaged segments as they were found.
    pub kept_aside: Vec<String>,
}

/// Where the index came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexState {
    /// The disk was empty.
    Created,
    /// As the last checkpoint left it.
    Opened,
    /// From the log: there was none, or it was damaged, of another version or of another log.
    Rebuilt,
}
