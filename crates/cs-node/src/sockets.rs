//! The sockets of a node, and what it relays for others on them.

use std::net::{IpAddr, SocketAddr};

use cs_identity::SecretKey;
use cs_transport::mapping::is_global;
use cs_transport::net::{
    Alternate, BindError, Endpoint, EndpointConfig, Events, RelayConfig, local_addresses,
};

use crate::driver::Options;

/// The port of HTTPS: a relay is reached there over TCP from networks that let nothing else out.
const RELAY_TCP_PORT: u16 = 443;

/// Binds the sockets. Hubs and bootstrap nodes relay for others on them; a hub over TCP as well, where its port is free and
/// this user may have it. With two public addresses they tell others too what kind of NAT those are behind.
pub(crate) async fn bind(secret: &SecretKey, options: &Options) -> Result<(Endpoint, Events), BindError> {
    let mut extras = Extras { over_tcp: options.is_hub, alternate: alternate(&options.listen) };
    loop {
        match Endpoint::bind(config(secret, options, extras)).await {
            // What is beside the node's own port is left out rather than missed.
            Err(BindError::Socket { address, .. }) if extras.over_tcp && address.port() == RELAY_TCP_PORT => {
                extras.over_tcp = false;
            }
            Err(_) if extras.alternate.is_some() => extras.alternate = None,
            bound => return bound,
        }
    }
}

/// What a relay has beside the node's own port.
#[derive(Clone, Copy)]
struct Extras {
    over_tcp: bool,
    alternate: Option<Alternate>,
}

/// The machine's first two public addresses, if the node listens on both, and the port after its own.
fn alternate(listen: &[SocketAddr]) -> Option<Alternate> {
    let any = listen.iter().find(|listen| listen.ip().is_unspecified() && listen.port() != 0)?;
    let public = local_addresses().into_iter().filter(|ip| ip.is_ipv4() && is_global(*ip));
    let [first, second] = *public.take(2).collect::<Vec<IpAddr>>() else { return None };
    Some(Alternate { first, second, second_port: any.port().checked_add(1)? })
}

fn config(secret: &SecretKey, options: &Options, extras: Extras) -> EndpointConfig {
    let mut config = EndpointConfig::new(secret.clone());
    if !options.listen.is_empty() {
        config.listen.clone_from(&options.listen);
    }
    if options.is_hub || options.is_bootstrap {
        let at = |listen: &SocketAddr| SocketAddr::new(listen.ip(), RELAY_TCP_PORT);
        let tcp = config.listen.iter().filter(|_| extras.over_tcp).map(at).collect();
        let alternate = extras.alternate;
        config.relay = Some(RelayConfig { tcp, alternate, ..RelayConfig::default() });
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
