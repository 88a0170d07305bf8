//! Addresses: one spelling each, and those behind a wildcard.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An IPv4 address in IPv6 clothes becomes IPv4; all others stay, with the scope of a link-local one.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The form in which a socket of IPv6 names an IPv4 peer.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0)),
        v6 @ SocketAddr::V6(_) => v6,
    }
}

/// `mapped`, for an address without a port.
pub(crate) fn mapped_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 @ IpAddr::V6(_) => v6,
    }
}

/// What others on the network may reach this address by: itself, or for a wildcard the addresses of all interfaces
/// (loopback last; link-local IPv6 left out, since it needs a scope that others do not know).
pub(crate) fn reachable(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut found = interfaces
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => bound.is_ipv6() && !v6.is_unicast_link_local(),
        })
        .map(|ip| SocketAddr::new(ip, bound.port()))
        .collect::<Vec<_>>();
    found.sort_by_key(|address| (address.ip().is_loopback(), *address));
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling_and_keeps_its_scope() {
        let v4 = SocketAddr::from(([192, 0, 2, 1], 7));
        assert_eq!(canonical(mapped(v4)), v4);
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().expect("an address"), 7, 0, 3));
        assert_eq!(canonical(scoped), scoped);
    }

    #[test]
    fn a_wildcard_stands_for_addresses_that_can_be_dialled() {
        let found = reachable(([0; 4], 7).into());
        assert!(
            found
                .iter()
                .all(|address| address.is_ipv4() && address.port() == 7 && !address.ip().is_unspecified())
        );
        assert!(found.contains(&([127, 0, 0, 1], 7).into()), "{found:?}");
        assert_eq!(reachable(([192, 0, 2, 1], 7).into()), [([192, 0, 2, 1], 7).into()]);
    }
}
