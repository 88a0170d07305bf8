//! TURN and STUN against coturn, both ways: programs that share no code with this repository.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use cs_identity::SecretKey;
use cs_tests::real::{skipped, until};
use cs_transport::net::{Alternate, Endpoint, EndpointConfig, Events, RelayConfig};
use cs_transport::stun::{Credentials, Dependence, Message, binding_request, read_binding_answer};
use cs_transport::turn::{Event, ServerConfig, Transport};
use tokio::runtime::Runtime;

use crate::caller::{Caller, LIMIT, discover, loopback, peer};

const USER: &str = "ann";
const PASSWORD: &str = "pass";

fn credentials(password: &str) -> Credentials {
    Credentials::new(USER, password).unwrap()
}

/// Where a program of coturn is; a test that needs one that is not there says so and is skipped.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skipped(&format!("{name} of coturn is not installed"));
    }
    found
}

/// How far tests of this process are apart.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Two ports in a row that nobody uses for UDP or TCP.
fn two_ports() -> u16 {
    let is_free = |port| {
        let others = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([127, 0, 0, 2])];
        TcpListener::bind(loopback(port)).is_ok()
            && others.iter().all(|ip| UdpSocket::bind((*ip, port)).is_ok())
    };
    // By process, so that runs beside this one look elsewhere; and by test.
    let begin =
        20_000 + (std::process::id() % 400) as u16 * 100 + NEXT.fetch_add(20, Ordering::Relaxed) % 100;
    (begin..begin + 20).step_by(2).find(|port| is_free(*port) && is_free(port + 1)).expect("a port is free")
}

/// A running coturn, gone at the end.
struct Coturn {
    child: Child,
    at: SocketAddr,
    _home: tempfile::TempDir,
}

impl Coturn {
    fn start() -> Option<Self> {
        let program = program("turnserver")?;
        let home = tempfile::tempdir().unwrap();
        let (port, file) = (two_ports(), |name: &str| home.path().join(name).display().to_string());
        let mut command = Command::new(program);
        // An empty file: without one it reads the one of the system.
        std::fs::write(home.path().join("conf"), "").unwrap();
        command.args(["-c", &file("conf"), "-L", "127.0.0.1", "-L", "127.0.0.2", "-E", "127.0.0.1"]);
        command.args(["-p", &port.to_string(), "--alt-listening-port", &(port + 1).to_string()]);
        command.args(["--lt-cred-mech", "-u", &format!("{USER}:{PASSWORD}"), "-r", "lab"]);
        command.args(["--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--log-file", "stdout"]);
        command.args(["--pidfile", &file("pid"), "--userdb", &file("db")]);
        command.args(["--min-port", "50000", "--max-port", "60000"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let coturn = Self { child, at: loopback(port), _home: home };
        let ready = until(LIMIT, || is_stun_server(coturn.at).then_some(()));
        assert!(ready.is_some(), "coturn does not come up");
        Some(coturn)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_stun_server(at: SocketAddr) -> bool {
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 500];
    let asked = socket.send_to(&binding_request([1; 12]), at);
    let answer = asked.and_then(|_| socket.recv(&mut buffer));
    answer.is_ok_and(|count| {
        let answer = Message::from_bytes(&buffer[..count]);
        answer.is_ok_and(|answer| {
            read_binding_answer(&answer) == socket.local_addr().map_err(|_| unreachable!())
        })
    })
}

#[test]
fn our_client_talks_through_coturn_over_udp_and_over_tcp() {
    let Some(coturn) = Coturn::start() else { return };
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut caller = Caller::new(credentials(PASSWORD), transport, coturn.at);
        let relayed = caller.allocate();
        let peer = peer();
        let at = peer.local_addr().unwrap();
        caller.client.permit(caller.now(), at.ip()).unwrap();
        assert_eq!(caller.event(), Event::Permitted(at.ip()));
        let mut buffer = [0; 2000];
        for round in 0..2 {
            // In indications, then on a channel; of every length modulo four.
            for length in [1, 2, 3, 4, 1200] {
                let data = vec![round; length];
                caller.say(at, &data);
                let (count, from) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..count], from), (&data[..], relayed));
                peer.send_to(&data, relayed).unwrap();
                caller.hears(at, &data);
            }
            if round == 0 {
                caller.client.bind(caller.now(), at).unwrap();
                assert_eq!(caller.event(), Event::Bound(at));
            }
        }
        caller.client.close(caller.now());
        assert_eq!(caller.event(), Event::Closed);
    }
}

#[test]
fn coturn_refuses_our_client_with_a_wrong_password_and_gives_a_port_back_to_who_restarts() {
    let Some(coturn) = Coturn::start() else { return };
    let mut caller = Caller::new(credentials("wrong"), Transport::Udp, coturn.at);
    caller.client.start(caller.now());
    assert_eq!(caller.event(), Event::Refused(401));
    let mut caller = Caller::new(credentials(PASSWORD), Transport::Udp, coturn.at);
    let first = caller.allocate();
    // The same socket, and a client that remembers nothing.
    caller.forget(credentials(PASSWORD), Transport::Udp);
    let second = caller.allocate();
    assert_ne!(first, second);
}

#[test]
fn our_discovery_finds_no_nat_before_coturn() {
    let Some(coturn) = Coturn::start() else { return };
    let found = discover(coturn.at);
    assert_eq!((found.mapping, found.filtering), (Some(Dependence::None), Some(Dependence::None)));
    assert!(found.mapped.is_some_and(|mapped| mapped.ip() == Ipv4Addr::LOCALHOST));
}

/// Our relay, with coturn's clients as its users.
struct Relay {
    endpoint: Endpoint,
    _events: Events,
    _runtime: Runtime,
    port: u16,
}

impl Relay {
    fn start() -> Self {
        let port = two_ports();
        // Its clients leave what they had over UDP to run out.
        let limits =
            ServerConfig { allow_private: true, allocations_per_user_max: 64, ..ServerConfig::default() };
        let second = IpAddr::from([127, 0, 0, 2]);
        let alternate = Alternate { first: Ipv4Addr::LOCALHOST.into(), second, second_port: port + 1 };
        let relay = RelayConfig {
            tcp: vec![loopback(port)],
            users: vec![credentials(PASSWORD)],
            limits,
            alternate: Some(alternate),
            ..RelayConfig::default()
        };
        let secret = SecretKey::from_bytes([1; 32]);
        let config = EndpointConfig {
            listen: vec![loopback(port)],
            relay: Some(relay),
            ..EndpointConfig::new(secret)
        };
        let runtime = Runtime::new().unwrap();
        let (endpoint, events) = runtime.block_on(Endpoint::bind(config)).unwrap();
        Self { endpoint, _events: events, _runtime: runtime, port }
    }
}

/// What a program says, and whether it ended well.
fn run(mut command: Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (output.status.success(), said)
}

/// A peer that sends everything back.
fn echo() -> SocketAddr {
    let socket = peer();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if socket.send_to(&buffer[..count], from).is_err() {
                return;
            }
        }
    });
    at
}

#[test]
fn coturns_client_talks_through_our_relay() {
    let Some(program) = program("turnutils_uclient") else { return };
    let relay = Relay::start();
    // Over UDP and TCP; on channels, in indications (-s), padded (-D), with more requests than needed (-G), without
    // fragments (-g), and from client to client (-y).
    for flags in [
        &[][..],
        &["-s"],
        &["-t"],
        &["-t", "-s"],
        &["-D"],
        &["-t", "-D"],
        &["-G"],
        &["-g"],
        &["-y"],
        &["-t", "-y"],
    ] {
        let mut command = Command::new(&program);
        command.args(["-u", USER, "-w", PASSWORD, "-c", "-n", "20", "-m", "2", "-l", "171", "-z", "5"]);
        command.args(["-p", &relay.port.to_string(), "-e", "127.0.0.1", "-r", &echo().port().to_string()]);
        command.args(flags).arg("127.0.0.1");
        let (well, said) = run(command);
        assert!(well && said.contains("Total lost packets 0"), "{flags:?}: {said}");
    }
    let counters = relay.endpoint.relay_counters().unwrap();
    // Two clients, 20 datagrams, to the peer and back; from client to client they cross the relay once.
    assert!(counters.granted >= 20 && counters.relayed >= (8 * 2 + 2) * 2 * 20, "{counters:?}");
}

#[test]
fn coturns_discovery_finds_no_nat_before_our_server() {
    let Some(program) = program("turnutils_natdiscovery") else { return };
    let relay = Relay::start();
    let mut command = Command::new(program);
    command.args(["-m", "-f", "-p", &relay.port.to_string(), "-L", "127.0.0.1", "127.0.0.1"]);
    let (_, said) = run(command);
    for verdict in ["No NAT! (Endpoint Independent Mapping)", "Endpoint Independent Filtering!"] {
        assert!(said.contains(verdict), "{said}");
    }
}
