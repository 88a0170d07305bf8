//! Fuzzes `cs_fuzz::crypto::protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::protocol(bytes);
});
