//! RFC 9180, appendix A.2: every published encryption and export of each mode.

use cs_crypto::dh::public_key;
use cs_crypto::hpke::{Opener, Psk, Sealer, Sender, open, seal};

use crate::vectors::unhex;

const INFO: &[u8] = b"Ode on a Grecian Urn";
const AAD: &[u8] = b"Count-0";
const PLAINTEXT: &[u8] = b"Beauty is truth, truth beauty";
const PSK_ID: &[u8] = b"Ennyn Durin aran Moria";
const PSK: &str = "0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82";

fn key(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

// CRYPTO-5
#[test]
fn base_mode_agrees_with_rfc_9180_a_2_1() {
    let ephemeral = key("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let recipient = key("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
    assert_eq!(
        public_key(&recipient).to_vec(),
        unhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
    );
    let message = seal(&public_key(&recipient), INFO, AAD, PLAINTEXT, ephemeral).unwrap();
    let enc = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    let ct = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
    assert_eq!(message, [unhex(enc), unhex(ct)].concat());
    assert_eq!(*open(&recipient, INFO, AAD, &message).unwrap(), PLAINTEXT);
}

/// A mode's vectors; the ephemeral key by what it is derived from.
struct Mode {
    ephemeral: &'static str,
    recipient: &'static str,
    sender: Option<&'static str>,
    has_psk: bool,
    /// By sequence number.
    sealed: [(usize, &'static str); 6],
    /// For the contexts nothing, one zero byte, `TestContext`.
    exported: [&'static str; 3],
}

/// Seals as the RFC's sender does, message by message, compares those that are published, and opens all.
fn check(mode: &Mode) {
    let (recipient, sender, psk) = (key(mode.recipient), mode.sender.map(key), key(PSK));
    let psk = mode.has_psk.then(|| Psk::new(&psk, PSK_ID).unwrap());
    let proof = sender.as_ref().map_or(Sender::Anonymous, Sender::Key);
    let (encapsulated, mut sealer) =
        Sealer::setup(&public_key(&recipient), INFO, &proof, psk, key(mode.ephemeral)).unwrap();
    let sender = sender.map(|secret| public_key(&secret));
    let mut opener = Opener::setup(&recipient, &encapsulated, INFO, sender.as_ref(), psk).unwrap();
    let mut compared = 0;
    for sequence in 0..=256 {
        let aad = format!("Count-{sequence}");
        let message = sealer.seal(aad.as_bytes(), PLAINTEXT);
        if let Some((_, sealed)) = mode.sealed.iter().find(|(number, _)| *number == sequence) {
            assert_eq!(message, unhex(sealed), "{sequence}");
            compared += 1;
        }
        assert_eq!(*opener.open(aad.as_bytes(), &message).unwrap(), PLAINTEXT);
    }
    assert_eq!(compared, 6);
    for (context, exported) in [&b""[..], &[0], b"TestContext"].into_iter().zip(mode.exported) {
        assert_eq!(sealer.export(context).to_vec(), unhex(exported));
        assert_eq!(opener.export(context).to_vec(), unhex(exported));
    }
}

// CRYPTO-5
#[test]
fn every_message_and_export_of_base_mode_agrees_with_rfc_9180_a_2_1() {
    check(&Mode {
        ephemeral: "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
        recipient: "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        sender: None,
        has_psk: false,
        sealed: [
            (0, "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"),
            (1, "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c"),
            (2, "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b"),
            (4, "63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16"),
            (
                255,
                "18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c",
            ),
            (
                256,
                "7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b",
            ),
        ],
        exported: [
            "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e",
            "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69",
            "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53",
        ],
    });
}

// CRYPTO-5
#[test]
fn every_message_and_export_of_psk_mode_agrees_with_rfc_9180_a_2_2() {
    check(&Mode {
        ephemeral: "35706a0b09fb26fb45c39c2f5079c709c7cf98e43afa973f14d88ece7e29c2e3",
        recipient: "77d114e0212be51cb1d76fa99dd41cfd4d0166b08caa09074430a6c59ef17879",
        sender: None,
        has_psk: true,
        sealed: [
            (0, "4a177f9c0d6f15cfdf533fb65bf84aecdc6ab16b8b85b4cf65a370e07fc1d78d28fb073214525276f4a89608ff"),
            (1, "5c3cabae2f0b3e124d8d864c116fd8f20f3f56fda988c3573b40b09997fd6c769e77c8eda6cda4f947f5b704a8"),
            (2, "14958900b44bdae9cbe5a528bf933c5c990dbb8e282e6e495adf8205d19da9eb270e3a6f1e0613ab7e757962a4"),
            (4, "c2a7bc09ddb853cf2effb6e8d058e346f7fe0fb3476528c80db6b698415c5f8c50b68a9a355609e96d2117f8d3"),
            (
                255,
                "2414d0788e4bc39a59a26d7bd5d78e111c317d44c37bd5a4c2a1235f2ddc2085c487d406490e75210c958724a7",
            ),
            (
                256,
                "c567ae1c3f0f75abe1dd9e4532b422600ed4a6e5b9484dafb1e43ab9f5fd662b28c00e2e81d3cde955dae7e218",
            ),
        ],
        exported: [
            "813c1bfc516c99076ae0f466671f0ba5ff244a41699f7b2417e4c59d46d39f40",
            "2745cf3d5bb65c333658732954ee7af49eb895ce77f8022873a62a13c94cb4e1",
            "ad40e3ae14f21c99bfdebc20ae14ab86f4ca2dc9a4799d200f43a25f99fa78ae",
        ],
    });
}

// CRYPTO-5
#[test]
fn every_message_and_export_of_auth_mode_agrees_with_rfc_9180_a_2_3() {
    check(&Mode {
        ephemeral: "938d3daa5a8904540bc24f48ae90eed3f4f7f11839560597b55e7c9598c996c0",
        recipient: "3ca22a6d1cda1bb9480949ec5329d3bf0b080ca4c45879c95eddb55c70b80b82",
        sender: Some("2def0cb58ffcf83d1062dd085c8aceca7f4c0c3fd05912d847b61f3e54121f05"),
        has_psk: false,
        sealed: [
            (0, "ab1a13c9d4f01a87ec3440dbd756e2677bd2ecf9df0ce7ed73869b98e00c09be111cb9fdf077347aeb88e61bdf"),
            (1, "3265c7807ffff7fdace21659a2c6ccffee52a26d270c76468ed74202a65478bfaedfff9c2b7634e24f10b71016"),
            (2, "3aadee86ad2a05081ea860033a9d09dbccb4acac2ded0891da40f51d4df19925f7a767b076a5cbc9355c8fd35e"),
            (4, "502ecccd5c2be3506a081809cc58b43b94f77cbe37b8b31712d9e21c9e61aa6946a8e922f54eae630f88eb8033"),
            (
                255,
                "652e597ba20f3d9241cda61f33937298b1169e6adf72974bbe454297502eb4be132e1c5064702fc165c2ddbde8",
            ),
            (
                256,
                "3be14e8b3bbd1028cf2b7d0a691dbbeff71321e7dec92d3c2cfb30a0994ab246af76168480285a60037b4ba13a",
            ),
        ],
        exported: [
            "070cffafd89b67b7f0eeb800235303a223e6ff9d1e774dce8eac585c8688c872",
            "2852e728568d40ddb0edde284d36a4359c56558bb2fb8837cd3d92e46a3a14a8",
            "1df39dc5dd60edcbf5f9ae804e15ada66e885b28ed7929116f768369a3f950ee",
        ],
    });
}

// CRYPTO-5
#[test]
fn every_message_and_export_of_auth_psk_mode_agrees_with_rfc_9180_a_2_4() {
    check(&Mode {
        ephemeral: "49d6eac8c6c558c953a0a252929a818745bb08cd3d29e15f9f5db5eb2e7d4b84",
        recipient: "7b36a42822e75bf3362dfabbe474b3016236408becb83b859a6909e22803cb0c",
        sender: Some("90761c5b0a7ef0985ed66687ad708b921d9803d51637c8d1cb72d03ed0f64418"),
        has_psk: true,
        sealed: [
            (0, "9aa52e29274fc6172e38a4461361d2342585d3aeec67fb3b721ecd63f059577c7fe886be0ede01456ebc67d597"),
            (1, "59460bacdbe7a920ef2806a74937d5a691d6d5062d7daafcad7db7e4d8c649adffe575c1889c5c2e3a49af8e3e"),
            (2, "5688ff6a03ba26ae936044a5c800f286fb5d1eccdd2a0f268f6ff9773b51169318d1a1466bb36263415071db00"),
            (4, "d936b7a01f5c7dc4c3dc04e322cc694684ee18dd71719196874e5235aed3cfb06cadcd3bc7da0877488d7c551d"),
            (
                255,
                "4d4c462f7b9b637eaf1f4e15e325b7bc629c0af6e3073422c86064cc3c98cff87300f054fd56dd57dc34358beb",
            ),
            (
                256,
                "9b7f84224922d2a9edd7b2c2057f3bcf3a547f17570575e626202e593bfdd99e9878a1af9e41ded58c7fb77d2f",
            ),
        ],
        exported: [
            "c23ebd4e7a0ad06a5dddf779f65004ce9481069ce0f0e6dd51a04539ddcbd5cd",
            "ed7ff5ca40a3d84561067ebc8e01702bc36cf1eb99d42a92004642b9dfaadd37",
            "d3bae066aa8da27d527d85c040f7dd6ccb60221c902ee36a82f70bcd62a60ee4",
        ],
    });
}
