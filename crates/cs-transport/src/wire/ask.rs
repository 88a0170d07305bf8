//! Questions on a session: a stream each (TP-18).

/// First byte of a stream with a question.
pub const ASK: u8 = 0x20;
/// Longest question and longest answer on a stream, in bytes: what one message of the DHT or of a node's API may
/// need, and little enough that a peer's eight open questions cost half a megabyte.
pub const MAX_ASK: usize = 1 << 16;
/// Bytes that a dialler may have in flight before it has heard from the acceptor, and that an acceptor holds for a
/// peer whose handshake is not complete: a question of the greatest size, and room.
pub const EARLY_WINDOW: u32 = 1 << 17;
