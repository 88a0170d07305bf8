//! Fuzzes `cs_fuzz::identity::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::identity::path(bytes);
});
