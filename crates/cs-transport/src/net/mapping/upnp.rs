//! UPnP IGD on sockets. Rule TP-44.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::super::endpoint::entropy;
use crate::mapping::{
    Control, MAX_PAGE, Page, Place, UpnpAnswer, UpnpFault, control, external_address, page, place, search,
    soap,
};

/// Where all routers hear a search.
const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// How long a search may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);
/// How long a page may take.
const PAGE_LIMIT: Duration = Duration::from_secs(3);
/// Longest answer to a search that is looked at.
const ANSWER_MAX: usize = 1500;
/// Ports outside that are tried, beside the one that is wished for.
const OTHER_PORTS: u32 = 4;

/// Codes of refusals (WANIPConnection:2, section 2.5.16).
const CONFLICT: u16 = 718;
const PERMANENT_ONLY: u16 = 725;

/// Maps `client` to `external_port`, or to another port when that is taken.
pub(crate) async fn map(
    gateway: Ipv4Addr,
    client: SocketAddrV4,
    external_port: u16,
    lifetime_s: u32,
) -> UpnpAnswer {
    let Some(control) = find(gateway, *client.ip()).await else { return UpnpAnswer::Silent };
    match map_by(&control, client, external_port, lifetime_s).await {
        Ok(answer) => answer,
        Err(UpnpFault::Refused(code)) => UpnpAnswer::Refused(code),
        Err(_) => UpnpAnswer::Refused(0),
    }
}

/// Ends the mapping of a port outside.
pub(crate) async fn unmap(gateway: Ipv4Addr, client: Ipv4Addr, external_port: u16) {
    if let Some(control) = find(gateway, client).await {
        let port = external_port.to_string();
        let arguments = [("NewRemoteHost", ""), ("NewExternalPort", port.as_str()), ("NewProtocol", "UDP")];
        // One that is gone already is what is wanted.
        let _ = ask(control.at, &soap(&control, "DeletePortMapping", &arguments)).await;
    }
}

async fn map_by(
    control: &Control,
    client: SocketAddrV4,
    wished: u16,
    lifetime_s: u32,
) -> Result<UpnpAnswer, UpnpFault> {
    let body = ask(control.at, &soap(control, "GetExternalIPAddress", &[])).await?.done()?;
    let address = external_address(&body).ok_or(UpnpFault::Malformed)?;
    let (mut port, mut lifetime_s) = (wished, lifetime_s);
    for _ in 0..OTHER_PORTS {
        match add(control, client, port, lifetime_s).await {
            Ok(()) => {
                let external = SocketAddr::new(address.into(), port);
                return Ok(UpnpAnswer::Mapped { external, lifetime_s });
            }
            Err(UpnpFault::Refused(PERMANENT_ONLY)) if lifetime_s > 0 => lifetime_s = 0,
            Err(UpnpFault::Refused(CONFLICT)) => {
                let chance: [u8; 2] = entropy().map_err(|_| UpnpFault::Malformed)?;
                port = u16::from_be_bytes(chance) | 0x4000;
            }
            Err(fault) => return Err(fault),
        }
    }
    Err(UpnpFault::Refused(CONFLICT))
}

async fn add(control: &Control, client: SocketAddrV4, port: u16, lifetime_s: u32) -> Result<(), UpnpFault> {
    let (external, internal) = (port.to_string(), client.port().to_string());
    let (ip, lifetime) = (client.ip().to_string(), lifetime_s.to_string());
    let arguments = [
        ("NewRemoteHost", ""),
        ("NewExternalPort", external.as_str()),
        ("NewProtocol", "UDP"),
        ("NewInternalPort", internal.as_str()),
        ("NewInternalClient", ip.as_str()),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", "cosync"),
        ("NewLeaseDuration", lifetime.as_str()),
    ];
    ask(control.at, &soap(control, "AddPortMapping", &arguments)).await?.done().map(drop)
}

/// Where the gateway maps ports; `None` where it does not by UPnP.
async fn find(gateway: Ipv4Addr, client: Ipv4Addr) -> Option<Control> {
    let socket = UdpSocket::bind((client, 0)).await.ok()?;
    for version in [1, 2] {
        // Some routers hear only one of the two.
        for to in [EVERYBODY, SocketAddrV4::new(gateway, EVERYBODY.port())] {
            let _ = socket.send_to(&search(version), to).await;
        }
    }
    timeout(SEARCH_LIMIT, answered(&socket, gateway)).await.ok()?
}

async fn answered(socket: &UdpSocket, gateway: Ipv4Addr) -> Option<Control> {
    let mut answer = [0; ANSWER_MAX];
    loop {
        // An error is an ICMP message of somebody who does not listen.
        let Ok((length, from)) = socket.recv_from(&mut answer).await else { continue };
        let bytes = answer.get(..length).unwrap_or_default();
        let Some(Place { at, path }) = place(gateway, from, bytes) else { continue };
        let description = ask(at, &page(Place { at, path })).await;
        if let Some(control) = description.ok().and_then(|page| control(at, &page.body)) {
            return Some(control);
        }
    }
}

/// Sends a request, and reads what comes until the server closes: at most [`MAX_PAGE`] bytes.
async fn ask(at: SocketAddrV4, request: &[u8]) -> Result<Page, UpnpFault> {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut bytes = Vec::new();
        stream.take(MAX_PAGE as u64 + 1).read_to_end(&mut bytes).await.ok()?;
        Some(bytes)
    };
    let bytes = timeout(PAGE_LIMIT, exchange).await.ok().flatten().ok_or(UpnpFault::Malformed)?;
    Page::from_bytes(&bytes)
}
