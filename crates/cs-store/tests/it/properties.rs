//! Laws of the operation's bytes (STORE-20 to STORE-24), and the store against a model without crashes.

use crate::make::{draft, key, open, path, space};
use cs_identity::wire::DecodeError;
use cs_identity::{OpId, Signable, Signed, SignedFault, SpaceId};
use cs_store::{MAX_DEPS, MAX_SEALED, MemDisk, Operation, Refused, Staged};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Ids from few values, so that the fields which may be left out often can be.
fn id() -> impl Strategy<Value = OpId> {
    (0..5u8).prop_map(|byte| OpId::from_bytes([byte; 32]))
}

fn operations() -> impl Strategy<Value = Operation> {
    let identity = (0..5u8, vec(any::<u8>(), 0..4), any::<[u8; 16]>(), 0..3u8);
    let history = (proptest::option::of((1..u64::MAX, id())), btree_set(id(), 0..4), any::<u64>());
    let control = (id(), btree_set(id(), 0..3), any::<u64>());
    (identity, history, control, vec(any::<u8>(), 0..300)).prop_map(
        |((space, at, document, author), (previous, deps, clock), (grant, heads, epoch), sealed)| Operation {
            space: SpaceId::from_bytes([space; 32]),
            path: path(&at),
            document,
            author: key(author).node_id(),
            seq: previous.map_or(0, |(seq, _)| seq),
            backlink: previous.map(|(_, backlink)| backlink),
            deps: deps.into_iter().collect(),
            clock,
            grant,
            control_heads: heads.into_iter().collect(),
            epoch,
            sealed,
        },
    )
}

fn encoded(operation: &Operation) -> Vec<u8> {
    let mut bytes = Vec::new();
    operation.encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_encoded_decodes_to_itself(operation in operations()) {
        let bytes = encoded(&operation);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(Operation::decode(&mut rest), Ok(operation));
        prop_assert!(rest.is_empty());
    }

    /// STORE-22: one encoding a value.
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(operation in operations(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = encoded(&operation);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut rest = bytes.as_slice();
        if let Ok(decoded) = Operation::decode(&mut rest) {
            prop_assert_eq!(encoded(&decoded), &bytes[..bytes.len() - rest.len()]);
        }
    }

    #[test]
    fn every_strict_prefix_is_truncated(operation in operations(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&operation);
        prop_assert_eq!(Operation::decode(&mut &bytes[..at.index(bytes.len())]), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_byte_too_many_is_refused(operation in operations(), byte: u8) {
        let author = (0..3).map(key).find(|key| key.node_id() == operation.author).unwrap();
        let mut bytes = operation.sign(&author).unwrap().bytes().to_vec();
        bytes.push(byte);
        let fault = Signed::<Operation>::from_bytes(&bytes).unwrap_err();
        prop_assert_eq!(fault, SignedFault::Malformed(DecodeError::TrailingBytes));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        let mut with_version = vec![1, bytes.first().copied().unwrap_or(0) & 31];
        with_version.extend_from_slice(&bytes);
        for bytes in [&bytes, &with_version] {
            if let Ok(operation) = Operation::decode(&mut bytes.as_slice()) {
                prop_assert!(bytes.starts_with(&encoded(&operation)));
            }
        }
    }

    /// STORE-23.
    #[test]
    fn the_aad_is_what_is_signed_before_the_ciphertext(operation in operations()) {
        let aad = operation.aad();
        let bytes = encoded(&operation);
        prop_assert!(bytes.starts_with(&aad));
        prop_assert!(bytes.ends_with(&operation.sealed));
        let other = Operation { sealed: vec![1; 400], ..operation };
        prop_assert_eq!(other.aad(), aad);
    }

    #[test]
    fn reads_agree_with_a_model_at_every_step(script in vec((0..8u8, 0..24usize), 1..60)) {
        let pool: Vec<_> = (0..24u8).map(|number| {
            draft(1 + number % 2, &[number % 3, number % 2], [number % 4; 16], u64::from(number / 2)).sign(&key(1)).unwrap()
        }).collect();
        let (mut store, _) = open(&MemDisk::new());
        let (mut staged, mut committed) = (BTreeMap::new(), BTreeMap::new());
        for (verb, number) in script {
            match verb {
                0..4 => {
                    let new = staged.insert(pool[number].id(), number).is_none();
                    let expected = if new { Staged::New } else { Staged::Duplicate };
                    prop_assert_eq!(store.stage_operation(&pool[number]), Ok(expected));
                }
                4 => { store.commit().unwrap(); committed = staged.clone(); }
                5 => { store.checkpoint().unwrap(); committed = staged.clone(); }
                6 => { store.discard().unwrap(); staged = committed.clone(); }
                _ => {}
            }
            for number in 1..=2u8 {
                let mut expected: Vec<_> = staged.values().map(|at| &pool[*at]).filter(|it| it.space == space(number)).collect();
                expected.sort_by_key(|it| (it.path.clone(), it.document, it.clock, it.id()));
                let found: Vec<_> = store.operations(&space(number)).unwrap().map(Result::unwrap).collect();
                prop_assert_eq!(found, expected.iter().map(|it| it.id()).collect::<Vec<_>>());
                for document in 0..4u8 {
                    let mut expected: Vec<_> = expected.iter().filter(|it| it.document == [document; 16]).collect();
                    expected.sort_by_key(|it| (it.clock, it.id()));
                    let found = store.document_operations(&space(number), &[document; 16]).unwrap();
                    let found: Vec<_> = found.map(Result::unwrap).collect();
                    prop_assert_eq!(found, expected.iter().map(|it| (it.id(), it.bytes().to_vec())).collect::<Vec<_>>());
                }
            }
        }
    }
}

/// STORE-21, STORE-24.
#[test]
fn an_operation_that_breaks_a_bound_is_not_signed() {
    let sound = draft(1, &[1], [1; 16], 1);
    let ids: Vec<_> = (0..=MAX_DEPS as u8).map(|byte| OpId::from_bytes([byte; 32])).collect();
    let broken = [
        Operation { sealed: vec![0; MAX_SEALED + 1], ..sound.clone() },
        Operation { deps: ids.clone(), ..sound.clone() },
        Operation { control_heads: ids.clone(), ..sound.clone() },
        Operation { seq: 1, ..sound.clone() },
        Operation { backlink: Some(ids[0]), ..sound.clone() },
        Operation { author: key(2).node_id(), ..sound.clone() },
    ];
    for operation in broken {
        assert_eq!(operation.sign(&key(1)).err(), Some(Refused::BadOperation), "{operation:?}");
    }
    let largest = Operation { sealed: vec![0; MAX_SEALED], deps: ids[1..].to_vec(), ..sound };
    let signed = largest.sign(&key(1)).unwrap();
    assert_eq!(Signed::<Operation>::from_bytes(signed.bytes()), Ok(signed));
}

/// STORE-20.
#[test]
fn an_operation_costs_what_the_protocol_says() {
    let first = draft(1, &[1], [1; 16], 1).sign(&key(1)).unwrap();
    let next =
        Operation { seq: 1, backlink: Some(first.id()), deps: vec![first.id()], ..first.value().clone() };
    let member = Operation { grant: OpId::from_bytes([9; 32]), ..next.clone() };
    let overhead =
        |operation: &Operation| operation.sign(&key(1)).unwrap().bytes().len() - operation.sealed.len();
    assert_eq!(overhead(&first), 175);
    assert_eq!(overhead(&next), 206);
    assert_eq!(overhead(&member), 238);
}

#[test]
fn an_operation_whose_signature_does_not_hold_is_refused() {
    let signed = draft(1, &[1], [1; 16], 1).sign(&key(1)).unwrap();
    for byte in 0..signed.bytes().len() {
        let mut bytes = signed.bytes().to_vec();
        bytes[byte] ^= 1;
        assert!(Signed::<Operation>::from_bytes(&bytes).is_err(), "byte {byte}");
    }
}
