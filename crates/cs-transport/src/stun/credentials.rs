//! Long-term credentials (RFC 8489 section 9.2). Rule TP-20.

use core::fmt;

use md5::{Digest, Md5};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::message::{Builder, Message};

/// Longest user name, in bytes (RFC 8489 section 14.3).
pub const MAX_USERNAME: usize = 508;
/// Longest realm and longest nonce, in bytes (RFC 8489 sections 14.9 and 14.10).
pub const MAX_REALM: usize = 763;
/// Longest password that is taken, in bytes: the RFC sets no limit.
pub const MAX_PASSWORD: usize = 763;

/// A user name and a password. They are used as they are: who writes them in other than ASCII normalises them first
/// (OpaqueString, RFC 8265).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: Zeroizing<String>,
}

/// Why credentials cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The user name is empty or above [`MAX_USERNAME`].
    #[error("the user name is empty or too long")]
    Username,
    /// The password is above [`MAX_PASSWORD`].
    #[error("the password is too long")]
    Password,
}

impl Credentials {
    /// Takes a name and a password.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn new(username: &str, password: &str) -> Result<Self, CredentialsError> {
        if username.is_empty() || username.len() > MAX_USERNAME {
            return Err(CredentialsError::Username);
        }
        if password.len() > MAX_PASSWORD {
            return Err(CredentialsError::Password);
        }
        Ok(Self { username: username.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }

    /// The name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The key for messages of `realm` (RFC 8489 section 18.5.1).
    #[must_use]
    pub fn key(&self, realm: &[u8], algorithm: PasswordAlgorithm) -> LongTermKey {
        let parts = [self.username.as_bytes(), b":", realm, b":", self.password.as_bytes()];
        let bytes = match algorithm {
            PasswordAlgorithm::Md5 => digest::<Md5>(&parts),
            PasswordAlgorithm::Sha256 => digest::<Sha256>(&parts),
        };
        LongTermKey { algorithm, bytes }
    }

    /// What stands for the name where it shall not be seen (RFC 8489 section 14.4): 32 bytes.
    #[must_use]
    pub fn userhash(&self, realm: &[u8]) -> Vec<u8> {
        digest::<Sha256>(&[self.username.as_bytes(), b":", realm]).to_vec()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How the key is made of name, realm and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum PasswordAlgorithm {
    /// As RFC 5389 had it. Messages are checked by HMAC-SHA1.
    Md5 = 1,
    /// Where the server offers it. Messages are checked by HMAC-SHA256.
    Sha256 = 2,
}

/// A key that authenticates messages. Erased when dropped; never printed.
#[derive(Clone)]
pub struct LongTermKey {
    algorithm: PasswordAlgorithm,
    bytes: Zeroizing<Vec<u8>>,
}

impl LongTermKey {
    /// Appends the integrity check.
    #[must_use]
    pub fn protect(&self, builder: Builder) -> Builder {
        match self.algorithm {
            PasswordAlgorithm::Md5 => builder.integrity(&self.bytes),
            PasswordAlgorithm::Sha256 => builder.integrity_sha256(&self.bytes),
        }
    }

    /// Appends the stronger check, which a server that lists its hashes wants with either of them.
    pub(crate) fn protect_sha256(&self, builder: Builder) -> Builder {
        builder.integrity_sha256(&self.bytes)
    }

    /// Whether the message is authentic by the strongest check that it has; `None` if it has none.
    #[must_use]
    pub fn verify(&self, message: &Message<'_>) -> Option<bool> {
        message.integrity_sha256(&self.bytes).or_else(|| message.integrity(&self.bytes))
    }
}

impl fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongTermKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    Zeroizing::new(hash.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::message::{Class, Method};
    use super::*;

    #[test]
    fn tp_20_the_key_is_the_digest_of_name_realm_and_password() {
        // RFC 8489 section 9.2.2: user "user", realm "realm", password "pass".
        let credentials = Credentials::new("user", "pass").expect("they are short");
        let key = credentials.key(b"realm", PasswordAlgorithm::Md5);
        let expected =
            [0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb, 0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb];
        assert_eq!(key.bytes[..], expected);
    }

    #[test]
    fn tp_20_a_message_is_authentic_under_its_key_alone() {
        let credentials = Credentials::new("user", "pass").expect("they are short");
        for algorithm in [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256] {
            let [right, wrong] = [b"here", b"away"].map(|realm| credentials.key(realm, algorithm));
            let bytes = right.protect(Builder::new(Class::Request, Method::ALLOCATE, [1; 12])).finish();
            let message = Message::from_bytes(&bytes).expect("our own message");
            assert_eq!((right.verify(&message), wrong.verify(&message)), (Some(true), Some(false)));
            let bare = Builder::new(Class::Request, Method::ALLOCATE, [1; 12]).finish();
            assert_eq!(right.verify(&Message::from_bytes(&bare).expect("our own message")), None);
        }
    }

    #[test]
    fn tp_20_no_secret_is_printed() {
        let credentials = Credentials::new("user", "hunter2").expect("they are short");
        let key = credentials.key(b"realm", PasswordAlgorithm::Md5);
        let printed = format!("{credentials:?} {key:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("bytes"), "{printed}");
    }

    #[test]
    fn tp_20_names_and_passwords_have_limits() {
        let long = "x".repeat(MAX_PASSWORD + 1);
        assert_eq!(Credentials::new("", "p"), Err(CredentialsError::Username));
        assert_eq!(Credentials::new(&long[..MAX_USERNAME + 1], "p"), Err(CredentialsError::Username));
        assert_eq!(Credentials::new("u", &long), Err(CredentialsError::Password));
    }
}
