//! The control graph of a space: who may do what, decided alike by every replica from the set of statements alone.
//!
//! A space begins with a [`Action::Genesis`] whose author is its root. Everything else is a [`Statement`] by a member:
//! grants that narrow from link to link, cuts that end them, endorsements, policies and key epochs. Statements name the
//! heads of the graph their author saw, so each has a *past*; whether it is accepted depends on that past alone, and
//! what it is worth depends on the cuts and forks that are known altogether. The rules are in PROTOCOL.md, ID-10 on.

mod acceptance;
mod action;
mod author_log;
mod buffer;
mod chain;
mod credential;
mod graph;
mod guardians;
mod history;
mod policy;
mod presentation;
mod reference;
mod standing;
mod statement;
mod verdict;
mod worth;

pub use acceptance::{MAX_CUTS_OF_A_GRANT, MAX_POLICIES_OF_A_PREFIX, StatementFault};
pub use action::{
    Action, DataFrontier, DocumentId, Frontier, Grant, MAX_BOX_BYTES, MAX_BOXES, MAX_FRONTIER_AUTHORS,
    MAX_FRONTIER_DOCUMENTS, MAX_GUARDIANS, MAX_OPAQUE_BYTES, Mark,
};
pub(crate) use action::{ascending, take_op_id};
pub use author_log::AuthorLog;
pub use chain::{Chain, ChainFault, MAX_LINKS};
pub use credential::{CredentialFault, check_credentials};
pub use graph::{ControlGraph, Holding, InsertError, Inserted, MAX_STATEMENTS};
pub use policy::{Grantors, Policy, Redundancy};
pub use presentation::Presentation;
pub use reference::authorise;
pub use statement::{Draft, DraftError, MAX_HEADS, MAX_STATEMENT_BYTES, Statement};
pub use verdict::{OpFacts, Reason, Verdict};
