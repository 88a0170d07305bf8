//! Vectors of others, which are public: RFC 5769, and RFC 8489 appendix B.

use std::net::SocketAddr;

use cs_transport::stun::{
    AttributeKind, Builder, Credentials, Message, PasswordAlgorithm, read_binding_answer,
};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let file: Value =
        serde_json::from_str(include_str!("../data/rfc5769.json")).expect("the vectors are JSON");
    file["vectors"].as_array().expect("a list").clone()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is missing"))
}

// TP-14
#[test]
fn the_messages_of_rfc_5769_are_read_and_their_checks_hold() {
    let (mut short_term, mut addresses) = (0, 0);
    for vector in vectors() {
        let bytes = unhex(text(&vector, "hex"));
        let message = Message::from_bytes(&bytes).expect("a message of the RFC");
        if ["2.1", "2.2", "2.3"].contains(&vector["section"].as_str().unwrap_or_default()) {
            assert_eq!(message.integrity(text(&vector, "password").as_bytes()), Some(true));
            assert_eq!(message.integrity(b"wrong"), Some(false));
            assert_eq!(message.fingerprint(), Some(true));
            short_term += 1;
        }
        if let Some(mapped) = vector["mapped"].as_str() {
            let mapped: SocketAddr = mapped.parse().expect("an address");
            assert_eq!(read_binding_answer(&message), Ok(mapped));
            addresses += 1;
        }
    }
    assert_eq!((short_term, addresses), (3, 2));
}

// TP-20
#[test]
fn the_long_term_credentials_of_rfc_5769_authenticate_its_message_and_make_the_same_bytes() {
    let all = vectors();
    let vector = all.iter().find(|vector| vector["section"] == "2.4").expect("it is there");
    let bytes = unhex(text(vector, "hex"));
    let message = Message::from_bytes(&bytes).expect("a message of the RFC");
    let (username, realm, nonce) = (text(vector, "username"), text(vector, "realm"), text(vector, "nonce"));
    let key = |password| {
        let credentials = Credentials::new(username, password).expect("they are short");
        credentials.key(realm.as_bytes(), PasswordAlgorithm::Md5)
    };
    assert_eq!(key(text(vector, "password")).verify(&message), Some(true));
    assert_eq!(key("wrong").verify(&message), Some(false));
    let builder = Builder::new(message.class(), message.method(), message.transaction())
        .attribute(AttributeKind::USERNAME, username.as_bytes())
        .attribute(AttributeKind::NONCE, nonce.as_bytes())
        .attribute(AttributeKind::REALM, realm.as_bytes());
    assert_eq!(key(text(vector, "password")).protect(builder).finish(), bytes);
}

// TP-20
#[test]
fn the_sha_256_message_of_rfc_8489_is_authentic() {
    let all = vectors();
    let vector = all.iter().find(|vector| text(vector, "name").ends_with("SHA256")).expect("it is there");
    let bytes = unhex(text(vector, "hex"));
    let message = Message::from_bytes(&bytes).expect("a message of the RFC");
    let credentials = Credentials::new("\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}", "TheMatrIX");
    let credentials = credentials.expect("they are short");
    let realm = message.attribute(AttributeKind::REALM).expect("it is there").value;
    let userhash = message.attribute(AttributeKind::USERHASH).expect("it is there").value;
    assert_eq!(credentials.userhash(realm), userhash);
    // It names no hash for the key, which is MD5 then, under the stronger check.
    assert_eq!(credentials.key(realm, PasswordAlgorithm::Md5).verify(&message), Some(true));
    assert_eq!(credentials.key(realm, PasswordAlgorithm::Sha256).verify(&message), Some(false));
}
