//! A secret under a passphrase: argon2id (RFC 9106), then XChaCha20-Poly1305.
//!
//! For key files that leave the machine or lie on a shared disk. The layout is CRYPTO-12 of PROTOCOL.md.

use alloc::vec::Vec;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use crate::aead::{TAG_LENGTH, xopen_in_place, xseal_in_place};

/// The first bytes of a sealed file: what it is, and the version of its layout.
const MAGIC: &[u8; 8] = b"cssecrt\x01";
/// Magic, memory, passes, lanes, salt, nonce.
const HEADER_LENGTH: usize = 8 + 4 + 4 + 4 + 16 + 24;
/// Bytes by which a sealed file is longer than the secret.
pub const OVERHEAD: usize = HEADER_LENGTH + TAG_LENGTH;

/// The most memory that [`open`] lends to a file, KiB (1 GiB): the file's own word decides, and it may be forged.
pub const MAX_MEMORY_KIB: u32 = 1 << 20;
/// The most passes over it.
pub const MAX_PASSES: u32 = 32;
/// The most lanes.
pub const MAX_LANES: u32 = 16;
/// The longest secret, bytes: key files are small.
pub const MAX_SECRET: usize = 1 << 20;

/// What one guess at the passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, KiB, from 8 per lane to [`MAX_MEMORY_KIB`].
    pub memory_kib: u32,
    /// Passes over the memory, 1 to [`MAX_PASSES`].
    pub passes: u32,
    /// Lanes, 1 to [`MAX_LANES`]; computed one after the other.
    pub lanes: u32,
}

impl Cost {
    /// The second choice of RFC 9106 section 4, for machines of every size: 64 MiB, 3 passes, 4 lanes; about 0.1 s.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };

    fn params(self) -> Option<Params> {
        let within =
            self.memory_kib <= MAX_MEMORY_KIB && self.passes <= MAX_PASSES && self.lanes <= MAX_LANES;
        within.then(|| Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()).flatten()
    }
}

/// Why a secret was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The cost is out of the ranges of [`Cost`].
    #[error("the cost is out of range")]
    Cost,
    /// The secret is longer than [`MAX_SECRET`].
    #[error("the secret is too long for a key file")]
    TooLong,
}

/// Why a sealed file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a sealed file, or of a later version.
    #[error("not a sealed key file of a version that is known here")]
    Format,
    /// The file asks for more memory or time than the limits allow.
    #[error("the file asks for more memory or time than a key file may")]
    Cost,
    /// The passphrase is wrong, or the file was altered; the two cannot be told apart.
    #[error("wrong passphrase, or the file was altered")]
    Passphrase,
}

/// Seals `secret`. `entropy`: 40 fresh bytes from the operating system, 16 for the salt and 24 for the nonce.
///
/// # Errors
/// [`SealError`] for a cost or a length out of range.
pub fn seal(passphrase: &[u8], secret: &[u8], cost: Cost, entropy: &[u8; 40]) -> Result<Vec<u8>, SealError> {
    if secret.len() > MAX_SECRET {
        return Err(SealError::TooLong);
    }
    let (salt, nonce) = entropy.split_first_chunk::<16>().expect("40 bytes are more than 16");
    let nonce: &[u8; 24] = nonce.try_into().expect("24 of 40 bytes remain");
    let key = derive(passphrase, salt, cost.params().ok_or(SealError::Cost)?).ok_or(SealError::Cost)?;
    let mut header = Vec::with_capacity(OVERHEAD + secret.len());
    header.extend_from_slice(MAGIC);
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(entropy);
    let mut body = Vec::with_capacity(secret.len() + TAG_LENGTH);
    body.extend_from_slice(secret);
    xseal_in_place(&key, nonce, &header, &mut body);
    header.append(&mut body);
    Ok(header)
}

/// Opens what [`seal`] made. Takes the time and memory that the file names, within the limits above.
///
/// # Errors
/// [`OpenError`]; costs are checked before anything is allocated.
pub fn open(passphrase: &[u8], file: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (header, body) = file.split_at_checked(HEADER_LENGTH).ok_or(OpenError::Format)?;
    let mut rest = header.strip_prefix(MAGIC).ok_or(OpenError::Format)?;
    if body.len() < TAG_LENGTH || body.len() > MAX_SECRET + TAG_LENGTH {
        return Err(OpenError::Format);
    }
    let cost = Cost {
        memory_kib: u32::from_le_bytes(take(&mut rest)?),
        passes: u32::from_le_bytes(take(&mut rest)?),
        lanes: u32::from_le_bytes(take(&mut rest)?),
    };
    let (salt, nonce) = (take(&mut rest)?, take(&mut rest)?);
    let key = derive(passphrase, &salt, cost.params().ok_or(OpenError::Cost)?).ok_or(OpenError::Cost)?;
    let mut secret = Zeroizing::new(body.to_vec());
    xopen_in_place(&key, &nonce, header, &mut secret).map_err(|_| OpenError::Passphrase)?;
    Ok(secret)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], OpenError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(OpenError::Format)?;
    *rest = after;
    Ok(*bytes)
}

/// `None` for a cost that the parameters exclude, or more memory than there is. The memory is wiped: what is left in it tests
/// guesses at the passphrase for less than a guess should cost.
fn derive(passphrase: &[u8], salt: &[u8; 16], params: Params) -> Option<Zeroizing<[u8; 32]>> {
    let mut memory = Zeroizing::new(Vec::new());
    memory.try_reserve_exact(params.block_count()).ok()?;
    memory.resize(params.block_count(), Block::default());
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon.hash_password_into_with_memory(passphrase, salt, &mut *key, memory.as_mut_slice()).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn sealed() -> Vec<u8> {
        seal(b"correct horse", b"battery staple", CHEAP, &[7; 40]).unwrap()
    }

    // CRYPTO-12
    #[test]
    fn a_secret_opens_with_its_passphrase_and_no_other() {
        assert_eq!(sealed().len(), b"battery staple".len() + OVERHEAD);
        assert_eq!(*open(b"correct horse", &sealed()).unwrap(), b"battery staple");
        assert_eq!(open(b"incorrect horse", &sealed()), Err(OpenError::Passphrase));
    }

    // CRYPTO-12
    #[test]
    fn no_altered_byte_and_no_prefix_opens() {
        let good = sealed();
        for at in 0..good.len() {
            let mut bad = good.clone();
            // A low bit of the costs keeps them affordable here, and is still noticed.
            bad[at] ^= 1;
            assert!(open(b"correct horse", &bad).is_err(), "byte {at}");
            assert!(open(b"correct horse", &good[..at]).is_err(), "length {at}");
        }
    }

    // CRYPTO-12
    #[test]
    fn a_file_cannot_ask_for_more_than_the_limits() {
        for (place, limit) in [(8, MAX_MEMORY_KIB), (12, MAX_PASSES), (16, MAX_LANES)] {
            let mut greedy = sealed();
            // Enough memory for that many lanes, so that only the limit can refuse them.
            greedy[8..12].copy_from_slice(&1024u32.to_le_bytes());
            greedy[place..place + 4].copy_from_slice(&(limit + 1).to_le_bytes());
            assert_eq!(open(b"correct horse", &greedy), Err(OpenError::Cost), "field at {place}");
        }
        let greedy = Cost { memory_kib: MAX_MEMORY_KIB + 1, ..CHEAP };
        assert_eq!(seal(b"p", b"s", greedy, &[0; 40]), Err(SealError::Cost));
        assert_eq!(seal(b"p", b"s", Cost { lanes: 0, ..CHEAP }, &[0; 40]), Err(SealError::Cost));
        assert_eq!(seal(b"p", &std::vec![0; MAX_SECRET + 1], CHEAP, &[0; 40]), Err(SealError::TooLong));
    }
    // CRYPTO-12
    #[test]
    fn a_file_longer_than_any_secret_is_no_key_file() {
        let (header, longest) = (&sealed()[..HEADER_LENGTH], std::vec![0; MAX_SECRET + TAG_LENGTH]);
        assert_eq!(open(b"correct horse", &[header, &longest[..]].concat()), Err(OpenError::Passphrase));
        assert_eq!(open(b"correct horse", &[header, &longest[..], &[0]].concat()), Err(OpenError::Format));
    }
}
