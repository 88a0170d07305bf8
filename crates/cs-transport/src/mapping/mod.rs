//! Asking the router for a port: NAT-PMP (RFC 6886) and PCP (RFC 6887) as codecs, and the machine that gets a mapping,
//! keeps it and gives it back, by these or by UPnP IGD. No socket, no clock: `net::PortMapping` drives it.

mod machine;
mod nat_pmp;
mod pcp;
mod upnp;

pub use machine::{Config, Event, Input, Mapper, Method, Output, Refusal, UpnpAnswer, is_global};
pub use nat_pmp::{PmpRequest, PmpResponse, PmpResult};
pub use pcp::{MAX_PCP, PcpMap, PcpRequest, PcpResponse, PcpResult};
pub(crate) use upnp::MAX_PAGE;
pub use upnp::{Control, Page, Place, UpnpFault, control, external_address, page, place, search, soap};

/// Where gateways listen for both protocols (RFC 6886 section 3, RFC 6887 section 19.1).
pub const GATEWAY_PORT: u16 = 5351;

/// Where hosts hear that a gateway restarted.
pub const CLIENT_PORT: u16 = 5350;
