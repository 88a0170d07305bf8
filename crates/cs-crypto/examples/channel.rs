//! An encrypted channel between two parties, of whom one knows the other's key: `cargo run -p cs-crypto --example channel`.

use cs_crypto::dh::public_key;
use cs_crypto::noise::{Hash, Pattern, Protocol, Setup};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In earnest, every one of these comes from the operating system.
    let (alice, bob, ephemeral_a, ephemeral_b) = ([1; 32], [2; 32], [3; 32], [4; 32]);
    let protocol = Protocol::new(Pattern::IK, Hash::Blake2s);
    println!("{}", protocol.name());

    let initiator = Setup::new(protocol, ephemeral_a).prologue(b"example/1").local(alice);
    let initiator = initiator.remote(public_key(&bob)).initiate()?;
    let responder = Setup::new(protocol, ephemeral_b).prologue(b"example/1").local(bob).respond()?;

    let (first, initiator) = initiator.write(b"hello, whoever owns this key")?;
    println!("alice -> bob: {} bytes", first.len());
    let (payload, responder) = responder.read(&first)?;
    println!("bob reads: {}", String::from_utf8_lossy(&payload));

    let (second, responder) = responder.turn()?.write(b"hello, alice")?;
    println!("bob -> alice: {} bytes", second.len());
    let (payload, initiator) = initiator.turn()?.read(&second)?;
    println!("alice reads: {}", String::from_utf8_lossy(&payload));

    let (initiator, responder) = (initiator.keys()?, responder.keys()?);
    println!("bob is sure to talk to alice: {}", responder.remote_static == Some(public_key(&alice)));
    let (mut sender, _) = initiator.into_transport();
    let (_, mut receiver) = responder.into_transport();
    let sealed = sender.seal(b"", b"now with forward secrecy")?;
    println!("bob reads: {}", String::from_utf8_lossy(&receiver.open(b"", &sealed)?));
    Ok(())
}
