//! Chains of grants shown to strangers: what they weigh, what they prove, and what passes for none.

use cs_identity::control::{
    Action, Chain, ChainFault, CredentialFault, Draft, Presentation, Statement, StatementFault,
};
use cs_identity::wire::DecodeError;
use cs_identity::{Area, OpId, Rights, Signed};
use proptest::prelude::*;

use crate::world::{World, key, path};

const CHALLENGE: [u8; 32] = [9; 32];

/// 0 gives to 1, 1 to 2, and so on: `links` grants, each a component deeper.
fn world(links: u8) -> (World, Vec<OpId>) {
    let mut world = World::new(links + 1);
    let mut grants: Vec<OpId> = vec![];
    for n in 0..links {
        let prefix: Vec<u8> = (0..=n).collect();
        let (from, to) = (usize::from(n), usize::from(n) + 1);
        let given = world.grant(from, grants.last().copied(), to, &prefix, Rights::ALL, links - n).unwrap();
        grants.push(given);
        world.sync(from, to);
    }
    (world, grants)
}

fn chain_of(world: &World, holder: usize) -> Chain {
    let graph = &world.devices.last().unwrap().graph;
    Chain::new(graph.credentials(&world.id(holder))).unwrap()
}

fn bytes_of(chain: &Chain, genesis: bool) -> Vec<u8> {
    let mut bytes = vec![];
    chain.encode(genesis, &mut bytes);
    bytes
}

/// ID-28: a link is 117 bytes, one component deeper than its parent; the genesis 114 and more for later times.
#[test]
fn a_chain_leaves_out_what_follows_from_its_order() {
    let (world, _) = world(8);
    let sizes: Vec<usize> = (1..=8).map(|n| bytes_of(&chain_of(&world, n), false).len()).collect();
    let links: Vec<usize> = sizes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let full: usize = world.statements[1..].iter().map(|statement| statement.bytes().len()).sum();
    println!("chains of 1 to 8 links: {sizes:?} bytes, statements in full {full}");
    // Version, count and flag, then a link with its sequence number and the time since the genesis.
    assert_eq!(sizes[0], 3 + 119);
    assert_eq!(links, [117; 7]);
    assert_eq!(
        bytes_of(&chain_of(&world, 1), true).len() - sizes[0],
        114,
        "key, time of two bytes, nonce, signature"
    );
    for holder in 0..=8 {
        let chain = chain_of(&world, holder);
        let genesis = &world.statements[0];
        let shared = bytes_of(&chain, false);
        assert_eq!(Chain::from_bytes(&shared, Some(genesis)), Ok(chain.clone()));
        assert_eq!(Chain::from_bytes(&shared, None), Err(ChainFault::UnknownGenesis));
        assert_eq!(Chain::from_bytes(&bytes_of(&chain, true), None), Ok(chain));
    }
}

/// ID-28: every bit counts; a chain for one space is none for another.
#[test]
fn a_chain_with_any_bit_flipped_is_refused() {
    let (world, _) = world(3);
    let chain = chain_of(&world, 3);
    let bytes = bytes_of(&chain, true);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Chain::from_bytes(&bytes, Some(&world.statements[0])).is_err(), "bit {bit}");
    }
    for end in 0..bytes.len() {
        let cut = Chain::from_bytes(&bytes[..end], None);
        assert_eq!(cut, Err(ChainFault::Malformed(DecodeError::Truncated)), "{end}");
    }
    let other = Statement::sign(&key(0), Draft::genesis([8; 16], 1000)).unwrap();
    assert_eq!(Chain::from_bytes(&bytes_of(&chain, false), Some(&other)), Err(ChainFault::BadSignature));
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(Chain::from_bytes(&longer, None), Err(ChainFault::Malformed(DecodeError::TrailingBytes)));
}

/// ID-28: what can be left out must be: the same chain, with its parent by number where it is the link before, is refused.
#[test]
fn a_chain_has_no_second_encoding() {
    let (world, _) = world(2);
    let genesis = &world.statements[0];
    let second = bytes_of(&chain_of(&world, 1), false).len();
    let mut bytes = bytes_of(&chain_of(&world, 2), false);
    assert_eq!(bytes[second] & 3, 1, "the link before");
    bytes[second] += 1;
    bytes.insert(second + 1, 1);
    let refused = Chain::from_bytes(&bytes, Some(genesis));
    assert_eq!(refused, Err(ChainFault::Malformed(DecodeError::NotCanonical)));
}

/// ID-29: shown to who asked, by who holds it, for this question.
#[test]
fn a_chain_is_worth_nothing_without_its_key() {
    let (world, _) = world(2);
    let (chain, verifier) = (chain_of(&world, 2), key(50).node_id());
    let shown = Presentation::sign(&key(2), &verifier, &CHALLENGE, chain.clone()).unwrap();
    assert_eq!(Presentation::sign(&key(1), &verifier, &CHALLENGE, chain), Err(CredentialFault::NotHolder));
    let mut bytes = vec![];
    shown.encode(true, &mut bytes);
    let check = |bytes: &[u8], verifier, challenge: &[u8; 32]| {
        Presentation::from_bytes(bytes, None, &verifier, challenge)
    };
    let taken = check(&bytes, verifier, &CHALLENGE).unwrap();
    assert_eq!(taken, shown);
    assert_eq!(taken.rights(&path(&[0, 1, 7]), 3000), Ok(Rights::ALL));
    assert_eq!(taken.rights(&path(&[0]), 3000), Ok(Rights::NONE));
    assert_eq!(check(&bytes, key(51).node_id(), &CHALLENGE), Err(ChainFault::BadSignature), "passed on");
    assert_eq!(check(&bytes, verifier, &[8; 32]), Err(ChainFault::BadSignature), "replayed");
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&bytes, verifier, &CHALLENGE).is_err(), "bit {bit}");
    }
}

/// ID-17: neither ahead of its time nor past it.
#[test]
fn a_chain_from_the_future_or_past_its_end_gives_nothing() {
    let mut world = World::new(2);
    let holder = world.id(1);
    let area = Area::new(path(&[1]), 0, 5000).unwrap();
    let grant = Action::Grant { parent: None, holder, area, rights: Rights::READ, depth: 0 };
    world.say(0, 4000, grant).unwrap();
    world.sync(0, 1);
    let chain = chain_of(&world, 1);
    assert_eq!(chain.rights(&path(&[1]), 4999), Ok(Rights::READ));
    assert_eq!(chain.rights(&path(&[1]), 5000), Ok(Rights::NONE), "over");
    let minutes = 60 * 1000;
    let mut late = World::new(2);
    let (holder, area) = (late.id(1), Area::everything());
    let grant = Action::Grant { parent: None, holder, area, rights: Rights::READ, depth: 0 };
    late.say(0, 10 * minutes, grant).unwrap();
    late.sync(0, 1);
    let chain = chain_of(&late, 1);
    assert_eq!(chain.rights(&path(&[1]), 5 * minutes), Ok(Rights::READ), "clocks differ");
    assert_eq!(chain.rights(&path(&[1]), 5 * minutes - 1), Err(CredentialFault::FromTheFuture));
}

/// Builds a chain of what nobody would accept into a graph, by signing what the drafts do not check.
fn forged(grants: &[(u8, Action, u64)]) -> Result<Chain, ChainFault> {
    let genesis = Statement::sign(&key(0), Draft::genesis([7; 16], 1000)).unwrap();
    let mut statements = vec![genesis.clone()];
    for (author, action, unix_ms) in grants {
        let mut action = action.clone();
        if let Action::Grant { parent: Some(parent), .. } = &mut action
            && *parent == OpId::of(b"last")
        {
            *parent = statements.last().unwrap().id();
        }
        let draft = Draft {
            space: Some(genesis.space()),
            seq: 0,
            backlink: None,
            heads: vec![genesis.id()],
            unix_ms: *unix_ms,
            action,
        };
        statements.push(Statement::sign(&key(*author), draft).unwrap());
    }
    Chain::new(statements)
}

fn grant(parent: bool, to: u8, at: &[u8], time: (u64, u64), rights: Rights, depth: u8) -> Action {
    Action::Grant {
        parent: parent.then(|| OpId::of(b"last")),
        holder: key(to).node_id(),
        area: Area::new(path(at), time.0, time.1).unwrap(),
        rights,
        depth,
    }
}

/// ID-12, ID-28: the refusals of biscuit's samples and UCAN's fixtures, in this crate's terms. The samples are read for their
/// titles, so that a new one is noticed.
#[test]
fn the_negative_cases_of_biscuit_and_ucan_are_refused_here() {
    let all = (0, u64::MAX);
    let first = || (0, grant(false, 1, &[1], (0, 9000), Rights::ALL, 3), 2000);
    let link = |fault| Err(ChainFault::Broken(CredentialFault::BrokenLink(fault)));
    let cases = [
        (
            "biscuit: different root key; UCAN: subject not root",
            vec![(5, grant(false, 1, &[1], all, Rights::ALL, 3), 2000)],
            StatementFault::NoAuthority,
        ),
        (
            "UCAN: proof principal alignment",
            vec![first(), (4, grant(true, 2, &[1], (0, 9000), Rights::READ, 0), 2000)],
            StatementFault::NotHolder,
        ),
        (
            "UCAN: missing proof; biscuit: reordered blocks",
            vec![(1, grant(true, 2, &[1], all, Rights::READ, 0), 2000)],
            StatementFault::NoSuchGrant,
        ),
        (
            "UCAN: command is not a subset",
            vec![first(), (1, grant(true, 2, &[2], (0, 9000), Rights::READ, 0), 2000)],
            StatementFault::Widens,
        ),
        (
            "biscuit: scoped rules add rights",
            vec![
                (0, grant(false, 1, &[1], (0, 9000), Rights::READ, 3), 2000),
                (1, grant(true, 2, &[1], (0, 9000), Rights::WRITE, 0), 2000),
            ],
            StatementFault::Widens,
        ),
        (
            "biscuit: sealed token grows",
            vec![
                (0, grant(false, 1, &[1], (0, 9000), Rights::READ, 0), 2000),
                (1, grant(true, 2, &[1], (0, 9000), Rights::READ, 0), 2000),
            ],
            StatementFault::Widens,
        ),
        (
            "UCAN: expired proof",
            vec![first(), (1, grant(true, 2, &[1], (0, 9000), Rights::READ, 0), 9000)],
            StatementFault::OutsideTime,
        ),
        (
            "biscuit: expired token, given past its end",
            vec![first(), (1, grant(true, 2, &[1], (0, 9001), Rights::READ, 0), 2000)],
            StatementFault::Widens,
        ),
        (
            "UCAN: inactive proof",
            vec![
                (0, grant(false, 1, &[1], (5000, 9000), Rights::ALL, 3), 2000),
                (1, grant(true, 2, &[1], (5000, 9000), Rights::READ, 0), 2000),
            ],
            StatementFault::OutsideTime,
        ),
    ];
    for (title, grants, fault) in cases {
        assert_eq!(forged(&grants), link(fault), "{title}");
    }
    assert!(
        forged(&[first(), (1, grant(true, 2, &[1], (0, 9000), Rights::READ, 0), 2000)]).is_ok(),
        "the same, well made"
    );
    assert_eq!(
        forged(&[]).unwrap().rights(&path(&[]), 2000),
        Ok(Rights::ALL),
        "UCAN: no proof but the root's own"
    );
}

/// ID-28: what the published samples hold besides is this crate's to decide otherwise; none of their tokens is a chain here.
#[test]
fn tokens_of_others_are_no_chains() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/capability");
    let Ok(text) = std::fs::read(format!("{folder}/ucan-1.0.0-invocation.json")) else {
        println!("no vectors of capabilities here");
        return;
    };
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut tokens = vec![];
    collect(&file, &mut tokens);
    assert!(tokens.len() > 20);
    for token in &tokens {
        assert!(Chain::from_bytes(token, None).is_err());
        assert!(Signed::<Statement>::from_bytes(token).is_err());
    }
    let names: Vec<&str> =
        file["invalid"].as_array().unwrap().iter().filter_map(|case| case["name"].as_str()).collect();
    println!("UCAN refuses: {names:?}");
    for name in ["no proof", "missing proof", "expired proof", "inactive proof", "proof principal alignment"]
    {
        assert!(names.contains(&name), "{name}");
    }
}

/// Every byte string of a file in UCAN's JSON, without padding.
fn collect(value: &serde_json::Value, tokens: &mut Vec<Vec<u8>>) {
    match value {
        serde_json::Value::Object(object) => {
            if let Some(text) = object.get("bytes").and_then(|bytes| bytes.as_str()) {
                tokens.push(base64(text));
            }
            object.values().for_each(|value| collect(value, tokens));
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| collect(value, tokens)),
        _ => {}
    }
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<usize> = text.bytes().filter_map(|c| alphabet.iter().position(|a| *a == c)).collect();
    digits
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
            [bits >> 16, bits >> 8, bits].map(|byte| byte as u8).into_iter().take(four.len() - 1)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// ID-28: whatever graph the grants come from, a chain of them comes back, in one encoding.
    #[test]
    fn chains_from_any_graph_have_one_encoding(
        script in prop::collection::vec((0..4_usize, 0..4_usize, any::<u8>(), any::<u8>()), 1..24),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut world = World::new(4);
        for (turn, (from, holder, a, b)) in script.into_iter().enumerate() {
            let own: Vec<_> = world.devices[from].graph.grants_of(&world.id(from));
            let (parent, mut prefix) = match own.get(usize::from(a) % own.len().max(1)) {
                Some((id, holding)) if from > 0 => (Some(*id), holding.area.prefix().clone()),
                _ => (None, path(&[])),
            };
            if b % 3 == 0 {
                prefix = prefix.child(crate::world::tag(b % 5)).unwrap();
            }
            let until = if b % 4 == 0 { 100_000 + u64::from(a) } else { u64::MAX };
            let area = Area::new(prefix, 0, until).unwrap();
            let (holder, depth) = (world.id(holder), 20_u8.saturating_sub(turn as u8));
            let _ = world.say(from, 2000 + 100 * turn as u64, Action::Grant { parent, holder, area, rights: Rights::ALL, depth });
            if a % 2 == 0 {
                world.sync(from, usize::from(b % 4));
            }
        }
        world.sync_all();
        let graph = &world.devices[0].graph;
        for (holder, _) in graph.members() {
            let chain = Chain::new(graph.credentials(&holder)).unwrap();
            for carry in [false, true] {
                let bytes = bytes_of(&chain, carry);
                prop_assert_eq!(Chain::from_bytes(&bytes, Some(&world.statements[0])), Ok(chain.clone()));
                let mut changed = bytes.clone();
                let place = at.index(bytes.len());
                changed[place] = to;
                prop_assert!(changed == bytes || Chain::from_bytes(&changed, Some(&world.statements[0])).is_err());
            }
        }
    }
}
