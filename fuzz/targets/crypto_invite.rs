//! Fuzzes `cs_fuzz::crypto::invite`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::invite(bytes);
});
