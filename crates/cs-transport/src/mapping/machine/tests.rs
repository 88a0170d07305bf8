//! The mapper beside gateways that a test plays: TP-42 and TP-43.

use super::*;
use crate::mapping::GATEWAY_PORT;
use proptest::prelude::*;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(62, 1, 0, 1));
const PORT: u16 = 4040;
/// Not a round one, so that no deadline falls on it by chance.
const START: Duration = Duration::from_nanos(1_000_000_007);

fn config() -> Config {
    let client = Ipv4Addr::new(192, 168, 1, 2).into();
    let first = Method::Pcp;
    Config { internal_port: PORT, client, gateway: GATEWAY, first, upnp: true, lifetime_s: 3600 }
}

fn mapper() -> Mapper {
    let mut mapper = Mapper::new(config(), START, [7; 12]);
    mapper.handle_timeout(START);
    mapper
}

fn drain(mapper: &mut Mapper) -> Vec<Output> {
    core::iter::from_fn(|| mapper.poll_output()).collect()
}

fn events(mapper: &mut Mapper) -> Vec<Event> {
    let event = |output| if let Output::Event(event) = output { Some(event) } else { None };
    drain(mapper).into_iter().filter_map(event).collect()
}

/// The PCP requests among what was sent.
fn pcp_requests(mapper: &mut Mapper) -> Vec<PcpRequest> {
    let request =
        |output| if let Output::Send(bytes) = output { PcpRequest::from_bytes(&bytes).ok() } else { None };
    drain(mapper).into_iter().filter_map(request).collect()
}

fn hear(mapper: &mut Mapper, now: Duration, bytes: &[u8]) {
    let from = SocketAddr::new(GATEWAY, GATEWAY_PORT);
    mapper.handle_input(now, Input::Datagram { from, bytes });
}

fn pcp(result: PcpResult, lifetime_s: u32, epoch_s: u32, external: IpAddr) -> Vec<u8> {
    let map = PcpMap { nonce: [7; 12], internal_port: PORT, external_port: 5050, external };
    let mut bytes = Vec::new();
    PcpResponse::Map { result, lifetime_s, epoch_s, map }.encode(&mut bytes);
    bytes
}

fn pmp(response: PmpResponse) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.encode(&mut bytes);
    bytes
}

fn mapped(method: Method) -> Event {
    Event::Mapped { external: SocketAddr::new(OUTSIDE, 5050), method }
}

/// A mapping of an hour, by PCP.
fn holding() -> Mapper {
    let mut mapper = mapper();
    hear(&mut mapper, START, &pcp(PcpResult::SUCCESS, 3600, 100, OUTSIDE));
    assert_eq!(events(&mut mapper), [mapped(Method::Pcp)]);
    mapper
}

const HALF: Duration = Duration::from_secs(1800);

#[test]
fn tp_42_a_mapping_is_renewed_at_half_its_life_for_the_same_port() {
    let mut mapper = holding();
    assert_eq!(mapper.poll_timeout(), Some(START + HALF));
    mapper.handle_timeout(START + HALF - Duration::from_nanos(1));
    assert_eq!(drain(&mut mapper), []);
    mapper.handle_timeout(START + HALF);
    let [request] = pcp_requests(&mut mapper)[..] else { panic!("one request") };
    assert_eq!((request.lifetime_s, request.map.external_port, request.map.external), (3600, 5050, OUTSIDE));
    hear(&mut mapper, START + HALF, &pcp(PcpResult::SUCCESS, 3600, 1900, OUTSIDE));
    assert_eq!(drain(&mut mapper), [], "nothing is new");
    assert_eq!(mapper.poll_timeout(), Some(START + HALF * 2));
}

#[test]
fn tp_42_the_mapping_is_given_back_at_the_end() {
    let mut mapper = holding();
    mapper.close(START + HALF);
    let [request] = pcp_requests(&mut mapper)[..] else { panic!("one request") };
    assert_eq!((request.lifetime_s, request.map.nonce), (0, [7; 12]));
    assert_eq!(mapper.poll_timeout(), None);
    hear(&mut mapper, START + HALF, &pcp(PcpResult::SUCCESS, 3600, 1900, OUTSIDE));
    assert_eq!(drain(&mut mapper), []);
}

#[test]
fn tp_42_silence_leads_from_pcp_to_upnp_and_then_to_a_refusal() {
    let mut mapper = mapper();
    assert_eq!(pcp_requests(&mut mapper).len(), 1);
    let mut sent = 0;
    while mapper.asks_by(Method::Pcp) {
        let now = mapper.poll_timeout().expect("it asks");
        mapper.handle_timeout(now);
        sent += drain(&mut mapper).iter().filter(|output| matches!(output, Output::Send(_))).count();
    }
    assert_eq!((sent, mapper.now - START), (2, Duration::from_millis(1750)));
    mapper.handle_input(mapper.now, Input::Upnp(UpnpAnswer::Silent));
    assert_eq!(events(&mut mapper), [Event::Refused(Refusal::Silent)]);
    assert_eq!(mapper.poll_timeout(), Some(mapper.now + RETRY));
}

#[test]
fn tp_42_a_gateway_of_nat_pmp_alone_is_asked_by_that() {
    let mut mapper = mapper();
    drain(&mut mapper);
    let result = PmpResult::UNSUPPORTED_VERSION;
    hear(&mut mapper, START, &pmp(PmpResponse::Refused { opcode: 1, result, epoch_s: 5 }));
    let asked: Vec<Vec<u8>> = (drain(&mut mapper).into_iter())
        .map(|output| if let Output::Send(bytes) = output { bytes } else { panic!("{output:?}") })
        .collect();
    let map = PmpRequest::Map { internal_port: PORT, external_port: PORT, lifetime_s: 3600 };
    let read: Vec<_> = asked.iter().map(|bytes| PmpRequest::from_bytes(bytes)).collect();
    assert_eq!(read, [Ok(PmpRequest::ExternalAddress), Ok(map)]);
    let IpAddr::V4(address) = OUTSIDE else { unreachable!() };
    let map = PmpResponse::Map { epoch_s: 6, internal_port: PORT, external_port: 5050, lifetime_s: 3600 };
    hear(&mut mapper, START, &pmp(map));
    assert_eq!(events(&mut mapper), [], "where is not known yet");
    hear(&mut mapper, START, &pmp(PmpResponse::ExternalAddress { epoch_s: 6, address }));
    assert_eq!(events(&mut mapper), [mapped(Method::NatPmp)]);
}

#[test]
fn tp_42_a_refusal_is_told_by_the_code_of_the_last_that_refused() {
    let mut mapper = mapper();
    hear(&mut mapper, START, &pcp(PcpResult::NOT_AUTHORIZED, 60, 100, OUTSIDE));
    assert!(mapper.asks_by(Method::Upnp));
    mapper.handle_input(START, Input::Upnp(UpnpAnswer::Refused(606)));
    assert_eq!(events(&mut mapper), [Event::Refused(Refusal::Upnp(606))]);
}

#[test]
fn tp_42_a_gateway_that_restarted_is_asked_anew_at_once() {
    let mut mapper = holding();
    let later = START + Duration::from_secs(600);
    let mut announce = Vec::new();
    PcpResponse::Announce { epoch_s: 700 }.encode(&mut announce);
    hear(&mut mapper, later, &announce);
    assert_eq!(drain(&mut mapper), [], "its clock went on");
    announce.clear();
    PcpResponse::Announce { epoch_s: 1 }.encode(&mut announce);
    hear(&mut mapper, later, &announce);
    assert_eq!(pcp_requests(&mut mapper).len(), 1, "its clock began anew");
}

#[test]
fn tp_42_what_is_not_from_the_gateway_or_not_for_this_mapping_changes_nothing() {
    let mut mapper = mapper();
    drain(&mut mapper);
    let bytes = pcp(PcpResult::SUCCESS, 3600, 100, OUTSIDE);
    let from = SocketAddr::from(([192, 168, 1, 66], GATEWAY_PORT));
    mapper.handle_input(START, Input::Datagram { from, bytes: &bytes });
    let mut other_nonce = bytes.clone();
    other_nonce[24] ^= 1;
    hear(&mut mapper, START, &other_nonce);
    assert_eq!(drain(&mut mapper), []);
    hear(&mut mapper, START, &bytes);
    assert_eq!(events(&mut mapper), [mapped(Method::Pcp)]);
}

#[test]
fn tp_43_a_carriers_nat_is_recognised_by_the_address_outside() {
    for outside in ["100.64.0.2", "10.1.2.3", "192.168.0.9", "172.20.0.1"] {
        let external: IpAddr = outside.parse().expect("an address");
        let mut mapper = mapper();
        hear(&mut mapper, START, &pcp(PcpResult::SUCCESS, 3600, 100, external));
        let external = SocketAddr::new(external, 5050);
        assert_eq!(events(&mut mapper), [Event::Carrier { external, method: Method::Pcp }]);
    }
}

#[test]
fn tp_43_a_carriers_nat_is_recognised_by_what_the_internet_sees() {
    let mut mapper = holding();
    mapper.handle_input(START, Input::Observed(OUTSIDE));
    mapper.handle_input(START, Input::Observed([10, 0, 0, 1].into()));
    assert_eq!(events(&mut mapper), []);
    mapper.handle_input(START, Input::Observed([62, 9, 0, 1].into()));
    let external = SocketAddr::new(OUTSIDE, 5050);
    assert_eq!(events(&mut mapper), [Event::Carrier { external, method: Method::Pcp }]);
}

#[test]
fn tp_43_only_what_the_internet_routes_is_global() {
    let is = |text: &str| is_global(text.parse().expect("an address"));
    assert!(["62.0.0.1", "100.63.255.255", "100.128.0.1", "198.20.0.1", "2a0e::1"].into_iter().all(is));
    let not = ["100.64.0.1", "100.127.255.255", "169.254.1.1", "0.1.2.3", "240.0.0.1", "fe80::1", "fd00::1"];
    assert!(!not.into_iter().any(is));
    assert!(!["::ffff:10.0.0.1", "198.19.0.1", "2001:db8::1", "::1", "224.0.0.1"].into_iter().any(is));
}

proptest! {
    // Laws 2 to 6 of a machine: any bytes, any order, any clock.
    #[test]
    fn tp_42_whatever_arrives_the_next_deadline_is_later_and_the_outbox_ends(
        steps in proptest::collection::vec((0_u64..4_000, 0_u8..6, any::<[u8; 4]>()), 1..60),
    ) {
        let mut mapper = mapper();
        let mut now = START;
        for (wait_s, what, bytes) in steps {
            now += Duration::from_secs(wait_s);
            match what {
                0 => hear(&mut mapper, now, &bytes),
                1 => hear(&mut mapper, now, &pcp(PcpResult(bytes[0] % 3), u32::from(bytes[1]), u32::from(bytes[2]), OUTSIDE)),
                2 => hear(&mut mapper, now, &pmp(PmpResponse::Map {
                    epoch_s: u32::from(bytes[0]), internal_port: PORT, external_port: 9, lifetime_s: u32::from(bytes[1]),
                })),
                3 => mapper.handle_input(now, Input::Upnp(UpnpAnswer::Refused(u16::from(bytes[0])))),
                4 => mapper.handle_input(START, Input::Observed([62, bytes[0], 0, 1].into())),
                _ => hear(&mut mapper, now, &pmp(PmpResponse::Refused {
                    opcode: 1, result: PmpResult(1 + u16::from(bytes[0] % 3)), epoch_s: 1,
                })),
            }
            mapper.handle_timeout(now);
            prop_assert!(mapper.poll_timeout().is_some_and(|at| at > now));
            prop_assert!(drain(&mut mapper).len() <= 8);
            prop_assert_eq!(mapper.poll_output(), None);
        }
    }
}
