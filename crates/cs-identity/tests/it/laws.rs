//! The four laws of every encoding (ID-9 to ID-11).

use cs_identity::control::{Action, DataFrontier, Frontier, MAX_STATEMENT_BYTES, Mark, Statement};
use cs_identity::wire::{self, DecodeError};
use cs_identity::{Area, BlindPath, NodeId, OpId, Rights, Signable, Signature, Signed, Tag, Unverified};
use proptest::prelude::*;

use crate::world::{World, key};

fn node() -> impl Strategy<Value = NodeId> {
    (0..40_u8).prop_map(|n| key(n).node_id())
}

fn op_id() -> impl Strategy<Value = OpId> {
    any::<[u8; 32]>().prop_map(OpId::from_bytes)
}

fn blind_path() -> impl Strategy<Value = BlindPath> {
    prop::collection::vec(any::<[u8; 16]>().prop_map(Tag::from_bytes), 0..4)
        .prop_map(|t| BlindPath::new(t).unwrap())
}

fn area() -> impl Strategy<Value = Area> {
    (blind_path(), 0..1_u64 << 47, prop_oneof![Just(u64::MAX), (1_u64 << 47)..=1 << 48])
        .prop_map(|(prefix, from, until)| Area::new(prefix, from, until).unwrap())
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<u64>(), op_id()).prop_map(|(seq, id)| Mark { seq, id })
}

fn frontier() -> impl Strategy<Value = Frontier> {
    let listed = prop::collection::btree_map(any::<[u8; 16]>(), mark(), 0..4)
        .prop_map(|documents| DataFrontier::Listed(documents.into_iter().collect()));
    let data = prop_oneof![listed, (0..=1_u64 << 48).prop_map(DataFrontier::ClaimedBefore)];
    (prop::option::of(mark()), data).prop_map(|(control, data)| Frontier { control, data })
}

fn action() -> impl Strategy<Value = Action> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        (prop::option::of(op_id()), node(), area(), 1..16_u8, any::<u8>()).prop_map(
            |(parent, holder, area, rights, depth)| {
                Action::Grant { parent, holder, area, rights: Rights::from_bits(rights).unwrap(), depth }
            }
        ),
        (op_id(), prop::collection::btree_map(node(), frontier(), 0..3), any::<bool>()).prop_map(
            |(grant, frontier, cascade)| Action::Cut {
                grant,
                frontier: frontier.into_iter().collect(),
                cascade
            }
        ),
        op_id().prop_map(|operation| Action::Endorse { operation }),
        (blind_path(), bytes()).prop_map(|(prefix, body)| Action::Policy { prefix, body }),
        (any::<u64>(), any::<[u8; 32]>(), prop::collection::btree_map(node(), bytes(), 0..3)).prop_map(
            |(number, root_commitment, boxes)| {
                Action::Epoch { number, root_commitment, boxes: boxes.into_iter().collect() }
            }
        ),
        (prop::collection::btree_set(node(), 1..5), any::<u8>()).prop_map(|(guardians, n)| {
            let threshold = 1 + n % guardians.len() as u8;
            Action::Guardians { threshold, guardians: guardians.into_iter().collect() }
        }),
        (op_id(), node(), prop::collection::btree_map(node(), any::<[u8; 32]>(), 0..4)).prop_map(
            |(guardians, holder, cosigned)| {
                let signature =
                    |half: [u8; 32]| Signature::from_bytes([half; 2].concat().try_into().unwrap());
                let cosigned = cosigned.into_iter().map(|(who, half)| (who, signature(half))).collect();
                Action::Recover { guardians, holder, cosigned }
            }
        ),
        (128..=255_u8, bytes()).prop_map(|(kind, body)| Action::Extension { kind, body }),
    ]
}

/// A statement after the first: any signer, number and heads.
fn statement() -> impl Strategy<Value = Signed<Statement>> {
    let world = World::new(1);
    let template =
        world.devices[0].graph.next_draft(world.id(0), Action::Endorse { operation: world.genesis() }, 0);
    (action(), 0..1_u64 << 48, 1..1_u64 << 48, prop::collection::btree_set(op_id(), 0..4), 0..40_u8).prop_map(
        move |(action, unix_ms, seq, heads, author)| {
            let mut draft = template.clone();
            (draft.action, draft.unix_ms, draft.seq) = (action, unix_ms, seq);
            draft.heads = heads.into_iter().collect();
            Statement::sign(&key(author), draft).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn statements_have_one_encoding_and_no_strict_prefix(statement in statement(), extra in any::<u8>()) {
        let mut bytes = Vec::new();
        statement.value().encode(&mut bytes);
        prop_assert_eq!(&bytes[..], &statement.bytes()[..statement.bytes().len() - 64]);
        prop_assert_eq!(&wire::whole(&bytes, Statement::decode).unwrap(), statement.value());
        for end in 0..bytes.len() {
            prop_assert_eq!(wire::whole(&bytes[..end], Statement::decode), Err(DecodeError::Truncated));
        }
        bytes.push(extra);
        prop_assert_eq!(wire::whole(&bytes, Statement::decode), Err(DecodeError::TrailingBytes));

        let mut signed = statement.bytes().to_vec();
        for end in 0..signed.len() {
            prop_assert_eq!(Unverified::<Statement>::from_bytes(&signed[..end]), Err(DecodeError::Truncated));
        }
        signed.push(extra);
        prop_assert_eq!(Unverified::<Statement>::from_bytes(&signed), Err(DecodeError::TrailingBytes));
    }

    /// Bytes that were meant well and went wrong: whatever still decodes is the one encoding of what it says.
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(statement in statement(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = Vec::new();
        statement.value().encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(decoded) = wire::whole(&bytes, Statement::decode) {
            let mut again = Vec::new();
            decoded.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn numbers_areas_and_paths_keep_the_laws(
        number in any::<u64>(),
        area in area(),
        noise in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        wire::put_varint(&mut bytes, number);
        prop_assert_eq!(wire::whole(&bytes, wire::take_varint), Ok(number));
        let mut bytes = Vec::new();
        area.encode(&mut bytes);
        prop_assert_eq!(&wire::whole(&bytes, Area::decode).unwrap(), &area);
        for end in 0..bytes.len() {
            prop_assert_eq!(wire::whole(&bytes[..end], Area::decode), Err(DecodeError::Truncated));
        }
        if let Ok(number) = wire::whole(&noise, wire::take_varint) {
            let mut again = Vec::new();
            wire::put_varint(&mut again, number);
            prop_assert_eq!(again, noise);
        }
    }
}

/// ID-9: a count that the bytes cannot hold is refused before anything is allocated for it.
#[test]
fn counts_are_held_against_the_bytes_that_are_left() {
    let mut bytes = Vec::new();
    wire::put_varint(&mut bytes, 1000);
    assert_eq!(wire::take_count(&mut &bytes[..], 999, 1), Err(DecodeError::TooLong));
    assert_eq!(wire::take_count(&mut &bytes[..], 1000, 1), Err(DecodeError::Truncated));
    assert_eq!(wire::take_varint(&mut &[0x80, 0][..]), Err(DecodeError::NotCanonical));
    assert_eq!(wire::take_varint(&mut &[0xff; 10][..]), Err(DecodeError::OutOfRange));
    let huge = vec![0; MAX_STATEMENT_BYTES + 65];
    assert_eq!(Unverified::<Statement>::from_bytes(&huge), Err(DecodeError::TooLong));
}

/// ID-10: the backlink is a head already and is not named twice; a first statement names what it saw.
#[test]
fn heads_that_name_the_backlink_or_nothing_are_refused() {
    let world = World::new(2);
    let extension = || Action::Extension { kind: 128, body: vec![] };
    let mut twice = world.devices[0].graph.next_draft(world.id(0), extension(), 1);
    twice.heads = vec![world.genesis()];
    assert_eq!(twice.backlink, Some(world.genesis()));
    assert_eq!(Statement::sign(&key(0), twice).unwrap_err().0, DecodeError::NotCanonical);
    let mut blind = world.devices[1].graph.next_draft(world.id(1), extension(), 1);
    blind.heads = vec![];
    assert_eq!(Statement::sign(&key(1), blind).unwrap_err().0, DecodeError::OutOfRange);
}

/// ID-9: lists out of order or with repeats, empty rights, ranges that are none.
#[test]
fn second_encodings_and_empty_values_are_refused() {
    let world = World::new(1);
    let sign = |action| {
        Statement::sign(&key(0), world.devices[0].graph.next_draft(world.id(0), action, 1)).map_err(|e| e.0)
    };
    let boxes = vec![(world.id(0), vec![1]), (world.id(0), vec![2])];
    assert_eq!(
        sign(Action::Epoch { number: 0, root_commitment: [0; 32], boxes }),
        Err(DecodeError::NotCanonical)
    );
    let frontier = vec![(world.id(0), Frontier::nothing()), (world.id(0), Frontier::nothing())];
    assert_eq!(
        sign(Action::Cut { grant: world.genesis(), frontier, cascade: false }),
        Err(DecodeError::NotCanonical)
    );
    let grant = |rights| Action::Grant {
        parent: None,
        holder: world.id(0),
        area: Area::everything(),
        rights,
        depth: 0,
    };
    assert_eq!(sign(grant(Rights::NONE)), Err(DecodeError::OutOfRange));
    assert_eq!(
        sign(Action::Genesis { nonce: [0; 16] }),
        Err(DecodeError::OutOfRange),
        "a genesis founds, it does not follow"
    );
    assert!(Area::new(BlindPath::root(), 5, 5).is_err());
    assert!(Area::new(BlindPath::root(), 0, (1 << 48) + 1).is_err());
    assert!(BlindPath::new(vec![Tag::from_bytes([0; 16]); 256]).is_err());
    assert_eq!(Rights::from_bits(16), None);
}
