//! STUN (RFC 8489): messages, and the Binding method on both sides, without a socket.
//!
//! A server tells whoever asks from which address the question came; that is how a node behind a NAT learns how it is
//! seen from outside. Interoperates with any STUN server and client over UDP.

mod attribute;
mod binding;
mod message;

pub(crate) use attribute::encode_xor_address;
pub use attribute::{Attribute, AttributeKind};
pub use binding::{TransactionId, answer_binding, binding_request, read_binding_answer};
pub use message::{Builder, Class, HEADER, MAX_ATTRIBUTES, Message, Method};
