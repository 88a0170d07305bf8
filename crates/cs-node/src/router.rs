//! The router between this node and the internet, asked for a port.

use std::net::{IpAddr, SocketAddr};

use cs_transport::mapping::{Event, is_global};
use cs_transport::net::{MappingConfig, PortMapping};
use tokio::sync::mpsc;

/// Asks for a port where there may be a router to ask, and keeps what became of it.
#[derive(Debug)]
pub(crate) struct Router {
    is_between: bool,
    mapping: Option<PortMapping>,
    events: Option<mpsc::Receiver<Event>>,
    last: Option<Event>,
}

impl Router {
    /// `port`: where others on the network reach this node, if a router may be asked for it.
    pub(crate) fn of(addrs: &[SocketAddr], port: Option<u16>) -> Self {
        let is_local = |addr: &SocketAddr| addr.ip().is_loopback();
        // A global IPv6 address says little: before most of them a firewall stands.
        let is_public = |addr: &SocketAddr| addr.is_ipv4() && is_global(addr.ip());
        // With a public address, or with nothing but the loopback, nobody stands between.
        let is_between = !addrs.iter().any(is_public) && !addrs.iter().all(is_local);
        let port = port.filter(|_| is_between);
        let started = port.map(|port| PortMapping::start(MappingConfig::new(port)));
        let (mapping, events) = started.unzip();
        Self { is_between, mapping, events, last: None }
    }

    /// Whether there may be one.
    pub(crate) fn is_between(&self) -> bool {
        self.is_between
    }

    /// Waits for news of the port. Cancelling loses none.
    pub(crate) async fn changed(&mut self) {
        if let Some(events) = &mut self.events
            && let Some(event) = events.recv().await
        {
            self.last = Some(event);
            return;
        }
        self.events = None;
        std::future::pending().await
    }

    /// What became of the port, once that is known.
    pub(crate) fn mapping(&self) -> Option<Event> {
        self.last
    }

    /// The address outside that leads here.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        match self.last {
            Some(Event::Mapped { external, .. }) => Some(external),
            _ => None,
        }
    }

    /// What somebody outside sees as this node's address.
    pub(crate) fn observed(&self, address: IpAddr) {
        if let Some(mapping) = &self.mapping {
            mapping.observed(address);
        }
    }

    /// Gives the port back.
    pub(crate) async fn close(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            mapping.close().await;
        }
    }
}
