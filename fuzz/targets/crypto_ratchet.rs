//! Fuzzes `cs_fuzz::crypto::ratchet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::ratchet(bytes);
});
