//! Things that came before what they refer to: held, bounded, and released when it arrives.

use std::collections::BTreeMap;

use cs_identity::OpId;

/// Most things held in one space. What does not fit is offered again by the next reconciliation.
const MAX_HELD: usize = 16_384;

/// Most bytes held in one space.
const MAX_BYTES: usize = 32 << 20;

/// Held bytes by the ID of the thing and of what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    held: BTreeMap<OpId, Vec<u8>>,
    by_missing: BTreeMap<OpId, Vec<OpId>>,
    bytes: usize,
}

impl Waiting {
    /// Holds `thing` until `missing` arrives. `false` when there is no room.
    pub(crate) fn hold(&mut self, id: OpId, thing: Vec<u8>, missing: OpId) -> bool {
        if self.held.contains_key(&id) {
            return true;
        }
        if self.held.len() >= MAX_HELD || self.bytes + thing.len() > MAX_BYTES {
            return false;
        }
        self.bytes += thing.len();
        self.held.insert(id, thing);
        self.by_missing.entry(missing).or_default().push(id);
        true
    }

    /// What waited for `arrived`, in the order it came.
    pub(crate) fn release(&mut self, arrived: &OpId) -> Vec<Vec<u8>> {
        let ids = self.by_missing.remove(arrived).unwrap_or_default();
        let released: Vec<_> = ids.iter().filter_map(|id| self.held.remove(id)).collect();
        self.bytes -= released.iter().map(Vec::len).sum::<usize>();
        released
    }

    /// Whether this one is held.
    pub(crate) fn contains(&self, id: &OpId) -> bool {
        self.held.contains_key(id)
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    //! NODE-10.

    use super::*;

    fn id(n: u8) -> OpId {
        OpId::from_bytes([n; 32])
    }

    #[test]
    fn what_waits_is_released_once_by_what_it_waited_for() {
        let mut waiting = Waiting::default();
        assert!(waiting.hold(id(1), vec![1], id(9)));
        assert!(waiting.hold(id(2), vec![2], id(9)));
        assert!(waiting.hold(id(1), vec![1], id(9)), "twice is once");
        assert_eq!(waiting.release(&id(8)), Vec::<Vec<u8>>::new());
        assert_eq!(waiting.release(&id(9)), [vec![1], vec![2]]);
        assert_eq!(waiting.release(&id(9)), Vec::<Vec<u8>>::new());
        assert_eq!((waiting.len(), waiting.bytes), (0, 0));
    }

    #[test]
    fn no_more_than_the_bounds_is_held() {
        let mut waiting = Waiting::default();
        assert!(waiting.hold(id(1), vec![0; MAX_BYTES], id(9)));
        assert!(!waiting.hold(id(2), vec![0], id(9)));
        assert!(!waiting.contains(&id(2)));
    }
}
