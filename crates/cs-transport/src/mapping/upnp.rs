//! UPnP IGD (UPnP Device Architecture 1.1, WANIPConnection:2) as texts: what is sent, and what little is read of the
//! answers, bounded and in place. Rule TP-44.
//!
//! Not igd-next: it believes any host of the network that answers first, and reads a megabyte of XML into a tree.

use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use thiserror::Error;

/// Longest page that is looked at, in bytes. Descriptions of routers take up to 20 kB.
pub(crate) const MAX_PAGE: usize = 64 << 10;

/// Longest path of a URL.
const MAX_PATH: usize = 256;

/// The services that map ports, the better ones first.
const SERVICES: [&str; 3] = ["WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1"];

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpnpFault {
    /// The router refuses, with this code of UPnP.
    #[error("the router refuses with code {0}")]
    Refused(u16),
    /// It is not a page, or too long a one.
    #[error("no page of UPnP")]
    Malformed,
}

/// A page of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The router's address and the port of its web server.
    pub at: SocketAddrV4,
    /// Begins with a slash.
    pub path: &'a str,
}

/// Where a router is told to map ports, and by which version of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The web server.
    pub at: SocketAddrV4,
    /// Begins with a slash.
    pub path: String,
    service: &'static str,
}

/// An answer of a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whether the status is 200.
    pub is_fine: bool,
    /// Its text.
    pub body: String,
}

/// A search for routers, to 239.255.255.250:1900 or to port 1900 of the router itself (section 1.3.2).
#[must_use]
pub fn search(version: u8) -> Vec<u8> {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
         ST: urn:schemas-upnp-org:device:InternetGatewayDevice:{version}\r\n\r\n"
    )
    .into_bytes()
}

/// The description that an answer to a search points to: only if it comes from the gateway and has one LOCATION, at the
/// gateway's own address in digits.
#[must_use]
pub fn place(gateway: Ipv4Addr, from: SocketAddr, answer: &[u8]) -> Option<Place<'_>> {
    let text = core::str::from_utf8(answer).ok()?;
    let location = |line| header(line, "location");
    let mut locations = text.lines().filter_map(location);
    let (url, None) = (locations.next()?, locations.next()) else { return None };
    (from.ip() == IpAddr::V4(gateway)).then(|| absolute(gateway, url))?
}

/// The place that a description names for mapping ports at the router that gave it.
#[must_use]
pub fn control(of: SocketAddrV4, description: &str) -> Option<Control> {
    let mut found: Option<(usize, &str)> = None;
    let (mut kind, mut url) = ("", "");
    for piece in Pieces::of(description)? {
        match piece {
            Piece { open: "service", .. } => (kind, url) = ("", ""),
            Piece { open: "serviceType", text } => kind = text,
            Piece { open: "controlURL", text } => url = text,
            _ => continue,
        }
        let rank = SERVICES.iter().position(|service| kind.ends_with(service));
        if let Some(rank) = rank.filter(|rank| !url.is_empty() && found.is_none_or(|(best, _)| *rank < best))
        {
            found = Some((rank, url));
        }
    }
    let (rank, url) = found?;
    let Place { at, path } = match url.strip_prefix('/') {
        Some(_) => Place { at: of, path: is_path(url).then_some(url)? },
        None if !url.contains(':') => {
            let path = format!("/{url}");
            return is_path(&path).then(|| Control {
                at: of,
                path,
                service: SERVICES.get(rank).unwrap_or(&""),
            });
        }
        None => absolute(*of.ip(), url)?,
    };
    Some(Control { at, path: path.to_owned(), service: SERVICES.get(rank)? })
}

/// A request for a page.
#[must_use]
pub fn page(place: Place<'_>) -> Vec<u8> {
    let Place { at, path } = place;
    format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A request to do something: an action with its arguments in the order in which the service lists them.
#[must_use]
pub fn soap(control: &Control, action: &str, arguments: &[(&str, &str)]) -> Vec<u8> {
    let Control { at, path, service } = control;
    let urn = format!("urn:schemas-upnp-org:service:{service}");
    let arguments: String =
        arguments.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let body = format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{urn}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
    );
    format!(
        "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n\
         SOAPAction: \"{urn}#{action}\"\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Page {
    /// Reads all that a server sent before it closed.
    ///
    /// # Errors
    /// [`UpnpFault::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UpnpFault> {
        let malformed = UpnpFault::Malformed;
        if bytes.len() > MAX_PAGE {
            return Err(malformed);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| malformed)?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or(malformed)?;
        let mut lines = head.lines();
        let status = lines.next().filter(|line| line.starts_with("HTTP/1.")).ok_or(malformed)?;
        let is_fine = status.split(' ').nth(1) == Some("200");
        let is_chunked = lines.any(|line| {
            header(line, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        });
        let body = if is_chunked { join_chunks(body).ok_or(malformed)? } else { body.to_owned() };
        Ok(Self { is_fine, body })
    }

    /// The answer to [`soap`].
    ///
    /// # Errors
    /// What the router says.
    pub fn done(self) -> Result<String, UpnpFault> {
        if self.is_fine {
            return Ok(self.body);
        }
        let code =
            Pieces::of(&self.body).and_then(|mut pieces| pieces.find(|piece| piece.open == "errorCode"));
        let code = code.and_then(|piece| piece.text.trim().parse().ok());
        Err(code.map_or(UpnpFault::Malformed, UpnpFault::Refused))
    }
}

/// The address in the answer to `GetExternalIPAddress`.
#[must_use]
pub fn external_address(body: &str) -> Option<Ipv4Addr> {
    Pieces::of(body)?.find(|piece| piece.open == "NewExternalIPAddress")?.text.trim().parse().ok()
}

fn header<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (own, value) = line.split_once(':')?;
    own.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

/// A URL at this very address.
fn absolute(at: Ipv4Addr, url: &str) -> Option<Place<'_>> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let place = authority.parse().or_else(|_| authority.parse().map(|ip| SocketAddrV4::new(ip, 80)));
    let place: SocketAddrV4 = place.ok()?;
    (*place.ip() == at && place.port() != 0 && is_path(path)).then_some(Place { at: place, path })
}

/// Nothing in it ends the line of a request.
fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH && path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A body in chunks (RFC 9112 section 7.1).
fn join_chunks(mut text: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        text = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// The start tags of a page, each with the text that follows it. Namespaces, attributes and comments are skipped.
struct Pieces<'a>(&'a str);

struct Piece<'a> {
    open: &'a str,
    text: &'a str,
}

impl<'a> Pieces<'a> {
    /// Nothing for a page with a document type: only that can define entities.
    fn of(page: &'a str) -> Option<Self> {
        (!page.contains("<!DOCTYPE") && !page.contains("<!ENTITY")).then_some(Self(page))
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            let (_, rest) = self.0.split_once('<')?;
            if let Some(comment) = rest.strip_prefix("!--") {
                self.0 = comment.split_once("-->")?.1;
                continue;
            }
            let (tag, rest) = rest.split_once('>')?;
            self.0 = rest;
            if tag.starts_with(['/', '?', '!']) {
                continue;
            }
            let name = tag.split([' ', '\t', '\r', '\n', '/']).next().unwrap_or_default();
            let open = name.rsplit(':').next().unwrap_or_default();
            let text = if tag.ends_with('/') { "" } else { rest.split('<').next().unwrap_or_default() };
            return Some(Piece { open, text: text.trim() });
        }
    }
}

#[cfg(test)]
mod tests {
    //! TP-44.

    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    const AT: SocketAddrV4 = SocketAddrV4::new(GATEWAY, 5000);

    fn followed(from: &str, location: &str) -> bool {
        let answer = format!("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n{location}\r\n\r\n");
        place(GATEWAY, from.parse().expect("an address"), answer.as_bytes()).is_some()
    }

    #[test]
    fn tp_44_a_location_at_the_gateway_itself_is_followed() {
        assert!(followed("192.168.1.1:1900", "LOCATION: http://192.168.1.1:5000/rootDesc.xml"));
        assert!(followed("192.168.1.1:40000", "Location:http://192.168.1.1"));
    }

    #[test]
    fn tp_44_no_other_host_and_no_other_location_is_followed() {
        let own = "LOCATION: http://192.168.1.1:5000/rootDesc.xml";
        assert!(!followed("192.168.1.66:1900", own), "another host of the network speaks for the gateway");
        for elsewhere in [
            "LOCATION: http://127.0.0.1:8080/admin",
            "LOCATION: http://192.168.1.66:5000/rootDesc.xml",
            "LOCATION: http://192.168.1.1:5000@192.168.1.66/",
            "LOCATION: http://router.example/",
            "LOCATION: https://192.168.1.1/",
            "LOCATION: file:///etc/passwd",
            "LOCATION: http://3232235777/",
            "LOCATION: http://192.168.1.1:5000/a b",
            "SERVER: nothing",
        ] {
            assert!(!followed("192.168.1.1:1900", elsewhere), "{elsewhere}");
        }
        assert!(!followed("192.168.1.1:1900", &format!("{own}\r\nLOCATION: http://127.0.0.1/")));
    }

    fn service(kind: &str, url: &str) -> String {
        format!("<service>\n<serviceType>{kind}</serviceType><controlURL>{url}</controlURL></service>")
    }

    fn description(services: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><root xmlns=\"x\"><!-- <service> --><device>{services}</device></root>"
        )
    }

    const IP1: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

    #[test]
    fn tp_44_the_best_service_of_a_description_is_found() {
        let two = "urn:schemas-upnp-org:service:WANIPConnection:2";
        let other = service("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/l3f");
        let page = description(&(other.clone() + &service(IP1, "/one") + &service(two, "/ctl/IPConn")));
        let found = control(AT, &page).expect("there is one");
        assert_eq!((found.at, found.path.as_str(), found.service), (AT, "/ctl/IPConn", "WANIPConnection:2"));
        assert_eq!(control(AT, &description(&service(IP1, "ctl"))).map(|c| c.path), Some("/ctl".to_owned()));
        assert_eq!(control(AT, &description(&other)), None);
    }

    #[test]
    fn tp_44_a_control_url_that_leads_elsewhere_is_refused() {
        assert!(control(AT, &description(&service(IP1, "http://192.168.1.1:49152/ctl"))).is_some());
        let long = format!("/{}", "a".repeat(MAX_PATH));
        for url in ["http://192.168.1.66/ctl", "https://192.168.1.1/", "/a b", "/a\u{e9}", &long, "//", "x:y"]
        {
            let found = control(AT, &description(&service(IP1, url)));
            assert!(found.is_none_or(|found| found.at.ip() == &GATEWAY && is_path(&found.path)), "{url}");
        }
        assert_eq!(control(AT, &description(&service(IP1, "http://192.168.1.66/ctl"))), None);
    }

    #[test]
    fn tp_44_a_page_with_a_document_type_is_refused() {
        let page = description(&service(IP1, "/ctl"));
        assert!(control(AT, &page).is_some());
        assert_eq!(control(AT, &format!("<!DOCTYPE r [<!ENTITY a \"ha\">]>{page}")), None);
    }

    #[test]
    fn tp_44_answers_are_read_whole_or_in_chunks_up_to_a_limit() {
        let text = "<a:NewExternalIPAddress>62.1.0.1</a:NewExternalIPAddress>";
        let whole = format!("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{text}");
        let (first, second) = text.split_at(20);
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            second.len()
        );
        for page in [whole, chunked] {
            let body = Page::from_bytes(page.as_bytes()).and_then(Page::done).expect("it is fine");
            assert_eq!(external_address(&body), Some(Ipv4Addr::new(62, 1, 0, 1)));
        }
        let refusal = "HTTP/1.1 500 Error\r\n\r\n<detail><errorCode>718</errorCode></detail>";
        let page = Page::from_bytes(refusal.as_bytes()).expect("a page");
        assert_eq!(page.done(), Err(UpnpFault::Refused(718)));
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_PAGE));
        assert_eq!(Page::from_bytes(long.as_bytes()), Err(UpnpFault::Malformed));
    }
}
