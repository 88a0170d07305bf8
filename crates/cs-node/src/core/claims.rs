//! Whether a device is one machine: each start of a node is claimed, numbered and signed, and told to the members of its spaces,
//! who compare it with the last one that they heard (NODE-14; cs-identity, ID-22).

use std::collections::{BTreeMap, BTreeSet};

use cs_identity::{CloneProof, CloneWatch, NodeId, Observation, Signed, StateClaim, Unverified};
use cs_store::Disk;
use minicbor::bytes::ByteVec;

use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::space::Fault;

/// Where this device's last claim is kept.
const MINE: &[u8] = b"claim";
/// Where the last claims of others are kept, by ID.
const HEARD: &[u8] = b"claim/";
/// Where proofs of clones are kept, by ID.
const PROOF: &[u8] = b"clone/";
/// Devices that are watched at most: more than there are members.
const MAX_WATCHED: usize = 10_000;

const SET_BACK: &str = "It was set back to a backup: what it signs next may be a second history.";
const CLONED: &str = "Two machines use its key.";

/// This start's claim, and what the claims of others tell.
#[derive(Debug)]
pub(crate) struct Claims {
    mine: Signed<StateClaim>,
    watch: CloneWatch,
    cloned: BTreeSet<NodeId>,
    /// Live with a claim older than the last one heard.
    set_back: BTreeSet<NodeId>,
}

impl Claims {
    /// Claims the next start. It is on disk before it is shown, as everything is (NODE-11).
    pub(crate) fn new<D: Disk>(host: &mut Host, store: &mut Archive<D>) -> Self {
        let last = store.local(MINE).and_then(|bytes| Signed::from_bytes(&bytes).ok());
        let state = host.random();
        let mine = StateClaim::next(&host.secret, last.as_ref(), host.unix_ms(), state);
        store.put_local(MINE, mine.bytes());
        let mut watch = CloneWatch::new(MAX_WATCHED);
        for (_, bytes) in store.local_prefix(HEARD) {
            if let Ok(claim) = Unverified::<StateClaim>::from_bytes(&bytes) {
                // Verified when it came; there is room for what there was room for.
                let _ = watch.observe(&claim.assume_verified());
            }
        }
        let proofs = store.local_prefix(PROOF).into_iter();
        let cloned =
            proofs.filter_map(|(key, _)| NodeId::from_bytes(&key.get(PROOF.len()..)?.try_into().ok()?).ok());
        Self { mine, watch, cloned: cloned.collect(), set_back: BTreeSet::new() }
    }

    /// What a member is told: this start's claim, and the last one heard of it.
    pub(crate) fn for_member(&self, member: &NodeId) -> (Option<ByteVec>, Option<ByteVec>) {
        let heard = self.watch.last(member).map(|claim| claim.bytes().to_vec().into());
        (Some(self.mine.bytes().to_vec().into()), heard)
    }

    /// A member's claim, and the last one that it heard of this device.
    pub(crate) fn hear<D: Disk>(
        &mut self,
        store: &mut Archive<D>,
        member: NodeId,
        claim: Option<&[u8]>,
        heard: Option<&[u8]>,
    ) -> Result<(), Fault> {
        if let Some(bytes) = claim {
            let claim = verified(bytes, member)?;
            match self.watch.observe(&claim) {
                Ok(Observation::Newer) => {
                    store.put_local(&[HEARD, member.as_bytes()].concat(), bytes);
                    self.set_back.remove(&member);
                }
                Ok(Observation::Clone(proof)) => self.keep(store, &proof),
                Ok(Observation::Older) => {
                    self.set_back.insert(member);
                }
                Ok(Observation::Known) | Err(_) => {}
            }
        }
        if let Some(bytes) = heard {
            let me = self.mine.device;
            let heard = verified(bytes, me)?;
            match CloneProof::new(&self.mine, &heard) {
                Some(proof) => self.keep(store, &proof),
                None if heard.seq > self.mine.seq => {
                    self.set_back.insert(me);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn keep<D: Disk>(&mut self, store: &mut Archive<D>, proof: &CloneProof<StateClaim>) {
        let device = proof.signer();
        if self.cloned.insert(device) {
            let mut bytes = Vec::new();
            proof.encode(&mut bytes);
            store.put_local(&[PROOF, device.as_bytes()].concat(), &bytes);
        }
    }

    /// What is wrong with devices, by ID.
    pub(crate) fn warnings(&self) -> BTreeMap<NodeId, &'static str> {
        let set_back = self.set_back.iter().map(|device| (*device, SET_BACK));
        let cloned = self.cloned.iter().map(|device| (*device, CLONED));
        set_back.chain(cloned).collect()
    }
}

fn verified(bytes: &[u8], device: NodeId) -> Result<Signed<StateClaim>, Fault> {
    let claim = Signed::<StateClaim>::from_bytes(bytes).map_err(|_| Fault::Malformed)?;
    if claim.device == device { Ok(claim) } else { Err(Fault::Malformed) }
}
