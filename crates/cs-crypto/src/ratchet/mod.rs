//! Messages between two people who are never online together: X3DH and the Double Ratchet with header encryption.
//!
//! The receiver publishes a signed prekey and a heap of one-time [`Prekeys`]; whoever has a [`Bundle`] of them starts a
//! [`Session`] and writes at once. Every message has a key of its own, gone once it was used (forward secrecy), and every
//! change of direction mixes in fresh chance (healing): a thief of the state is out after one round trip (CRYPTO-16).
//!
//! ```
//! use cs_crypto::dh::KeyPair;
//! use cs_crypto::ratchet::{Prekeys, Session};
//!
//! let (alice, bob) = ([1; 32], [2; 32]); // X25519 secrets
//! let mut bobs_prekeys = Prekeys::generate([3; 32], 2_000_000); // they and all entropy: from the operating system
//! let one_time = bobs_prekeys.replenish(100, [4; 32]); // published, beside the signature over
//! let published = bobs_prekeys.published(&KeyPair::new(bob)); // published.message()
//!
//! let bundle = published.verify(Some(one_time[0]), 1_000_000, |_message| true /* checks Bob's signature */)?;
//! let mut at_alice = Session::start(&alice, &bundle, &[5; 64])?;
//! let message = at_alice.seal(b"", b"are you there?")?;
//!
//! let (mut at_bob, text) = bobs_prekeys.accept(&bob, b"", &message, [6; 32])?;
//! assert_eq!(text, b"are you there?");
//! let answer = at_bob.seal(b"", b"now I am")?;
//! assert_eq!(at_alice.open(b"", &answer, [7; 32])?, b"now I am");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: Marlinspike and Perrin, "The X3DH Key Agreement Protocol" (2016) and "The Double Ratchet Algorithm" (2016),
//! sections 3 and 4.

mod prekeys;
mod session;
mod skipped;
mod start;
mod state;

pub use prekeys::{MAX_ONE_TIME, MAX_SIGNED, MAX_STARTS, PrekeyFault, Prekeys, SignedPrekey};
pub use session::{RatchetError, Session};
pub use skipped::{MAX_CHAINS, MAX_SKIP, MAX_SKIPPED};
pub use start::{Bundle, Initial};
pub use state::{RestoreError, STATE_LENGTH_MAX};
