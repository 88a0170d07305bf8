//! Connection IDs that no length of channel data is (TP-1).

use core::time::Duration;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use noq_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use super::endpoint::entropy;
use crate::wire::QUIC_MARK;

/// Bytes of a connection ID.
const LENGTH: usize = 8;

/// Four random bytes around the mark, and three of a keyed hash over them: packets with other IDs are no packets of this
/// endpoint, and get no answer.
#[derive(Debug)]
pub(crate) struct ConnectionIds {
    key: RandomState,
}

impl ConnectionIds {
    pub(crate) fn new() -> Self {
        Self { key: RandomState::new() }
    }

    fn of(&self, [a, b, c, d]: [u8; 4]) -> [u8; LENGTH] {
        let [x, y, z, ..] = self.key.hash_one([a, b, c, d]).to_be_bytes();
        [a, QUIC_MARK, b, c, d, x, y, z]
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let chance = entropy().expect("the operating system gave randomness before");
        ConnectionId::new(&self.of(chance))
    }

    fn validate(&self, cid: ConnectionId) -> Result<(), InvalidCid> {
        match cid.first_chunk() {
            Some(&[a, _, b, c, d]) if self.of([a, b, c, d])[..] == cid[..] => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Datagram, classify};

    #[test]
    fn tp_1_a_packet_with_an_id_of_ours_is_never_taken_for_channel_data() {
        let mut ids = ConnectionIds::new();
        for first in 0x40..=0x7f {
            let id = ids.generate_cid();
            assert!(ids.validate(id).is_ok());
            for length in 0..1600 {
                let mut packet = [&[first], &id[..]].concat();
                packet.resize(packet.len() + length, 0);
                assert_eq!(classify(&packet), Datagram::Quic);
            }
        }
    }

    #[test]
    fn tp_1_ids_of_others_are_known_as_such() {
        let (mut ids, other) = (ConnectionIds::new(), ConnectionIds::new());
        let id = ids.generate_cid();
        assert!(other.validate(id).is_err());
        let mut unmarked = id.to_vec();
        unmarked[1] = 0;
        assert!(ids.validate(ConnectionId::new(&unmarked)).is_err());
    }
}
