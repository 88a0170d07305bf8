//! Invitation codes: ten characters that bring two strangers together once, by SPAKE2.
//!
//! Half of a [`Code`] says where to meet and is public; the other half is a password of 25 bits (CRYPTO-14). Over a
//! channel that is encrypted but not yet trusted, both sides prove to each other that they know it, without showing it
//! and without letting anyone test guesses offline:
//!
//! ```text
//! joiner                                inviter
//!   hello (33 bytes)         ------->
//!                            <-------   answer (33 bytes)
//!   proof (32 bytes)         ------->              a wrong one burns the code
//!                            <-------   proof (32 bytes)
//! ```
//!
//! The joiner proves first, so that a guesser at the inviter's door learns nothing but "wrong", once (CRYPTO-10). The proofs
//! cover both node ids and the channel's binding: a man in the middle has two channels with two bindings (CRYPTO-11).
//! SPAKE2 is that of the `spake2` crate (Ed25519 group, asymmetric roles).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hmac::{KeyInit, Mac, SimpleHmac};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::kdf;

/// Bytes of a hello and of an answer.
pub const HELLO_LENGTH: usize = 33;
/// Bytes of a proof.
pub const PROOF_LENGTH: usize = 32;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const HALF: usize = 5;

/// A one-use code, `XXXXX-XXXXX` in Crockford's base 32: five characters to meet by, five to prove. Wiped on drop.
#[derive(Clone)]
pub struct Code {
    /// Ten values below 32.
    symbols: [u8; 2 * HALF],
}

impl Code {
    /// A new code from fresh bytes of the operating system; 50 bits of them are used.
    #[must_use]
    pub fn generate(mut entropy: [u8; 32]) -> Self {
        let mut symbols = [0; 2 * HALF];
        symbols.iter_mut().zip(entropy).for_each(|(symbol, byte)| *symbol = byte % 32);
        entropy.zeroize();
        Self { symbols }
    }

    /// Where to meet: the key under which the inviter can be found. Whoever guesses the five characters, 1 in 33 million,
    /// finds the inviter too, and may burn the code, no more.
    #[must_use]
    pub fn rendezvous(&self) -> [u8; 32] {
        let (place, _) = self.symbols.split_at(HALF);
        blake3::derive_key("cosmic-sync 2026 invitation rendezvous 1", place)
    }

    fn password(&self) -> Password {
        let (_, password) = self.symbols.split_at(HALF);
        Password::new(password)
    }
}

/// Prints the whole code, for the person who will hand it on.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, password) = self.symbols.split_at(HALF);
        write!(f, "{}-{}", letters(place), letters(password))
    }
}

/// Shows the public half only.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, _) = self.symbols.split_at(HALF);
        write!(f, "Code({}-..)", letters(place))
    }
}

/// The text is not a code: ten letters or digits in any case, O read as 0, I and L as 1, hyphens and spaces ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not ten characters.
    #[error("a code has ten letters and digits")]
    Length,
    /// A character that no code contains, such as U.
    #[error("a code has no such character")]
    Character,
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let mut symbols = [0; 2 * HALF];
        let mut places = symbols.iter_mut();
        for character in text.chars().filter(|character| !matches!(character, '-' | ' ')) {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let value = CROCKFORD.iter().position(|&letter| char::from(letter) == character);
            let value = value.and_then(|value| u8::try_from(value).ok()).ok_or(CodeError::Character)?;
            *places.next().ok_or(CodeError::Length)? = value;
        }
        if places.next().is_some() { Err(CodeError::Length) } else { Ok(Self { symbols }) }
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.symbols.ct_eq(&other.symbols).into()
    }
}

impl Eq for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        self.symbols.zeroize();
    }
}

/// What the proofs cover beside the code: who meets whom, over which channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The joiner's node id.
    pub joiner: [u8; 32],
    /// The inviter's node id.
    pub inviter: [u8; 32],
    /// What is unique to the channel and equal on both of its ends: a handshake hash or a key exported from it.
    pub binding: [u8; 32],
}

/// The other side does not know the code, or is not at the other end of this channel. The code is burned: a new one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the code is wrong, and burned by the attempt")]
pub struct Burned;

/// The joiner, who has typed a code and sent its hello. It makes one attempt with one inviter, whom each step consumes.
pub struct Joiner {
    spake: Spake2<Ed25519Group>,
    meeting: Meeting,
}

impl Joiner {
    /// Starts; the second value is the hello. `entropy`: 32 fresh bytes, never used twice.
    #[must_use]
    pub fn start(code: &Code, meeting: Meeting, entropy: [u8; 32]) -> (Self, Vec<u8>) {
        let (joiner, inviter) = identities(&meeting);
        let (spake, hello) = Spake2::start_a_with_rng(&code.password(), &joiner, &inviter, chance(entropy));
        (Self { spake, meeting }, hello)
    }

    /// Reads the inviter's answer and gives the joiner's proof.
    ///
    /// # Errors
    /// [`Burned`] for bytes that are no answer.
    pub fn read_answer(self, answer: &[u8]) -> Result<(AwaitingProof, [u8; PROOF_LENGTH]), Burned> {
        let secret = Zeroizing::new(self.spake.finish(answer).map_err(|_| Burned)?);
        let schedule = Schedule::new(&secret, &self.meeting);
        Ok((AwaitingProof(schedule.inviter_proof, schedule.key), *schedule.joiner_proof))
    }
}

/// The joiner, waiting for the inviter's proof.
pub struct AwaitingProof(Zeroizing<[u8; PROOF_LENGTH]>, Zeroizing<[u8; 32]>);

impl AwaitingProof {
    /// Checks the inviter's proof; gives a key that only the two of them know.
    ///
    /// # Errors
    /// [`Burned`]: whoever answered does not know the code.
    pub fn read_proof(self, proof: &[u8]) -> Result<Zeroizing<[u8; 32]>, Burned> {
        if self.0.as_slice().ct_eq(proof).into() { Ok(self.1) } else { Err(Burned) }
    }
}

/// The inviter's side of one code: it admits one joiner, and no second guess.
///
/// Store that a code is gone before its outcome is shown to anyone: a crash must not give a guesser another try.
#[derive(Debug)]
pub struct Inviter {
    code: Code,
    state: CodeState,
}

/// Whether a code can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeState {
    /// Nobody has proven or failed to.
    Open,
    /// One joiner was admitted.
    Used,
    /// Somebody guessed.
    Burned,
}

impl Inviter {
    /// Waits for a joiner with `code`.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self { code, state: CodeState::Open }
    }

    /// Whether the code can still be used.
    #[must_use]
    pub fn state(&self) -> CodeState {
        self.state
    }

    /// Answers a joiner's hello. Several joiners may be at it; the first proof, right or wrong, ends it for all.
    ///
    /// # Errors
    /// [`Burned`] if the code is used or burned, or `hello` is no hello; that alone burns nothing.
    pub fn answer(
        &self,
        hello: &[u8],
        meeting: Meeting,
        entropy: [u8; 32],
    ) -> Result<(Exchange, Vec<u8>), Burned> {
        if self.state != CodeState::Open {
            return Err(Burned);
        }
        let (joiner, inviter) = identities(&meeting);
        let password = self.code.password();
        let (spake, answer) =
            Spake2::<Ed25519Group>::start_b_with_rng(&password, &joiner, &inviter, chance(entropy));
        let secret = Zeroizing::new(spake.finish(hello).map_err(|_| Burned)?);
        Ok((Exchange(Schedule::new(&secret, &meeting)), answer))
    }

    /// Checks the joiner's proof. If it is right, gives the inviter's proof and the key that only the two know, and the code
    /// is used; if not, the code is burned.
    ///
    /// # Errors
    /// [`Burned`] if the proof is wrong, or another joiner's proof came first.
    pub fn admit(
        &mut self,
        exchange: Exchange,
        proof: &[u8],
    ) -> Result<([u8; PROOF_LENGTH], Zeroizing<[u8; 32]>), Burned> {
        if self.state != CodeState::Open {
            return Err(Burned);
        }
        if !bool::from(exchange.0.joiner_proof.as_slice().ct_eq(proof)) {
            self.state = CodeState::Burned;
            return Err(Burned);
        }
        self.state = CodeState::Used;
        Ok((*exchange.0.inviter_proof, exchange.0.key))
    }
}

/// One joiner's attempt at the inviter, between answer and proof.
pub struct Exchange(Schedule);

struct Schedule {
    joiner_proof: Zeroizing<[u8; PROOF_LENGTH]>,
    inviter_proof: Zeroizing<[u8; PROOF_LENGTH]>,
    key: Zeroizing<[u8; 32]>,
}

impl Schedule {
    /// `secret` is SPAKE2's: it covers password, ids and both messages. The binding enters here.
    fn new(secret: &[u8], meeting: &Meeting) -> Self {
        let prk = kdf::extract(b"cosmic-sync 2026 invitation 1", secret);
        let key = |use_of: &[u8]| {
            kdf::expand_key(&prk, &[use_of, &meeting.joiner, &meeting.inviter, &meeting.binding])
        };
        Self {
            joiner_proof: Zeroizing::new(proof(&key(b"joiner"), meeting)),
            inviter_proof: Zeroizing::new(proof(&key(b"inviter"), meeting)),
            key: key(b"key"),
        }
    }
}

fn proof(key: &[u8; 32], meeting: &Meeting) -> [u8; PROOF_LENGTH] {
    let mut mac =
        <SimpleHmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&meeting.binding);
    mac.finalize().into_bytes().into()
}

fn identities(meeting: &Meeting) -> (Identity, Identity) {
    (Identity::new(&meeting.joiner), Identity::new(&meeting.inviter))
}

fn chance(entropy: [u8; 32]) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(*Zeroizing::new(entropy))
}

fn letters(symbols: &[u8]) -> String {
    symbols
        .iter()
        .filter_map(|&symbol| CROCKFORD.get(usize::from(symbol)))
        .map(|&letter| char::from(letter))
        .collect()
}

macro_rules! opaque {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

opaque!(Joiner AwaitingProof Exchange);

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const MEETING: Meeting = Meeting { joiner: [1; 32], inviter: [2; 32], binding: [3; 32] };

    fn code(text: &str) -> Code {
        text.parse().unwrap()
    }

    /// Plays all four messages; each side with its own view of the code and the meeting.
    fn meet(typed: &Code, joiner: Meeting, inviter: &mut Inviter, at_inviter: Meeting) -> Result<(), Burned> {
        let (joiner, hello) = Joiner::start(typed, joiner, [4; 32]);
        let (exchange, answer) = inviter.answer(&hello, at_inviter, [5; 32])?;
        assert_eq!((hello.len(), answer.len()), (HELLO_LENGTH, HELLO_LENGTH));
        let (joiner, proof) = joiner.read_answer(&answer)?;
        let (proof, key) = inviter.admit(exchange, &proof)?;
        assert_eq!(joiner.read_proof(&proof)?, key);
        Ok(())
    }

    #[test]
    fn codes_are_read_as_people_write_them() {
        let code = Code::generate([0x81; 32]);
        assert_eq!(code.to_string().len(), 11);
        assert_eq!(code.to_string().parse(), Ok(code));
        assert_eq!("o1ilv-5zy x9".parse::<Code>().unwrap().to_string(), "0111V-5ZYX9");
    }

    #[test]
    fn texts_that_are_no_codes_are_refused() {
        for (text, why) in [
            ("", CodeError::Length),
            ("ABCDE-FGHJ", CodeError::Length),
            ("ABCDE-FGHJKM", CodeError::Length),
            ("ABCDE-FGHJU", CodeError::Character),
            ("ABCDE_FGHJK", CodeError::Character),
            ("ABCDE-FGHJ\u{130}", CodeError::Character),
        ] {
            assert_eq!(text.parse::<Code>(), Err(why), "{text}");
        }
    }

    #[test]
    fn the_meeting_place_depends_on_the_public_half_only() {
        assert_eq!(code("ABCDE-FGHJK").rendezvous(), code("ABCDE-00000").rendezvous());
        assert_ne!(code("ABCDE-FGHJK").rendezvous(), code("ABCDF-FGHJK").rendezvous());
        assert_eq!(std::format!("{:?}", code("ABCDE-FGHJK")), "Code(ABCDE-..)");
    }

    // CRYPTO-10
    #[test]
    fn the_right_code_admits_one_joiner_once() {
        let mut inviter = Inviter::new(code("ABCDE-FGHJK"));
        assert_eq!(meet(&code("abcdefghjk"), MEETING, &mut inviter, MEETING), Ok(()));
        assert_eq!(inviter.state(), CodeState::Used);
        assert_eq!(meet(&code("ABCDE-FGHJK"), MEETING, &mut inviter, MEETING), Err(Burned));
    }

    // CRYPTO-10
    #[test]
    fn one_wrong_guess_burns_the_code_even_for_attempts_under_way() {
        let mut inviter = Inviter::new(code("ABCDE-FGHJK"));
        let (honest, hello) = Joiner::start(&code("ABCDE-FGHJK"), MEETING, [6; 32]);
        let (exchange, answer) = inviter.answer(&hello, MEETING, [7; 32]).unwrap();
        assert_eq!(meet(&code("ABCDE-FGHJM"), MEETING, &mut inviter, MEETING), Err(Burned));
        assert_eq!(inviter.state(), CodeState::Burned);
        let (_, proof) = honest.read_answer(&answer).unwrap();
        assert_eq!(inviter.admit(exchange, &proof), Err(Burned));
    }

    // CRYPTO-11
    #[test]
    fn another_channel_or_another_id_on_either_end_burns_the_code() {
        for at_inviter in [
            Meeting { binding: [9; 32], ..MEETING },
            Meeting { joiner: [9; 32], ..MEETING },
            Meeting { inviter: [9; 32], ..MEETING },
        ] {
            let mut inviter = Inviter::new(code("ABCDE-FGHJK"));
            assert_eq!(meet(&code("ABCDE-FGHJK"), MEETING, &mut inviter, at_inviter), Err(Burned));
            assert_eq!(inviter.state(), CodeState::Burned);
        }
    }

    #[test]
    fn garbage_burns_nothing_before_a_proof() {
        let mut inviter = Inviter::new(code("ABCDE-FGHJK"));
        for garbage in [&[][..], &[0x41; 32], &[0x42; 33], &[0xff; 33], &[0x41; 34]] {
            assert!(inviter.answer(garbage, MEETING, [5; 32]).is_err());
        }
        assert_eq!(inviter.state(), CodeState::Open);
        assert_eq!(meet(&code("ABCDE-FGHJK"), MEETING, &mut inviter, MEETING), Ok(()));
    }

    // CRYPTO-10
    #[test]
    fn an_inviter_without_the_code_cannot_convince_the_joiner() {
        let (joiner, hello) = Joiner::start(&code("ABCDE-FGHJK"), MEETING, [4; 32]);
        let impostor = Inviter::new(code("ABCDE-00000"));
        let (exchange, answer) = impostor.answer(&hello, MEETING, [5; 32]).unwrap();
        let (joiner, proof) = joiner.read_answer(&answer).unwrap();
        assert_ne!(proof, *exchange.0.joiner_proof);
        assert_eq!(joiner.read_proof(&*exchange.0.inviter_proof), Err(Burned));
    }
}
