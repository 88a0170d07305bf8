//! STUN (RFC 8489): messages, and the Binding method on both sides, without a socket.
//!
//! A server tells whoever asks from which address the question came; that is how a node behind a NAT learns how it is
//! seen from outside. Interoperates with any STUN server and client over UDP.

mod attribute;
mod binding;
mod credentials;
mod discovery;
mod message;
mod quad;

pub use attribute::{Attribute, AttributeKind};
pub(crate) use attribute::{encode_error_code, encode_xor_address};
pub use binding::{TransactionId, answer_binding, binding_request, read_binding_answer};
pub use credentials::{
    Credentials, CredentialsError, LongTermKey, MAX_PASSWORD, MAX_REALM, MAX_USERNAME, PasswordAlgorithm,
};
pub use discovery::{Behaviour, Dependence, Discovery, DiscoveryOutput};
pub use message::{Builder, Class, HEADER, MAX_ATTRIBUTES, Message, Method};
pub use quad::{Corner, Quad, Reply};
