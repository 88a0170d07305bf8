//! The sockets of a node, and what it relays for others on them.

use std::net::SocketAddr;

use cs_identity::SecretKey;
use cs_transport::net::{BindError, Endpoint, EndpointConfig, Events, RelayConfig};

use crate::driver::Options;

/// The port of HTTPS: a relay is reached there over TCP from networks that let nothing else out.
const RELAY_TCP_PORT: u16 = 443;

/// Binds the sockets. Hubs and bootstrap nodes relay for others on them; a hub over TCP as well, where its port is free and
/// this user may have it.
pub(crate) async fn bind(secret: &SecretKey, options: &Options) -> Result<(Endpoint, Events), BindError> {
    match Endpoint::bind(config(secret, options, options.is_hub)).await {
        Err(BindError::Socket { address, .. }) if options.is_hub && address.port() == RELAY_TCP_PORT => {
            Endpoint::bind(config(secret, options, false)).await
        }
        bound => bound,
    }
}

fn config(secret: &SecretKey, options: &Options, over_tcp: bool) -> EndpointConfig {
    let mut config = EndpointConfig::new(secret.clone());
    if !options.listen.is_empty() {
        config.listen.clone_from(&options.listen);
    }
    if options.is_hub || options.is_bootstrap {
        let at = |listen: &SocketAddr| SocketAddr::new(listen.ip(), RELAY_TCP_PORT);
        let tcp = config.listen.iter().filter(|_| over_tcp).map(at).collect();
        config.relay = Some(RelayConfig { tcp, ..RelayConfig::default() });
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_loopback(is_hub: bool, is_bootstrap: bool) -> Options {
        Options { listen: vec![([127, 0, 0, 1], 0).into()], is_hub, is_bootstrap, ..Options::default() }
    }

    #[tokio::test]
    async fn hubs_and_bootstrap_nodes_relay_and_others_do_not() {
        let secret = SecretKey::from_bytes([1; 32]);
        for (is_hub, is_bootstrap) in [(false, false), (false, true), (true, false)] {
            let (endpoint, _events) = bind(&secret, &on_loopback(is_hub, is_bootstrap)).await.unwrap();
            assert_eq!(endpoint.relay_counters().is_some(), is_hub || is_bootstrap);
        }
    }

    #[tokio::test]
    async fn a_hub_that_cannot_have_the_port_for_tcp_relays_without_it() {
        let options = on_loopback(true, false);
        // Whether or not the first one may have the port, the second cannot.
        let (_first, _events) = bind(&SecretKey::from_bytes([1; 32]), &options).await.unwrap();
        let (second, _events) = bind(&SecretKey::from_bytes([2; 32]), &options).await.unwrap();
        assert!(second.relay_tcp_addrs().is_empty());
        assert!(second.relay_counters().is_some());
    }
}
