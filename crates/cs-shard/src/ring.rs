use core::hash::{BuildHasher, Hash, Hasher};

use cs_identity::NodeId;
use hashring::{DefaultHashBuilder, HashRing};

use crate::member::Member;

const TOKEN: &[u8; 16] = b"cs-shard token 1";
const KEY: &str = "CosmicSyncCore 2026 cs-shard key";

/// Most tokens of a ring: 16 MiB. Beyond it every node has half as many, and half of that (SHARD-2).
const MAX_TOKENS: u64 = 1 << 20;

/// Where the bytes of a name stand in the key space (SHARD-1): uniform, the same on every machine, and not for secrets.
pub fn hash_key(name: &[u8]) -> [u8; 32] {
    blake3::derive_key(KEY, name)
}

/// A consistent-hash ring of weighted nodes.
///
/// `hashring` hashes and orders the tokens, each one explicit byte string, so that every platform agrees (SHARD-1).
#[derive(Clone, Debug)]
pub struct Ring {
    /// By position.
    tokens: Vec<Placed>,
}

impl Ring {
    /// Tokens of all members, each with `tokens_per_weight` a weight of 1, but one at least (SHARD-2).
    pub fn new<'m>(members: &'m [Member], tokens_per_weight: u16) -> Self {
        let mut unit = u64::from(tokens_per_weight);
        while unit > 1 && members.iter().map(|member| tokens(member, unit)).sum::<u64>() > MAX_TOKENS {
            unit /= 2;
        }
        let of_member = |(node, member): (usize, &'m Member)| {
            (0..tokens(member, unit) as u32).map(move |number| Token {
                id: &member.id,
                number,
                node: node as u32,
            })
        };
        // Of equal positions the first stays first: the sort is stable.
        let mut ring = HashRing::new();
        ring.batch_add(members.iter().enumerate().flat_map(of_member).collect());
        let place =
            |token: Token<'_>| Placed { position: DefaultHashBuilder.hash_one(&token), node: token.node };
        Self { tokens: ring.into_iter().map(place).collect() }
    }

    /// Tokens on the ring.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Nodes in the order in which the ring meets them from `key` on, as indices into the members; a node comes once
    /// for each of its tokens.
    pub fn walk(&self, key: &[u8; 32]) -> impl Iterator<Item = usize> {
        let start = self.first_at(u64::from_be_bytes(core::array::from_fn(|i| key[i])));
        self.tokens[start..].iter().chain(&self.tokens[..start]).map(|token| token.node as usize)
    }

    /// Index of the first token at or behind a position; may be one past the last.
    pub(crate) fn first_at(&self, position: u64) -> usize {
        self.tokens.partition_point(|token| token.position < position)
    }

    pub(crate) fn node(&self, token: usize) -> usize {
        self.tokens[token].node as usize
    }

    /// The ring of those nodes that pass.
    pub(crate) fn filtered(&self, pass: impl Fn(usize) -> bool) -> Self {
        Self { tokens: self.tokens.iter().filter(|token| pass(token.node as usize)).copied().collect() }
    }
}

fn tokens(member: &Member, unit: u64) -> u64 {
    (u64::from(member.weight.hundredths()) * unit / 100).max(1)
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    position: u64,
    /// Index into the members.
    node: u32,
}

struct Token<'m> {
    id: &'m NodeId,
    number: u32,
    node: u32,
}

impl Hash for Token<'_> {
    /// One write of one byte string: integers and slices would be hashed as the platform has them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 52];
        bytes[..16].copy_from_slice(TOKEN);
        bytes[16..48].copy_from_slice(self.id.as_bytes());
        bytes[48..].copy_from_slice(&self.number.to_le_bytes());
        state.write(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHARD-1: SipHash-2-4 with a key of zeros, as an independent implementation computes it.
    #[test]
    fn a_token_is_hashed_from_its_byte_string_alone() {
        let id = cs_identity::SecretKey::from_bytes([7; 32]).node_id();
        let position = |number| DefaultHashBuilder.hash_one(Token { id: &id, number, node: 3 });
        assert_eq!(id.as_bytes()[..4], [0xea, 0x4a, 0x6c, 0x63]);
        assert_eq!(position(0), 0xe57d_7c79_843b_2d3b);
        assert_eq!(position(1), 0x68ef_c483_be66_dc02);
        assert_eq!(position(0x0102_0304), 0x9703_2cd6_b8f7_e958);
    }
}
