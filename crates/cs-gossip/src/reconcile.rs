//! Set reconciliation: two sides learn exactly what the other lacks, in bytes that follow the difference.
//!
//! [`Index`] is the ordered set of ids that a replica holds; [`Session`] is the machine that compares two.
//! It knows no transport and no time: hand each message of the peer to [`Session::handle_input`], send what
//! [`Session::poll_output`] yields, in order, over any reliable channel, and drop the session when the
//! channel dies or patience ends. What was learned is reported at the end, so that an interrupted session
//! costs only its own bytes; the next one starts from what was transferred since.
//!
//! ```
//! use cs_gossip::reconcile::{Config, Index, Output, Session};
//!
//! let ours: Index = [[1; 32], [2; 32]].into_iter().collect();
//! let theirs: Index = [[2; 32], [3; 32]].into_iter().collect();
//! let mut a = Session::initiate(Config::default(), &ours, [7; 32]);
//! let mut b = Session::respond(Config::default(), &theirs, [8; 32]);
//! let (mut missing, mut wanted, mut done) = (vec![], vec![], false);
//! while !done {
//!     while let Some(output) = a.poll_output() {
//!         match output {
//!             Output::Send(bytes) => b.handle_input(&theirs, &bytes).unwrap(),
//!             Output::Missing(ids) => missing.extend(ids),
//!             Output::Wanted(ids) => wanted.extend(ids),
//!             Output::Done => done = true,
//!         }
//!     }
//!     while let Some(output) = b.poll_output() {
//!         if let Output::Send(bytes) = output {
//!             a.handle_input(&ours, &bytes).unwrap();
//!         }
//!     }
//! }
//! assert_eq!((missing, wanted), (vec![[1; 32]], vec![[3; 32]]));
//! ```

mod bits;
mod bloom;
#[cfg(target_arch = "x86_64")]
mod clmul;
mod decoder;
mod decoding;
mod delivery;
mod element;
mod field;
mod fingerprint;
mod index;
mod names;
mod plan;
mod resume;
mod session;
mod sketch;
mod sketcher;
pub mod wire;
mod working;

pub use fingerprint::Fingerprint;
pub use index::{Id, Index};
pub use session::{Config, Counters, Mode, Output, PeerFault, Session};
