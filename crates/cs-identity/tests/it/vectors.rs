//! Keys, IDs and signed values: known answers, and what must be refused.

use cs_identity::control::{Action, Draft, Statement};
use cs_identity::wire::DecodeError;
use cs_identity::{
    Claim, Domain, IdError, NodeId, OpId, SecretKey, Signed, SignedFault, SpaceId, Unverified, verify_batch,
};
use curve25519_dalek::montgomery::MontgomeryPoint;

use crate::world::{World, key};
use cs_identity::Rights;

const DOMAIN: Domain = Domain::new("cs-identity test v1");
const OTHER: Domain = Domain::new("cs-identity test v2");

/// ID-5: one key serves signing and key agreement.
#[test]
fn the_montgomery_keys_of_one_device_belong_together() {
    for seed in 0..8 {
        let (a, b) = (SecretKey::from_bytes([seed; 32]), SecretKey::from_bytes([seed + 100; 32]));
        let agree = |secret: &SecretKey, public: &NodeId| {
            MontgomeryPoint(public.to_x25519()).mul_clamped(*secret.to_x25519())
        };
        assert_eq!(agree(&a, &b.node_id()), agree(&b, &a.node_id()));
        assert_eq!(MontgomeryPoint::mul_base_clamped(*a.to_x25519()).to_bytes(), a.node_id().to_x25519());
    }
}

/// ID-1, ID-2: the first key of RFC 8032 (section 7.1), in this crate's spelling; other versions must spell it so too.
#[test]
fn the_text_and_the_position_of_an_id_never_change() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let seed: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&seed[2 * i..2 * i + 2], 16).unwrap()).collect();
    let id = SecretKey::from_bytes(seed.try_into().unwrap()).node_id();
    assert_eq!(id.to_string(), "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena");
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(id.dht_position()[..4], [41, 103, 14, 199]);
}

/// ID-1: one spelling per ID.
#[test]
fn ids_are_parsed_strictly() {
    let id = key(4).node_id();
    let text = id.to_string();
    assert_eq!(text.len(), 52);
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text.to_uppercase().parse::<NodeId>(), Err(IdError::Alphabet));
    assert_eq!(text[..51].parse::<NodeId>(), Err(IdError::Length));
    assert_eq!(format!("{text}a").parse::<NodeId>(), Err(IdError::Length));
    assert_eq!(format!("{}1", &text[..51]).parse::<NodeId>(), Err(IdError::Alphabet));
    let space = SpaceId::from_bytes([0; 32]);
    assert_eq!(space.to_string(), "a".repeat(52));
    assert_eq!(format!("{}b", "a".repeat(51)).parse::<SpaceId>(), Err(IdError::NotCanonical), "a stray bit");
    let op = OpId::of(b"x");
    assert_eq!(op.to_string().parse(), Ok(op));
    assert_eq!(op.short().to_string(), op.to_string()[..12]);
}

#[test]
fn a_secret_key_never_shows_its_secret() {
    let shown = format!("{:?}", key(9));
    assert_eq!(shown, format!("SecretKey({:?})", key(9).node_id()));
}

/// ID-3, ID-4: a signature holds in its domain only, alone and in company.
#[test]
fn signatures_of_a_domain_hold_alone_and_in_a_batch() {
    let keys: Vec<SecretKey> = (0..9).map(|seed| SecretKey::from_bytes([seed; 32])).collect();
    let messages: Vec<Vec<u8>> = (0..9_u8).map(|n| vec![n; usize::from(n)]).collect();
    let claim = |(key, message): (&SecretKey, &'static [u8])| Claim {
        signer: key.node_id(),
        domain: DOMAIN,
        message,
        signature: key.sign(DOMAIN, message),
    };
    let leaked: Vec<&'static [u8]> = messages.into_iter().map(|message| &*message.leak()).collect();
    let mut claims: Vec<Claim<'_>> = keys.iter().zip(leaked.iter().copied()).map(claim).collect();
    assert!(verify_batch(&claims).is_ok());
    assert!(verify_batch(&[]).is_ok());
    assert!(claims[3].signer.verify(OTHER, claims[3].message, &claims[3].signature).is_err());
    claims[7].domain = OTHER;
    assert!(verify_batch(&claims).is_err());
    claims.remove(7);
    assert!(verify_batch(&claims).is_ok());
    let swapped = claims[2].signature;
    claims[2].signature = claims[3].signature;
    claims[3].signature = swapped;
    assert!(verify_batch(&claims).is_err());
}

/// ID-3: moving a byte between domain and message makes another message.
#[test]
fn a_domain_and_its_message_do_not_run_together() {
    const SHORT: Domain = Domain::new("cs-identity test");
    let signature = key(1).sign(DOMAIN, b"abc");
    assert!(key(1).node_id().verify(DOMAIN, b"abc", &signature).is_ok());
    assert!(key(1).node_id().verify(SHORT, b" v1abc", &signature).is_err());
}

/// ID-6: every bit of a signed statement is under the signature.
#[test]
fn a_statement_with_any_bit_flipped_is_refused() {
    let mut world = World::new(3);
    let parent = world.grant(0, None, 1, &[1], Rights::ALL, 3).unwrap();
    world.sync(0, 1);
    world.grant(1, Some(parent), 2, &[1, 2], Rights::WRITE, 0).unwrap();
    for statement in &world.statements {
        assert_eq!(Signed::from_bytes(statement.bytes()).as_ref(), Ok(statement));
        for bit in 0..statement.bytes().len() * 8 {
            let mut bytes = statement.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Signed::<Statement>::from_bytes(&bytes).is_err(), "bit {bit}");
        }
    }
}

/// ID-6: one bad signature in a batch is found, and only that one.
#[test]
fn a_bad_signature_among_good_ones_is_the_only_one_refused() {
    let mut world = World::new(2);
    for _ in 0..5 {
        world.grant(0, None, 1, &[1], Rights::READ, 0).unwrap();
    }
    let mut bytes: Vec<Vec<u8>> = world.statements.iter().map(|s| s.bytes().to_vec()).collect();
    *bytes[3].last_mut().unwrap() ^= 1;
    let batch = bytes.iter().map(|bytes| Unverified::<Statement>::from_bytes(bytes).unwrap()).collect();
    let results = Unverified::verify_all(batch);
    let bad: Vec<usize> = results.iter().enumerate().filter(|(_, r)| r.is_err()).map(|(n, _)| n).collect();
    assert_eq!(bad, [3]);
    assert_eq!(Signed::<Statement>::from_bytes(&bytes[3]), Err(SignedFault::BadSignature));
}

/// ID-10, ID-11: versions and kinds of tomorrow.
#[test]
fn optional_kinds_are_kept_and_mandatory_ones_refused() {
    let world = World::new(1);
    let draft = |action| world.devices[0].graph.next_draft(world.id(0), action, 5000);
    let extension =
        Statement::sign(&key(0), draft(Action::Extension { kind: 200, body: vec![1, 2, 3] })).unwrap();
    assert_eq!(Signed::<Statement>::from_bytes(extension.bytes()).unwrap(), extension);
    let mandatory = Statement::sign(&key(0), draft(Action::Extension { kind: 8, body: vec![] }));
    assert_eq!(mandatory.unwrap_err().0, DecodeError::Unsupported);
    let mut other_version = extension.bytes().to_vec();
    other_version[0] = 2;
    assert_eq!(Unverified::<Statement>::from_bytes(&other_version), Err(DecodeError::Unsupported));
}

/// ID-7, ID-8: a space is named by all the bytes of its genesis.
#[test]
fn the_name_of_a_space_is_the_hash_of_its_genesis() {
    let genesis = Statement::sign(&key(0), Draft::genesis([1; 16], 7)).unwrap();
    assert_eq!(genesis.space(), SpaceId::from(OpId::of(genesis.bytes())));
    assert_eq!(genesis.space().genesis(), genesis.id());
    assert_ne!(genesis.space(), Statement::sign(&key(0), Draft::genesis([2; 16], 7)).unwrap().space());
}
