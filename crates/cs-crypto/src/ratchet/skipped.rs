//! Keys of messages that were overtaken by later ones (CRYPTO-17).

use alloc::collections::{BTreeMap, VecDeque};

use subtle::ConstantTimeEq;

use super::session::{Header, Secret, open_header};

/// The most messages that one message may overtake. A peer can make us compute that many keys, a hash each.
pub const MAX_SKIP: u32 = 1000;
/// The most keys kept for messages that may still come; the oldest chain's go first. 64 KiB.
pub const MAX_SKIPPED: usize = 2000;
/// The most chains of which keys are kept: each costs every incoming message one attempt at its header.
pub const MAX_CHAINS: usize = 8;

/// Oldest chain first.
#[derive(Clone, Default)]
pub(crate) struct Skipped {
    pub(crate) chains: VecDeque<SkippedChain>,
}

#[derive(Clone)]
pub(crate) struct SkippedChain {
    pub(crate) header_key: Secret,
    pub(crate) keys: BTreeMap<u32, Secret>,
}

impl Skipped {
    /// The key of the message with `sealed_header`, if it is one of those.
    pub(crate) fn find(&self, sealed_header: &[u8]) -> Option<(Position, &Secret)> {
        self.chains.iter().enumerate().find_map(|(chain, skipped)| {
            let Header { number, .. } = open_header(&skipped.header_key, sealed_header)?;
            skipped.keys.get(&number).map(|key| (Position { chain, number }, key))
        })
    }

    /// Forgets a key that was used.
    pub(crate) fn remove(&mut self, position: Position) {
        let Some(chain) = self.chains.get_mut(position.chain) else { return };
        chain.keys.remove(&position.number);
        if chain.keys.is_empty() {
            self.chains.remove(position.chain);
        }
    }

    pub(crate) fn insert(&mut self, header_key: &Secret, number: u32, key: Secret) {
        match self.chains.back_mut() {
            Some(chain) if chain.header_key.ct_eq(&**header_key).into() => {
                chain.keys.insert(number, key);
            }
            _ => {
                let keys = BTreeMap::from([(number, key)]);
                self.chains.push_back(SkippedChain { header_key: header_key.clone(), keys });
            }
        }
        self.forget_excess();
    }

    pub(crate) fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.keys.len()).sum()
    }

    fn forget_excess(&mut self) {
        while self.chains.len() > MAX_CHAINS {
            self.chains.pop_front();
        }
        let mut excess = self.len().saturating_sub(MAX_SKIPPED);
        while excess > 0 {
            let Some(oldest) = self.chains.front_mut() else { return };
            oldest.keys.pop_first();
            excess -= 1;
            if oldest.keys.is_empty() {
                self.chains.pop_front();
            }
        }
    }
}

/// Where a key was found.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    chain: usize,
    number: u32,
}
