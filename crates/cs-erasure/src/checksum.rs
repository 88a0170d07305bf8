use crate::code::Code;
use crate::fault::Refused;

/// A key for checksums of shards, known to those who read and write and not to those who store (ERA-5).
///
/// The checksum is keyed BLAKE3 over the shard's number (eight bytes, little-endian) and its bytes.
#[derive(Clone)]
pub struct ShardKey([u8; 32]);

/// The checksum of one shard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checksum(pub [u8; 32]);

impl core::fmt::Debug for ShardKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ShardKey(..)")
    }
}

impl ShardKey {
    /// A key that nobody else has: 32 bytes of a random generator, or derived for one object.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The checksum of a shard. Cost: one pass of BLAKE3.
    pub fn checksum(&self, index: usize, shard: &[u8]) -> Checksum {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(index as u64).to_le_bytes());
        hasher.update(shard);
        Checksum(*hasher.finalize().as_bytes())
    }

    /// Whether this is the shard's checksum, in time that does not tell how much of it is right.
    pub fn is_right(&self, index: usize, shard: &[u8], checksum: &Checksum) -> bool {
        blake3::Hash::from_bytes(self.checksum(index, shard).0) == blake3::Hash::from_bytes(checksum.0)
    }
}

impl Code {
    /// As [`reconstruct_checked`](Self::reconstruct_checked), with one stored checksum a shard: says which shards lied, and
    /// rebuilds them too.
    pub fn reconstruct_keyed<S: AsRef<[u8]> + AsMut<[u8]>>(
        &self,
        shards: &mut [S],
        present: &[bool],
        key: &ShardKey,
        checksums: &[Checksum],
    ) -> Result<alloc::vec::Vec<usize>, Refused> {
        crate::code::count(checksums.len(), self.total_shards())?;
        self.reconstruct_checked(shards, present, |index, shard| {
            checksums.get(index).is_some_and(|checksum| key.is_right(index, shard, checksum))
        })
    }
}
