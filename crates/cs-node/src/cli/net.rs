//! `cosync net` as people read it.

use cs_node::api::{Net, NetPath, NetRelay, PortMapping};

use crate::cli::dht;
use crate::cli::words::{safe, short, table};

/// The whole text, with its line breaks.
pub(crate) fn text(net: &Net) -> String {
    let reach =
        if net.reachable { "strangers can reach this device" } else { "strangers cannot reach this device" };
    let mut text = format!("reach      {reach}, as far as it knows\n");
    text.push_str(&format!("nat        {}\n", nat(net)));
    let line =
        |addresses: &[String]| if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") };
    text.push_str(&format!("addresses  {}\n", line(&net.addresses)));
    text.push_str(&format!("seen as    {}\n", line(&net.seen_as)));
    text.push_str(&format!(
        "router     {}\n",
        net.port_mapping.as_ref().map_or("not asked for a port".to_owned(), router)
    ));
    if !net.hubs.is_empty() {
        let hubs = net.hubs.iter().map(|hub| {
            format!("{} ({})", short(&hub.node), if hub.connected { "connected" } else { "away" })
        });
        text.push_str(&format!("hubs       {}\n", hubs.collect::<Vec<_>>().join(", ")));
    }
    text.push_str(&dht::view(&net.dht));
    if !net.relays.is_empty() {
        let mut rows = vec![["RELAY", "BY", "STATE", ">RTT", "ADDRESS THERE"].map(str::to_owned).to_vec()];
        rows.extend(net.relays.iter().map(relay));
        text.push_str(&format!("\n{}", table(&rows)));
    }
    if net.sessions.iter().any(|session| !session.paths.is_empty()) {
        let mut rows = vec![["PEER", "PATH", "BY", ">RTT", ">LOST", ""].map(str::to_owned).to_vec()];
        for session in &net.sessions {
            rows.extend(session.paths.iter().map(|path| way(&session.node, path)));
        }
        text.push_str(&format!("\n{}", table(&rows)));
    }
    text
}

/// The NAT in words.
fn nat(net: &Net) -> String {
    let mapping = match net.mapping.as_str() {
        "public" => return "none: the internet sees this device as it is".to_owned(),
        "endpoint-independent" => "one port outside for everybody",
        "port-independent" => "one port outside for all ports of a hub, and for other hubs not known",
        "address-dependent" => "another port outside for each address",
        "address-and-port-dependent" => "another port outside for each peer",
        _ => return "not known yet".to_owned(),
    };
    let filtering = match net.filtering.as_str() {
        "endpoint-independent" => "lets everybody in",
        "port-independent" => "lets in who was spoken to from any port, others perhaps",
        "address-dependent" => "lets addresses in that were spoken to",
        "address-and-port-dependent" => "lets in only who was spoken to",
        _ => "whom it lets in is not known",
    };
    let step = net.step.map_or_else(String::new, |step| format!(", {step} further each time"));
    format!("{mapping}{step}; {filtering}")
}

fn router(mapping: &PortMapping) -> String {
    let by = mapping.method.as_deref().map_or_else(String::new, |method| format!(" by {method}"));
    match (mapping.state.as_str(), &mapping.external) {
        ("mapped", Some(external)) => format!("maps {external} to this device{by}"),
        ("carrier", Some(external)) => format!("maps {external}{by}, and is itself behind a carrier's NAT"),
        ("carrier", None) => "has no public address itself: a carrier's NAT stands before it".to_owned(),
        _ => format!("maps nothing: {}", mapping.why.as_deref().map_or_else(String::new, safe)),
    }
}

fn relay(relay: &NetRelay) -> Vec<String> {
    vec![
        relay.address.clone(),
        relay.transport.clone(),
        relay.state.clone(),
        relay.rtt_us.map_or_else(|| "-".to_owned(), ms),
        relay.relayed.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn way(node: &str, path: &NetPath) -> Vec<String> {
    let place = match &path.relay {
        Some(relay) => format!("relay {relay}"),
        None => path.address.clone(),
    };
    vec![
        short(node).to_owned(),
        place,
        path.how.clone(),
        ms(path.rtt_us),
        format!("{} %", f64::from(path.loss_permille) / 10.0),
        if path.in_use { "in use".to_owned() } else { String::new() },
    ]
}

fn ms(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nat_is_told_in_words() {
        let net = |mapping: &str, filtering: &str, step| Net {
            mapping: mapping.into(),
            filtering: filtering.into(),
            step,
            ..Net::default()
        };
        assert_eq!(nat(&net("unknown", "unknown", None)), "not known yet");
        let told = nat(&net("address-and-port-dependent", "address-and-port-dependent", Some(1)));
        assert_eq!(
            told,
            "another port outside for each peer, 1 further each time; lets in only who was spoken to"
        );
    }

    #[test]
    fn a_port_that_a_router_maps_or_does_not_is_told() {
        let mapping = |state: &str, external: Option<&str>| PortMapping {
            state: state.into(),
            method: Some("pcp".into()),
            external: external.map(str::to_owned),
            why: Some("it refuses".into()),
        };
        assert_eq!(router(&mapping("mapped", Some("62.0.0.1:1"))), "maps 62.0.0.1:1 to this device by pcp");
        assert!(router(&mapping("carrier", None)).contains("carrier"));
        assert_eq!(router(&mapping("refused", None)), "maps nothing: it refuses");
    }
}
