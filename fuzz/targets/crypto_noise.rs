//! Fuzzes `cs_fuzz::crypto::noise`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::noise(bytes);
});
