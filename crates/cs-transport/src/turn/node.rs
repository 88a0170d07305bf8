//! Credentials that two nodes need not agree on: both can compute them. Rule TP-21.

use cs_crypto::dh::shared_secret;
use cs_crypto::kdf::{expand_key, extract};
use cs_identity::{NodeId, SecretKey};
use zeroize::Zeroizing;

use crate::stun::Credentials;

const LABEL: &[u8] = b"cosmic-sync turn v1";

/// The credentials of node `me` at the relay of node `relay`: its ID as the name, and a password that follows from both keys.
/// Two curve operations.
#[must_use]
pub fn node_credentials(me: &SecretKey, relay: &NodeId) -> Credentials {
    let id = me.node_id();
    let password = password(me, relay, &id, relay);
    Credentials::new(&id.to_string(), &password).expect("an ID and 64 digits are short")
}

/// The password of node `client` at this node's relay: the same.
#[must_use]
pub fn node_password(relay: &SecretKey, client: &NodeId) -> Zeroizing<String> {
    password(relay, client, client, &relay.node_id())
}

fn password(mine: &SecretKey, theirs: &NodeId, client: &NodeId, relay: &NodeId) -> Zeroizing<String> {
    let shared = shared_secret(&mine.to_x25519(), &theirs.to_x25519());
    let shared = shared.expect("a node ID is no point of small order");
    let key = expand_key(&extract(LABEL, &*shared), &[client.as_bytes(), relay.as_bytes()]);
    let digits = key.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Zeroizing::new(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_21_client_and_relay_compute_the_same_password_and_no_others_do() {
        let [client, relay, other] = [1, 2, 3].map(|seed| SecretKey::from_bytes([seed; 32]));
        let credentials = node_credentials(&client, &relay.node_id());
        assert_eq!(credentials.username(), client.node_id().to_string());
        assert_eq!(credentials.password(), &*node_password(&relay, &client.node_id()));
        assert_eq!(credentials.password().len(), 64);
        assert_ne!(credentials.password(), &*node_password(&other, &client.node_id()));
        assert_ne!(credentials.password(), &*node_password(&relay, &other.node_id()));
        // Who is whose relay matters.
        let reversed = node_credentials(&relay, &client.node_id());
        assert_ne!(credentials.password(), reversed.password());
    }
}
