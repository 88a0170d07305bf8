//! Messages between two people who are never online together: X3DH and the Double Ratchet with header encryption.
//!
//! The receiver publishes a signed prekey and a heap of one-time prekeys; whoever has a [`Bundle`] of them starts a
//! [`Session`] and writes at once. Every message has a key of its own, gone once it was used (forward secrecy), and every
//! change of direction mixes in fresh chance (healing): a thief of the state is out after one round trip (CRYPTO-16).
//!
//! ```
//! use cs_crypto::dh::public_key;
//! use cs_crypto::ratchet::{Bundle, Initial, Session};
//!
//! let (alice, bob, signed, one_time) = ([1; 32], [2; 32], [3; 32], [4; 32]); // X25519 secrets
//! let bundle = Bundle { identity: public_key(&bob), signed: public_key(&signed), one_time: Some(public_key(&one_time)) };
//! let mut at_alice = Session::start(&alice, &bundle, &[5; 64])?;
//! let message = at_alice.seal(b"", b"are you there?")?;
//!
//! let initial = Initial::parse(&message)?; // names the prekeys, whose secrets Bob looks up
//! let (mut at_bob, text) = Session::accept(&bob, &initial, &signed, Some(&one_time), b"", &message, [6; 32])?;
//! assert_eq!(text, b"are you there?");
//! let answer = at_bob.seal(b"", b"now I am")?;
//! assert_eq!(at_alice.open(b"", &answer, [7; 32])?, b"now I am");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: Marlinspike and Perrin, "The X3DH Key Agreement Protocol" (2016) and "The Double Ratchet Algorithm" (2016),
//! sections 3 and 4.

mod session;
mod skipped;
mod start;
mod state;

pub use session::{RatchetError, Session};
pub use skipped::{MAX_CHAINS, MAX_SKIP, MAX_SKIPPED};
pub use start::{Bundle, Initial};
pub use state::{RestoreError, STATE_LENGTH_MAX};
