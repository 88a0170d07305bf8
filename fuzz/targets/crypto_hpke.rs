//! Fuzzes `cs_fuzz::crypto::hpke`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::hpke(bytes);
});
