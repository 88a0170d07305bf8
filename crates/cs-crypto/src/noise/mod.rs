//! The Noise protocol framework (revision 34) over X25519 and ChaCha20-Poly1305, with SHA-256 or BLAKE2s.
//!
//! A handshake is a chain of turns, each consumed by the step that ends it: [`Setup`] gives a [`WriteTurn`] or a
//! [`ReadTurn`]; writing gives a `ReadTurn`, reading a `WriteTurn`, and the last message gives [`Keys`]. A step out of turn
//! does not compile, and a message that fails destroys the state (CRYPTO-4).
//!
//! ```
//! use cs_crypto::noise::{Hash, Pattern, Protocol, Setup};
//! use cs_crypto::dh::public_key;
//!
//! let (alice, bob) = ([1; 32], [2; 32]); // static secrets; real ones come from the operating system
//! let ik = Protocol::new(Pattern::IK, Hash::Sha256);
//! let initiator = Setup::new(ik, [3; 32]).local(alice).remote(public_key(&bob)).initiate()?;
//! let responder = Setup::new(ik, [4; 32]).local(bob).respond()?;
//!
//! let (message, initiator) = initiator.write(b"hello")?;
//! let (payload, responder) = responder.read(&message)?;
//! assert_eq!(payload, b"hello");
//! let (answer, responder) = responder.turn()?.write(b"well met")?;
//! let (payload, initiator) = initiator.turn()?.read(&answer)?;
//! assert_eq!(payload, b"well met");
//!
//! let (initiator, responder) = (initiator.keys()?, responder.keys()?);
//! assert_eq!(initiator.send, responder.receive);
//! assert_eq!(initiator.handshake_hash, responder.handshake_hash);
//! assert_eq!(responder.remote_static, Some(public_key(&alice)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod handshake;
mod pattern;
mod statics;
mod symmetric;
mod transport;

pub use handshake::{HandshakeError, Keys, OutOfTurn, ReadTurn, Setup, SetupError, Step, WriteTurn};
pub use pattern::{Hash, Pattern, Protocol, UnknownProtocol};
pub use statics::StaticCache;
pub use transport::{Exhausted, Receiver, Sender};

/// The longest Noise message, bytes (revision 34, section 3).
pub const MAX_MESSAGE: usize = 65535;
