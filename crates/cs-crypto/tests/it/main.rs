//! Published vectors, interoperation with independent implementations, properties, and stories.

mod epochs;
mod golden;
mod hpke_vectors;
mod interop;
mod noise_vectors;
mod prekeys;
mod properties;
mod ratchet;
#[cfg(feature = "recovery")]
mod recovery;
mod secrets;
mod stories;
mod vectors;
