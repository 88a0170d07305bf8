//! People: a person is a set of devices that its first key speaks for.
//!
//! A person is named by its first key. That key signs a log: it certifies further devices, each of which consents, and
//! withdraws them. A *succession* hands the log to another key and restates which devices remain; if the person committed
//! to that key beforehand, whoever steals the key in use can neither make nor prevent one. Which devices a person has
//! follows from the set of statements alone, whatever the order of arrival. The rules are in PROTOCOL.md, ID-18 on.

mod ledger;
mod people;
mod statement;

pub use ledger::{PersonFault, PersonInserted, PersonLog, PersonState};
pub use people::People;
pub use statement::{
    Certificate, Commitment, Consent, MAX_DEVICES, MAX_LABEL_BYTES, MAX_LINE, PersonAction, PersonDraft,
    PersonDraftError, PersonStatement,
};
