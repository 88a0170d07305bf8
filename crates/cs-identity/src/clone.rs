//! Clones: one key at work in two places, which shows when two states claim one sequence number.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;

use crate::area::TIME_END_MS;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::secret_key::SecretKey;
use crate::signature::{Domain, Signature};
use crate::signed::{Signable, Signed, SignedFault};
use crate::wire::{self, DecodeError};

/// A signed value that has a place in a log of its signer: numbers go up by one, and each but the first names the one
/// before.
pub trait Sequenced: Signable {
    /// Names the log among those of the signer; `None` if the value is alone in it and so contradicts nothing.
    fn log(&self) -> Option<[u8; 32]>;

    /// The value's number in the log.
    fn seq(&self) -> u64;

    /// The value numbered one less; `None` only for the first.
    fn backlink(&self) -> Option<OpId>;
}

/// Proof that one key signed two histories: by mistake, by a restored backup, or by a thief (rule ID-22).
///
/// Whoever reads it is convinced by the signatures alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneProof<T> {
    first: Signed<T>,
    second: Signed<T>,
}

/// Why bytes are no [`CloneProof`]. Nothing changed; the sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloneProofFault<E> {
    /// One of the two is not a signed value.
    #[error("not two signed values: {0}")]
    Signed(SignedFault<E>),
    /// The two fit into one log.
    #[error("the two do not contradict each other")]
    NoContradiction,
}

impl<T: Sequenced> CloneProof<T> {
    /// The proof, if the two contradict each other: same signer and log, and either one number, or one follows the
    /// other by number and names a different predecessor.
    pub fn new(a: &Signed<T>, b: &Signed<T>) -> Option<Self>
    where
        T: Clone,
    {
        contradict(a, b).then(|| {
            let (first, second) = if a.id() < b.id() { (a, b) } else { (b, a) };
            Self { first: first.clone(), second: second.clone() }
        })
    }

    /// Whose key it is.
    pub fn signer(&self) -> NodeId {
        self.first.value().signer()
    }

    /// The lower of the two numbers: nothing from there on can be told apart.
    pub fn seq(&self) -> u64 {
        self.first.value().seq().min(self.second.value().seq())
    }

    /// The two values, the lower ID first.
    pub const fn pair(&self) -> (&Signed<T>, &Signed<T>) {
        (&self.first, &self.second)
    }

    /// Appends both values, each behind its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        wire::put_bytes(out, self.first.bytes());
        wire::put_bytes(out, self.second.bytes());
    }

    /// Checks all of `bytes` as a proof. Costs two signature checks.
    ///
    /// # Errors
    /// [`CloneProofFault`].
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, CloneProofFault<T::Error>> {
        let malformed = |fault: DecodeError| CloneProofFault::Signed(SignedFault::Malformed(fault.into()));
        let longest = T::MAX_LEN.saturating_add(Signature::LEN);
        let first = wire::take_bytes(&mut bytes, longest).map_err(malformed)?;
        let second = wire::take_bytes(&mut bytes, longest).map_err(malformed)?;
        if !bytes.is_empty() {
            return Err(malformed(DecodeError::TrailingBytes));
        }
        let first: Signed<T> = Signed::from_bytes(first).map_err(CloneProofFault::Signed)?;
        let second: Signed<T> = Signed::from_bytes(second).map_err(CloneProofFault::Signed)?;
        if first.id() > second.id() {
            return Err(malformed(DecodeError::NotCanonical));
        }
        if contradict(&first, &second) {
            Ok(Self { first, second })
        } else {
            Err(CloneProofFault::NoContradiction)
        }
    }
}

fn contradict<T: Sequenced>(a: &Signed<T>, b: &Signed<T>) -> bool {
    let (lower, upper) = if a.value().seq() <= b.value().seq() { (a, b) } else { (b, a) };
    let log = a.value().log();
    let one_log = a.value().signer() == b.value().signer() && log.is_some() && log == b.value().log();
    let skips = || upper.value().seq().checked_sub(1) == Some(lower.value().seq());
    one_log
        && a.id() != b.id()
        && (lower.value().seq() == upper.value().seq()
            || skips() && upper.value().backlink() != Some(lower.id()))
}

/// What a device says of itself when it starts: this is my n-th start, and I began from this state.
///
/// A device draws a fresh `state` at each start, keeps the claim before it answers anyone, and shows the last one in each
/// session.
/// Of two machines that run on copies of one disk, both then claim the next number with different states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateClaim {
    /// The device.
    pub device: NodeId,
    /// Counts the device's claims from 0.
    pub seq: u64,
    /// The claim before; `None` for the first.
    pub backlink: Option<OpId>,
    /// When the device says it is, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Chosen at random at each start.
    pub state: [u8; 32],
}

impl StateClaim {
    /// Claims the number after `last`. `state` comes from the system's entropy.
    pub fn next(key: &SecretKey, last: Option<&Signed<Self>>, unix_ms: u64, state: [u8; 32]) -> Signed<Self> {
        let claim = Self {
            device: key.node_id(),
            seq: last.map_or(0, |last| last.seq.saturating_add(1)),
            backlink: last.map(Signed::id),
            unix_ms: unix_ms.min(TIME_END_MS - 1),
            state,
        };
        Signed::sign(key, claim)
    }
}

/// Rule ID-22: version, device, number, backlink, time, state.
impl Signable for StateClaim {
    type Error = DecodeError;

    const DOMAIN: Domain = Domain::new("CosmicSync state claim v1");
    const MAX_LEN: usize = 128;

    fn signer(&self) -> NodeId {
        self.device
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(self.device.as_bytes());
        wire::put_varint(out, self.seq);
        if let Some(backlink) = &self.backlink {
            out.extend_from_slice(backlink.as_bytes());
        }
        wire::put_varint(out, self.unix_ms);
        out.extend_from_slice(&self.state);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        wire::take_version(input, 1)?;
        let device = wire::take_node_id(input)?;
        let seq = wire::take_varint(input)?;
        let backlink = if seq > 0 { Some(OpId::from_bytes(wire::take_array(input)?)) } else { None };
        let unix_ms = wire::take_varint(input)?;
        if seq == u64::MAX || unix_ms >= TIME_END_MS {
            return Err(DecodeError::OutOfRange);
        }
        Ok(Self { device, seq, backlink, unix_ms, state: wire::take_array(input)? })
    }
}

impl Sequenced for StateClaim {
    fn log(&self) -> Option<[u8; 32]> {
        Some([0; 32])
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn backlink(&self) -> Option<OpId> {
        self.backlink
    }
}

/// What a claim says beside those seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Newer than anything seen of the device.
    Newer,
    /// The claim seen last.
    Known,
    /// Older than the last one seen. Shown in a live session, it is of a device that was set back to a backup: whatever it
    /// signs next will be a clone's.
    Older,
    /// It contradicts the last one seen.
    Clone(Box<CloneProof<StateClaim>>),
}

/// The last claim of each device that somebody watches; at most as many as said at the start.
#[derive(Clone, Debug)]
pub struct CloneWatch {
    last: BTreeMap<NodeId, Signed<StateClaim>>,
    limit: usize,
}

/// As many devices are watched as may be; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("as many devices are watched as may be")]
pub struct WatchFull;

impl CloneWatch {
    /// Watches up to `limit` devices, at about 300 bytes each.
    pub const fn new(limit: usize) -> Self {
        Self { last: BTreeMap::new(), limit }
    }

    /// Holds a claim against the last one of its device, and keeps the newer.
    ///
    /// # Errors
    /// [`WatchFull`] for a device not seen before, when the limit is reached.
    pub fn observe(&mut self, claim: &Signed<StateClaim>) -> Result<Observation, WatchFull> {
        let Some(last) = self.last.get(&claim.device) else {
            if self.last.len() >= self.limit {
                return Err(WatchFull);
            }
            self.last.insert(claim.device, claim.clone());
            return Ok(Observation::Newer);
        };
        if last.id() == claim.id() {
            return Ok(Observation::Known);
        }
        if let Some(proof) = CloneProof::new(last, claim) {
            return Ok(Observation::Clone(Box::new(proof)));
        }
        if claim.seq < last.seq {
            return Ok(Observation::Older);
        }
        self.last.insert(claim.device, claim.clone());
        Ok(Observation::Newer)
    }

    /// The last claim of a device, to be kept over restarts.
    pub fn last(&self, device: &NodeId) -> Option<&Signed<StateClaim>> {
        self.last.get(device)
    }

    /// Stops watching a device.
    pub fn forget(&mut self, device: &NodeId) {
        self.last.remove(device);
    }
}
