//! The Binding method (RFC 8489 section 3): both sides, stateless. Rule TP-15.

use core::net::SocketAddr;

use super::attribute::{AttributeKind, encode_xor_address};
use super::message::{Builder, Class, Message, Method};
use crate::wire::DecodeError;

/// Names a request in its answer: 96 bits that nobody off the path can guess.
pub type TransactionId = [u8; 12];

/// A request to learn one's own address. `transaction`: fresh random bytes.
#[must_use]
pub fn binding_request(transaction: TransactionId) -> Vec<u8> {
    Builder::new(Class::Request, Method::BINDING, transaction).fingerprint().finish()
}

/// The answer to a Binding request that came from `from`; `None` for what deserves none: another method, an answer, a
/// wrong fingerprint. The answer carries no name of the software, so that it is at most 32 bytes (IPv6: 44) plus a
/// fingerprint where the request had one.
#[must_use]
pub fn answer_binding(request: &Message<'_>, from: SocketAddr) -> Option<Vec<u8>> {
    let asks = (request.class(), request.method()) == (Class::Request, Method::BINDING);
    if !asks || request.fingerprint() == Some(false) {
        return None;
    }
    let transaction = request.transaction();
    let unknown = request
        .attributes()
        .map(|attribute| attribute.kind)
        .filter(|kind| kind.is_required() && !kind.is_known())
        .flat_map(|kind| kind.0.to_be_bytes())
        .collect::<Vec<_>>();
    let answer = if unknown.is_empty() {
        let address = encode_xor_address(from, &transaction);
        Builder::new(Class::Success, Method::BINDING, transaction)
            .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &address)
    } else {
        // 420 Unknown Attribute (section 6.3.1).
        Builder::new(Class::Error, Method::BINDING, transaction)
            .attribute(AttributeKind::ERROR_CODE, &[0, 0, 4, 20])
            .attribute(AttributeKind::UNKNOWN_ATTRIBUTES, &unknown)
    };
    Some(if request.fingerprint().is_some() { answer.fingerprint() } else { answer }.finish())
}

/// The address in the answer to one's own Binding request; compare the transaction first.
///
/// # Errors
/// [`DecodeError`]: an error answer, a wrong fingerprint, no address.
pub fn read_binding_answer(answer: &Message<'_>) -> Result<SocketAddr, DecodeError> {
    if (answer.class(), answer.method()) != (Class::Success, Method::BINDING) {
        return Err(DecodeError::UnknownKind);
    }
    if answer.fingerprint() == Some(false) {
        return Err(DecodeError::OutOfRange);
    }
    let attribute = answer.attribute(AttributeKind::XOR_MAPPED_ADDRESS).ok_or(DecodeError::Truncated)?;
    attribute.xor_address(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_15_a_client_reads_from_the_answer_where_it_came_from() {
        for from in ["192.0.2.1:32853", "[2001:db8::7]:1"].map(|text| text.parse().expect("an address")) {
            let request = binding_request([7; 12]);
            let request = Message::from_bytes(&request).expect("our own request");
            let answer = answer_binding(&request, from).expect("an answer");
            let answer = Message::from_bytes(&answer).expect("our own answer");
            assert_eq!(answer.transaction(), [7; 12]);
            assert_eq!(answer.fingerprint(), Some(true));
            assert_eq!(read_binding_answer(&answer), Ok(from));
        }
    }

    #[test]
    fn tp_15_a_required_attribute_that_is_not_known_is_refused_by_number() {
        let request = Builder::new(Class::Request, Method::BINDING, [7; 12])
            .attribute(AttributeKind(0x7001), b"what?")
            .attribute(AttributeKind(0x9001), b"optional")
            .finish();
        let request = Message::from_bytes(&request).expect("well formed");
        let answer = answer_binding(&request, ([1, 2, 3, 4], 5).into()).expect("an answer");
        let answer = Message::from_bytes(&answer).expect("our own answer");
        assert_eq!(answer.class(), Class::Error);
        let unknown = answer.attribute(AttributeKind::UNKNOWN_ATTRIBUTES).expect("says which");
        assert_eq!(unknown.value, [0x70, 1]);
        assert!(read_binding_answer(&answer).is_err());
    }

    #[test]
    fn tp_15_answers_and_forged_fingerprints_get_no_answer() {
        let answer = Builder::new(Class::Success, Method::BINDING, [7; 12]).finish();
        let answer = Message::from_bytes(&answer).expect("well formed");
        assert_eq!(answer_binding(&answer, ([1, 2, 3, 4], 5).into()), None);
        let mut forged = binding_request([7; 12]);
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        let forged = Message::from_bytes(&forged).expect("well formed");
        assert_eq!(answer_binding(&forged, ([1, 2, 3, 4], 5).into()), None);
    }
}
