//! Fuzzes `cs_fuzz::transport::nat_pmp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::transport::nat_pmp(bytes);
});
