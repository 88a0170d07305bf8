//! Fuzzes `cs_fuzz::identity::attestation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::identity::attestation(bytes);
});
