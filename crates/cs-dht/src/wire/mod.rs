//! Messages and records as bytes. The layouts and their reasons are in `PROTOCOL.md` (DHT-1, DHT-2, DHT-8 to DHT-12).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod codec;
mod message;
mod record;

pub use codec::{DecodeError, Extensions, MAX_EXTENSIONS, PADDING};
pub use message::{
    Answer, Ask, HOLD_FOR, MAX_DOWN, MAX_MESSAGE, MAX_RECORDS, Node, Reply, Request, StoreRefusal, Token,
    VERSION,
};
pub use record::{
    ImmutableValue, MAX_ADDRS, MAX_BOOTSTRAP, MAX_PAYLOAD, MAX_RECORD, MAX_SALT, MAX_VALUE, MutableValue,
    NetworkConfig, PeerRecord, ProviderRecord, Record, RecordKind,
};
