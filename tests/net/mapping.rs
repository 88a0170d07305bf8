//! Ports mapped by a real miniupnpd on a home's router, and by routers that mean harm.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cs_tests::internet::{Home, Host, Internet, Kind, Netns};
use cs_tests::real::until;
use cs_transport::mapping::{Event, Method, Refusal};
use cs_transport::net::{MappingConfig, PortMapping};
use tokio::sync::mpsc::Receiver;

use crate::lab::LIMIT;

/// A port that is mapped.
const PORT: u16 = 4242;

/// Does something in a host's network with an asynchronous runtime.
fn within<T: Send>(host: &Host, work: impl AsyncFnOnce() -> T + Send) -> T {
    host.netns().enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

async fn next(events: &mut Receiver<Event>) -> Event {
    tokio::time::timeout(LIMIT, events.recv()).await.expect("something is told").expect("it goes on")
}

/// A stranger on the internet.
struct Stranger(Host);

impl Stranger {
    /// Whether a datagram from a fresh port reaches the socket at this address.
    fn reaches(&self, socket: &UdpSocket, at: SocketAddr) -> bool {
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let outside = self.0.netns().enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        outside.send_to(b"knock", at).unwrap();
        let mut heard = [0; 16];
        socket.recv_from(&mut heard).is_ok_and(|(length, _)| &heard[..length] == b"knock")
    }
}

/// A home with miniupnpd, a stranger, and a socket at home.
fn scene(internet: &Internet, kind: Kind) -> Option<(Home, Stranger, UdpSocket)> {
    let home = internet.home(kind, 1)?;
    let stranger = Stranger(internet.public("stranger", 1));
    let socket = home.hosts()[0].netns().enter(|| UdpSocket::bind(("0.0.0.0", PORT)).unwrap());
    Some((home, stranger, socket))
}

/// The port is mapped by this method, a stranger gets in, and after the end no longer.
fn maps_and_gives_back(home: &Home, stranger: &Stranger, socket: &UdpSocket, first: Method) {
    within(&home.hosts()[0], async || {
        let (mapping, mut events) = PortMapping::start(MappingConfig { first, ..MappingConfig::new(PORT) });
        let event = next(&mut events).await;
        let Event::Mapped { external, method } = event else { panic!("{first:?}: {event:?}") };
        assert_eq!((external.ip(), method), (home.outer().unwrap().into(), first));
        assert!((0..10).any(|_| stranger.reaches(socket, external)), "{first:?} lets nobody in");
        mapping.close().await;
        let closed = until(LIMIT, || (!stranger.reaches(socket, external)).then_some(()));
        assert!(closed.is_some(), "{first:?} is not given back");
    });
}

#[test]
fn a_port_is_mapped_by_pcp_nat_pmp_and_upnp_and_given_back() {
    let Some(internet) = Internet::new() else { return };
    let Some((home, stranger, socket)) = scene(&internet, Kind::Upnp) else { return };
    assert!(!stranger.reaches(&socket, (home.outer().unwrap(), PORT).into()), "the router lets all in");
    maps_and_gives_back(&home, &stranger, &socket, Method::Pcp);
    maps_and_gives_back(&home, &stranger, &socket, Method::NatPmp);
    maps_and_gives_back(&home, &stranger, &socket, Method::Upnp);
    // Where UPnP is all that is spoken, it is come to.
    home.restart_upnp(&internet, false);
    within(&home.hosts()[0], async || {
        let (mapping, mut events) = PortMapping::start(MappingConfig::new(PORT));
        let event = next(&mut events).await;
        assert!(matches!(event, Event::Mapped { method: Method::Upnp, .. }), "{event:?}");
        mapping.close().await;
    });
}

#[test]
fn a_mapping_outlives_its_lifetime_while_it_is_wanted() {
    const LIFETIME: Duration = Duration::from_secs(4);
    let Some(internet) = Internet::new() else { return };
    let Some((home, stranger, socket)) = scene(&internet, Kind::Upnp) else { return };
    for first in [Method::Pcp, Method::NatPmp] {
        within(&home.hosts()[0], async || {
            let config = MappingConfig { port: PORT, first, lifetime_s: LIFETIME.as_secs() as u32 };
            let (mapping, mut events) = PortMapping::start(config);
            let event = next(&mut events).await;
            let Event::Mapped { external, .. } = event else { panic!("{event:?}") };
            let begun = Instant::now();
            while begun.elapsed() < LIFETIME * 3 {
                // The runtime has one thread, and renews while this waits.
                tokio::time::sleep(LIFETIME / 8).await;
                assert!((0..5).any(|_| stranger.reaches(&socket, external)), "{first:?} lapsed");
            }
            assert!(events.try_recv().is_err(), "nothing changed, and nothing is told");
            mapping.close().await;
        });
    }
}

#[test]
fn a_router_that_refuses_is_told() {
    /// Below what the routers of this lab give away.
    const RESERVED: u16 = 1000;
    let Some(internet) = Internet::new() else { return };
    let Some((home, ..)) = scene(&internet, Kind::Upnp) else { return };
    let refused = within(&home.hosts()[0], async || {
        let (_mapping, mut events) = PortMapping::start(MappingConfig::new(RESERVED));
        next(&mut events).await
    });
    assert!(matches!(refused, Event::Refused(_)), "{refused:?}");
}

#[test]
fn without_a_router_that_maps_that_is_told() {
    let Some(internet) = Internet::new() else { return };
    let home = internet.home(Kind::Port, 1).expect("it needs no miniupnpd");
    let told = within(&home.hosts()[0], async || {
        let (_mapping, mut events) = PortMapping::start(MappingConfig::new(PORT));
        next(&mut events).await
    });
    assert_eq!(told, Event::Refused(Refusal::Silent));
}

/// Answers searches for as long as the test runs, and every connection with what `body` writes.
fn play_router<T>(
    at: &Netns,
    location: IpAddr,
    body: &(dyn Fn(&mut dyn Write) + Sync),
    test: impl FnOnce(&AtomicU64) -> T,
) -> T {
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (searches, pages) = at.enter(|| {
        let searches = UdpSocket::bind("0.0.0.0:1900").unwrap();
        let _ = searches.join_multicast_v4(&Ipv4Addr::new(239, 255, 255, 250), &Ipv4Addr::UNSPECIFIED);
        (searches, TcpListener::bind("0.0.0.0:5000").unwrap())
    });
    searches.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    pages.set_nonblocking(true).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
                 LOCATION: http://{location}:5000/desc.xml\r\n\r\n"
            );
            while !over.load(Ordering::Relaxed) {
                if let Ok((_, from)) = searches.recv_from(&mut [0; 2048]) {
                    let _ = searches.send_to(answer.as_bytes(), from);
                }
                if let Ok((mut stream, _)) = pages.accept() {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    let _ = stream.read(&mut [0; 2048]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n");
                    body(&mut stream);
                }
            }
        });
        let tested = test(&asked);
        over.store(true, Ordering::Relaxed);
        tested
    })
}

fn refusal(host: &Host) -> Event {
    within(host, async || {
        let (_mapping, mut events) = PortMapping::start(MappingConfig::new(PORT));
        next(&mut events).await
    })
}

#[test]
fn pages_without_end_and_xml_bombs_cost_little_and_lead_to_nothing() {
    /// Far above what is read of one answer, far below what would hurt.
    const READ_MAX: u64 = 8 << 20;
    let Some(internet) = Internet::new() else { return };
    let home = internet.home(Kind::Port, 1).expect("it needs no miniupnpd");
    let written = AtomicU64::new(0);
    let write = |stream: &mut dyn Write, text: &str| {
        let is_written = stream.write_all(text.as_bytes()).is_ok();
        written.fetch_add(text.len() as u64, Ordering::Relaxed);
        is_written
    };
    let endless = |stream: &mut dyn Write| {
        let _ = write(stream, "<root>");
        while written.load(Ordering::Relaxed) < 64 << 20 && write(stream, &"<a>x</a>".repeat(1024)) {}
    };
    let deep = |stream: &mut dyn Write| _ = write(stream, &"<a>".repeat(100_000));
    let laughs = |stream: &mut dyn Write| {
        let mut text = "<!DOCTYPE r [<!ENTITY l0 \"ha ha ha ha\">".to_owned();
        (1..12).for_each(|n| {
            text.push_str(&format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)))
        });
        let _ = write(stream, &format!("{text}]><root><device>&l11;</device></root>"));
    };
    for body in [&endless as &(dyn Fn(&mut dyn Write) + Sync), &deep, &laughs] {
        written.store(0, Ordering::Relaxed);
        let told = play_router(home.router(), home.gateway().into(), body, |asked| {
            let told = refusal(&home.hosts()[0]);
            assert!(asked.load(Ordering::Relaxed) > 0, "the page was not asked for");
            told
        });
        assert_eq!(told, Event::Refused(Refusal::Silent));
        let written = written.load(Ordering::Relaxed);
        assert!(written < READ_MAX, "{written} bytes were read");
    }
}

#[test]
fn another_host_of_the_network_is_not_believed_to_be_the_router() {
    let Some(internet) = Internet::new() else { return };
    let home = internet.home(Kind::Port, 2).expect("it needs no miniupnpd");
    let impostor = &home.hosts()[1];
    let body = |_: &mut dyn Write| {};
    let own = IpAddr::from(impostor.v4()[0]);
    let told = play_router(impostor.netns(), own, &body, |asked| {
        let told = refusal(&home.hosts()[0]);
        assert_eq!(asked.load(Ordering::Relaxed), 0, "its page was asked for");
        told
    });
    assert_eq!(told, Event::Refused(Refusal::Silent));
    // The router itself may not point elsewhere either.
    let told = play_router(home.router(), own, &body, |asked| {
        let told = refusal(&home.hosts()[0]);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        told
    });
    assert_eq!(told, Event::Refused(Refusal::Silent));
}
