//! Fuzzes `cs_fuzz::crypto::prekeys`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::prekeys(bytes);
});
