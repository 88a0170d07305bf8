//! Which protocols exist: the pattern table of revision 34, sections 7.4, 7.5 and 9.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// A step within a message (revision 34, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    E,
    S,
    Ee,
    Es,
    Se,
    Ss,
    Psk,
}

use Token::{E, Ee, Es, S, Se, Ss};

/// A row of the table: the name and each message's tokens, the initiator's first, without pre-shared keys.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// The pre-message `<- s`: the initiator knows the responder's static key beforehand.
    responder_known: bool,
    messages: &'static [&'static [Token]],
}

static ROWS: [Row; 6] = [
    Row { name: "N", responder_known: true, messages: &[&[E, Es]] },
    Row { name: "X", responder_known: true, messages: &[&[E, Es, S, Ss]] },
    Row { name: "NK", responder_known: true, messages: &[&[E, Es], &[E, Ee]] },
    Row { name: "XK", responder_known: true, messages: &[&[E, Es], &[E, Ee], &[S, Se]] },
    Row { name: "XX", responder_known: false, messages: &[&[E], &[E, Ee, S, Es], &[S, Se]] },
    Row { name: "IK", responder_known: true, messages: &[&[E, Es, S, Ss], &[E, Ee, Se]] },
];

/// A handshake pattern: who knows and sends which static key, and where pre-shared keys enter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    row: u8,
    /// Bit `i` set: the pattern has the modifier `psk<i>`.
    psks: u8,
}

impl Pattern {
    /// One message to a known key, from nobody in particular.
    pub const N: Self = Self { row: 0, psks: 0 };
    /// One message to a known key that names and proves its sender.
    pub const X: Self = Self { row: 1, psks: 0 };
    /// Two messages; only the responder proves who it is.
    pub const NK: Self = Self { row: 2, psks: 0 };
    /// Three messages to a known key; the initiator's identity has forward secrecy.
    pub const XK: Self = Self { row: 3, psks: 0 };
    /// Three messages between strangers, who learn each other's key.
    pub const XX: Self = Self { row: 4, psks: 0 };
    /// Two messages to a known key: both prove who they are, and the first message already carries a payload.
    pub const IK: Self = Self { row: 5, psks: 0 };
    /// [`Self::IK`] with a pre-shared key at the end of the second message.
    pub const IK_PSK2: Self = Self::IK.with_psk(2);
    /// [`Self::XX`] with a pre-shared key at the end of the third message.
    pub const XX_PSK3: Self = Self::XX.with_psk(3);

    /// Adds the modifier `psk<position>`: 0 is before the first message, `n` the end of message `n`. Positions beyond the
    /// last message make [`Setup`](super::Setup) fail.
    #[must_use]
    pub const fn with_psk(self, position: u8) -> Self {
        let bit = if position < 8 { 1 << position } else { 0x80 };
        Self { row: self.row, psks: self.psks | bit }
    }

    /// How many pre-shared keys the pattern needs.
    #[must_use]
    pub const fn psk_count(self) -> usize {
        self.psks.count_ones() as usize
    }

    fn row(self) -> &'static Row {
        ROWS.get(usize::from(self.row)).expect("patterns are made from rows of the table only")
    }

    pub(crate) fn is_valid(self) -> bool {
        u32::from(self.psks) >> (self.row().messages.len() + 1) == 0
    }

    pub(crate) fn message_count(self) -> usize {
        self.row().messages.len()
    }

    pub(crate) fn responder_known(self) -> bool {
        self.row().responder_known
    }

    /// The static keys each side must bring, (initiator, responder).
    pub(crate) fn locals(self) -> (bool, bool) {
        let sends = |parity: usize| {
            self.row().messages.iter().skip(parity).step_by(2).any(|message| message.contains(&S))
        };
        (sends(0), sends(1) || self.responder_known())
    }

    /// The tokens of message `index`, counted from 0, with the modifiers applied (section 9.4).
    pub(crate) fn tokens(self, index: usize) -> impl Iterator<Item = Token> {
        let has = |position: usize| self.psks & (1 << position) != 0;
        let before = (index == 0 && has(0)).then_some(Token::Psk);
        let after = has(index + 1).then_some(Token::Psk);
        let message = self.row().messages.get(index).copied().unwrap_or_default();
        before.into_iter().chain(message.iter().copied()).chain(after)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)?;
        let mut separator = "";
        for position in (0..8).filter(|position| self.psks & (1 << position) != 0) {
            write!(f, "{separator}psk{position}")?;
            separator = "+";
        }
        Ok(())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

/// The hash function of a protocol; both give 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// BLAKE2s with 32 bytes of output (RFC 7693).
    Blake2s,
}

/// A whole protocol: a pattern with its algorithms. X25519 and ChaCha20-Poly1305 are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol {
    pub(crate) pattern: Pattern,
    pub(crate) hash: Hash,
}

impl Protocol {
    /// The protocol of `pattern` and `hash`.
    #[must_use]
    pub const fn new(pattern: Pattern, hash: Hash) -> Self {
        Self { pattern, hash }
    }

    /// Its handshake pattern.
    #[must_use]
    pub const fn pattern(self) -> Pattern {
        self.pattern
    }

    /// Its name, as it is hashed into the handshake: `Noise_IK_25519_ChaChaPoly_SHA256`.
    #[must_use]
    pub fn name(self) -> String {
        let hash = match self.hash {
            Hash::Sha256 => "SHA256",
            Hash::Blake2s => "BLAKE2s",
        };
        alloc::format!("Noise_{}_25519_ChaChaPoly_{hash}", self.pattern)
    }
}

/// The name is not one of a protocol that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a Noise protocol that this crate speaks")]
pub struct UnknownProtocol;

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, UnknownProtocol> {
        let rest = name.strip_prefix("Noise_").ok_or(UnknownProtocol)?;
        let (pattern, algorithms) = rest.split_once('_').ok_or(UnknownProtocol)?;
        let hash = match algorithms {
            "25519_ChaChaPoly_SHA256" => Hash::Sha256,
            "25519_ChaChaPoly_BLAKE2s" => Hash::Blake2s,
            _ => return Err(UnknownProtocol),
        };
        let (base, modifiers) = match pattern.find("psk") {
            Some(at) => pattern.split_at(at),
            None => (pattern, ""),
        };
        let row = ROWS.iter().position(|row| row.name == base).ok_or(UnknownProtocol)?;
        let mut pattern = Pattern { row: u8::try_from(row).map_err(|_| UnknownProtocol)?, psks: 0 };
        for modifier in modifiers.split('+').filter(|modifier| !modifier.is_empty()) {
            let digit = modifier.strip_prefix("psk").ok_or(UnknownProtocol)?;
            let position = digit.parse().ok().filter(|&position| position < 8).ok_or(UnknownProtocol)?;
            pattern = pattern.with_psk(position);
        }
        let protocol = Self { pattern, hash };
        // One spelling per protocol: what was parsed must print as it was written.
        if pattern.is_valid() && protocol.name() == name { Ok(protocol) } else { Err(UnknownProtocol) }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn names_are_parsed_strictly_and_printed_back() {
        for name in [
            "Noise_IK_25519_ChaChaPoly_SHA256",
            "Noise_XXpsk0+psk3_25519_ChaChaPoly_BLAKE2s",
            "Noise_Npsk0_25519_ChaChaPoly_SHA256",
        ] {
            assert_eq!(name.parse::<Protocol>().unwrap().name(), name);
        }
        for name in [
            "Noise_IK_25519_AESGCM_SHA256",
            "Noise_IKpsk3_25519_ChaChaPoly_SHA256",
            "Noise_XXpsk3+psk0_25519_ChaChaPoly_SHA256",
            "Noise_XXpsk03_25519_ChaChaPoly_SHA256",
            "Noise_XXpsk9_25519_ChaChaPoly_SHA256",
            "Noise_KK_25519_ChaChaPoly_SHA256",
            "",
        ] {
            assert_eq!(name.parse::<Protocol>(), Err(UnknownProtocol), "{name}");
        }
    }

    #[test]
    fn modifiers_enter_before_the_first_and_after_their_own_message() {
        let pattern = Pattern::IK.with_psk(0).with_psk(2);
        assert_eq!(pattern.to_string(), "IKpsk0+psk2");
        assert_eq!(pattern.tokens(0).next(), Some(Token::Psk));
        assert_eq!(pattern.tokens(0).last(), Some(Token::Ss));
        assert_eq!(pattern.tokens(1).last(), Some(Token::Psk));
    }
}
