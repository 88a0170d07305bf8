//! Web of trust: whom to believe that they are people, computed from one's own roots.
//!
//! Keys attest each other. Nobody's word counts by itself, and no number of keys impresses: trust starts at the roots that the
//! user picked, and flows along attestations. Under [`Policy::Flow`] it runs out, so that whoever wins an attestation gets as
//! many keys accepted as that one attestation carries, however many it makes up. Under [`Policy::Introducers`] one full
//! introducer or several marginal ones settle it, within some steps. Each verdict explains itself. The rules are in
//! PROTOCOL.md, ID-23 on.

mod attestation;
mod carried;
mod explanation;
mod flow;
mod introducers;
mod net;
mod petname;
mod web;

pub use attestation::{Attestation, AttestationError, Attested, Level};
pub use carried::{CARRIES_ATTESTATION, CARRIES_PERSON};
pub use explanation::{Explanation, NotTrusted, Step};
pub use petname::{MAX_PETNAMES, PetnameError, Petnames};
pub use web::{AttestInserted, MAX_ATTESTATIONS_OF_ISSUER, Policy, WebFull, WebOfTrust};
