//! The sum over a set of a hash of each id: what equal sets have in common.

/// The sum over a set of a hash of each id, modulo 2^64 in four lanes (REC-2).
///
/// Equal sets have equal fingerprints. Unequal sets chosen with great effort by someone who may write many
/// ids (Wagner's generalised birthday) can have equal ones too: a session with
/// [`Config::verify`](crate::reconcile::Config) sums under a salt that no author could know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    lanes: [u64; 4],
    count: u64,
}

impl Fingerprint {
    /// How many ids were summed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Lanes and count, little-endian: 40 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.lanes.iter().chain([&self.count])) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }

    /// The first eight bytes of the hash of it: what greetings and checks carry.
    pub(crate) fn digest(&self) -> [u8; 8] {
        *blake3::hash(&self.to_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes")
    }

    /// Adds the hash of one id, which must not be in the sum yet.
    pub(crate) fn add_hash(&mut self, hash: [u64; 4]) {
        self.add(&Self { lanes: hash, count: 1 });
    }

    /// Takes the hash of one id out again.
    pub(crate) fn remove_hash(&mut self, hash: [u64; 4]) {
        self.subtract(&Self { lanes: hash, count: 1 });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (lane, word) in self.lanes.iter_mut().zip(other.lanes) {
            *lane = lane.wrapping_add(word);
        }
        self.count += other.count;
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        for (lane, word) in self.lanes.iter_mut().zip(other.lanes) {
            *lane = lane.wrapping_sub(word);
        }
        self.count -= other.count;
    }
}

/// The four little-endian words of a hash.
pub(crate) fn words(hash: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(hash.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("chunks_exact yields eight bytes"));
    }
    words
}
