//! Nothing that passes between two nodes shows what they sync.

use std::fs;

use cs_node::api::{Access, Request};
use cs_node::ticket::Ticket;
use cs_tests::real::{fill, until};

use crate::lab::{LIMIT, Lab, arrives, become_equal};
use crate::proxy::Proxy;

const NAMES: [&str; 4] =
    ["canary-of-a-space", "canary-of-a-directory", "canary-of-a-file.txt", "canary-of-a-document"];
const CONTENT: &str = "canary of content, as it lies in the file and in the document. ";

/// Whether any of the datagrams holds the text.
fn show(datagrams: &[Vec<u8>], text: &str) -> bool {
    datagrams.iter().any(|datagram| datagram.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn a_capture_of_a_session_shows_no_name_and_no_content() {
    const BULK: u64 = 1 << 20;
    let lab = Lab::new();
    let (from, to) = (lab.folder(NAMES[0], &[]), lab.folder("to", &[]));
    fs::create_dir(from.join(NAMES[1])).unwrap();
    fs::write(from.join(NAMES[1]).join(NAMES[2]), CONTENT.repeat(500)).unwrap();
    fill(&from.join("bulk.bin"), BULK, 3).unwrap();
    let (sharer, joiner) = (lab.setup("a").up().unwrap(), lab.setup("b").up().unwrap());
    let invited = sharer.share(&from, Access::Write).unwrap();
    assert_eq!(invited.name, NAMES[0]);
    let mut ticket: Ticket = invited.invitation.parse().unwrap();
    let proxy = Proxy::start(ticket.addrs[0]).unwrap();
    ticket.addrs = vec![proxy.address()];
    joiner.join(&ticket.to_string(), &to).unwrap();
    become_equal(&from, &to);
    fs::write(to.join(NAMES[2]), CONTENT).unwrap();
    arrives(&from.join(NAMES[2]), CONTENT);
    let put = Request::Put { space: None, path: NAMES[3].into(), value: CONTENT.into() };
    joiner.ask(&put).unwrap();
    let get = Request::Get { space: None, path: NAMES[3].into() };
    assert!(until(LIMIT, || sharer.ask(&get).ok()).is_some(), "the document arrives");

    let captured = proxy.captured();
    let bytes: usize = captured.iter().map(Vec::len).sum();
    assert!(bytes as u64 > BULK, "the session went another way: {bytes} bytes captured");
    for text in NAMES.iter().chain([&&CONTENT[..16], &invited.space.as_str(), &invited.code.as_str()]) {
        assert!(!show(&captured, text), "`{text}` passed in the clear");
    }
}

#[test]
fn a_text_in_any_datagram_is_seen() {
    let captured = vec![vec![0; 100], format!("\u{1}{CONTENT}").into_bytes(), vec![]];
    assert!(show(&captured, &CONTENT[..16]));
    assert!(!show(&captured, NAMES[0]));
}
