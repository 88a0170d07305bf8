//! Proof of possession: a chain, shown by who holds it to who asked, and worth nothing to anyone else.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;

use super::chain::{Chain, ChainFault};
use super::credential::CredentialFault;
use super::statement::Statement;
use crate::area::Rights;
use crate::node_id::NodeId;
use crate::path::BlindPath;
use crate::secret_key::SecretKey;
use crate::signature::{Domain, Signature};
use crate::signed::Signed;
use crate::wire;

const POSSESSION: Domain = Domain::new("CosmicSync capability possession v1");

/// A chain and its holder's signature over a challenge of the verifier (rule ID-29). A session whose peer proved its ID needs
/// none; this is for requests without one, and for those that are passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentation {
    chain: Chain,
    signature: Signature,
}

impl Presentation {
    /// Shows a chain to `verifier`, who gave the challenge: 32 random bytes, or the binding of a channel.
    ///
    /// # Errors
    /// [`CredentialFault::NotHolder`] if the chain is another's.
    pub fn sign(
        key: &SecretKey,
        verifier: &NodeId,
        challenge: &[u8; 32],
        chain: Chain,
    ) -> Result<Self, CredentialFault> {
        if chain.holder() != Some(key.node_id()) {
            return Err(CredentialFault::NotHolder);
        }
        let signature = key.sign(POSSESSION, &message(verifier, challenge, &chain));
        Ok(Self { chain, signature })
    }

    /// Appends the chain and the signature. `genesis`: as for [`Chain::encode`].
    pub fn encode(&self, genesis: bool, out: &mut Vec<u8>) {
        self.chain.encode(genesis, out);
        out.extend_from_slice(self.signature.as_bytes());
    }

    /// Checks all of `bytes` as a presentation to `verifier` in answer to `challenge`. Costs a batch of the chain's
    /// signatures and one more.
    ///
    /// # Errors
    /// [`ChainFault`]; [`ChainFault::BadSignature`] also for another verifier, challenge or holder.
    pub fn from_bytes(
        mut bytes: &[u8],
        known: Option<&Signed<Statement>>,
        verifier: &NodeId,
        challenge: &[u8; 32],
    ) -> Result<Self, ChainFault> {
        let chain = Chain::decode(&mut bytes, known)?;
        let signature = Signature::from_bytes(wire::take_array(&mut bytes)?);
        if !bytes.is_empty() {
            return Err(wire::DecodeError::TrailingBytes.into());
        }
        let holder = chain.holder().ok_or(CredentialFault::NotGenesis)?;
        let message = message(verifier, challenge, &chain);
        holder.verify(POSSESSION, &message, &signature).map_err(|_| ChainFault::BadSignature)?;
        Ok(Self { chain, signature })
    }

    /// The chain.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What who showed it may do at `path`: as [`Chain::rights`].
    ///
    /// # Errors
    /// As [`Chain::rights`].
    pub fn rights(&self, path: &BlindPath, unix_ms: u64) -> Result<Rights, CredentialFault> {
        self.chain.rights(path, unix_ms)
    }
}

/// Verifier, challenge, and a hash of the names of all statements of the chain, which names the space first.
fn message(verifier: &NodeId, challenge: &[u8; 32], chain: &Chain) -> Vec<u8> {
    let mut hash = blake3::Hasher::new_derive_key("CosmicSync 2026 cs-identity chain presented");
    for statement in chain.statements() {
        hash.update(statement.id().as_bytes());
    }
    [&verifier.as_bytes()[..], challenge, hash.finalize().as_bytes()].concat()
}
