//! Fuzzes `cs_fuzz::transport::stun`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::transport::stun(bytes);
});
