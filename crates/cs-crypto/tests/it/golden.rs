//! Our own formats, pinned: a change here is a change of the wire, and needs a new version in the label that it concerns.

use cs_crypto::dh::{KeyPair, public_key};
use cs_crypto::epoch::{
    AreaSecrets, BlindKey, ChunkKey, EpochId, EpochRoot, EpochSecrets, open_operation, seal_operation,
};
use cs_crypto::invite::{Code, Inviter, Joiner, Meeting};
use cs_crypto::noise::{Hash, Pattern, Protocol, Setup};
use cs_crypto::ratchet::{Initial, Prekeys, Session, SignedPrekey};
use cs_crypto::{kdf, secret_file};

use crate::vectors::unhex;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn root() -> EpochRoot {
    EpochRoot::from_bytes(&[1; 32])
}

fn secrets() -> EpochSecrets {
    let (blind, chunk) = (BlindKey::from_bytes(&[2; 32]), ChunkKey::from_bytes(&[3; 32]));
    EpochSecrets { root: root(), blind, chunk }
}

// CRYPTO-6
#[test]
fn path_keys_and_tags_are_pinned() {
    assert_eq!(
        hex(&*root().root_key().to_bytes()),
        "2f300bd85b3d465dcf022de6f901c7b73a60b64e202b6bbd0126e7f560cab749"
    );
    assert_eq!(
        hex(&*root().path_key(&[b"notes", b"todo"]).content_key()),
        "1b150d1342fe52f759a6d6c9867a02fec2cbfa52ad6392126631af8b7de0e8a4"
    );
    let tags = secrets().blind.root().tags(&[b"notes", b"todo"]);
    assert_eq!(hex(&tags.concat()), "24293d65e8dd3995a24eb2a3d2648f596409da0c5c90820c3904aebf4271592b");
}

// CRYPTO-7
#[test]
fn a_sealed_operation_is_pinned() {
    let key = root().path_key(&[b"notes"]);
    let sealed = "7f8c013e639430817fe6d3b6e5b61e44b341328b7d561864ae4c6539118b78d54a56407610bb7570bace5de1";
    assert_eq!(hex(&seal_operation(&key, b"envelope", b"body")), sealed);
    assert_eq!(open_operation(&key, b"envelope", &unhex(sealed)).unwrap(), b"body");
}

// CRYPTO-8
#[test]
fn an_epoch_box_is_pinned() {
    assert_eq!(hex(&root().commitment()), "8a30a1843af5da25a5cc5127f388f51b8ca31d2d70101ab398b53eb57a584eba");
    let sealed = "5fd47633b5e43fca7bad1bfbe424feacb175d9d4d4a30f166dbd30636f0b446bb4bf655d197e7f50fffe13a064ab059697b8119d7c33b357d21c9aba384f3d0fbdf6674a735c5af53d1eebc4cfd249d529a6193d6a118a40a4cb6b3c1d831e371cca512fe778bfc824bac6b71f57d5d637b127b2b9c3cf057823a9b69a23ace145451bcb906ac6646c98607c058d0a8b";
    let member = [4; 32];
    assert_eq!(hex(&secrets().seal_to(&public_key(&member), &[5; 32], 6, [7; 32]).unwrap()), sealed);
    let opened = EpochSecrets::open(&member, &[5; 32], 6, &root().commitment(), &unhex(sealed));
    assert_eq!(opened.unwrap(), secrets());
}

// CRYPTO-8
#[test]
fn an_area_box_is_pinned() {
    let (path, member): (&[&[u8]], _) = (&[b"notes"], [4; 32]);
    let epoch = EpochId { number: 6, commitment: root().commitment() };
    let tags = secrets().blind.tags(path);
    let sealed =
        secrets().area(path).seal_to(&public_key(&member), &[5; 32], &epoch, &tags, [7; 32]).unwrap();
    assert_eq!(
        hex(&*kdf::extract(b"", &sealed)),
        "eda8a70708d2b40b378abdfbacb74e203ac9a2061e3804a04ef5ef38cfd3e1ba"
    );
    assert_eq!(AreaSecrets::open(&member, &[5; 32], &epoch, &tags, &sealed).unwrap(), secrets().area(path));
}

// CRYPTO-9
#[test]
fn a_chunk_id_is_pinned() {
    assert_eq!(
        hex(&secrets().chunk.id(b"chunk")),
        "27b8173eeb5cee3a04b7eabfe0108a2ff18af8fe96a0983c8666d6b4db180f06"
    );
}

// CRYPTO-14
#[test]
fn a_code_and_its_meeting_place_are_pinned() {
    let code = Code::generate(core::array::from_fn(|at| (at * 37) as u8));
    assert_eq!(code.to_string(), "05AFM-SY38D");
    assert_eq!(hex(&code.rendezvous()), "fc95d1c0df98a920890cae756a71afd09343004d34a1eb3752491930b0565ad5");
}

// CRYPTO-10, CRYPTO-11
#[test]
fn an_invitations_four_messages_are_pinned() {
    let meeting = Meeting { joiner: [1; 32], inviter: [2; 32], binding: [3; 32] };
    let code: Code = "ABCDE-FGHJK".parse().unwrap();
    let (joiner, hello) = Joiner::start(&code, meeting, [4; 32]);
    assert_eq!(hex(&hello), "4149d7ef7e35a3454f0db1fb90b8b8dc97f1ff338b51fd410ec699c24f0170f02f");
    let mut inviter = Inviter::new(code);
    let (exchange, answer) = inviter.answer(&hello, meeting, [5; 32]).unwrap();
    assert_eq!(hex(&answer), "4278ff808f29027e47e3aa7dadfcfa9ac5bd52b53cb2edd7d23de2add5172e697a");
    let (_, proof) = joiner.read_answer(&answer).unwrap();
    assert_eq!(hex(&proof), "9b8755dd90df63af592597c065f30cd5f9a78bcdbe4d09ec787e495cbde3a43d");
    let (proof, key) = inviter.admit(exchange, &proof).unwrap();
    assert_eq!(hex(&proof), "c5d3360d72a88c6c562e200ee365cb417b97e3f65c000aed600e17544f50a913");
    assert_eq!(hex(&*key), "c730fe721ec620bbcc7bce68023e75d7669aa99a28f6dcb88e9a632abf4e0742");
}

// CRYPTO-12
#[test]
fn a_key_file_is_pinned() {
    let cost = secret_file::Cost { memory_kib: 8, passes: 1, lanes: 1 };
    let file = "6373736563727401080000000100000001000000090909090909090909090909090909090909090909090909090909090909090909090909090909091606643affb3acb046c1cefeff3dfa2b84d3250bc410";
    assert_eq!(hex(&secret_file::seal(b"passphrase", b"secret", cost, &[9; 40]).unwrap()), file);
    assert_eq!(*secret_file::open(b"passphrase", &unhex(file)).unwrap(), b"secret");
}

// CRYPTO-13
#[test]
fn an_exported_key_is_pinned() {
    let protocol = Protocol::new(Pattern::IK, Hash::Sha256);
    let setup = Setup::new(protocol, [3; 32]).local([1; 32]).remote(public_key(&[2; 32]));
    let turn = setup.initiate().unwrap().write(b"").unwrap().1.turn().unwrap();
    assert_eq!(
        hex(&*turn.export(b"label", b"context").unwrap()),
        "c51164cef8e1ec6dcb61bff49c080f265e63482cd3c9ef024d8a667518270343"
    );
}

// CRYPTO-15, CRYPTO-16, CRYPTO-18
#[test]
fn a_conversations_first_messages_and_states_are_pinned() {
    let (alice, bob, signed, one_time) = ([1; 32], [2; 32], [3; 32], [4; 32]);
    let prekey = SignedPrekey { identity: public_key(&bob), key: public_key(&signed), expires_ms: 1 };
    let bundle = prekey.verify(Some(public_key(&one_time)), 0, |_| true).unwrap();
    let mut at_alice = Session::start(&alice, &bundle, &[5; 64]).unwrap();
    let first = at_alice.seal(b"aad", b"hello").unwrap();
    let initial = Initial::parse(&first).unwrap();
    let (mut at_bob, _) =
        Session::accept(&bob, &initial, &signed, Some(&one_time), b"aad", &first, [6; 32]).unwrap();
    let answer = at_bob.seal(b"aad", b"hello yourself").unwrap();
    at_alice.seal(b"aad", b"are you there?").unwrap();
    at_alice.open(b"aad", &answer, [7; 32]).unwrap();
    let last = at_alice.seal(b"aad", b"bye").unwrap();
    at_bob.open(b"aad", &last, [8; 32]).unwrap();
    // Long bytes are pinned by their hash.
    let short = |bytes: &[u8]| hex(&*kdf::extract(b"", bytes));
    assert_eq!(short(&first), "209be684e8c26998fd4759dc5f1a2d7ec5d753be196298ea9616ab7ffc7ade83");
    assert_eq!(short(&answer), "e988a5de5bed5bb0bf6829dcea94f79b7eb8bfbaab692f54eeb261b20a3b2d17");
    assert_eq!(short(&last), "f0c87cc6b4db980552c8e3c330fb58e283c13ad7c363d9cd060857c92aa854bc");
    assert_eq!(
        short(&at_alice.to_bytes()),
        "18f36d89fe8446335c1981b58addd2897f29f516cffa6885ba6cfebc089373c0"
    );
    assert_eq!(short(&at_bob.to_bytes()), "c99d08ce928b75447e009b133e3eacfbba923242975e92d1341986c88dfdb0d4");
}

// CRYPTO-23
#[test]
fn prekeys_and_what_is_signed_of_them_are_pinned() {
    let mut prekeys = Prekeys::generate([1; 32], 1000);
    prekeys.rotate([2; 32], 2000);
    prekeys.replenish(3, [3; 32]);
    let message = prekeys.published(&KeyPair::new([4; 32])).message();
    assert_eq!(
        hex(&*kdf::extract(b"", &message)),
        "50cebfd331976bbf6a39d76e417f8f7452cfa271facddb03fb327274f9955c0e"
    );
    assert_eq!(
        hex(&*kdf::extract(b"", &prekeys.to_bytes())),
        "ca917bf0f6dc7014e0b0da08739e06db4d57376fec1de840ec4ec2c88d440c88"
    );
}
