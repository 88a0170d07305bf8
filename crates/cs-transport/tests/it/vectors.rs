//! Vectors of others. They are public and lie beside the repository; without them nothing is checked.

use std::net::SocketAddr;
use std::path::Path;

use cs_transport::stun::{Message, read_binding_answer};
use serde_json::Value;

fn load(name: &str) -> Option<Value> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors"));
    let text = std::fs::read_to_string(folder.join(name)).ok();
    if text.is_none() {
        println!("{name} is not here: nothing to check");
    }
    text.map(|text| serde_json::from_str(&text).expect("the vectors are JSON"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

// TP-14
#[test]
fn the_messages_of_rfc_5769_are_read_and_their_checks_hold() {
    let Some(file) = load("stun/rfc5769.json") else { return };
    let (mut integrity, mut addresses, mut read) = (0, 0, 0);
    for vector in file["vectors"].as_array().expect("a list") {
        let bytes = unhex(vector["hex"].as_str().expect("hex"));
        let Ok(message) = Message::from_bytes(&bytes) else { panic!("{} is refused", vector["name"]) };
        read += 1;
        // The long-term credential of section 2.4 is MD5 over SASLprep, which nothing here speaks.
        let is_short_term =
            vector["section"].as_str().is_some_and(|section| ["2.1", "2.2", "2.3"].contains(&section));
        if is_short_term {
            let key = vector["password"].as_str().expect("a password").as_bytes();
            assert_eq!(message.integrity(key), Some(true), "{}", vector["name"]);
            assert_eq!(message.integrity(b"wrong"), Some(false));
            assert_eq!(message.fingerprint(), Some(true), "{}", vector["name"]);
            integrity += 1;
        }
        if let Some(mapped) = vector["mapped"].as_str() {
            let mapped: SocketAddr = mapped.parse().expect("an address");
            assert_eq!(read_binding_answer(&message), Ok(mapped));
            addresses += 1;
        }
    }
    assert_eq!((read >= 4, integrity, addresses), (true, 3, 2));
}
