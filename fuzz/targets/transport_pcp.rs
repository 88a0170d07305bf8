//! Fuzzes `cs_fuzz::transport::pcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::transport::pcp(bytes);
});
